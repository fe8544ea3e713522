# C types for the compiled form of intake.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

from uwsgirouter.rules.head cimport Head, HeadReader
from uwsgirouter.rules.writer cimport Writer

cdef object _ENDED, _UNCOUNTED
cdef int _SWITCHING

cdef class Intake:
    cdef Writer _response
    cdef HeadReader _reader
    cdef object _framing, _measure
    cdef readonly bint transparent

    @cython.locals(response=Writer)
    cpdef feed(self, bytes data)
    @cython.locals(response=Writer, head=Head)
    cdef bytes _feed_head(self, bytes data)
    @cython.locals(response=Writer, chunked=bint, changes=bint)
    cdef _take_framing(self, Head head)
