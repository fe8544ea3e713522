# C types for the compiled form of writer.py; the Python source is the program (see uwsgirouter/compiled.py).

from uwsgirouter.rules.head cimport Headers

cdef object _NOTHING, _PREPARED, _SENT, _RAW, _ENDED, _ERROR, _RESPONSE, _BREAK

cdef class Writer:
    cdef public object exchange, stage
    cdef public int status
    cdef public Headers headers
    cdef public long long body_size
    cdef public bytes own_line, sent_head
    cdef bytes _line
    cdef list _added, _out
    cdef object _removed, _pipeline
    cdef int _prepared
    cdef bint _opened, _deaf

    cpdef bint prepare(self, status) except -1
    cpdef add_header(self, line)
    cpdef write(self, data)
    cpdef complete(self)
    cpdef drop_transforms(self)
    cpdef flush_head(self)
    cdef bint _prepare(self, int status, bytes line) except -1
    cdef bint _open(self) except -1
    cdef object _now(self)
    cdef _end_chain(self, int before)
    cdef bint _keeps(self, name, value) except -1
    cdef _put(self, data)

cpdef check_header(text)
