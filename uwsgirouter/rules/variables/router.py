"""Variables that no request brings: time, httptime, uwsgi and metric.

Invariant: an unknown word between the brackets is told at start, and is empty (``metric``: 0) as in uWSGI.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate

from uwsgirouter.rules.arguments import number
from uwsgirouter.rules.base import Place, Value, variable
from uwsgirouter.rules.exchange import Exchange

_MOST = 253402300799
"""The last second of the year 9999: what a date of HTTP can say."""

_TIMES: dict[bytes, Callable[[Exchange], bytes]] = {
    b"unix": lambda exchange: b"%d" % int(exchange.host.now()),
    b"micros": lambda exchange: b"%d" % int(exchange.host.now() * 1_000_000),
}

_UWSGI: dict[bytes, Callable[[Exchange], bytes]] = {
    b"wid": lambda exchange: b"%d" % exchange.host.worker,
    b"pid": lambda exchange: b"%d" % exchange.host.pid,
    b"uuid": lambda exchange: exchange.uuid.encode(),
    b"status": lambda exchange: b"%d" % exchange.response.status,
    b"rsize": lambda exchange: b"%d" % exchange.response.body_size,
}


def _one_of(known: dict[bytes, Value], name: str, argument: bytes, place: Place) -> Value:
    found = known.get(argument)
    if found is None:
        words = ", ".join(word.decode() for word in known)
        place.warn(f"${{{name}[{argument.decode('utf-8', 'backslashreplace')}]}} is always empty; there are {words}")
        return lambda exchange: b""
    return found


@variable("time")
def time(argument: bytes, place: Place) -> Value:
    """unix: seconds since 1970; micros: microseconds."""
    return _one_of(_TIMES, "time", argument, place)


@variable("httptime")
def httptime(argument: bytes, place: Place) -> Value:
    """The date as headers have it, so many seconds from now."""
    seconds = number(argument)

    def value(exchange: Exchange) -> bytes:
        then = max(0, min(int(exchange.host.now()) + seconds, _MOST))
        return formatdate(then, usegmt=True).encode()

    return value


@variable("uwsgi")
def uwsgi(argument: bytes, place: Place) -> Value:
    """wid, pid: of the worker; uuid: of the request; status and rsize: of the response so far."""
    return _one_of(_UWSGI, "uwsgi", argument, place)


@variable("metric")
def metric(argument: bytes, place: Place) -> Value:
    """The value of a metric; 0 when there is none of that name."""

    def value(exchange: Exchange) -> bytes:
        metrics = exchange.host.metrics
        return b"0" if metrics is None else b"%d" % metrics.get(argument)

    return value
