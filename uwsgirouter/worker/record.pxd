# C types for the compiled form of record.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

from uwsgirouter.worker.relay cimport Pump

cdef int _HEADER, _STATUS_END, _INTERIM, _H, _SLASH, _ZERO, _NINE

@cython.locals(view="const unsigned char *", number=int, at=int)
cpdef int status_of(bytes line) except -1

cdef class Record:
    cdef public double began, sought, dialled, connected, first, ended
    cdef public long long rx, tx, rx_told, tx_told, own
    cdef public int status
    cdef public object cause, slot
    cdef public bytes key, packet, head
    cdef public list steps
    cdef public bint keeps_head, counted, unlogged
    cdef public dict logvars
    cdef bint _looks
    cdef bytes _partial

    @cython.locals(view="const unsigned char *", size=Py_ssize_t)
    cpdef keep(self, bytes packet, Py_ssize_t end)
    cpdef step(self, str text)
    cpdef dial(self, node)
    cpdef sent(self, Py_ssize_t count)
    cpdef came(self, Py_ssize_t count, Pump pump)
    @cython.locals(line=bytes)
    cdef bint _glances(self, Pump pump, Py_ssize_t count) except -1
    cpdef show(self, bytes data)
    cdef bint _skips_interim(self, bytes data) except -1
    cdef _look_no_more(self)
