"""Items that another server keeps under keys: what an action answers of one, and how a body becomes one.

One idea: memcached and Redis differ in how they are asked (:class:`Store`), not in what a rule makes of it. An item is
a body, with ``type=full`` perhaps a whole HTTP answer; an empty one counts as none. It must not know any library.
Invariants: only whole, non-empty bodies are kept; a client never waits for its body being kept, and trouble with that
is a line of the log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from uwsgirouter.errors import RouterError
from uwsgirouter.rules.arguments import keyed, number, shown, small
from uwsgirouter.rules.base import Act, BadRule, Broken, Expand, Found, Make, Place, Verdict
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.head import BadHead, HeadReader
from uwsgirouter.rules.host import Host
from uwsgirouter.rules.mime import MimeTypes, mime_types
from uwsgirouter.rules.reasons import whole_status
from uwsgirouter.rules.service import Service, ServiceDown
from uwsgirouter.rules.transform import Transform
from uwsgirouter.rules.writer import Writer

NONSENSE = (ValueError, LookupError, TypeError, AttributeError, AssertionError)
"""What a library raises, beside its own errors, at an answer that is none: failures of a service, too."""
EXPIRES_MOST = 10**9
SIZE_MOST = 8 << 20
"""Bytes of a body that are kept unless a rule says ``max_size=``."""
SIZE_HIGHEST = 512 << 20
"""What a Redis string can hold."""
_OK = 200
_LENGTHLESS = frozenset(("no_content_length", "no_cl", "nocl"))
_READ = (
    "addr",
    "key",
    "type",
    "content_type",
    "content_encoding",
    "status",
    "mime",
    "no_offload",
    *sorted(_LENGTHLESS),
)
_WRITE = ("addr", "key", "expires", "status", "code", "max_size")


class Items(Protocol):
    """A connection to a server. What it raises as :class:`Broken` is the server's word about one item."""

    def get(self, key: bytes) -> bytes | None:
        """An item's value."""

    def put(self, key: bytes, value: bytes, expires: int) -> None:
        """Keep an item for ``expires`` seconds (0: for ever)."""

    def close(self) -> None:
        """No more."""


@dataclass(frozen=True)
class Store:
    """A kind of server."""

    name: str
    load: Callable[[], object]
    """Imports its library. Raises BadRule."""
    reach: Callable[[str], Service[Items]]
    """The server at an address, the same object each time. Raises ConfigError, BadRule."""
    is_key: Callable[[bytes], bool]
    """Whether an item can have this key."""


class _Way:
    """To the server that a rule names; ``addr=`` may be made of what a request says."""

    def __init__(self, store: Store, text: bytes, place: Place) -> None:
        self._store = store
        self._text = place.template(text)
        self._fixed: Service[Items] | None = None
        store.load()  # at start, not for the first request
        constant = place.constant(text)
        if constant is not None:
            try:
                self._fixed = store.reach(shown(constant))
            except BadRule:
                raise
            except RouterError as error:
                raise BadRule(f"addr is {shown(constant)}: {error}") from None

    def service(self, exchange: Exchange, found: Found) -> Service[Items]:
        """Raises :class:`ServiceDown` for what is no address."""
        if self._fixed is not None:
            return self._fixed
        text = shown(self._text(exchange, found))
        try:
            return self._store.reach(text)
        except RouterError as error:
            raise ServiceDown(f"{self._store.name} {text}: {error}") from None


# -- reading -------------------------------------------------------------------------------------------------------


def answering(store: Store, then: Verdict, forgives: bool) -> Make[Act]:
    """An action that answers with an item. ``then``: what follows an answer; ``forgives``: without the server the rules
    go on, as they do without the item.
    """

    def make(argument: bytes, place: Place) -> Act:
        given = keyed(argument, place, _READ, ("addr", "key"))
        way, key = _Way(store, given["addr"], place), place.template(given["key"])
        answer = _form(given, place)

        def act(exchange: Exchange, found: Found) -> Verdict:
            name = key(exchange, found)
            try:
                value = _item(store, way, exchange, found, name)
            except ServiceDown as error:
                if not forgives:
                    raise
                _complain(exchange.host, store.name, name, error)
                return Verdict.NEXT
            if not value:
                return Verdict.NEXT
            return then if answer(exchange, name, value) else Verdict.BREAK

        return act

    return make


def _item(store: Store, way: _Way, exchange: Exchange, found: Found, name: bytes) -> bytes | None:
    """The item's value; None when there is none, or it is no text. Raises :class:`ServiceDown`."""
    if not store.is_key(name):
        return None
    try:
        return exchange.host.ask(way.service(exchange, found), lambda items: items.get(name))
    except ServiceDown:
        raise
    except Broken as error:
        _complain(exchange.host, store.name, name, error)
        return None


def _complain(host: Host, what: str, key: bytes, error: Exception) -> None:
    host.complain(f"{what} {shown(key)}: {error}".encode("utf-8", "surrogateescape"))


Answer = Callable[[Exchange, bytes, bytes], bool]
"""Answers with an item: exchange, key, value. False: it is too late, or the error chain has answered."""


def _form(given: dict[str, bytes], place: Place) -> Answer:
    """How an item is answered with."""
    kind, body = given.get("type") or b"body", _body(given, place)
    if kind == b"full":
        return lambda exchange, name, value: (_whole if _is_answer(value) else body)(exchange, name, value)
    if kind != b"body":
        raise BadRule(f"type is {shown(kind)}, expected body or full")
    return body


def _body(given: dict[str, bytes], place: Place) -> Answer:
    """The item is the body."""
    types = mime_types(place.settings) if "mime" in given else MimeTypes({})
    default, encoding = given.get("content_type") or b"text/html", given.get("content_encoding", b"")
    status = given.get("status") or b"200 OK"
    try:
        whole_status(status)
    except Broken as error:
        raise BadRule(f"status is {shown(status)}: {error}") from None
    has_length = not _LENGTHLESS & given.keys()

    def answer(exchange: Exchange, name: bytes, value: bytes) -> bool:
        response = exchange.response
        if not response.prepare(status):
            return False
        response.header(b"Content-Type", types.of(name) or default)
        if encoding:
            response.header(b"Content-Encoding", encoding)
        if has_length:
            response.header(b"Content-Length", b"%d" % len(value))
        response.write(value)
        return True

    return answer


def _whole(exchange: Exchange, name: bytes, value: bytes) -> bool:
    """The item is an answer, with its head."""
    if exchange.response.head_out:
        return False
    exchange.response.feed(value)
    exchange.response.feed_end()
    return True


def _is_answer(value: bytes) -> bool:
    """Whether it begins with the head of an HTTP answer."""
    try:
        return HeadReader().feed(value) is not None
    except BadHead:
        return False


# -- writing -------------------------------------------------------------------------------------------------------


class Keep(Transform):
    """Looks on while the body goes through, and has it kept when it is whole. ``service`` None: not at all."""

    streams = False

    def __init__(self, rule: _Rule, service: Service[Items] | None, key: bytes, host: Host) -> None:
        self._rule = rule
        self._service = service
        self._key = key
        self._host = host
        self._held: list[bytes] = []
        self._size = 0

    def begin(self, response: Writer) -> bool:
        return self._service is not None and response.status in (_OK, self._rule.status)

    def feed(self, data: bytes) -> bytes:
        self._size += len(data)
        if self._size <= self._rule.most:
            self._held.append(data)
        else:
            self._held.clear()
        return data

    def end(self) -> bytes:
        rule, key, service = self._rule, self._key, self._service
        if self._size > rule.most:
            error = Broken(f"the body is larger than {rule.most} bytes (max_size=)")
            _complain(self._host, rule.what, key, error)
        elif self._held and service is not None:
            value, expires = b"".join(self._held), rule.expires
            self._host.hand(service, lambda items: items.put(key, value, expires), f"{rule.what} {shown(key)}")
        self.abandon()
        return b""

    def abandon(self) -> None:
        self._held.clear()


@dataclass(frozen=True)
class _Rule:
    """What a rule says of keeping."""

    store: Store
    what: str
    """Its name, for the log."""
    status: int
    expires: int
    most: int


def keeping(store: Store, what: str) -> Make[Callable[[Exchange, Found], Transform]]:
    """A transformation that has bodies kept; ``what``: its name."""

    def make(argument: bytes, place: Place) -> Callable[[Exchange, Found], Transform]:
        given = keyed(argument, place, _WRITE, ("addr", "key"))
        way, key = _Way(store, given["addr"], place), place.template(given["key"])
        rule = _Rule(
            store,
            what,
            number(given.get("status") or given.get("code") or b""),
            small(given.get("expires", b""), "expires", EXPIRES_MOST),
            small(given.get("max_size", b""), "max_size", SIZE_HIGHEST) or SIZE_MOST,
        )
        return lambda exchange, found: _keep(rule, way, key, exchange, found)

    return make


def _keep(rule: _Rule, way: _Way, key: Expand, exchange: Exchange, found: Found) -> Keep:
    name = key(exchange, found)
    try:
        if name and not rule.store.is_key(name):
            raise Broken(f"{rule.store.name} can have no item of that name")
        service = way.service(exchange, found) if name else None
    except Broken as error:
        _complain(exchange.host, rule.what, name, error)
        service = None
    return Keep(rule, service, name, exchange.host)
