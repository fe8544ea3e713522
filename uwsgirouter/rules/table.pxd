# C types for the compiled form of table.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

from uwsgirouter.rules.exchange cimport Exchange

cdef object _FINAL, _NEXT, _CONTINUE, _BREAK, _GOTO
cdef list _NO_TEXTS

cdef class Step:
    cdef public object rule, act, search, test
    cdef public int subject, status
    cdef public bint negated

cdef class Chain:
    cdef public object name, labels
    cdef public int bit
    cdef public tuple steps
    cdef public bint waits

cdef class Table:
    cdef tuple _chains
    cdef public object wanted, headers, limits, scripts, notices
    cdef public bint answers, transforms_wait

    @cython.locals(chain=Chain)
    cpdef run(self, name, Exchange exchange)
    @cython.locals(step=Step, position=Py_ssize_t, count=Py_ssize_t, target=Py_ssize_t, changes=int, texts=list, steps=tuple)
    cdef _walk(self, Chain chain, Exchange exchange)
