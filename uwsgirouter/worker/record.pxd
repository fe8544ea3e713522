# C types for the compiled form of record.py; the Python source is the program (see uwsgirouter/compiled.py).

from uwsgirouter.worker.relay cimport Pump

cdef class Record:
    cdef public double began, sought, dialled, connected, first, ended
    cdef public long long rx, tx, rx_told, tx_told, own
    cdef public int status
    cdef public object cause
    cdef public bytes key, packet, head
    cdef public list steps
    cdef public bint keeps_head, counted
    cdef bint _looks
    cdef bytes _partial

    cpdef dial(self)
    cpdef sent(self, Py_ssize_t count)
    cpdef came(self, Py_ssize_t count, Pump pump)
    cpdef show(self, data)
    cdef bint _skips_interim(self, bytes data) except -1
    cdef _look_no_more(self)
