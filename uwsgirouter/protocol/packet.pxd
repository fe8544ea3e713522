# C types for the compiled form of packet.py; the Python source is the program (see uwsgirouter/compiled.py).

cimport cython

cdef dict _WANTED
cdef bytes _INITIALS
cdef object _HOST, _SERVER, _KEY, _LENGTH, _UPGRADE

@cython.locals(position=Py_ssize_t, name=Py_ssize_t, at=Py_ssize_t, start=Py_ssize_t, size=Py_ssize_t,
               wanted=dict, initials=bytes, value=bytes, host=bytes, name_of_server=bytes, override=bytes)
cpdef tuple scan(bytes data, Py_ssize_t end)
