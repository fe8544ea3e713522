"""The descriptor in the control data of a recvmsg(2): one client's connection, or a reason why it is none.

One idea: whatever the other side passes, exactly one connected stream comes out, or everything is closed. It knows
neither the request nor who reads it. Invariant: no descriptor of the control data is open after :func:`claim` but the
one that it returns.
"""

from __future__ import annotations

import os
import socket
from _socket import socket as RawSocket
from array import array

__all__ = ["CONTROL", "UnusableDescriptor", "claim"]

CONTROL = socket.CMSG_SPACE(8 * array("i").itemsize)
"""Room for more descriptors than the one that is allowed, so that too many are noticed (the kernel closes the rest)."""
_FAMILIES = frozenset((socket.AF_INET, socket.AF_INET6, socket.AF_UNIX))


class UnusableDescriptor(Exception):
    """What came cannot be a client's connection."""


def claim(control: list[tuple[int, int, bytes]], truncated: bool) -> RawSocket | None:
    """The client's connection in the control data of a recvmsg; None when no descriptor came.

    Raises :class:`UnusableDescriptor`, after closing whatever came, when it is not one connected stream socket.
    """
    descriptors = array("i")
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    if not descriptors and not truncated:
        return None
    try:
        if truncated:
            raise UnusableDescriptor("more control data than is allowed (or than descriptors are free)")
        if len(descriptors) > 1:
            raise UnusableDescriptor(f"{len(descriptors)} descriptors")
        return _connected_stream(descriptors[0])
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _connected_stream(descriptor: int) -> RawSocket:
    """Takes the descriptor over, but only if it returns."""
    try:
        client = RawSocket(fileno=descriptor)
    except OSError as error:
        raise UnusableDescriptor(f"a descriptor that is no socket ({error.strerror})") from None
    try:
        if client.type != socket.SOCK_STREAM or client.family not in _FAMILIES:
            raise UnusableDescriptor("a socket that is no stream of bytes")
        if client.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise UnusableDescriptor("a socket that listens")
    except BaseException:
        client.detach()
        raise
    return client
