# C types for the compiled form of tallies.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

cdef Py_ssize_t _RECORD, _REQUESTS, _RX, _TX, _FAILURES, _LAST

cdef class NodeTallies:
    cdef long long[::1] _cells

    @cython.locals(place=Py_ssize_t)
    cpdef began(self, Py_ssize_t node, long long milliseconds)
    @cython.locals(place=Py_ssize_t)
    cpdef moved(self, Py_ssize_t node, long long rx, long long tx)
    cpdef failed(self, Py_ssize_t node)
