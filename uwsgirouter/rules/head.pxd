# C types for the compiled form of head.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

cdef bytes _CRLF
cdef int _CR, _LF, _SPACE, _TAB
cdef Py_ssize_t _KNOWN_MOST, _KNOWN_SIZE
cdef dict _KNOWN

cdef class Headers:
    cdef bytes _block
    cdef list _lines

    cdef list _apart(self)
    cdef _add(self, bytes line)
    cpdef take_over(self, Headers other)
    cpdef value(self, bytes name)
    cpdef bytes encode(self)

cdef class Head:
    cdef readonly bytes line
    cdef readonly int status
    cdef readonly Headers headers

cdef class HeadReader:
    cdef bytearray _held
    cdef public bytes interim, rest

    @cython.locals(head=Head)
    cpdef feed(self, bytes data)
    @cython.locals(begin=Py_ssize_t, seen=Py_ssize_t, end=Py_ssize_t, after=Py_ssize_t, head=Head)
    cdef _feed_odd(self, bytes data)

@cython.locals(end=Py_ssize_t, bare=Py_ssize_t)
cdef Py_ssize_t _end_of(held, Py_ssize_t begin) except -2
cpdef Head parse(bytes block)
@cython.locals(line=bytes, rest=bytes, status=int)
cdef Head _parsed(bytes block, bint plain)
cdef bint _is_final(int status) except -1
