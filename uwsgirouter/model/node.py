"""A node: one address that serves one key, and what is known of it.

Plain state, no I/O, no clock. Sessions hold nodes by reference; a node that leaves its slot goes on counting its
running sessions until the last one is released. Invariant: ``id`` is the column of this node's in-flight cells and is
given by the master alone.
"""

from __future__ import annotations

from enum import Enum

from uwsgirouter.settings.address import Address

Target = tuple[int, tuple[str, int] | bytes | str]
"""The family of a socket and what its ``connect`` takes."""

FULL_SHARE = 100
"""The share of a node of weight 1, in hundredths, so that a slow start can give a part of it."""


class State(Enum):
    """Whether a node is given requests."""

    UP = "up"
    DRAINING = "draining"
    """It took leave: running sessions end, new ones go elsewhere."""
    DOWN = "down"
    """It failed: tried only when nobody else is left, until it announces itself or its grace time is over."""
    EJECTED = "ejected"
    """It accepted, and broke off or did not answer, several times: left alone for some seconds, unless nobody is up."""
    UNCONFIRMED = "unconfirmed"
    """It is known from a snapshot, and has neither announced itself nor answered since: it is given requests."""
    INACTIVE = "inactive"
    """Its vassal does not run: the Emperor must start it before it can be given a request."""


SERVING = (State.UP, State.UNCONFIRMED)
"""The states in which a node is given requests."""


class Order(Enum):
    """What an operator said of a node; it outlasts announcements and the node itself."""

    READY = "ready"
    """Nothing: its announcements decide."""
    DRAIN = "drain"
    """No new sessions; who holds a sticky cookie of it is served."""
    DOWN = "down"
    """No requests at all."""


class Node:
    """One node. There may be tens of thousands, in each process: eight bytes for each name below, besides its value."""

    __slots__ = (
        "address",
        "algo",
        "algo_since",
        "backup",
        "cores",
        "credit",
        "id",
        "key",
        "load",
        "modifiers",
        "order",
        "pass_after",
        "seed",
        "share",
        "since",
        "state",
        "target",
        "token",
        "vassal",
        "weight",
        "why",
    )

    def __init__(self, id: int, key: bytes, address: Address) -> None:
        self.id = id
        self.key = key
        self.address = address
        self.target: Target | None = None
        """The worker's: where to dial; None before it is asked for (:meth:`aim`)."""
        self.modifiers = (0, 0)
        self.weight = 1
        self.backup = 0
        """The level: nodes of a level are used when no node of a lower one is up."""
        self.cores = 0
        self.load = 0
        self.vassal = b""
        """The name by which an Emperor knows it; empty for a node that nobody can start."""
        self.algo = ""
        """The balancing algorithm that it wishes for its slot, whether or not there is one of that name."""
        self.algo_since = 0.0
        """Monotonic seconds of when it began to wish that."""
        self.state = State.UP
        self.order = Order.READY
        """An operator's word. While it is not READY, ``state`` is never one of :data:`SERVING`."""
        self.why = ""
        """The master's: why it is in this state, in a few words."""
        self.since = 0.0
        """Monotonic seconds of the last change of state."""
        self.pass_after = 0
        """The worker's tick from which on clients' descriptors are offered to this node (0: it never declined)."""
        self.share = FULL_SHARE
        """The balancer's: what this node gets beside others, in hundredths of a weight."""
        self.credit = 0
        """The balancer's: what this node is owed (smooth weighted round robin)."""
        self.seed = 0
        """The balancer's: the address in a number (iphash); 0 before it is asked for."""
        self.token = b""
        """The worker's: the value of its sticky cookie; empty before it is asked for."""

    def aim(self) -> Target:
        """Where to dial: made once, for the nodes that are given requests."""
        self.target = (int(self.address.family), self.address.sockaddr)
        return self.target

    def __repr__(self) -> str:
        return f"<Node {self.id} {self.key!r} {self.address.text} {self.state.value}>"
