"""memcached: answer with an item of a memcached server, and keep bodies there.

One idea: what a rule makes of an item is rules/stored.py; here is how the server is asked, by pymemcache, which is
imported when a rule names one of these. Observed on uWSGI 2.0.30: an item's flags mean nothing, an empty item is a
miss. Keys go out checked, so no request writes a command of its own.
"""

from __future__ import annotations

import re
import socket
import time
from functools import lru_cache
from typing import Any

from uwsgirouter.rules.base import Broken, Verdict, action, transformation
from uwsgirouter.rules.service import Service, Timing, extra
from uwsgirouter.rules.stored import NONSENSE, Items, Store, answering, keeping
from uwsgirouter.settings.address import Address, parse_peer

_KEY = re.compile(rb"[^\x00-\x20\x7f]{1,250}")
_RELATIVE_MOST = 30 * 24 * 3600
"""Seconds; memcached takes a larger number for a time since 1970."""
_LATEST = (1 << 31) - 1


@lru_cache(maxsize=1)
def _load() -> tuple[Any, Any]:
    """The library's clients, and its errors."""
    extra("pymemcache", "memcached")
    return extra("pymemcache.client.base", "memcached"), extra("pymemcache.exceptions", "memcached")


@lru_cache(maxsize=256)
def _reach(text: str) -> Service[Items]:
    base, exceptions = _load()
    address = parse_peer(text)
    return Service(
        f"memcached {text}",
        lambda timing: Memcached(base, exceptions, address, timing),
        lambda items: items.close(),
        (exceptions.MemcacheError, OSError, *NONSENSE),
    )


class Memcached:
    """One connection. The libraries are given, so that nothing is imported in a thread."""

    def __init__(self, base: Any, exceptions: Any, address: Address, timing: Timing) -> None:
        self._exceptions = exceptions
        self._client = base.Client(
            address.host if address.is_unix else (address.host, address.port),
            connect_timeout=timing.connect,
            timeout=timing.answer,
            no_delay=True,
            default_noreply=False,
        )
        # The library itself would try the first address of a name alone: localhost often is ::1 first.
        self._client.sock = _dial(address, timing)

    def get(self, key: bytes) -> bytes | None:
        """An item's value."""
        value: bytes | None = self._client.get(key)
        return value

    def put(self, key: bytes, value: bytes, expires: int) -> None:
        """Set an item. Raises Broken when the server will not have it."""
        if expires > _RELATIVE_MOST:
            expires = min(int(time.time()) + expires, _LATEST)
        try:
            self._client.set(key, value, expire=expires)
        except self._exceptions.MemcacheUnexpectedCloseError:
            raise
        except self._exceptions.MemcacheServerError as error:
            text = error.args[0] if error.args else b""
            raise Broken(text.decode("latin-1") if isinstance(text, bytes) else str(text)) from None

    def close(self) -> None:
        """Close it."""
        self._client.close()


def _dial(address: Address, timing: Timing) -> socket.socket:
    if address.is_unix:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timing.connect)
            sock.connect(address.sockaddr)
        except OSError:
            sock.close()
            raise
    else:
        sock = socket.create_connection((address.host, address.port), timing.connect)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(timing.answer)
    return sock


def _is_key(key: bytes) -> bool:
    return _KEY.fullmatch(key) is not None


STORE = Store("memcached", _load, _reach, _is_key)

action("memcached", waits=True)(answering(STORE, Verdict.BREAK, forgives=False))
action("memcached-continue", waits=True)(answering(STORE, Verdict.NEXT, forgives=True))
transformation("memcachedstore", "memcached-store")(keeping(STORE, "memcachedstore"))
