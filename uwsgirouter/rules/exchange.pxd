# C types for the compiled form of exchange.py; the Python source is the program (see uwsgirouter/compiled.py).

cdef class Exchange:
    cdef public object table, host, key, node, target, chosen, broken, cause, jump, log_request, patience, directory
    cdef public object chain, steps
    cdef public bytes packet, request_id
    cdef public dict subjects, logvars, collected
    cdef public int changes, depth, running
    cdef object _response, _uuid, _held
    cdef bytes _origin
    cdef dict _came, _known, _all

    cpdef let_go(self)
    cpdef bytes variable(self, bytes name)
    cpdef bytes subject(self, bytes name)
    cpdef set_variable(self, bytes name, bytes value)
    cdef dict _everything(self)
