# C types for the compiled form of wrr.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

cdef class WeightedRoundRobin:
    cdef list _nodes
    cdef Py_ssize_t _index
    cdef long long _total

    @cython.locals(index=Py_ssize_t, nodes=list)
    cpdef next(self, client)
