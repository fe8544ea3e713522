# C types for the compiled form of relay.py; the Python source is the program (see uwsgirouter/compiled.py).

cdef object _OPEN, _ENDING, _ENDED, _DISCARDING

cdef class Pump:
    cdef object _loop, _pending, _pipe, _readable, _scratch, _writable
    cdef Py_ssize_t _size
    cdef int _full
    cdef public object flow, session, sink, source
