"""What operators may ask of the master: which nodes there are, and orders about them.

One idea: a command is a row of a table: its fields, and a function from them to the lines of the answer. Long answers
are made while they are taken (:mod:`~uwsgirouter.master.conversation`), so a node may be gone by the time of its
turn. It knows the registrar and no sockets. Every order is logged with who gave it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NoReturn

from uwsgirouter.errors import ConfigError, ProtocolError, RouterError
from uwsgirouter.log import Log, Throttle, printable
from uwsgirouter.master.control_socket import Peer
from uwsgirouter.master.conversation import Lines
from uwsgirouter.master.looking import Looking
from uwsgirouter.master.news import KEPT
from uwsgirouter.master.registrar import Registrar
from uwsgirouter.master.traces import TRACES_MOST
from uwsgirouter.model.node import Node, Order
from uwsgirouter.model.orders import Word
from uwsgirouter.model.table import FALLBACK_KEY, STATIC_KEY
from uwsgirouter.protocol.control import (
    FALLBACK,
    STATIC,
    Trouble,
    complaint,
    decode_line,
    encode_line,
    to_bytes,
    to_text,
)
from uwsgirouter.protocol.subscription import WEIGHT_MAX
from uwsgirouter.settings.address import Address, parse_peer

NAMED_MOST = 10
"""Keys or nodes that an error names."""
LINES_PER_SECOND = 50

_KEYS = {STATIC_KEY: STATIC, FALLBACK_KEY: FALLBACK}
_SLOTS = {written: key for key, written in _KEYS.items()}

Request = dict[str, object]


class Refused(RouterError):
    """A request that cannot be served."""

    def __init__(self, trouble: Trouble, message: str) -> None:
        super().__init__(message)
        self.trouble = trouble


class Commands:
    """``inflight(id)`` counts a node's sessions; ``settled()``: every worker knows all that changed until now."""

    def __init__(
        self,
        registrar: Registrar,
        inflight: Callable[[int], int],
        settled: Callable[[], bool],
        log: Log,
        looking: Looking,
        counted: Callable[[int], dict[str, int]] = lambda id: {},
    ) -> None:
        """``counted(id)``: what a node has had, as far as anybody counts."""
        self._looking = looking
        self._counted = counted
        self._registrar = registrar
        self._registry = registrar.registry
        self._inflight = inflight
        self._settled = settled
        self._say = Throttle(log.say, LINES_PER_SECOND)
        self._rows = {
            "nodes": (set[str](), {"key"}, self._nodes),
            "drain": ({"key", "node"}, set[str](), self._order),
            "down": ({"key", "node"}, set[str](), self._order),
            "ready": ({"key", "node"}, set[str](), self._order),
            "weight": ({"key", "node", "weight"}, set[str](), self._weigh),
            "status": (set[str](), set[str](), lambda command, request, peer: looking.status()),
            "events": (set[str](), {"last", "follow"}, self._events),
            "trace": ({"key"}, {"count"}, self._trace),
        }

    def answer(self, line: bytes, peer: Peer) -> Lines:
        """The lines that answer one request."""
        try:
            request = decode_line(line)
            command = request.pop("command", None)
            if not isinstance(command, str) or command not in self._rows:
                raise Refused(Trouble.REQUEST, f"no command {command!r}; there are: {', '.join(self._rows)}")
            needed, allowed, run = self._rows[command]
            _check_fields(command, request, needed, allowed)
            return run(command, request, peer)
        except Refused as error:
            settled = self._settled() if error.trouble in (Trouble.NO_KEY, Trouble.NO_NODE) else None
            return iter((complaint(error.trouble, str(error), settled),))
        except ProtocolError as error:
            return iter((complaint(Trouble.REQUEST, f"a request is a line with a JSON object: {error}"),))

    # -- nodes ------------------------------------------------------------------------------------------------------

    def _nodes(self, command: str, request: Request, peer: Peer) -> Iterator[bytes]:
        table = self._registry.table
        if "key" not in request:
            return self._listing(list(table.nodes), self._registry.absent_words())
        key = _key(request)
        absent = [word for word in self._registry.absent_words() if word.key == key]
        slot = table.slots.get(key)
        if slot is None and not absent:
            self._no_key(key)
        return self._listing([node.id for node in slot.nodes] if slot else [], absent)

    def _listing(self, ids: list[int], absent: list[Word]) -> Iterator[bytes]:
        # Asked before the nodes are looked at: what a worker chose before it knew is counted by then.
        settled = self._settled()
        count = 0
        for id in ids:
            node = self._registry.table.nodes.get(id)
            if node is not None:
                count += 1
                yield encode_line({"node": self._row(node)})
        for word in absent:
            yield encode_line({"node": _absent_row(word)})
        yield encode_line({"ok": True, "nodes": count, "settled": settled})

    def _row(self, node: Node) -> dict[str, object]:
        wall = time.time() - time.monotonic()
        heard, sni = self._registry.heard(node), self._registry.sni(node)
        return {
            "key": _written(node.key),
            "node": node.address.text,
            "state": node.state.value,
            "order": node.order.value,
            "since": round(wall + node.since, 3),
            "why": node.why,
            "weight": node.weight,
            "own_weight": self._registry.own_weight(node),
            "cores": node.cores,
            "in_flight": self._inflight(node.id),
            "load": node.load,
            "backup": node.backup,
            "algo": node.algo,
            "modifiers": list(node.modifiers),
            "vassal": to_text(node.vassal),
            "sni": [to_text(path) for path in sni] if sni else None,
            "announced": None if heard is None else round(wall + heard, 3),
            **self._counted(node.id),
        }

    # -- what goes on -------------------------------------------------------------------------------------------------

    def _events(self, command: str, request: Request, peer: Peer) -> Lines:
        follow = request.get("follow", True)
        if type(follow) is not bool:
            raise Refused(Trouble.REQUEST, "follow: expected true or false")
        return self._looking.events(_number(request, "last", 0, 0, KEPT), follow)

    def _trace(self, command: str, request: Request, peer: Peer) -> Lines:
        key, wanted = _key(request), _number(request, "count", 1, 1, TRACES_MOST)
        self._say(f"operator (uid {peer.uid}, pid {peer.pid}): trace {printable(key)}", time.monotonic())
        return self._looking.traces.follow(key, wanted)

    # -- orders -----------------------------------------------------------------------------------------------------

    def _order(self, command: str, request: Request, peer: Peer) -> Iterator[bytes]:
        key, address = self._find(request)
        self._log(peer, command, key, address)
        self._registrar.order(key, address, Order(command), f"uid {peer.uid}", time.monotonic())
        return self._outcome(key, address)

    def _weigh(self, command: str, request: Request, peer: Peer) -> Iterator[bytes]:
        weight = request["weight"]
        if weight == "-" or (type(weight) is int and weight == 0):
            weight = None
        if weight is not None and (type(weight) is not int or not 1 <= weight <= WEIGHT_MAX):
            raise Refused(Trouble.REQUEST, f"weight: expected 1 to {WEIGHT_MAX}, or 0 for the announced one")
        key, address = self._find(request)
        self._log(peer, f"weight {weight or '-'}", key, address)
        self._registrar.weigh(key, address, weight, f"uid {peer.uid}", time.monotonic())
        return self._outcome(key, address)

    def _log(self, peer: Peer, what: str, key: bytes, address: Address) -> None:
        where = f"{printable(to_bytes(_written(key)))} {printable(to_bytes(address.text))}"
        self._say(f"operator (uid {peer.uid}, pid {peer.pid}): {what} {where}", time.monotonic())

    def _outcome(self, key: bytes, address: Address) -> Iterator[bytes]:
        node = self._registry.find(key, address)
        if node is not None:
            yield encode_line({"node": self._row(node)})
        yield encode_line({"ok": True, "nodes": int(node is not None), "settled": False})

    def _find(self, request: Request) -> tuple[bytes, Address]:
        """Key and address of a node that is there, or of which somebody said something."""
        key = _key(request)
        text = request["node"]
        if not isinstance(text, str):
            raise Refused(Trouble.REQUEST, "node: expected a text")
        try:
            address = parse_peer(text)
        except (ConfigError, ValueError) as error:
            raise Refused(Trouble.REQUEST, f"node: {error}") from None
        node = self._registry.find(key, address)
        if node is not None:
            return key, node.address
        word = self._registry.word(key, address)
        if word is not None:
            return key, word.address
        slot = self._registry.table.slots.get(key)
        if slot is None:
            self._no_key(key)
        nodes = _some((node.address.text or f"vassal {to_text(node.vassal)}" for node in slot.nodes), len(slot.nodes))
        raise Refused(Trouble.NO_NODE, f"no node {text} under key {_written(key)}; its nodes are {nodes}")

    def _no_key(self, key: bytes) -> NoReturn:
        slots = self._registry.table.slots
        keys = f"the keys are {_some(map(_written, slots), len(slots))}" if slots else "there are no nodes at all"
        raise Refused(Trouble.NO_KEY, f"no nodes under key {_written(key)}; {keys}")


def _check_fields(command: str, request: Request, needed: set[str], allowed: set[str]) -> None:
    missing = [name for name in sorted(needed) if name not in request]
    odd = [name for name in request if name not in needed | allowed]
    if missing:
        raise Refused(Trouble.REQUEST, f"{command} needs {', '.join(missing)}")
    if odd:
        raise Refused(Trouble.REQUEST, f"{command} has no field {odd[0]!r}")


def _number(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number. Raises :class:`Refused`."""
    value = request.get(name, default)
    if type(value) is not int or not low <= value <= high:
        raise Refused(Trouble.REQUEST, f"{name}: expected a whole number from {low} to {high}")
    return value


def _key(request: Request) -> bytes:
    """The key that a request means. Raises :class:`Refused`."""
    text = request["key"]
    if not isinstance(text, str) or not text:
        raise Refused(Trouble.REQUEST, "key: expected a text")
    try:
        return _SLOTS[text] if text in _SLOTS else to_bytes(text)
    except ValueError:
        raise Refused(Trouble.REQUEST, "key: a text that no bytes can be meant by") from None


def _written(key: bytes) -> str:
    return _KEYS.get(key) or to_text(key)


def _some(names: Iterable[str], count: int) -> str:
    shown = ", ".join(islice(names, NAMED_MOST))
    return shown if count <= NAMED_MOST else f"{shown} and {count - NAMED_MOST} more"


def _absent_row(word: Word) -> dict[str, object]:
    """A node of which somebody said something and that is not there: fields that only a node has are left out."""
    return {
        "key": _written(word.key),
        "node": word.address.text,
        "state": "absent",
        "order": word.order.value,
        "since": round(time.time() - time.monotonic() + word.since, 3),
        "why": word.why or f"a weight was given by an operator ({word.who})",
        "weight": word.weight,
    }
