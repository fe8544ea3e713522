# cython: language_level=3
"""The compiled form of streams.py: a stream socket that is a descriptor and the system calls on it.

One idea: the same few methods as a socket object, without what the data path does not need of one: no name look-ups,
no address objects, no lock hand-over around calls that never wait. A descriptor is always non-blocking here.
Invariant: it is closed exactly once, by :meth:`Stream.close` or with the object.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EAGAIN, EINTR, ENAMETOOLONG, errno
from libc.string cimport memcpy, memset
from posix.unistd cimport close as c_close

import os
from _socket import socket as RawSocket

cdef extern from "sys/socket.h" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        pass
    enum:
        AF_INET
        AF_INET6
        AF_UNIX
        SOCK_STREAM
        SOCK_NONBLOCK
        SOCK_CLOEXEC
    int c_socket "socket" (int domain, int kind, int protocol)
    int accept4(int fd, sockaddr *address, socklen_t *length, int flags)
    int c_connect "connect" (int fd, const sockaddr *address, socklen_t length)
    Py_ssize_t c_recv "recv" (int fd, void *buffer, size_t size, int flags)
    Py_ssize_t c_send "send" (int fd, const void *buffer, size_t size, int flags)
    int c_shutdown "shutdown" (int fd, int how)
    int c_getsockopt "getsockopt" (int fd, int level, int option, void *value, socklen_t *length)
    int c_setsockopt "setsockopt" (int fd, int level, int option, const void *value, socklen_t length)
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    enum:
        SOL_SOCKET
        SCM_RIGHTS
    Py_ssize_t c_sendmsg "sendmsg" (int fd, const msghdr *message, int flags)
    cmsghdr *CMSG_FIRSTHDR(msghdr *message)
    unsigned char *CMSG_DATA(cmsghdr *header)
    size_t CMSG_LEN(size_t length)
    size_t CMSG_SPACE(size_t length)

cdef extern from "netinet/in.h" nogil:
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        unsigned short sin_family
        unsigned short sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        unsigned short sin6_family
        unsigned short sin6_port
        in6_addr sin6_addr

cdef extern from "arpa/inet.h" nogil:
    int inet_pton(int family, const char *text, void *address)
    unsigned short htons(unsigned short port)

cdef extern from "sys/un.h" nogil:
    struct sockaddr_un:
        unsigned short sun_family
        char sun_path[108]

cdef int NEW = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC


cdef int connect_to(int fd, const sockaddr *address, socklen_t length):
    if c_connect(fd, address, length) == 0:
        return 0
    return errno


cdef int connect_unix(int fd, object address) except -1:
    """A path (str) or an abstract name (bytes, its leading NUL included)."""
    cdef sockaddr_un target
    cdef bytes name = os.fsencode(address) + b"\0" if isinstance(address, str) else address
    cdef Py_ssize_t size = len(name)
    if size > <Py_ssize_t>sizeof(target.sun_path):
        raise OSError(ENAMETOOLONG, "the name of a unix socket is too long")
    memset(&target, 0, sizeof(target))
    target.sun_family = AF_UNIX
    memcpy(target.sun_path, <const char *>name, size)
    return connect_to(fd, <sockaddr *>&target, <socklen_t>(sizeof(target) - sizeof(target.sun_path) + size))


@cython.final
@cython.freelist(64)
cdef class Stream:
    """One end of a connection: the methods of a socket object that the relay uses."""

    def __cinit__(self):
        self.fd = -1

    def __dealloc__(self):
        if self.fd >= 0:
            c_close(self.fd)

    cpdef Py_ssize_t recv_into(self, object buffer, Py_ssize_t size, int flags) except -1:
        """Bytes read into ``buffer``, at most ``size``; 0 at the end. Raises OSError."""
        cdef Py_buffer view
        cdef Py_ssize_t count
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        if size > view.len:
            size = view.len
        while True:
            count = c_recv(self.fd, view.buf, size, flags)
            if count >= 0 or errno != EINTR:
                break
        PyBuffer_Release(&view)
        if count < 0:
            PyErr_SetFromErrno(OSError)
        return count

    cpdef bytes recv(self, Py_ssize_t size, int flags):
        """Bytes read, at most ``size`` and 64 KB; none at the end. Raises OSError."""
        cdef char buffer[65536]
        cdef Py_ssize_t count
        if size > <Py_ssize_t>sizeof(buffer):
            size = sizeof(buffer)
        while True:
            count = c_recv(self.fd, buffer, size, flags)
            if count >= 0 or errno != EINTR:
                break
        if count < 0:
            PyErr_SetFromErrno(OSError)
        return buffer[:count]

    cpdef Py_ssize_t send(self, object data, int flags) except -1:
        """Bytes of ``data`` that were taken. Raises OSError."""
        cdef Py_buffer view
        cdef Py_ssize_t count
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        while True:
            count = c_send(self.fd, view.buf, view.len, flags)
            if count >= 0 or errno != EINTR:
                break
        PyBuffer_Release(&view)
        if count < 0:
            PyErr_SetFromErrno(OSError)
        return count

    cpdef int connect_ex(self, object address) except -1:
        """0 or the error's number. An address is as for a socket object of this family."""
        cdef sockaddr_in v4
        cdef sockaddr_in6 v6
        cdef bytes host
        if self.family == AF_UNIX:
            return connect_unix(self.fd, address)
        host = (<str>address[0]).encode("ascii")
        if self.family == AF_INET:
            memset(&v4, 0, sizeof(v4))
            v4.sin_family = AF_INET
            v4.sin_port = htons(address[1])
            if inet_pton(AF_INET, host, &v4.sin_addr) == 1:
                return connect_to(self.fd, <sockaddr *>&v4, sizeof(v4))
        elif self.family == AF_INET6:
            memset(&v6, 0, sizeof(v6))
            v6.sin6_family = AF_INET6
            v6.sin6_port = htons(address[1])
            if inet_pton(AF_INET6, host, &v6.sin6_addr) == 1:
                return connect_to(self.fd, <sockaddr *>&v6, sizeof(v6))
        # What needs more than digits (an interface's name in an IPv6 address) is the standard library's to read.
        sock = RawSocket(self.family, SOCK_STREAM, 0, self.fd)
        try:
            return sock.connect_ex(address)
        finally:
            sock.detach()

    def shutdown(self, int how):
        """End one direction. Raises OSError."""
        if c_shutdown(self.fd, how) < 0:
            PyErr_SetFromErrno(OSError)

    def getsockopt(self, int level, int option):
        """A number. Raises OSError."""
        cdef int value = 0
        cdef socklen_t length = sizeof(value)
        if c_getsockopt(self.fd, level, option, &value, &length) < 0:
            PyErr_SetFromErrno(OSError)
        return value

    def setsockopt(self, int level, int option, value):
        """``value`` is a number or bytes. Raises OSError."""
        cdef int number
        cdef bytes data
        cdef int failed
        if isinstance(value, bytes):
            data = value
            failed = c_setsockopt(self.fd, level, option, <const char *>data, <socklen_t>len(data))
        else:
            number = value
            failed = c_setsockopt(self.fd, level, option, &number, sizeof(number))
        if failed < 0:
            PyErr_SetFromErrno(OSError)

    def setblocking(self, flag):
        """It never blocks; asking for that is all that is allowed."""
        if flag:
            raise ValueError("a stream does not block")

    cpdef int fileno(self):
        """The descriptor, -1 when closed."""
        return self.fd

    cpdef close(self):
        """Give the descriptor back; a second time does nothing."""
        cdef int fd = self.fd
        if fd >= 0:
            self.fd = -1
            c_close(fd)


cpdef Stream accept(object listener, int family):
    """The next connection of ``listener``, None when none waits. Raises OSError."""
    cdef int fd
    cdef Stream stream
    while True:
        fd = accept4(listener.fileno(), NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0:
            break
        if errno == EAGAIN:
            return None
        if errno != EINTR:
            PyErr_SetFromErrno(OSError)
    stream = Stream.__new__(Stream)
    stream.fd = fd
    stream.family = family
    return stream


cpdef Stream dial(int family):
    """A new stream that is not connected. Raises OSError."""
    cdef int fd = c_socket(family, NEW, 0)
    cdef Stream stream
    if fd < 0:
        PyErr_SetFromErrno(OSError)
    stream = Stream.__new__(Stream)
    stream.fd = fd
    stream.family = family
    return stream


cpdef Py_ssize_t send_with(Stream stream, bytes data, int descriptor, int flags) except -1:
    """Send on a unix stream, a descriptor along with the first byte; the bytes taken. Raises OSError."""
    cdef char control[64]
    cdef iovec piece
    cdef msghdr message
    cdef cmsghdr *header
    cdef Py_ssize_t count
    memset(&message, 0, sizeof(message))
    memset(control, 0, sizeof(control))
    piece.iov_base = <void *><const char *>data
    piece.iov_len = len(data)
    message.msg_iov = &piece
    message.msg_iovlen = 1
    message.msg_control = control
    message.msg_controllen = CMSG_SPACE(sizeof(int))
    header = CMSG_FIRSTHDR(&message)
    header.cmsg_level = SOL_SOCKET
    header.cmsg_type = SCM_RIGHTS
    header.cmsg_len = CMSG_LEN(sizeof(int))
    memcpy(CMSG_DATA(header), &descriptor, sizeof(int))
    while True:
        count = c_sendmsg(stream.fd, &message, flags)
        if count >= 0 or errno != EINTR:
            break
    if count < 0:
        PyErr_SetFromErrno(OSError)
    return count
