"""What a rule knows of another server that it asks (Redis, memcached, LDAP ...), and how an answer can fail to come.

One idea: an action declares the service once, when the table is built, and asks it through the host with a function
that gets a connection. How many connections there are, in which threads they live and for how long one waits is the
host's (worker/services.py). It must not know any protocol. Invariant: what ``call`` raises out of ``failures`` is
never seen by an action: it becomes :class:`ServiceDown`.

    @action("redis", waits=True)
    def redis(argument: bytes, place: Place) -> Act:
        service = Service("redis 127.0.0.1:6379", connect, close, (redis.RedisError, OSError))

        def act(exchange: Exchange, found: Found) -> Verdict:
            value = exchange.host.ask(service, lambda connection: connection.get(name))
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Generic, TypeVar

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.base import BadRule, Broken

C = TypeVar("C")


class ServiceDown(Broken):
    """The service gave no answer: refused, broken off, too slow, or all connections are busy.

    A rule that does not catch it ends the request with 502 (``service-failed``) or 503 (``service-busy``).
    """

    def __init__(self, message: str, cause: Cause = Cause.SERVICE_FAILED) -> None:
        super().__init__(message, cause)


@dataclass(frozen=True)
class Timing:
    """How patient one is. All in seconds, but ``most``: connections of one worker, at most."""

    connect: float
    answer: float
    most: int


@dataclass(frozen=True, eq=False)
class Service(Generic[C]):
    """One server, as the rules that name it share it (compared by identity).

    ``connect(timing)`` opens a connection, blocking for at most ``timing.connect`` seconds; what it returns must give
    up any operation after ``timing.answer`` seconds by itself. ``close(connection)`` ends it. ``failures`` are the
    exceptions that mean that the service did not answer. Whatever a call raises, the connection is closed, unless it
    is a RouterError, which is the action's own word about an answer.

    A call that fails at once on a connection that lay idle is made once more on a new one: servers close those. A call
    that must not be repeated is asked with ``once``.
    """

    name: str
    """For logs: ``redis 127.0.0.1:6379``. No passwords."""
    connect: Callable[[Timing], C]
    close: Callable[[C], object]
    failures: tuple[type[BaseException], ...]


def extra(module: str, name: str) -> ModuleType:
    """Import a library of an extra, at start. Raises :class:`BadRule` with the command that installs it."""
    try:
        with warnings.catch_warnings():
            # What a library should change in itself is nothing that the operator can do something about.
            warnings.simplefilter("ignore", DeprecationWarning)
            return import_module(module)
    except ImportError as error:
        missing: Any = getattr(error, "name", None) or module
        raise BadRule(f"it needs {missing}, which is not installed: pip install 'uwsgirouter[{name}]'") from None
