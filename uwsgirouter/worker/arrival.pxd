# C types for the compiled form of arrival.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

from uwsgirouter.worker.session cimport Session

cdef int _DONTWAIT, _REQUESTS
cdef object _PACKET, _BODY, _CONNECT

cdef class Arrival(Session):
    @cython.locals(end=Py_ssize_t, data=bytes)
    cpdef start(self)
    cdef _route(self, bytes data, Py_ssize_t end)
    cpdef admit(self, bytes key, long long length, bint upgrade)
    cpdef find(self)
