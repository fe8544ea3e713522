"""Bytes as the peers of the router write them. Independent of the package under test, so that one can check
the other.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

Variables = list[tuple[bytes, bytes]]

SUBSCRIBE = 0
UNSUBSCRIBE = 1


def packet(variables: Variables, modifier1: int = 0, modifier2: int = 0, size: int | None = None) -> bytes:
    """A uwsgi packet; ``size`` lies about the block's length."""
    block = b"".join(
        struct.pack("<H", len(name)) + name + struct.pack("<H", len(value)) + value for name, value in variables
    )
    return struct.pack("<BHB", modifier1, len(block) if size is None else size, modifier2) + block


def unpack(block: bytes) -> Variables:
    """The variables of a block (without the header)."""
    strings = []
    position = 0
    while position < len(block):
        (size,) = struct.unpack_from("<H", block, position)
        strings.append(block[position + 2 : position + 2 + size])
        assert len(strings[-1]) == size, f"the block ends inside a string at {position}"
        position += 2 + size
    return list(zip(strings[::2], strings[1::2], strict=True))


def get(
    key: str | bytes = b"a.example", path: str = "/", method: str = "GET", extra: Variables | None = None
) -> Variables:
    """The variables of a request without a body, as nginx sends them."""
    return request(key, path, method, b"", extra)


def post(
    key: str | bytes = b"a.example", length: int = 0, path: str = "/", extra: Variables | None = None
) -> Variables:
    """The variables of a POST with ``length`` bytes of body."""
    return request(key, path, "POST", b"%d" % length, extra)


def request(key: str | bytes, path: str, method: str, length: bytes, extra: Variables | None) -> Variables:
    """All that nginx's uwsgi_params give."""
    host = key.encode() if isinstance(key, str) else key
    return [
        (b"QUERY_STRING", path.partition("?")[2].encode()),
        (b"REQUEST_METHOD", method.encode()),
        (b"CONTENT_TYPE", b""),
        (b"CONTENT_LENGTH", length),
        (b"REQUEST_URI", path.encode()),
        (b"PATH_INFO", path.partition("?")[0].encode()),
        (b"DOCUMENT_ROOT", b"/usr/share/nginx/html"),
        (b"SERVER_PROTOCOL", b"HTTP/1.1"),
        (b"REQUEST_SCHEME", b"http"),
        (b"REMOTE_ADDR", b"127.0.0.1"),
        (b"REMOTE_PORT", b"40000"),
        (b"SERVER_PORT", b"80"),
        (b"SERVER_NAME", b"localhost"),
        (b"HTTP_HOST", host),
        *(extra or []),
    ]


def announcement(
    key: str | bytes,
    address: str | bytes,
    command: int = SUBSCRIBE,
    extra: dict[str, str | bytes | int] | None = None,
) -> bytes:
    """A subscription datagram as uWSGI 2.0 sends it; ``extra`` adds or replaces variables."""
    fields: dict[str, str | bytes | int] = {"key": key, "address": address, "modifier1": 0, "modifier2": 0}
    fields |= {"cores": 1, "load": 0, "weight": 1} | (extra or {})
    return packet([(name.encode(), _bytes(value)) for name, value in fields.items()], 224, command)


def announce(
    server: str,
    key: str | bytes,
    address: str | bytes,
    command: int = SUBSCRIBE,
    extra: dict[str, str | bytes | int] | None = None,
) -> None:
    """Send one announcement."""
    send_datagram(server, announcement(key, address, command, extra))


def send_datagram(server: str, datagram: bytes) -> None:
    """One datagram to ``host:port``, ``[v6]:port``, ``/path`` or ``@name``."""
    family, sockaddr = where(server)
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.sendto(datagram, sockaddr)


def where(address: str) -> tuple[socket.AddressFamily, tuple[str, int] | bytes | str]:
    """What the socket calls take for an address as the options write it."""
    if address.startswith("@"):
        return socket.AF_UNIX, b"\0" + address[1:].encode() + b"\0"
    if address.startswith("/"):
        return socket.AF_UNIX, address
    host, _, port = address.rpartition(":")
    if host.startswith("["):
        return socket.AF_INET6, (host[1:-1], int(port))
    return socket.AF_INET, (host or "127.0.0.1", int(port))


def _bytes(value: str | bytes | int) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


class Reply(NamedTuple):
    """An HTTP response read to its end."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Reply:
        """Of the bytes of a whole response. AssertionError when they are none, or are cut."""
        head, end, body = raw.partition(b"\r\n\r\n")
        assert end, f"no whole response head: {raw[:300]!r}"
        first, *lines = head.decode("latin-1").split("\r\n")
        assert first.startswith("HTTP/1."), first
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        reply = cls(int(first.split()[1]), headers, body)
        length = reply.header("content-length")
        assert length is None or int(length) == len(body), f"{len(body)} of {length} bytes of body"
        return reply

    def header(self, name: str) -> str | None:
        """The first value of a header field, by lower-case name."""
        return next((value for found, value in self.headers if found == name), None)
