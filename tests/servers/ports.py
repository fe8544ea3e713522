"""Free ports, and whether an address is listened on, without a connection that a server would have to serve.

The kernel's tables are read, so that a test's own probe is never a session of the router under test.
"""

from __future__ import annotations

import socket
from pathlib import Path

_TCP_LISTEN = "0A"
_UNIX_ACCEPTING = 0x10000
_given: set[int] = set()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has and that this run has not been given before."""
    return _free(socket.SOCK_STREAM)


def free_udp_port() -> int:
    """A UDP port, likewise."""
    return _free(socket.SOCK_DGRAM)


def _free(kind: socket.SocketKind) -> int:
    while True:
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


def local(port: int | None = None) -> str:
    """``127.0.0.1:port``, a free port unless one is given."""
    return f"127.0.0.1:{free_port() if port is None else port}"


def is_listening(address: str) -> bool:
    """Somebody listens on the TCP port or unix socket."""
    if ":" not in address or address.startswith(("/", "@")):
        return _unix_flags(address) & _UNIX_ACCEPTING != 0
    port = _port(address)
    return any(fields[3] == _TCP_LISTEN for fields in _rows("tcp", port))


def is_bound_udp(address: str) -> bool:
    """Somebody has bound the UDP port or unix datagram socket."""
    if ":" not in address or address.startswith(("/", "@")):
        return _unix_flags(address) >= 0
    return bool(_rows("udp", _port(address)))


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _rows(protocol: str, port: int) -> list[list[str]]:
    found = []
    for table in (protocol, protocol + "6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port:
                found.append(fields)
    return found


def _unix_flags(address: str) -> int:
    """The socket's flags, -1 when there is no such socket."""
    flags = -1
    for line in Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:]:
        fields = line.split(maxsplit=7)
        # An abstract name's trailing NUL is shown as @.
        if len(fields) == 8 and fields[7] in (address, address + "@"):
            flags = max(flags, int(fields[3], 16))
    return flags
