"""``limit`` and ``concurrency``: how many requests a key may send, and how many at the same time.

One idea: what a key is says the rule (an address, a user, a path), how much it may says the rule, and the counting is
done in memory that all workers share (model/buckets.py, model/holds.py). Who is refused gets 429 ``limited`` with a
Retry-After that holds. Invariant: a limit is known by its name and its numbers, or by the text of its rule; so it
goes on over a reload that changes neither.
"""

from __future__ import annotations

import re
import time
from functools import partial
from socket import AF_INET6, inet_ntop, inet_pton

from uwsgirouter.model.buckets import Rate
from uwsgirouter.model.holds import FULL, UNCOUNTED
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.arguments import keyed, shown, small
from uwsgirouter.rules.base import Act, BadRule, Broken, ChainName, Expand, Found, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.host import Waiting

_SECOND = 1_000_000_000
_UNITS = {b"s": _SECOND, b"m": 60 * _SECOND, b"h": 3600 * _SECOND, b"d": 86400 * _SECOND}
_RATE = re.compile(rb"([1-9][0-9]{0,6})/([smhd])")
BURST_MOST = 1_000_000
SPAN_MOST = 366 * 86400 * _SECOND
MOST = 1_000_000
LINE_MOST = 100_000
PATIENCE_MOST = 3600
PATIENCE = b"10"
KEY_SHOWN = 100
_V6_BITS = 128
_MAPPED = bytes(10) + b"\xff\xff"

_COMMON = ("key", "v6", "name", "log_only", "var", "status", "message")


class _Refusal:
    """What becomes of a request that is over a limit."""

    def __init__(self, what: str, given: dict[str, bytes], place: Place) -> None:
        self._what = f"{what} {shown(given['name'])}" if given.get("name") else f"the {what} of {place.where}"
        self._variable = given.get("var", b"")
        self._is_logged_only = _flag(given, "log_only")
        self._status = b""
        self._message = given.get("message", b"")
        if "status" in given or self._message:
            self._status = _status(given.get("status") or b"429")
        if self._is_logged_only and self._status:
            place.warn("status= and message= mean nothing with log_only, which refuses nobody")

    def __call__(self, exchange: Exchange, key: bytes, why: str, seconds: int, headers: tuple[bytes, ...]) -> Verdict:
        if self._variable:
            exchange.set_variable(self._variable, b"1")
        detail = f"{self._what}: {shown(key[:KEY_SHOWN])} {why}"
        if self._is_logged_only:
            exchange.host.complain(f"{detail} (log_only: it goes on)".encode())
            return Verdict.NEXT
        response = exchange.response
        for line in (b"Retry-After: %d" % seconds, *headers):
            response.add_header(line)
        if not self._status:
            raise Broken(detail, Cause.LIMITED)
        exchange.host.complain(detail.encode())
        if response.prepare(self._status):
            response.header(b"Content-Type", b"text/plain; charset=utf-8")
            response.header(b"X-Uwsgirouter-Cause", Cause.LIMITED.value.word.encode())
            response.write(self._message or Cause.LIMITED.value.sentence.encode())
        return Verdict.BREAK


def _flag(given: dict[str, bytes], key: str) -> bool:
    """``key`` alone, or ``key=1``."""
    return given.get(key, b"0") not in (b"0", b"no", b"false", b"off")


def _key(given: dict[str, bytes], place: Place) -> Expand:
    """The text that is counted apart; with ``v6=BITS`` an IPv6 address is the network of so many bits."""
    key = place.template(given["key"])
    if not given.get("v6"):
        return key
    bits = small(given["v6"], "v6", _V6_BITS)
    mask = (1 << _V6_BITS) - (1 << (_V6_BITS - bits))

    def network(exchange: Exchange, found: Found) -> bytes:
        text = key(exchange, found)
        if b":" not in text:
            return text
        try:
            packed = inet_pton(AF_INET6, text.decode("latin-1"))
        except (OSError, ValueError):
            return text
        if packed.startswith(_MAPPED):  # an IPv4 address in its other form
            return b"%d.%d.%d.%d" % tuple(packed[len(_MAPPED) :])
        masked = (int.from_bytes(packed, "big") & mask).to_bytes(len(packed), "big")
        return f"{inet_ntop(AF_INET6, masked)}/{bits}".encode()

    return network


def _status(text: bytes) -> bytes:
    if not (len(text) == 3 and text.isdigit() and b"400" <= text <= b"599"):
        raise BadRule(f"status is {shown(text)}, expected a number from 400 to 599")
    return text


def _identity(what: str, given: dict[str, bytes], numbers: str, place: Place) -> bytes:
    """By what the limit is known over all workers and reloads."""
    name = given.get("name", b"")
    return f"{what} {numbers} ".encode() + (name or b"\0" + place.rule)


# -- how many a second -----------------------------------------------------------------------------------------------


@action("limit")
def limit(argument: bytes, place: Place) -> Act:
    """``limit:key=K,rate=N/s[,burst=N][,name=N][,headers][,log_only][,var=N][,status=N][,message=TEXT]``."""
    given = keyed(argument, place, (*_COMMON, "rate", "burst", "headers"), ("key", "rate"))
    shown_rate = shown(given["rate"])
    if place.chain is ChainName.FINAL:
        raise BadRule("the response is out when the final chain runs: there is nothing left to refuse")
    key, rate = _key(given, place), _rate(given)
    refuse, tells = _Refusal("limit", given, place), _flag(given, "headers")
    identity = _identity("limit", given, f"{rate.interval}/{rate.burst}", place)
    place.limits()

    def act(exchange: Exchange, found: Found) -> Verdict:
        text = key(exchange, found)
        buckets = exchange.host.buckets
        if not text or buckets is None:
            return Verdict.NEXT
        over = buckets.take(identity, text, rate, time.monotonic_ns())
        if over > 0:
            seconds = -(-over // _SECOND)
            why = f"is over {shown_rate}, and may come again in {over / _SECOND:.3g} s"
            return refuse(exchange, text, why, seconds, _headers(rate, 0, over))
        if tells:
            for line in _headers(rate, -over // rate.interval, rate.span + over):
                exchange.response.add_header(line)
        return Verdict.NEXT

    return act


def _rate(given: dict[str, bytes]) -> Rate:
    found = _RATE.fullmatch(given["rate"].strip())
    if found is None:
        raise BadRule(f"rate is {shown(given['rate'])}, expected a whole number and /s, /m, /h or /d, as in 10/s")
    count, unit = int(found[1]), _UNITS[found[2]]
    burst = small(given["burst"], "burst", BURST_MOST) if given.get("burst") else min(count, BURST_MOST)
    if not burst:
        raise BadRule("burst is 0, expected a number from 1: a bucket of that many requests")
    rate = Rate(unit // count, burst)
    if rate.span > SPAN_MOST:
        raise BadRule(f"an empty bucket of {burst} would need {rate.span // _UNITS[b'd']} days to fill, at most 366")
    return rate


def _headers(rate: Rate, left: int, fills: int) -> tuple[bytes, ...]:
    """What a client is told of its bucket; ``fills``: nanoseconds until there is more in it (or all of it)."""
    return (
        b"RateLimit-Limit: %d" % rate.burst,
        b"RateLimit-Remaining: %d" % left,
        b"RateLimit-Reset: %d" % -(-fills // _SECOND),
    )


# -- how many at the same time ---------------------------------------------------------------------------------------


@action("concurrency")
def concurrency(argument: bytes, place: Place) -> Act:
    """``concurrency:key=K,most=N[,queue=N][,timeout=SECONDS][,name=N][,log_only][,var=N][,status=N][,message=TEXT]``."""
    given = keyed(argument, place, (*_COMMON, "most", "queue", "timeout"), ("key", "most"))
    if place.chain is not ChainName.REQUEST:
        raise BadRule("requests under way are counted from the chain request on: write route-...")
    key, most = _key(given, place), small(given["most"], "most", MOST)
    if not most:
        raise BadRule("most is 0, expected a number from 1; break:429 refuses all")
    identity = _identity("concurrency", given, str(most), place)
    refuse, waiting = _Refusal("concurrency", given, place), _waiting(given, identity, most, place)
    place.limits()

    def act(exchange: Exchange, found: Found) -> Verdict:
        text = key(exchange, found)
        holds = exchange.host.holds
        if not text or holds is None:
            return Verdict.NEXT
        cell = holds.take(identity, text, most) if waiting is None else exchange.host.stand(waiting, text)
        if cell == FULL:
            why = f"has {most} requests under way"
            if waiting is not None:
                why += ", and no place in its line, or none came free in time"
            return refuse(exchange, text, why, 1, ())
        if cell == UNCOUNTED:
            exchange.host.complain(b"concurrency: too many keys have requests under way: one is not counted")
        exchange.hold(partial(holds.release, cell))
        return Verdict.NEXT

    return act


def _waiting(given: dict[str, bytes], identity: bytes, most: int, place: Place) -> Waiting | None:
    """How one waits for others to end; None: not at all."""
    places = small(given.get("queue", b""), "queue", LINE_MOST)
    if not places:
        if "timeout" in given:
            place.warn("timeout= means nothing without queue=")
        return None
    patience = small(given.get("timeout", PATIENCE), "timeout", PATIENCE_MOST)
    if patience >= place.settings.number("fastrouter-timeout"):
        place.warn(f"timeout is {patience} s, and rules are given up after fastrouter-timeout")
    if _flag(given, "log_only"):
        return None
    place.waits()
    return Waiting(identity, most, places, patience)
