"""Free ports, and whether an address is listened on, without a connection that a server would have to serve.

The kernel's tables are read, so that a test's own probe is never a session of the router under test.
"""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

_TCP_LISTEN = 10
_SOCK_DIAG_BY_FAMILY = 20
_NETLINK_SOCK_DIAG = 4
_REQUEST_DUMP = 0x301
_UNIX_ACCEPTING = 0x10000

FIRST, LAST = 10_000, 32_000
"""Below the ports that the kernel gives to outgoing connections (from 32768 on): none of those is ever in the way."""
SHARES = 8
"""Test processes beside each other (pytest-xdist), each with its own part of the ports."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has and that this run has not been given before."""
    return _free(socket.SOCK_STREAM)


def free_udp_port() -> int:
    """A UDP port, likewise."""
    return _free(socket.SOCK_DGRAM)


def _free(kind: socket.SocketKind) -> int:
    for port in _ports:
        if _is_free(socket.AF_INET, kind, "127.0.0.1", port) and _is_free(socket.AF_INET6, kind, "::1", port):
            return port
    raise AssertionError("no port is left for this run")


def _share() -> Iterator[int]:
    """The ports of this process, from a random one on: another run may go on beside this one."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % SHARES
    size = (LAST - FIRST) // SHARES
    begin = random.randrange(size)
    return (FIRST + number * size + (begin + step) % size for step in range(size))


_ports = _share()


def _is_free(family: socket.AddressFamily, kind: socket.SocketKind, host: str, port: int) -> bool:
    with socket.socket(family, kind) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def local(port: int | None = None) -> str:
    """``127.0.0.1:port``, a free port unless one is given."""
    return f"127.0.0.1:{free_port() if port is None else port}"


def is_listening(address: str) -> bool:
    """Somebody listens on the TCP port or unix socket."""
    if _is_unix(address):
        return any(flags & _UNIX_ACCEPTING for flags in _unix_flags(address))
    port = _port(address)
    return any(port in _listening(family) for family in (socket.AF_INET, socket.AF_INET6))


def is_bound_udp(address: str) -> bool:
    """Somebody has bound the UDP port or unix datagram socket."""
    if _is_unix(address):
        return bool(_unix_flags(address))
    port = f":{_port(address):04X}"
    lines = Path("/proc/net/udp").read_text() + Path("/proc/net/udp6").read_text()
    return any(line.split()[1].endswith(port) for line in lines.splitlines() if "local" not in line)


def _is_unix(address: str) -> bool:
    return ":" not in address or address.startswith(("/", "@"))


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _listening(family: socket.AddressFamily) -> set[int]:
    """The TCP ports that are listened on, by sock_diag(7).

    /proc/net/tcp is slow to read after a load test, when tens of thousands of connections are in TIME_WAIT.
    """
    asked = struct.pack("=BBBBI48x", family, socket.IPPROTO_TCP, 0, 0, 1 << _TCP_LISTEN)
    message = struct.pack("=IHHII", 16 + len(asked), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + asked
    ports = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(5)
        netlink.send(message)
        while True:
            answer = netlink.recv(1 << 20)
            while answer:
                size, kind = struct.unpack_from("=IH", answer)
                if kind != _SOCK_DIAG_BY_FAMILY:
                    return ports  # the end of the list
                ports.add(int(struct.unpack_from(">H", answer, 16 + 4)[0]))
                answer = answer[(size + 3) & ~3 :]


def _unix_flags(address: str) -> list[int]:
    """The flags of every unix socket bound to the address."""
    # An abstract name's trailing NUL is shown as @.
    lines = Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:]
    rows = (line.split(maxsplit=7) for line in lines)
    return [int(fields[3], 16) for fields in rows if fields[7:] in ([address], [address + "@"])]
