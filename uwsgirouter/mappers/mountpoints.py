"""Keys with a path: ``foo.com/one/two`` is the key of what is mounted at /one/two of foo.com.

One idea: the request's whole key is its host and the first levels of its path, and the nodes are those of the longest
part of it that somebody announced. uWSGI 2.1 knows keys with exactly as many levels as it was told to, or none; here
each number of levels up to that can be announced. Pure: bytes in, bytes out; nothing is decoded, so a path need not be
text.

Invariant: a key is at most :data:`KEY_MAX` bytes, and what is done for a request is bounded, whatever its path is.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from uwsgirouter.protocol.packet import KEY_MAX

PATH_MAX = 4096
"""Bytes of a path that are looked at."""
COMPONENTS_MAX = 64
"""Parts of a path that are looked at: what ``..`` takes back stands within them, or is not taken back."""


def with_path(key: bytes, path: bytes, levels: int) -> bytes:
    """``key`` with the first ``levels`` components of ``path`` (PATH_INFO) behind it, as many as have room.

    Empty components and ``.`` are none, and ``..`` takes the one before it back, as web servers do it. Most of them
    have done so already. Letters stay as they are.
    """
    for component in _components(path, levels):
        if len(key) + 1 + len(component) > KEY_MAX:
            break
        key += b"/" + component
    return key


def path_of(path_info: bytes, request_uri: bytes) -> bytes:
    """The path of a request: PATH_INFO, or what REQUEST_URI says of it when there is none."""
    return path_info or unquote_to_bytes(request_uri.partition(b"?")[0])


def prefixes(key: bytes, levels: int) -> Iterator[bytes]:
    """``key``, what is left of it without its last component, its last two ..., at last what stands before the path.

    Never more than ``levels + 2`` of them: a key that has slashes of its own has no more than that either.
    """
    yield key
    for _ in range(levels):
        head, slash, _ = key.rpartition(b"/")
        if not slash:
            return
        key = head
        yield key
    host, slash, _ = key.partition(b"/")
    if slash:
        yield host


def split_host(key: bytes) -> tuple[bytes, bytes]:
    """What stands before the path of a key, and the path with its slash."""
    host, slash, path = key.partition(b"/")
    return host, slash + path


def _components(path: bytes, levels: int) -> list[bytes]:
    if len(path) > PATH_MAX:
        path = path[:PATH_MAX].rpartition(b"/")[0]
    if b"//" not in path and b"/." not in path and path.startswith(b"/"):
        return list(filter(None, path.split(b"/", levels + 1)[1 : levels + 1]))
    found: list[bytes] = []
    for part in path.split(b"/", COMPONENTS_MAX)[:COMPONENTS_MAX]:
        if part == b"..":
            del found[-1:]
        elif part not in (b"", b"."):
            found.append(part)
    return found[:levels]
