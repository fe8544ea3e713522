# C types for the compiled form of session.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

from uwsgirouter.worker.common cimport Common
from uwsgirouter.worker.kernel cimport Stream as KernelStream
from uwsgirouter.worker.relay cimport Pump

cdef int _DONTWAIT, _FLAGS, _UNIX, _EAGAIN, _EINPROGRESS

cdef object _BODY, _MAP, _QUEUE, _WAKE, _ADOPTED, _NO_NODE, _UNCONFIRMED
cdef long long LARGE
cdef object _PACKET, _CONNECT, _WAIT, _RELAY, _RULES, _ANSWER, _LINGER, _LINGER_RESET, _CLOSED, _ENDED, _DISCARDING
cdef int _REQUESTS, _ANSWERED, _RX, _TX

cdef class Session:
    cdef public Common router
    cdef public object phase, key, node, tried, watcher, why, body, lent, choice, routed
    cdef public KernelStream client, upstream
    cdef public long silence, deadline
    cdef public int attempts
    cdef public bytes packet
    cdef public long long left
    cdef public Pump up, down
    cdef public bint passed
    cdef bint _with_body
    cdef object _cut
    cdef Py_ssize_t _end

    @cython.locals(end=Py_ssize_t, data=bytes)
    cpdef start(self)
    cdef _route(self, bytes data, Py_ssize_t end)
    cpdef admit(self, bytes key, long long length, bint upgrade)
    cdef _find(self)
    cpdef dial(self, node)
    @cython.locals(upstream=KernelStream, code=int)
    cdef _attempt(self, node)
    cdef _leave_node(self)
    @cython.locals(data=bytes, sent=Py_ssize_t, modifier1=int, modifier2=int)
    cdef _send_packet(self, KernelStream upstream, node)
    cpdef moved(self, Pump pump, Py_ssize_t count)
    cpdef ended(self, Pump pump)
    cdef bint _owes_body(self)
    cdef bint _uploads(self)
    cdef _node_ended(self)
    cpdef close(self)
