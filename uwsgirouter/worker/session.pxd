# C types for the compiled form of session.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

from uwsgirouter.worker.kernel cimport Stream as KernelStream
from uwsgirouter.worker.relay cimport Pump
from uwsgirouter.worker.state cimport SessionState

cdef int _FLAGS, _UNIX, _EAGAIN, _EINPROGRESS
cdef long long LARGE
cdef object _CONNECT, _WAIT, _RELAY, _CLOSED, _RULES, _MAP, _QUEUE, _WAKE, _ADOPTED, _LINGER_RESET, _UNCONFIRMED
cdef int _ANSWERED, _RX, _TX

cdef class Session(SessionState):
    cpdef dial(self, node)
    @cython.locals(upstream=KernelStream, code=int)
    cdef _attempt(self, node)
    cpdef leave_node(self)
    @cython.locals(data=bytes, sent=Py_ssize_t)
    cdef _send_packet(self, KernelStream upstream, node)
    @cython.locals(data=bytes, modifier1=int, modifier2=int)
    cdef bytes _opening(self, node)
    @cython.locals(down=Pump)
    cdef bint _await_response(self, KernelStream upstream, heading) except -1
    cdef _start_up(self, KernelStream upstream, bytes pending)
    cpdef moved(self, Pump pump, Py_ssize_t count)
    cdef _answered(self)
    cpdef ended(self, Pump pump)
    cpdef close(self)
