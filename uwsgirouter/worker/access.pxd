# C types for the compiled form of access.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

from uwsgirouter.worker.record cimport Record
from uwsgirouter.worker.state cimport SessionState

cdef bytes _DASH, _NULL, _CUT, _HEXADECIMAL, _SPECIAL
cdef int _QUOTE, _BACKSLASH

cdef class Choice:
    cdef public bint all, client_errors, server_errors, zero
    cdef public double slow
    cdef public long long big

cdef class AccessLog:
    cdef Choice _choice
    cdef object _take, _begun, _date, _metrics, _address
    cdef bytes _name
    cdef set _fields
    cdef dict _nodes
    cdef long long _wid, _pid, _second, _vsz, _rss
    cdef bint _is_json
    cdef bytes _steps, _texts, _sizes, _heads, _nexts
    cdef bytes _numbers
    cdef list _operands, _names, _stamps
    cdef bytearray _found, _out
    cdef Py_ssize_t _count, _room, _at, _end, _full, _most
    cdef int _length
    cdef double _offset
    cdef public long long lost

    cpdef flush(self)
    cdef _begin(self)
    cdef bint _is_chosen(self, Record record) except -1
    @cython.locals(index=Py_ssize_t, step=int, steps="const unsigned char *", texts="const unsigned char *",
                   sizes="const unsigned char *", out="unsigned char *", at=Py_ssize_t, stop=Py_ssize_t,
                   place=Py_ssize_t)
    cdef _line(self, SessionState session, Record record)
    @cython.locals(view="const unsigned char *", heads="const unsigned char *", nexts="const unsigned char *",
                   found="unsigned char *", letters="const unsigned char *", wanted=bytes, index=Py_ssize_t,
                   position=Py_ssize_t, end=Py_ssize_t, name=Py_ssize_t, at=Py_ssize_t, start=Py_ssize_t,
                   size=Py_ssize_t, number=int, room=Py_ssize_t)
    cdef _search(self, bytes packet)
    @cython.locals(found="const unsigned char *", index=Py_ssize_t, start=Py_ssize_t)
    cdef _variable(self, bytes packet, int number)
    cdef _text_field(self, SessionState session, Record record, int field)
    cdef bytes _name_of(self, node)
    cdef _number_field(self, SessionState session, Record record, int field)
    @cython.locals(began=double)
    cdef _decimal_field(self, Record record, int field)
    cdef long long _head_size(self, Record record) except -1
    cdef long long _body_size(self, Record record) except -1
    @cython.locals(digits=bytes, start=Py_ssize_t, size=Py_ssize_t, index=Py_ssize_t)
    cdef long long _announced(self, bytes packet) except -1
    @cython.locals(view="const unsigned char *", count="long long", position=Py_ssize_t, end=Py_ssize_t)
    cdef long long _variables(self, bytes packet) except -1
    @cython.locals(wall=double, second="long long")
    cdef _stamp(self, Record record, int field)
    @cython.locals(out="unsigned char *", view="const unsigned char *", at=Py_ssize_t, index=Py_ssize_t, size=Py_ssize_t)
    cdef _raw(self, bytes data)
    cdef _nothing(self)
    cdef _own(self, bytes data)
    cdef _value(self, bytes data)
    @cython.locals(out="unsigned char *", view="const unsigned char *", special="const unsigned char *", at=Py_ssize_t,
                   most=Py_ssize_t, end=Py_ssize_t, index=Py_ssize_t, begin=Py_ssize_t, byte="unsigned char",
                   size=Py_ssize_t, odd="unsigned char")
    cdef _part(self, bytes data, Py_ssize_t start, Py_ssize_t stop)
    @cython.locals(out="unsigned char *", digits="const unsigned char *", at=Py_ssize_t)
    cdef _escape(self, int byte)
    cdef Py_ssize_t _foreign(self, bytes data) except -1
    @cython.locals(out="unsigned char *", at=Py_ssize_t, size=Py_ssize_t, index=Py_ssize_t, limit="unsigned long long",
                   digits="unsigned long long")
    cdef _whole(self, long long value)
    cdef _between(self, double begin, double end)
    @cython.locals(micros="unsigned long long", at=Py_ssize_t, out="unsigned char *", rest=int)
    cdef _fraction(self, double seconds, long long unit)
