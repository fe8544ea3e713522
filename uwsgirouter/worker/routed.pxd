# C types for the compiled form of routed.py; the Python source is the program (see uwsgirouter/compiled.py).

from uwsgirouter.rules.exchange cimport Exchange
from uwsgirouter.rules.table cimport Table
from uwsgirouter.worker.arrival cimport Arrival

cdef object _REQUEST, _FINAL, _BREAK, _RULES, _PACKET, _ANSWER, _RELAY, _NOTHING, _SENT, _UWSGI, _HTTP, _TUNNEL

cdef class Rules:
    cdef public Table table
    cdef public object host
    cdef public bint response_waits
    cdef dict _greenlets
    cdef set _finishing
    cdef object _say
    cdef bint _waits, _final_waits, _has_final

    cpdef begin(self, Arrival session, Py_ssize_t end, length, upgrade)
    cpdef broke(self, Arrival session)
    cpdef forget(self, Arrival session)
    cdef finish(self, Exchange exchange)
    cpdef _finish(self, Exchange exchange)

cdef class Routed:
    cdef public Exchange exchange
    cdef public bytes way
    cdef public bint begun
    cdef Rules _rules
    cdef Arrival _session
    cdef long long _length
    cdef bint _upgrade, _owes, _is_hurried
    cdef object _out, _told

    cpdef decided(self, verdict)
    cdef _go_on(self)
    cdef bytes _take_packet(self)
    cdef bint _is_needed(self) except -1
    cdef _leave_unneeded(self)
    cpdef passed(self, pump, Py_ssize_t count)
    cpdef feed(self, bytes data, then)
    cpdef step(self, work, then)
    cpdef list take(self)
    cpdef over(self)
