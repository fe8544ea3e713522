# C types for the compiled form of relay.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

from uwsgirouter.worker.kernel cimport Stream as KernelStream

cdef int _RECEIVE_FLAGS, _SEND_FLAGS, _LAST_FLAGS
cdef object _OPEN, _ENDING, _ENDED, _DISCARDING

cdef class Pump:
    cdef object _bulk, _loop, _pending, _readable, _scratch, _writable, _late
    cdef Py_ssize_t _size
    cdef int _full
    cdef public object flow, session
    cdef public bint hasty
    cdef public Py_ssize_t at
    cdef public KernelStream sink, source

    cpdef start(self, bytes pending=*)
    cpdef bytes seen(self, Py_ssize_t count)
    cpdef stop(self)
    cpdef on_readable(self)
    cpdef write(self, data, Py_ssize_t count)
    @cython.locals(room=Py_ssize_t, more=Py_ssize_t)
    cdef _look_for_end(self, Py_ssize_t count)
    @cython.locals(sent=Py_ssize_t)
    cdef _write_last(self, data, Py_ssize_t count)
    cpdef source_ended(self)
    cdef _finish(self)
