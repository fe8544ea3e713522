# C types for the compiled form of listener.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

from uwsgirouter.worker.common cimport Common
from uwsgirouter.worker.arrival cimport Arrival

cdef class Listener:
    cdef object _sock, _say, _watcher, _resume
    cdef Common _router
    cdef int _family, _most, _burst

    @cython.locals(tries=int)
    cpdef _on_ready(self)
    @cython.locals(session=Arrival)
    cpdef bint _accept_one(self) except -1
