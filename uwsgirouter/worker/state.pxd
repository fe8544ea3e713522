# C types for the compiled form of state.py; the Python source is the program (see uwsgirouter/compiled.py).

from uwsgirouter.worker.common cimport Common
from uwsgirouter.worker.kernel cimport Stream as KernelStream
from uwsgirouter.worker.record cimport Record
from uwsgirouter.worker.relay cimport Pump

cdef object _NO_NODE, _PACKET

cdef class SessionState:
    cdef public Common router
    cdef public object phase, key, node, tried, watcher, why, body, lent, choice, routed, cut
    cdef public KernelStream client, upstream
    cdef public long silence, deadline
    cdef public int attempts
    cdef public bytes packet
    cdef public long long left
    cdef public Pump up, down
    cdef public Record record
    cdef public bytes request_id
    cdef public bint passed, with_body
    cdef public Py_ssize_t end

    cpdef begin(self, Common router, KernelStream client)
