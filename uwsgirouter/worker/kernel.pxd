cimport cython

@cython.final
cdef class Stream:
    cdef int fd
    cdef readonly int family
    cpdef Py_ssize_t recv_into(self, object buffer, Py_ssize_t size, int flags) except -1
    cpdef bytes recv(self, Py_ssize_t size, int flags)
    cpdef Py_ssize_t send(self, object data, int flags) except -1
    cpdef int connect_ex(self, object address) except -1
    cpdef int fileno(self)
    cpdef close(self)

cpdef Stream accept(object listener, int family)
cpdef Stream dial(int family)
cpdef Py_ssize_t send_with(Stream stream, bytes data, int descriptor, int flags) except -1
