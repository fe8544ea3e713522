# C types for the compiled form of measures.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

from uwsgirouter.worker.record cimport Record
from uwsgirouter.worker.state cimport SessionState

ctypedef long long longlong

cdef Py_ssize_t _ROW_CELLS, _ROWS_USED, _KEY, _KEY_CELLS, _CONNECT, _FIRST_BYTE, _TOTAL
cdef Py_ssize_t _STATUS, _RX, _TX, _FAILED, _BOUNDS
cdef double _MICROSECONDS

cdef class KeyMeasures:
    cdef long long[::1] _cells, _connect, _latency
    cdef object _part
    cdef dict _places

    @cython.locals(key=bytes, place=Py_ssize_t, status=int)
    cpdef note(self, SessionState session, Record record)
    @cython.locals(time=longlong, bucket=Py_ssize_t)
    cdef _count(self, Py_ssize_t place, long long[::1] bounds, double seconds)
    cdef Py_ssize_t _failed(self, str cause) except -1
    cdef Py_ssize_t _place(self, bytes key) except -1
