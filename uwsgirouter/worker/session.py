"""A session: the life of one downstream connection, from its packet to its last byte.

One idea: a state machine whose inputs are the loop's watchers; each handler tries the system calls first, moves to the
next phase, and returns. It knows the registry only as "a slot for this key" and a node as an address with modifiers;
it must not know how nodes are found, balanced or announced. Nothing here waits or yields.

Phases: PACKET -> CONNECT -> WAIT -> RELAY, and LINGER after an answer whose client may still be sending. Before CONNECT
there may be BODY (it is buffered) and MAP (it is being found out who serves the key); instead of RELAY, ADOPTED.
Invariants: a node's in-flight count is held exactly while ``_upstream`` is; each descriptor is closed exactly once, in
:meth:`Session.close` or :meth:`Session._leave_node`; once a response byte is out, no answer of our own follows.
See docs/life-of-a-request.md.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from struct import pack
from typing import TYPE_CHECKING, Any

from uwsgirouter.errors import BadKey, BadTarget, ProtocolError
from uwsgirouter.mappers.mountpoints import path_of, with_path
from uwsgirouter.model.counters import Counter
from uwsgirouter.model.node import State
from uwsgirouter.protocol.answers import Cause, encode_answer
from uwsgirouter.protocol.packet import LENGTH_UNKNOWN, decode_vars, scan, value_of
from uwsgirouter.worker.adoption import ASK_AGAIN, end_adoption, let_go, may_have_begun
from uwsgirouter.worker.body import Buffering
from uwsgirouter.worker.flow import Flow
from uwsgirouter.worker.gathering import WHOLE
from uwsgirouter.worker.heading import Heading
from uwsgirouter.worker.pacing import LARGE, unpaced
from uwsgirouter.worker.patience import LINGER_TOTAL, expire
from uwsgirouter.worker.peers import hung_up, unsent
from uwsgirouter.worker.phases import FINDING, Phase
from uwsgirouter.worker.relay import Pump
from uwsgirouter.worker.seeking import Overfull, cannot_map, lost, mapped, seek, wake
from uwsgirouter.worker.streams import Stream, dial, no_delay, send_with

if TYPE_CHECKING:
    from uwsgirouter.mappers.base import Candidates
    from uwsgirouter.model.node import Node
    from uwsgirouter.worker.asking import Ask
    from uwsgirouter.worker.choice import Choice
    from uwsgirouter.worker.routed import Routed
    from uwsgirouter.worker.router import Router

PACKET_READ = 65536
BODILESS = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
"""Methods whose requests have no body unless they announce one (RFC 9110, 9.3)."""
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))

STREAMING = -2
"""Bytes were passed on that no CONTENT_LENGTH announced: more may come, and the request cannot be repeated."""

_UNIX = int(socket.AF_UNIX)
_EAGAIN, _EINPROGRESS = errno.EAGAIN, errno.EINPROGRESS
_OUT_OF_DESCRIPTORS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_DONTWAIT = int(socket.MSG_DONTWAIT)
_PEEK = int(socket.MSG_DONTWAIT | socket.MSG_PEEK)
_FLAGS = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_RESET_ON_CLOSE = pack("ii", 1, 0)
_NO_NODE = (Cause.NO_NODE, "")
_REQUESTS = int(Counter.REQUESTS)
_ANSWERED = int(Counter.ANSWERED)
_RX = int(Counter.RX)
_TX = int(Counter.TX)


# An enum's member costs a look-up through its metaclass each time; a global costs next to nothing.
_PACKET, _CONNECT, _WAIT, _RELAY = Phase.PACKET, Phase.CONNECT, Phase.WAIT, Phase.RELAY
_BODY, _MAP, _QUEUE, _WAKE, _ADOPTED = Phase.BODY, Phase.MAP, Phase.QUEUE, Phase.WAKE, Phase.ADOPTED
_RULES, _ANSWER, _CLOSED = Phase.RULES, Phase.ANSWER, Phase.CLOSED
_LINGER, _LINGER_RESET = Phase.LINGER, Phase.LINGER_RESET
_UNCONFIRMED = State.UNCONFIRMED
_ENDED, _DISCARDING = Flow.ENDED, Flow.DISCARDING


class Session:
    """One downstream connection. :meth:`start` begins it, :meth:`close` ends it; the watchers do the rest."""

    __slots__ = (
        "_cut",
        "_end",
        "_with_body",
        "attempts",
        "body",
        "choice",
        "client",
        "deadline",
        "down",
        "key",
        "left",
        "lent",
        "node",
        "packet",
        "passed",
        "phase",
        "routed",
        "router",
        "silence",
        "tried",
        "up",
        "upstream",
        "watcher",
        "why",
    )

    def __init__(self, router: Router, client: Stream) -> None:
        self.router = router
        self.client = client
        self.phase = _PACKET
        self.silence = 0
        """Seconds since the last byte in either direction, counted by the router's clock."""
        self.key = b""
        self.packet = b""
        """What was read of the packet, and body bytes that came with it; kept until a node begins to answer."""
        self._end = 0
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
        self._cut: OSError | None = None
        """The reset that a write to the node met: the kernel tells it once, and a read then meets a clean end."""
        self._with_body = False
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

    # -- the packet ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, or go on: the packet has usually arrived with the connection."""
        try:
            data = self.client.recv(PACKET_READ, _DONTWAIT)
        except BlockingIOError:
            self.watch(self.client, 1, self.start)
            return
        except OSError:
            self.client_gone()
            return
        self.silence = 0
        if not data:
            self._packet_cut()
            return
        if self.packet:
            data = self.packet + data
        self.packet = data
        if len(data) >= 4:
            end = 4 + data[1] + (data[2] << 8)
            if len(data) >= end:
                self._route(data, end)
                return
        self.watch(self.client, 1, self.start)

    def _packet_cut(self) -> None:
        """The client ended before its packet did. One that sent nothing only looked whether we are here."""
        if not self.packet:
            self.close()
            return
        self.left = 0
        self.fail(Cause.BAD_PACKET, f"the client ended after {len(self.packet)} bytes")

    def _route(self, data: bytes, end: int) -> None:
        router = self.router
        router.cells[_REQUESTS] += 1
        self._end = end
        if self.watcher is not None:
            self.unwatch()
        try:
            key, length, upgrade = scan(data, end)
        except ProtocolError as error:
            self.fail(Cause.BAD_PACKET, str(error))
            return
        came = len(data) - end
        if length < 0 and not upgrade and self._has_no_body():
            length = 0
        if length >= 0 and not upgrade:
            self.left = length - came if length >= came else STREAMING
        if router.rules is not None:
            self.key = key
            router.rules.begin(self, end, length, upgrade)
        else:
            self.admit(key, length, upgrade)

    def admit(self, key: bytes, length: int, upgrade: bool) -> None:
        """Find a node for ``key``, when the body (of ``length`` bytes) allows."""
        router = self.router
        if not key:
            key = router.forced_key
            if not key:
                self.fail(Cause.NO_KEY)
                return
        if router.mount_levels:
            key = with_path(key, self._path(), router.mount_levels)
        self.key = key
        if length > 0:
            self._with_body = True
            if router.handles_bodies and self._body_is_handled(length, upgrade):
                return
        self._find()

    def _path(self) -> bytes:
        if self.routed is not None:
            return self.routed.path()
        return path_of(self.first_variable(b"PATH_INFO"), self.first_variable(b"REQUEST_URI"))

    def open_ended(self) -> None:
        """Its client speaks at any time, until it ends."""
        self.left = STREAMING
        self._with_body = True

    def repack(self, packet: bytes) -> bool:
        """Put ``packet`` in place of the one that was read; whether it is another one."""
        if packet == self.packet[: self._end]:
            return False
        self.packet = packet + self.packet[self._end :]
        self._end = len(packet)
        return True

    def _has_no_body(self) -> bool:
        """Whether a request that does not tell its length has no body: nginx says so, other fronts leave it out."""
        variables = dict(decode_vars(self.packet[: self._end]))
        if b"CONTENT_LENGTH" in variables or b"HTTP_TRANSFER_ENCODING" in variables:
            return False
        return variables.get(b"REQUEST_METHOD") in BODILESS

    def _find(self) -> None:
        router = self.router
        try:
            slot = router.find(self.key) if self.routed is None else self.routed.find()
        except (BadKey, BadTarget) as error:
            cannot_map(self, error)
            return
        if slot is None:
            node = None
        else:
            choice = self.choice = router.choice
            node = slot.next(self) if choice is None else choice.pick(self, slot)
        if node is None:
            seek(self, slot)
        else:
            self.dial(node)

    def look(self) -> Candidates | None:
        """The nodes for the key, None also when the request has its failure answer already."""
        try:
            return self.router.find(self.key) if self.routed is None else self.routed.find()
        except (BadKey, BadTarget) as error:
            cannot_map(self, error)
            return None

    def asks(self) -> Ask | None:
        """What knows nodes that :meth:`look` does not, and may have to wait; None: nothing does."""
        return self.router.ask if self.routed is None else self.routed.asks()

    def follows_key(self) -> bool:
        """Whether its nodes are those of its key, and not an address that a rule chose."""
        return self.routed is None or not self.routed.way

    def remote_address(self) -> bytes:
        """REMOTE_ADDR, for balancers that ask; empty when there is none."""
        return self.first_variable(b"REMOTE_ADDR")

    def first_variable(self, name: bytes) -> bytes:
        """A variable of a packet that was scanned, the first one of its name; empty when there is none."""
        packet = self.packet
        return value_of(packet, 4 + packet[1] + (packet[2] << 8), name)

    def mapped(self, slot: Candidates | None, error: Exception | None) -> None:
        """The mapper has answered."""
        mapped(self, slot, error)

    def wake(self) -> None:
        """The nodes have changed, and this session waits for a vassal."""
        wake(self)

    def _body_is_handled(self, length: int, upgrade: bool) -> bool:
        """Whether the body is too large, or the request waits until it is here."""
        router = self.router
        if router.limit_post and length > router.limit_post:
            self.fail(Cause.TOO_LARGE, f"{length} bytes")
            return True
        if not router.post_buffering or upgrade or self.left < 0:
            return False
        if not self.left:
            self._end = len(self.packet)  # all of it came with the packet: it can be sent again as it is
            return False
        if self.asks() is None and not router.fallback_on_no_key and self.look() is None:
            # Better now than when all of the body was sent.
            if self.phase is _PACKET:
                self.fail(Cause.NO_NODE)
            return True
        self.phase = _BODY
        came, self.packet = self.packet[self._end :], self.packet[: self._end]
        self.body = Buffering(router, self, self.client)
        self.body.begin(came, length)
        return True

    def body_here(self, body: bytes) -> None:
        """All of a buffered body is here: ``body``, or (empty) in a file."""
        self.left = 0
        self.phase = _CONNECT
        self.packet += body
        self._end = len(self.packet)  # it can be sent again as it is
        self._find()

    # -- a node -------------------------------------------------------------------------------------------------

    def dial(self, node: Node) -> None:
        """Connect and send the packet; go on to another node when that fails."""
        self.attempts += 1
        self.node = node
        self.phase = _CONNECT
        try:
            self._attempt(node)
        except BlockingIOError:
            assert self.upstream is not None
            self.watch(self.upstream, 2, self._on_connected)
        except Overfull:
            self._withdraw(node)
        except OSError as error:
            self.connect_failed(node, error)

    def _withdraw(self, node: Node) -> None:
        """Another worker gave the node its last request in the same moment: another node, or wait."""
        assert self.upstream is not None
        self.upstream.close()
        self.upstream = None
        self.router.inflight[node.id] -= 1
        self.attempts -= 1
        lost(self, node)

    def _attempt(self, node: Node) -> None:
        """Raises BlockingIOError while the connection is being made, OSError when it cannot be, Overfull."""
        family, where = node.target or node.aim()
        upstream = dial(family)
        self.upstream = upstream
        self.router.inflight[node.id] += 1
        if self.choice is not None:
            self.choice.check(node)
        if self.left > LARGE or self.body is not None:
            unpaced(upstream, where)
        code = upstream.connect_ex(where)
        if code == _EAGAIN:
            # Not as EAGAIN, which would be a BlockingIOError: nothing is under way that could be waited for.
            raise OSError(errno.ECONNREFUSED, "the backlog is full")
        if code and code != _EINPROGRESS:
            raise OSError(code, os.strerror(code))
        self._send_packet(upstream, node)

    def _on_connected(self) -> None:
        upstream, node = self.upstream, self.node
        assert upstream is not None and node is not None
        self.silence = 0
        try:
            code = upstream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            self.unwatch()
            self._send_packet(upstream, node)
        except BlockingIOError:
            self.watch(upstream, 2, self._on_connected)
        except OSError as error:
            self.connect_failed(node, error)

    def connect_failed(self, node: Node, error: OSError) -> None:
        """Mark the node and try another one."""
        if error.errno in _OUT_OF_DESCRIPTORS:
            self.fail(Cause.OVERLOAD, os.strerror(error.errno))
            return
        self.router.connect_failed(node, error, self.attempts - 1)
        cause = Cause.CONNECT_TIMEOUT if error.errno == errno.ETIMEDOUT else Cause.CONNECT_FAILED
        self._try_another(node, cause, error.strerror or str(error))

    def _try_another(self, node: Node, cause: Cause, detail: str) -> None:
        """Leave ``node``; another one within ``fastrouter-max-retries``, else the failure answer for ``cause``."""
        self._leave_node()
        if self.tried is None:
            self.tried = []
        self.tried.append(node)
        self._cut = None
        self.why = (cause, detail)
        if self.attempts > self.router.max_retries:
            self.fail(cause, detail)
            return
        # Looked up anew: the slot of the first attempt may be gone, and another one stand in its place.
        seek(self, self.look())

    def _leave_node(self) -> None:
        """Close the node's side and release its in-flight count, once."""
        if self.watcher is not None:
            self.unwatch()
        if self.down is not None:
            self.down.stop()
            self.down = None
        if self.up is not None:
            self.up.stop()
            self.up = None
        if self.body is not None:
            self.body.stop_upload()
        if self.upstream is not None:
            if self.phase is _ADOPTED:
                self.router.adoptions.forget(self.upstream.fileno())
            self.upstream.close()
            self.upstream = None
            assert self.node is not None
            self.router.inflight[self.node.id] -= 1
            if self.choice is not None:
                self.choice.released(self.node)

    def _send_packet(self, upstream: Stream, node: Node) -> None:
        """The first bytes to the node. Raises BlockingIOError while it is not connected, OSError when it failed."""
        router = self.router
        data = self.packet
        routed = self.routed
        modifier1, modifier2 = node.modifiers
        if self.lent is not None:
            modifier1, modifier2 = self.lent
        elif routed is not None and routed.exchange.chosen is not None:
            modifier1, modifier2 = routed.exchange.chosen
        if routed is not None and routed.speaks_otherwise:
            data = routed.opening(data)
        elif (data[0] != modifier1 or data[3] != modifier2) and (modifier1 or modifier2 or not router.keep_modifiers):
            data = bytes((modifier1, data[1], data[2], modifier2)) + data[4:]
        heading = self.choice.header(self, node) if self.choice is not None else b""
        if upstream.family == _UNIX and router.ticks >= node.pass_after and not heading and self._may_pass(data, node):
            sent = self._send_with_client(upstream, data)
        else:
            sent = upstream.send(data, _FLAGS)
            self.passed = False
        router.cells[_RX] += len(data)
        self.phase = _WAIT
        if routed is not None and routed.sees_response:
            down: Pump = routed.filter(upstream, heading)
            heading = b""
        else:
            down = Pump(router.loop, router.relay, self, upstream, self.client)
        self.down = down
        # Not while a body is sent: an end may be a reset then, which the client must be told as one.
        down.hasty = not self.left and self.body is None and self.client.family != _UNIX
        if heading:
            self.watch(upstream, 1, Heading(self, down, upstream, heading).on_readable)
        elif routed is not None:
            routed.start(down)
            if self.down is not down:
                return  # rules have ended it
        else:
            down.start()
        if self.body is not None and self.body.spool is not None:
            if not node.address.is_unix:
                no_delay(upstream)
            router.cells[_RX] += self.body.spool.length
            self.body.start_upload(upstream, data[sent:])
        elif self.left or sent < len(data):
            self._start_up(upstream, data[sent:])
        else:
            router.watch_later(self)

    def _send_with_client(self, upstream: Stream, data: bytes) -> int:
        self.passed = True
        try:
            return send_with(upstream, data, self.client.fileno(), _FLAGS)
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:
                raise
        # Too many descriptors of our user are on their way to nodes that have not accepted: no fault of this one.
        self.passed = False
        return upstream.send(data, _FLAGS)

    def _may_pass(self, data: bytes, node: Node) -> bool:
        """Whether the node may have the client's descriptor: nothing of the request is still to come.

        One that answered by itself before is not asked again on behalf of a client on a unix socket: of such a
        client the kernel does not tell whether the node spoke to it, so its silence could mean two things.
        """
        if self.left or self.body is not None or not self.router.passes_descriptors or self.routed is not None:
            return False
        if node.pass_after and self.client.family == _UNIX:
            return False
        return data.find(b"HTTP_TRANSFER_ENCODING") < 0

    def _start_up(self, upstream: Stream, pending: bytes) -> None:
        if self.node is not None and not self.node.address.is_unix:
            no_delay(upstream)
        self.up = Pump(self.router.loop, self.router.relay, self, self.client, upstream)
        self.up.start(pending)

    def watch_client(self) -> None:
        """See what a client does that has said all it has to say: it may go away, or speak after all.

        Called a moment after the packet went out, so that a request that is answered at once never pays for it.
        """
        if self.up is None and self.upstream is not None and self.down is not None and not self._uploads():
            self._start_up(self.upstream, b"")

    # -- what the pumps tell ------------------------------------------------------------------------------------

    def moved(self, pump: Pump, count: int) -> None:
        """Bytes were read: body from the client, or response from the node."""
        cells = self.router.cells
        if pump is self.down:
            cells[_TX] += count
            if self.routed is not None:
                self.routed.passed(pump, count)
            if self.phase is _WAIT:
                self.phase = _RELAY
                cells[_ANSWERED] += 1
                self.packet = b""
                if self.node is not None and self.node.state is _UNCONFIRMED:
                    self.router.confirmed(self.node)
                if self.passed and self.node is not None:
                    # The kernel dropped the descriptor: do not offer it each time.
                    self.passed = False
                    self.node.pass_after = self.router.ticks + ASK_AGAIN
                if self.body is not None:
                    self.body.answered()
            return
        cells[_RX] += count
        self.left = self.left - count if self.left >= count else STREAMING

    def awaited(self, pump: Pump) -> int:
        """Bytes that the source still sends for sure, WHOLE if its end comes behind them, 0 if nobody knows."""
        return WHOLE if pump is self.down else max(0, self.left)

    def ended(self, pump: Pump) -> None:
        """One side ended and all of it was passed on."""
        if pump is not self.down:
            self._client_ended()
        elif self._cut is not None:
            self.source_failed(pump, self._cut)
        elif self._uploads() and self.upstream is not None and hung_up(self.upstream):
            # It cannot have read it all: a reset, which sendfile(2) keeps to itself once it has sent something.
            self.source_failed(pump, OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
        elif self.phase is _WAIT:
            if self.passed:
                let_go(self)
            else:
                self.no_answer(Cause.NODE_CLOSED, "")
        else:
            self._node_ended()

    def source_failed(self, pump: Pump, error: OSError) -> None:
        """A reset met while reading."""
        if pump is not self.down:
            self.client_gone()
        elif self.phase is _WAIT:
            if self.passed and hung_up(self.client):
                self.client_gone()
            elif self.passed and may_have_begun(self):
                # The node had adopted the client, and died so soon that its word was not heard.
                self.abort(Cause.NODE_RESET, error.strerror or str(error))
            else:
                self.no_answer(Cause.NODE_RESET, error.strerror or str(error))
        elif self._with_body or self._owes_body() or self._cut is not None:
            # A node that closes with body unread resets: an early answer. It was passed on; let the client read it.
            self._linger(_LINGER_RESET)
        else:
            self.abort(Cause.NODE_RESET, error.strerror or str(error))

    def sink_failed(self, pump: Pump, error: OSError) -> None:
        """A write met a peer that is gone. A node that reads no more may still have answered."""
        down = self.down
        if pump is down or down is None:
            self.client_gone()
        elif down.flow is _ENDED:
            self._linger(_LINGER)
        else:
            if error.errno == errno.ECONNRESET:
                self._cut = error
            pump.discard()

    def _uploads(self) -> bool:
        return self.body is not None and self.body.upload is not None

    def upload_ended(self) -> None:
        """The node took all of a buffered body."""
        self.router.watch_later(self)

    def upload_failed(self, error: OSError) -> None:
        """The node takes no more of a buffered body; it may have answered, its own direction tells."""
        self._cut = error

    # -- ends ---------------------------------------------------------------------------------------------------

    def _owes_body(self) -> bool:
        """Whether the client has, or may have, more to send than the node took."""
        if self.phase is _BODY:
            return True
        up = self.up
        if up is None:
            return self.left != 0
        if up.flow is _ENDED:
            return False
        return self.left != 0 or up.held > 0 or up.flow is _DISCARDING

    def _client_ended(self) -> None:
        """Pass the end of the client's direction on."""
        down = self.down
        if down is None and (self.is_reading() or self.phase is _ANSWER):
            return  # expire() closes it, or whoever answers
        if down is None or down.flow is _ENDED:
            self.close()
        elif self.upstream is not None:
            try:
                self.upstream.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the node is gone already: its own direction tells

    def _node_ended(self) -> None:
        """Pass the end of the response on; the session lasts while the client still has something to send."""
        up = self.up
        if up is not None and up.flow is _DISCARDING:
            self._linger(_LINGER)
        elif not self._owes_body():
            self.close()
        else:
            self.watch_client()
            try:
                self.client.shutdown(socket.SHUT_WR)
            except OSError:
                self.client_gone()

    def no_answer(self, cause: Cause, detail: str) -> None:
        """The node ended before its first byte: another one, if the request may be sent twice."""
        if not self._client_has_ended():
            self.router.faulty(self.node)  # a node that gives up since its client did is none
        if self.node is not None and self._may_repeat():
            self._try_another(self.node, cause, detail)
        else:
            self.fail(cause, detail)

    def _client_has_ended(self) -> bool:
        up = self.up
        return up is not None and up.flow in (Flow.ENDING, Flow.ENDED)

    def _may_repeat(self) -> bool:
        """An idempotent request (RFC 9110, 9.2.2) whose body is empty, or here to be sent again."""
        if self.left > 0 or self.left == STREAMING or len(self.packet) != self._end:
            return False
        return self.variable(b"REQUEST_METHOD") in IDEMPOTENT

    def variable(self, name: bytes) -> bytes:
        """A variable of the packet, the last one of its name; for failures only, it reads the whole block."""
        try:
            size = 4 + self.packet[1] + (self.packet[2] << 8)
            return dict(decode_vars(self.packet[:size])).get(name, b"")
        except (ProtocolError, IndexError):
            return b""

    def fail(self, cause: Cause, detail: str = "") -> None:
        """Give the client the failure answer for ``cause`` and end the session. No response byte was sent before."""
        owes = self._owes_body()
        if self.phase in FINDING:
            self.router.ask_no_more(self)
        self.router.failed(self, cause, detail, self.node, self.attempts)
        self._leave_node()
        if self.body is not None:
            self.body.close()
        if self.routed is not None and self.phase is not _ANSWER:
            self.phase = _ANSWER
            self.packet = b""
            self.routed.fail(cause, detail, owes)
            return
        if self.router.error_pages:
            try:
                self.client.send(encode_answer(cause, self.variable(b"REQUEST_METHOD") == b"HEAD"), _FLAGS)
            except OSError:
                owes = False  # it did not wait for the answer
        self.packet = b""
        if self.passed:
            self._hang_up()
        if owes and self.router.error_pages:
            self._linger(_LINGER)
        else:
            self.close()

    def begin_answer(self) -> bool:
        """An answer of our own follows, and no node; whether the client owes a body."""
        owes = self._owes_body()
        self._leave_node()
        self.phase = _ANSWER
        return owes

    def take_body(self) -> None:
        """The answer takes a while: read what the client still sends, who may not read before all of it is sent."""
        self.up = Pump(self.router.loop, self.router.relay, self, self.client, self.client)
        self.up.discard()

    def end_answer(self, owes: bool) -> None:
        """It is out."""
        if owes:
            self._linger(_LINGER)
        else:
            self.close()

    def tell_failure(self, cause: Cause, detail: str) -> None:
        """The answer that the client gets is one for ``cause``, made elsewhere."""
        self.router.failed(self, cause, detail, self.node, self.attempts)

    def _hang_up(self) -> None:
        """End the connection, and not only our descriptor of it: one that nobody reads may be on its way to a node."""
        try:
            self.client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it is gone

    def _linger(self, phase: Phase) -> None:
        """Let the client read its answer: closing with its body unread would reset the connection under it."""
        self._leave_node()
        self.phase = phase
        if phase is _LINGER_RESET and not self.left and not unsent(self.client):
            self.close()  # it has its answer and owes nothing
            return
        self.silence = 0
        self.deadline = self.router.ticks + LINGER_TOTAL
        if phase is _LINGER:
            try:
                self.client.shutdown(socket.SHUT_WR)
            except OSError:
                self.close()
                return
        self.take_body()

    def leave_for_node(self) -> None:
        """The node has adopted the client: of its connection only the end is of interest from now on."""
        for pump in (self.down, self.up):
            if pump is not None:
                pump.stop()
        self.down = self.up = None
        self.phase = _ADOPTED

    def node_done(self) -> None:
        """A node that adopted our client closed its connection."""
        end_adoption(self)

    def is_reading(self) -> bool:
        """Whether a client that will be reset has yet to read its answer; a reset would take the rest of it away."""
        return self.phase is _LINGER_RESET and unsent(self.client)

    def missing(self) -> int:
        """Bytes of a buffered body that did not come yet."""
        return self.body.left if self.body is not None else 0

    def expire(self) -> None:
        """Called each second for a session that is silent for long, or lingers: give up what took too long."""
        expire(self)

    def client_gone(self) -> None:
        self.router.cells[Counter.CLIENT_GONE] += 1
        self.close()

    def abort(self, cause: Cause, detail: str) -> None:
        """A response that cannot be completed must not look complete: reset the client's connection."""
        self.router.aborted(self, cause, detail, self.node, self.attempts)
        self.drop()

    def drop(self) -> None:
        """The same for a failure that is told already."""
        self._reset_client()
        self.close()

    def _reset_client(self) -> None:
        try:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        except OSError:
            pass  # it is closed by the peer: nothing to reset

    def close(self) -> None:
        """End the session: every watcher, descriptor and count it has goes now."""
        if self.phase is _CLOSED:
            return
        if self.phase is _LINGER_RESET:
            self._reset_client()
        elif self.phase is _MAP or self.phase is _QUEUE or self.phase is _WAKE or self.phase is _RULES:
            self.router.ask_no_more(self)
        self._leave_node()
        self.phase = _CLOSED
        if self.body is not None:
            self.body.close()
        self.client.close()
        if self.routed is not None:
            self.routed.over()
        self.router.closed(self)

    def abandon(self, cause: Cause) -> None:
        """Give up at once (a bug, a fast stop): an answer if none was begun, a reset of one that was."""
        phase = self.phase
        try:
            if self.routed is not None and phase not in (_LINGER, _LINGER_RESET, _CLOSED):
                self.routed.abandon(cause)
            elif phase is _RELAY:
                self.abort(cause, "")
            elif phase in (_CONNECT, _WAIT, _BODY, *FINDING) or (phase is _PACKET and self.packet):
                self.fail(cause)
        finally:
            self.close()

    def watch(self, sock: Stream, events: int, handler: Callable[[], None]) -> None:
        if self.watcher is None:
            self.watcher = self.router.loop.io(sock.fileno(), events)
            self.watcher.start(handler)

    def unwatch(self) -> None:
        if self.watcher is not None:
            self.watcher.stop()
            self.watcher = None
