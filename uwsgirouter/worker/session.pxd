# C types for the compiled form of session.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

from uwsgirouter.worker.kernel cimport Stream as KernelStream
from uwsgirouter.worker.relay cimport Pump

cdef int _DONTWAIT, _FLAGS

cdef object _PACKET, _CONNECT, _WAIT, _RELAY, _LINGER, _LINGER_RESET, _CLOSED, _ENDED, _DISCARDING
cdef object _REQUESTS, _ANSWERED, _RX, _TX

cdef class Session:
    cdef public object router, phase, key
    cdef public KernelStream client
    cdef public long silence, deadline
    cdef KernelStream _upstream
    cdef object _node, _tried, _watcher, _cut
    cdef bytes _packet
    cdef Py_ssize_t _end
    cdef long long _left
    cdef int _attempts
    cdef Pump _up, _down

    @cython.locals(count=Py_ssize_t, end=Py_ssize_t, data=bytes)
    cpdef start(self)
    cdef _route(self, bytes data, Py_ssize_t end)
    cdef _dial(self, first)
    @cython.locals(upstream=KernelStream, code=int)
    cdef _attempt(self, node)
    cdef _leave_node(self)
    @cython.locals(data=bytes, sent=Py_ssize_t)
    cdef _send_packet(self, KernelStream upstream, node)
    cpdef moved(self, Pump pump, Py_ssize_t count)
    cpdef ended(self, Pump pump)
    cdef bint _owes_body(self)
    cdef _node_ended(self)
    cpdef close(self)
