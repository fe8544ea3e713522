# C types for the compiled form of observer.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

from uwsgirouter.model.tallies cimport NodeTallies
from uwsgirouter.protocol.packet cimport value_of, with_appended
from uwsgirouter.worker.record cimport Record
from uwsgirouter.worker.state cimport SessionState

cdef double MILLISECONDS

cpdef bytes acceptable(bytes given)

cdef bytes _NAMED
cdef tuple _DIGITS

cdef class Ids:
    cdef bytes _prefix, _stem
    cdef long long _count, _high

    cpdef bytes of(self, bytes packet, Py_ssize_t end)
    @cython.locals(low=Py_ssize_t)
    cpdef bytes new(self)

cdef class Observer:
    cdef Ids _ids
    cdef bint _passes_ids
    cdef public bint keeps_head
    cdef public object traces
    cdef public list sinks, ends
    cdef public NodeTallies tallies

    @cython.locals(packet=bytes, record=Record)
    cpdef begin(self, SessionState session, bytes key)
    @cython.locals(record=Record, id=Py_ssize_t)
    cpdef left(self, SessionState session)
    @cython.locals(record=Record)
    cpdef over(self, SessionState session)
