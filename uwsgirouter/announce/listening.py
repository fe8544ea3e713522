"""The sockets that a server listens on: the address to announce, and whether connections still wait there.

One idea: the kernel knows better than the configuration what was bound. It must not know whose sockets they are.
"""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from typing import Protocol

from uwsgirouter.errors import ConfigError


class Listener(Protocol):
    """What a socket can do, or an object around one."""

    def getsockname(self) -> object: ...

    def fileno(self) -> int: ...


def address_of(bound: object) -> str:
    """How a router reaches what is bound to ``bound`` (a getsockname's result, or gunicorn's own form).

    Every interface: ``:port``, which the router takes for the machine that the announcement comes from. Raises
    :class:`ConfigError` for a socket that cannot be told.
    """
    if isinstance(bound, (tuple, list)) and len(bound) >= 2:
        host, port = str(bound[0]), int(bound[1])
        if host in ("", "0.0.0.0"):
            return f":{port}"
        return f"[{host.partition('%')[0]}]:{port}" if ":" in host else f"{host}:{port}"
    name = os.fsdecode(bound) if isinstance(bound, (str, bytes)) else ""
    if name.startswith("\0"):
        if not name.endswith("\0"):
            raise ConfigError(
                f"the abstract socket @{name[1:]}: a router reaches those alone that uWSGI binds, with a NUL"
            )
        return f"@{name[1:-1]}"
    if not name:
        raise ConfigError("the server's socket has no address")
    return os.path.abspath(name)


def are_waiting(listeners: Sequence[Listener]) -> bool:
    """Whether a connection waits to be accepted at one of them. Does not wait."""
    poll = select.poll()
    for listener in listeners:
        try:
            poll.register(listener.fileno(), select.POLLIN)
        except (OSError, ValueError):
            continue  # closed
    return any(event & select.POLLIN for _, event in poll.poll(0))
