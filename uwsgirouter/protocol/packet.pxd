# C types for the compiled form of packet.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

cdef tuple _NAMES, _BYTES
cdef bytes _INITIALS
cdef int _HOST, _SERVER, _UPGRADE, _LENGTH, _KEY

@cython.locals(position=Py_ssize_t, name=Py_ssize_t, at=Py_ssize_t, start=Py_ssize_t, stop=Py_ssize_t, size=Py_ssize_t,
               index=Py_ssize_t, host=Py_ssize_t, host_end=Py_ssize_t, server=Py_ssize_t, server_end=Py_ssize_t,
               key=Py_ssize_t, key_end=Py_ssize_t, view="const unsigned char *", initials="const unsigned char *",
               wanted="const unsigned char *", upgrade=bint)
cpdef tuple scan(bytes data, Py_ssize_t end)

@cython.locals(position=Py_ssize_t, start=Py_ssize_t, at=Py_ssize_t, size=Py_ssize_t, view="const unsigned char *")
cpdef bytes value_of(bytes data, Py_ssize_t end, bytes name)

@cython.locals(position=Py_ssize_t, end=Py_ssize_t, start=Py_ssize_t, at=Py_ssize_t, view="const unsigned char *",
               found=dict, name=bytes)
cpdef dict values_of(bytes packet, object names)

@cython.locals(size=Py_ssize_t, whole=Py_ssize_t, view="const unsigned char *")
cpdef bytes with_appended(bytes data, Py_ssize_t end, bytes encoded)

cpdef bytes with_variable(bytes packet, bytes name, bytes value)
