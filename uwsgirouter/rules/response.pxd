# C types for the compiled form of response.py; the Python source is the program (see uwsgirouter/compiled.py).

from uwsgirouter.rules.head cimport Head
from uwsgirouter.rules.writer cimport Writer

cdef object _NOTHING, _PREPARED, _SENT, _RAW, _ENDED, _FINAL

cdef class Response(Writer):
    cdef public object failure, detail
    cdef public bint cut
    cdef object _intake
    cdef bint _finished

    cpdef reset(self)
    cpdef feed(self, bytes data)
    cpdef feed_end(self)
    cpdef finish(self)
    cpdef list take(self)
    cpdef bint answer(self, Head head) except -1
    cdef bytes _line_of(self, Head head)
