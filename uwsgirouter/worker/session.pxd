# C types for the compiled form of session.py; the Python source is the program (see uwsgirouter/compiled.py).

from uwsgirouter.worker.relay cimport Pump

cdef object _PACKET, _CONNECT, _WAIT, _RELAY, _LINGER, _LINGER_RESET, _CLOSED, _ENDED, _DISCARDING
cdef object _REQUESTS, _ANSWERED, _RX, _TX

cdef class Session:
    cdef public object client, router, phase, key
    cdef public long silence, deadline
    cdef object _node, _tried, _upstream, _watcher, _cut
    cdef bytes _packet
    cdef Py_ssize_t _end
    cdef long long _left
    cdef int _attempts
    cdef Pump _up, _down
