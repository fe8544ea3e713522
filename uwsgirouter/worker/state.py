"""What is known of a session: the fields that its steps read and change, and what they mean.

One idea: the steps of a session's life stand in many modules, each for what it owns (docs/life-of-a-request.md); here
is what they have in common, so that none of them has to know another. In the compiled form (state.pxd) a field is a C
structure's. It holds values and one watcher and decides nothing; it must not know what a step is.
Invariants: ``packet`` is whole from its routing on, and kept until a node begins to answer; a session has one watcher
of its own at most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.protocol.packet import LENGTH_UNKNOWN, decode_vars, value_of
from uwsgirouter.worker.phases import Phase
from uwsgirouter.worker.streams import Stream

if TYPE_CHECKING:
    from uwsgirouter.mappers.base import Candidates
    from uwsgirouter.model.node import Node
    from uwsgirouter.worker.asking import Ask
    from uwsgirouter.worker.body import Buffering
    from uwsgirouter.worker.choice import Choice
    from uwsgirouter.worker.record import Record
    from uwsgirouter.worker.relay import Pump
    from uwsgirouter.worker.routed import Routed
    from uwsgirouter.worker.router import Router

STREAMING = -2
"""Bytes were passed on that no CONTENT_LENGTH announced: more may come, and the request cannot be repeated."""

_NO_NODE = (Cause.NO_NODE, "")
_PACKET = Phase.PACKET


class SessionState:
    """One downstream connection, as its steps see it."""

    __slots__ = (
        "attempts",
        "body",
        "choice",
        "client",
        "cut",
        "deadline",
        "down",
        "end",
        "key",
        "left",
        "lent",
        "node",
        "packet",
        "passed",
        "phase",
        "record",
        "request_id",
        "routed",
        "router",
        "silence",
        "tried",
        "up",
        "upstream",
        "watcher",
        "why",
        "with_body",
    )

    def begin(self, router: Router, client: Stream) -> None:
        """What a constructor does elsewhere: calling a compiled class that inherits from another module's is slow."""
        self.router = router
        self.client = client
        self.phase = _PACKET
        self.silence = 0
        """Seconds since the last byte in either direction, counted by the router's clock."""
        self.key = b""
        self.packet = b""
        """What was read of the packet, and body bytes that came with it; kept until a node begins to answer."""
        self.end = 0
        """Where the packet ends, and bytes of the body begin."""
        self.left = LENGTH_UNKNOWN
        """Body bytes still to come from the client; below 0 when nobody knows (LENGTH_UNKNOWN, STREAMING)."""
        self.node: Node | None = None
        """The node in use, or the last one tried."""
        self.upstream: Stream | None = None
        self.choice: Choice | None = None
        """What decides beside the balancer (cookies, cores); None: nothing, or the key is not known yet."""
        self.tried: list[Node] | None = None
        self.attempts = 0
        self.watcher: Any = None
        self.up: Pump | None = None
        self.down: Pump | None = None
        self.cut: OSError | None = None
        """The reset that a write to the node met: the kernel tells it once, and a read then meets a clean end."""
        self.with_body = False
        """Whether a body was announced."""
        self.passed = False
        """The client's descriptor is on its way to the node, and may be taken."""
        self.why = _NO_NODE
        """What the client is told when there is no (other) node: a cause and its detail."""
        self.lent: tuple[int, int] | None = None
        """The modifiers of the node that a fallback stands in for."""
        self.body: Buffering | None = None
        """The body, when it is buffered."""
        self.deadline = 0
        """The router's tick at which it ends, whatever anybody does (it lingers, or its rules say so); 0: none."""
        self.routed: Routed | None = None
        """What its rules have a say in; None: nothing."""
        self.record: Record | None = None
        """What is noted of it; None: nobody wants to know."""
        self.request_id = b""
        """What logs call it; empty until somebody asks (``router.identify``)."""

    def watch(self, sock: Stream, events: int, handler: Callable[[], None]) -> None:
        """Call ``handler`` when ``sock`` is ready; whoever watches already goes on."""
        if self.watcher is None:
            self.watcher = self.router.loop.io(sock.fileno(), events)
            self.watcher.start(handler)

    def unwatch(self) -> None:
        """No longer."""
        if self.watcher is not None:
            self.watcher.stop()
            self.watcher = None

    # -- what the packet says ---------------------------------------------------------------------------------------

    def first_variable(self, name: bytes) -> bytes:
        """A variable of a packet that was scanned, the first one of its name; empty when there is none."""
        packet = self.packet
        return value_of(packet, 4 + packet[1] + (packet[2] << 8), name)

    def variable(self, name: bytes) -> bytes:
        """A variable of the packet, the last one of its name; for failures only, it reads the whole block."""
        try:
            size = 4 + self.packet[1] + (self.packet[2] << 8)
            return dict(decode_vars(self.packet[:size])).get(name, b"")
        except (ProtocolError, IndexError):
            return b""

    def remote_address(self) -> bytes:
        """REMOTE_ADDR, for balancers that ask; empty when there is none."""
        return self.first_variable(b"REMOTE_ADDR")

    # -- where its nodes come from ----------------------------------------------------------------------------------

    def candidates(self) -> Candidates | None:
        """The nodes for it, of its key or as rules chose. Raises BadKey, BadTarget."""
        return self.router.find(self.key) if self.routed is None else self.routed.find()

    def asks(self) -> Ask | None:
        """What knows nodes that :meth:`candidates` does not, and may have to wait; None: nothing does."""
        return self.router.ask if self.routed is None else self.routed.asks()

    def follows_key(self) -> bool:
        """Whether its nodes are those of its key, and not an address that a rule chose."""
        return self.routed is None or not self.routed.way
