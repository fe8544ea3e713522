# C types for the compiled form of filter.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

from uwsgirouter.worker.relay cimport Pump
from uwsgirouter.worker.routed cimport Routed
from uwsgirouter.worker.session cimport Session

cdef Py_ssize_t READ, JOIN_MOST
cdef int _DONTWAIT, _SEND_FLAGS, _LAST_FLAGS, _READABLE
cdef object _OPEN, _ENDING, _ENDED, _DISCARDING, _NOTHING, _OVER

cdef class Filter(Pump):
    cdef Session _session
    cdef object _router, _watcher, _out, _lost
    cdef Routed _routed
    cdef Py_ssize_t _unreported
    cdef bint _is_over, _passes

    cpdef start(self, bytes pending=*)
    cpdef bytes seen(self, Py_ssize_t count)
    cpdef stop(self)
    @cython.locals(data=bytes)
    cpdef on_readable(self)
    @cython.locals(count=Py_ssize_t)
    cpdef _fed(self)
    @cython.locals(data=bytes)
    cdef bint _seek_end(self) except -1
    @cython.locals(out=bint)
    cdef _push(self)
    @cython.locals(data=bytes, sent=Py_ssize_t)
    cdef bint _send(self, list output, bint last) except -1
    cdef Py_ssize_t _send_at_once(self, bytes data, bint last) except -1
    cpdef _drained(self)
    cdef _become_pump(self)
    cdef _source_over(self)
    @cython.locals(count=Py_ssize_t)
    cpdef _ended(self)
    cdef _finish_flow(self)
    cdef _read_on(self)
    cdef _pause(self)
