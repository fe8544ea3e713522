"""Nodes that no registry knows: a mapper made their address of a request's key.

One idea: what such a node needs is the memory of its failures, so an address is one place for all the keys that lead to
it, for as long as one of them is remembered or the place is down. How much is remembered is bounded, for the keys come
from the network, and what a failure costs does not grow with it. Each worker remembers for itself. Pure but for the
look-up that the owner passes in. Invariant: every node of a place is down exactly while the place is in ``_down``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container
from weakref import WeakValueDictionary

from uwsgirouter.errors import BadTarget, ConfigError
from uwsgirouter.mappers.names import LookUp, Names, Spawn
from uwsgirouter.model.counters import UNNUMBERED
from uwsgirouter.model.node import Node, State
from uwsgirouter.model.slot import NOBODY, Client
from uwsgirouter.settings.address import Address, Kind, parse_peer
from uwsgirouter.settings.targets import peer

REMEMBERED = 16384
"""Keys, texts of targets and places that are down, of each so many are kept; the one used longest ago goes first."""
RECOVERED = 2048
"""Places that come back at once; more of them, whose keys somebody made up, must not hold up the loop."""

DIRECT_KEY = b"direct".ljust(256, b"\0")
"""What stands as key in these nodes: they are in no slot of the table."""

Part = tuple[Address, tuple[int, int]]
"""An address (a host name too) and the modifiers for it."""
Identity = tuple[Kind, str, int]


class Turns:
    """Some direct nodes, one after the other; ``turn`` is the index of the one that had the last turn."""

    __slots__ = ("_nodes", "turn")

    def __init__(self, nodes: list[Node], turn: int = -1) -> None:
        self._nodes = nodes
        self.turn = turn

    def next(self, client: Client = NOBODY) -> Node | None:
        """The next one that is up."""
        return self.next_except(())

    def next_except(self, tried: Container[Node], client: Client = NOBODY) -> Node | None:
        """The next one that is up and was not tried."""
        nodes = self._nodes
        for _ in nodes:
            self.turn = (self.turn + 1) % len(nodes)
            node = nodes[self.turn]
            if node.state is State.UP and node not in tried:
                return node
        return None

    def has_up(self, tried: Container[Node]) -> bool:
        """Whether :meth:`next_except` would find one; takes no turn."""
        return any(node.state is State.UP and node not in tried for node in self._nodes)

    def last_resort(self, tried: Container[Node]) -> Node | None:
        """The first one that is down and was not tried."""
        return next((node for node in self._nodes if node.state is State.DOWN and node not in tried), None)


class Place:
    """One address: its nodes, one for each pair of modifiers, share their fate. ``until`` counts while it is down."""

    __slots__ = ("__weakref__", "nodes", "until")

    def __init__(self) -> None:
        self.nodes: dict[tuple[int, int], Node] = {}
        self.until = 0.0

    def set(self, state: State) -> None:
        """All nodes are in this state."""
        for node in self.nodes.values():
            node.state = state


class Target:
    """Where some keys lead: parts as they were written, and the nodes that they mean now."""

    __slots__ = ("_is_fixed", "_meant", "_places", "_turns", "parts")

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts
        self._is_fixed = all(address.kind is not Kind.NAME for address, _ in parts)
        self._meant: list[list[str]] = []
        self._places: list[Place] = []
        """Held here, so that a place lasts as long as a target that leads to it."""
        self._turns: Turns | None = None

    def turns(self, direct: DirectNodes) -> Turns | None:
        """The nodes, None when there are none (yet): a name must be looked up, or cannot be. Does not yield."""
        if self._is_fixed and self._turns is not None:
            return self._turns
        meant = []
        for address, _ in self.parts:
            hosts = direct.names.known(address.host) if address.kind is Kind.NAME else []
            if hosts is None:
                return None
            meant.append(hosts)
        if self._turns is None or meant != self._meant:
            self._meant = meant
            self._renew(direct)
        return self._turns

    def _renew(self, direct: DirectNodes) -> None:
        found: list[Part] = []
        for (address, modifiers), hosts in zip(self.parts, self._meant, strict=True):
            if address.kind is Kind.NAME:
                found += [(_numeric(host, address.port), modifiers) for host in hosts]
            else:
                found.append((address, modifiers))
        self._places = [direct.place(address) for address, _ in found]
        nodes = [direct.node(address, modifiers) for address, modifiers in found]
        self._turns = Turns(nodes, self._turns.turn if self._turns is not None else -1) if nodes else None

    def look_up(self, direct: DirectNodes) -> None:
        """Look up the names that are not known. May yield. Raises BadTarget when not one part leads anywhere."""
        error = None
        names = [address.host for address, _ in self.parts if address.kind is Kind.NAME]
        leads = len(names) < len(self.parts) or any(direct.names.known(name) for name in names)
        for name in names:
            if leads and direct.names.known(name) is not None:
                continue
            try:
                direct.names.learn(name)
                leads = True
            except BadTarget as raised:
                error = raised
        if not leads and error is not None:
            raise error


class DirectNodes:
    """The places of one worker. ``look_up`` resolves names, ``spawn`` runs a function in the background."""

    def __init__(self, gracetime: float, clock: Callable[[], float], look_up: LookUp, spawn: Spawn) -> None:
        self.gracetime = gracetime
        self.names = Names(clock, look_up, spawn)
        self._clock = clock
        self._places: WeakValueDictionary[Identity, Place] = WeakValueDictionary()
        self._down: OrderedDict[Identity, Place] = OrderedDict()
        self._targets: OrderedDict[bytes, Target] = OrderedDict()

    def of_target(self, text: bytes) -> Turns | None:
        """The nodes that ``address[,modifier1[,modifier2]]`` names, several with ``|`` between; they take turns.

        None when a host name in it has to be resolved first. Raises BadTarget.
        """
        return self._target(text).turns(self)

    def resolve(self, text: bytes) -> Turns | None:
        """As :meth:`of_target`, names looked up. May yield. Raises BadTarget."""
        target = self._target(text)
        turns = target.turns(self)
        if turns is None:
            target.look_up(self)
            turns = target.turns(self)
        return turns

    def _target(self, text: bytes) -> Target:
        target = self._targets.get(text)
        if target is not None:
            self._targets.move_to_end(text)
            return target
        return remember(self._targets, text, Target(parse_target(text)))

    def place(self, address: Address) -> Place:
        """The place of an address, which lasts as long as it is held or down."""
        place = self._places.get(address.identity)
        if place is None:
            place = self._places[address.identity] = Place()
        return place

    def node(self, address: Address, modifiers: tuple[int, int] = (0, 0)) -> Node:
        """The node at ``address`` (not a host name)."""
        place = self.place(address)
        node = place.nodes.get(modifiers)
        if node is None:
            node = place.nodes[modifiers] = Node(UNNUMBERED, DIRECT_KEY, address)
            node.modifiers = modifiers
            if address.identity in self._down:
                node.state = State.DOWN
        return node

    def fail(self, node: Node) -> None:
        """``node`` does not accept: whoever has its address is down until the grace time is over."""
        identity = node.address.identity
        place = self.place(node.address)
        place.nodes.setdefault(node.modifiers, node)
        node.state = State.DOWN
        place.set(State.DOWN)
        place.until = self._clock() + self.gracetime
        self._down[identity] = place
        self._down.move_to_end(identity)
        if len(self._down) > REMEMBERED:
            self._down.popitem(last=False)[1].set(State.UP)

    def recover(self) -> list[Node]:
        """Once a second: a node of each place that may be tried again from now on, the others next time if too many."""
        now = self._clock()
        back: list[Node] = []
        while self._down and len(back) < RECOVERED:
            identity, place = next(iter(self._down.items()))  # the order is that of ``until``: the grace time is one
            if now < place.until:
                break
            del self._down[identity]
            place.set(State.UP)
            back.append(next(iter(place.nodes.values())))
        return back


def parse_target(text: bytes) -> list[Part]:
    """``a``, ``a,5``, ``a,5,1`` and several of them with ``|`` between: addresses with their modifiers.

    The format of the FastRouter's cache values and code-string results. Spaces around each of them, and parts with
    nothing in them, do no harm. Raises BadTarget.
    """
    parts = [part.strip() for part in text.decode("utf-8", "surrogateescape").split("|")]
    try:
        found = [_part(part) for part in parts if part]
    except ConfigError as error:
        raise BadTarget(error.message) from None
    if not found:
        raise BadTarget("it is empty: expected host:port, [v6]:port, /path or @name")
    return found


def _part(text: str) -> Part:
    address, *numbers = (piece.strip() for piece in text.split(","))
    if len(numbers) > 2 or not all(map(_is_modifier, numbers)):
        raise ConfigError(f"{text!r}: after the address stand at most two modifiers from 0 to 255, as in {address},5")
    modifier1, modifier2 = (*(int(number or 0) for number in numbers), 0, 0)[:2]
    return peer(address), (modifier1, modifier2)


def _is_modifier(text: str) -> bool:
    """An empty one is 0, as in uWSGI (``addr,``)."""
    return not text or (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255)


def _numeric(host: str, port: int) -> Address:
    return parse_peer(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def remember(targets: OrderedDict[bytes, Target], key: bytes, target: Target) -> Target:
    """Keep ``target`` under ``key``; the one used longest ago may go for it."""
    targets[key] = target
    if len(targets) > REMEMBERED:
        targets.popitem(last=False)
    return target
