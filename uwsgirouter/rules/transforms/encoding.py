"""gzip and chunked: a body in another coding, as it comes.

One idea: each piece of a body goes out encoded at once (a synchronised piece of a gzip stream, one chunk), so what a
node streams stays a stream. Invariant: no body goes out in a coding that its head does not name.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from struct import pack

from uwsgirouter.rules.base import Found, Place, transformation
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.framing import is_chunked
from uwsgirouter.rules.stage import Stage
from uwsgirouter.rules.transform import Transform
from uwsgirouter.rules.writer import Writer

_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
_PARTIAL = 206


class GzipStream:
    """A gzip stream, byte for byte as uWSGI makes it of the same pieces."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
        self._crc = 0
        self._length = 0

    def feed(self, data: bytes) -> bytes:
        """What stands for ``data``, complete."""
        head = b"" if self._length else _GZIP_HEAD
        self._crc = zlib.crc32(data, self._crc)
        self._length += len(data)
        return head + self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        """The end of the stream."""
        return self._deflate.flush() + pack("<II", self._crc, self._length & 0xFFFFFFFF)


class Gzip(Transform):
    """Compresses, unless the body is compressed already or is a part of something."""

    def __init__(self) -> None:
        self._stream: GzipStream | None = None

    def begin(self, response: Writer) -> bool:
        headers = response.headers
        partial = response.status == _PARTIAL or headers.has(b"content-range")
        if response.stage is not Stage.PREPARED or headers.is_coded or partial:
            return False
        headers.remove(b"content-encoding")
        response.header(b"Content-Encoding", b"gzip")
        if not headers.has(b"content-encoding"):
            return False  # a delheader took it away
        _other_bytes(response)
        self._stream = GzipStream()
        return True

    def feed(self, data: bytes) -> bytes:
        return self._stream.feed(data) if self._stream is not None else data

    def end(self) -> bytes:
        return self._stream.end() if self._stream is not None else b""

    def abandon(self) -> None:
        self._stream = None


def _other_bytes(response: Writer) -> None:
    """What a head says of the bytes that the node sent is not true of those that go out."""
    headers = response.headers
    headers.remove(b"content-length")
    headers.remove(b"accept-ranges")
    etag = headers.value(b"etag")
    if etag is not None and not etag.startswith(b"W/"):
        headers.replace(b"ETag", b"W/" + etag)


class Chunks(Transform):
    """Chunks, for clients that know them."""

    def begin(self, response: Writer) -> bool:
        headers = response.headers
        old = response.exchange.variable(b"SERVER_PROTOCOL") in (b"", b"HTTP/1.0")
        if response.stage is not Stage.PREPARED or headers.has(b"transfer-encoding") or old:
            return False
        response.header(b"Transfer-Encoding", b"chunked")
        if not is_chunked(headers):
            return False  # a delheader took it away
        headers.remove(b"content-length")
        return True

    def feed(self, data: bytes) -> bytes:
        return b"%X\r\n%b\r\n" % (len(data), data)

    def end(self) -> bytes:
        return b"0\r\n\r\n"


@transformation("gzip")
def gzip(argument: bytes, place: Place) -> Callable[[Exchange, Found], Transform]:
    """Compress the body."""
    return lambda exchange, found: Gzip()


@transformation("chunked")
def chunked(argument: bytes, place: Place) -> Callable[[Exchange, Found], Transform]:
    """Send the body in chunks."""
    place.variable(b"SERVER_PROTOCOL")
    return lambda exchange, found: Chunks()
