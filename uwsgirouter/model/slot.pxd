# C types for the compiled form of slot.py; the Python source is the program (see uwsgirouter/compiled.py).

cdef class Slot:
    cdef public bytes key
    cdef public list nodes
    cdef public long long turns
    cdef object _balancing, _balancer

    cpdef next(self, client=*)
