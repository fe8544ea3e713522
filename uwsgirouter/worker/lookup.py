"""Look host names up for mappers, in threads, so that the loop never waits for a name server.

One idea: a name is asked for once at a time, however many requests wait for it, and in threads that nothing else uses:
a name server that is gone holds up those who need a name that nobody knows yet, and nobody else. What the answers are
kept for is not known here. Invariant: at most :data:`MOST` names are being looked up or wait for their turn.
"""

from __future__ import annotations

import socket
from typing import Any

import gevent
from gevent.monkey import get_original
from gevent.threadpool import ThreadPool

THREADS = 16
MOST = 1024
"""More names than that at once are made up by somebody; the requests for them fail at once."""


class Lookup:
    """Called with a name, it returns its numeric hosts. Threads start with the first call. Yields; raises OSError."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._under_way: dict[str, Any] = {}

    def __call__(self, host: str) -> list[str]:
        """The numeric addresses of ``host``."""
        asking = self._under_way.get(host)
        if asking is None:
            if len(self._under_way) >= MOST:
                raise OSError("too many names are being looked up")
            # In a greenlet of its own: whoever asks may be gone before the answer comes, and others wait for it too.
            asking = self._under_way[host] = gevent.spawn(self._ask, host)
        found: list[str] | str = asking.get()
        if isinstance(found, str):
            raise OSError(found)
        return found

    def _ask(self, host: str) -> list[str] | str:
        """The addresses, or why there are none."""
        if self._pool is None:
            self._pool = ThreadPool(THREADS)
        try:
            return self._pool.apply(_addresses, (host,))  # type: ignore[no-any-return]
        finally:
            del self._under_way[host]


def _addresses(host: str) -> list[str] | str:
    """In a thread. May block."""
    try:
        entries = get_original("socket", "getaddrinfo")(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return error.strerror or str(error)
    except UnicodeError as error:
        return f"no host name ({error})"
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))
