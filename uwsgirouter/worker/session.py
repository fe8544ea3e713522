"""A session: the life of one downstream connection, from its packet to its last byte.

One idea: a state machine whose inputs are the loop's watchers; each handler tries the system calls first, moves to the
next phase, and returns. It knows the registry only as "a slot for this key" and a node as an address with modifiers;
it must not know how nodes are found, balanced or announced. Nothing here waits or yields.

Phases: PACKET -> CONNECT -> WAIT -> RELAY, and LINGER after an answer whose client may still be sending.
Invariants: a node's in-flight count is held exactly while ``_upstream`` is; each descriptor is closed exactly once, in
:meth:`Session.close` or :meth:`Session._leave_node`; once a response byte is out, no answer of our own follows.
See docs/life-of-a-request.md.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from enum import Enum
from struct import pack
from typing import TYPE_CHECKING, Any

from uwsgirouter.errors import ProtocolError
from uwsgirouter.model.counters import Counter
from uwsgirouter.protocol.answers import Cause, encode_answer
from uwsgirouter.protocol.packet import LENGTH_UNKNOWN, decode_vars, scan
from uwsgirouter.worker.relay import Flow, Pump, no_delay, unsent
from uwsgirouter.worker.streams import Stream, dial

if TYPE_CHECKING:
    from uwsgirouter.model.node import Node
    from uwsgirouter.worker.router import Router

PACKET_READ = 65536
LINGER_SILENCE = 2
"""Seconds without a byte after which a client that still owes us its body is let go."""
LINGER_TOTAL = 30
"""Seconds after which it is let go anyhow."""
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))

STREAMING = -2
"""Bytes were passed on that no CONTENT_LENGTH announced: more may come, and the request cannot be repeated."""

_OUT_OF_DESCRIPTORS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_DONTWAIT = int(socket.MSG_DONTWAIT)
_FLAGS = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_RESET_ON_CLOSE = pack("ii", 1, 0)
_REQUESTS = int(Counter.REQUESTS)
_ANSWERED = int(Counter.ANSWERED)
_RX = int(Counter.RX)
_TX = int(Counter.TX)


class Phase(Enum):
    """Where a session is."""

    PACKET = "reading the packet"
    CONNECT = "connecting to a node"
    WAIT = "waiting for the first byte"
    RELAY = "relaying the response"
    LINGER = "answered; the client may still be sending"
    LINGER_RESET = "as LINGER, to be closed by a reset"
    CLOSED = "closed"


# An enum's member costs a look-up through its metaclass each time; a global costs next to nothing.
_PACKET, _CONNECT, _WAIT, _RELAY = Phase.PACKET, Phase.CONNECT, Phase.WAIT, Phase.RELAY
_LINGER, _LINGER_RESET, _CLOSED = Phase.LINGER, Phase.LINGER_RESET, Phase.CLOSED
_ENDED, _DISCARDING = Flow.ENDED, Flow.DISCARDING


class Session:
    """One downstream connection. :meth:`start` begins it, :meth:`close` ends it; the watchers do the rest."""

    __slots__ = (
        "_attempts",
        "_cut",
        "_down",
        "_end",
        "_left",
        "_node",
        "_packet",
        "_tried",
        "_up",
        "_upstream",
        "_watcher",
        "client",
        "deadline",
        "key",
        "phase",
        "router",
        "silence",
    )

    def __init__(self, router: Router, client: Stream) -> None:
        self.router = router
        self.client = client
        self.phase = _PACKET
        self.silence = 0
        """Seconds since the last byte in either direction, counted by the router's clock."""
        self.key = b""
        self._packet = b""
        """What was read of the packet, and body bytes that came with it; kept until a node begins to answer."""
        self._end = 0
        self._left = LENGTH_UNKNOWN
        """Body bytes still to come from the client; below 0 when nobody knows (LENGTH_UNKNOWN, STREAMING)."""
        self._node: Node | None = None
        """The node in use, or the last one tried."""
        self._upstream: Stream | None = None
        self._tried: list[Node] | None = None
        self._attempts = 0
        self._watcher: Any = None
        self._up: Pump | None = None
        self._down: Pump | None = None
        self._cut: OSError | None = None
        """The reset that a write to the node met: the kernel tells it once, and a read then meets a clean end."""
        self.deadline = 0
        """The router's tick at which a lingering session ends, whatever its client does; 0: it does not linger."""

    # -- the packet ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, or go on: the packet has usually arrived with the connection."""
        scratch = self.router.scratch
        try:
            count = self.client.recv_into(scratch, PACKET_READ, _DONTWAIT)
        except BlockingIOError:
            self._watch(self.client, 1, self.start)
            return
        except OSError:
            self._client_gone()
            return
        self.silence = 0
        if not count:
            self._packet_cut()
            return
        data = scratch[:count].tobytes()
        if self._packet:
            data = self._packet + data
        self._packet = data
        if len(data) >= 4:
            end = 4 + data[1] + (data[2] << 8)
            if len(data) >= end:
                self._route(data, end)
                return
        self._watch(self.client, 1, self.start)

    def _packet_cut(self) -> None:
        """The client ended before its packet did. One that sent nothing only looked whether we are here."""
        if not self._packet:
            self.close()
            return
        self._left = 0
        self.fail(Cause.BAD_PACKET, f"the client ended after {len(self._packet)} bytes")

    def _route(self, data: bytes, end: int) -> None:
        router = self.router
        router.cells[_REQUESTS] += 1
        self._end = end
        if self._watcher is not None:
            self._unwatch()
        try:
            key, length, upgrade = scan(data, end)
        except ProtocolError as error:
            self.fail(Cause.BAD_PACKET, str(error))
            return
        if length >= 0 and not upgrade:
            came = len(data) - end
            self._left = length - came if length >= came else STREAMING
        if not key:
            self.fail(Cause.NO_KEY)
            return
        self.key = key
        slot = router.find(key)
        node = (slot.next() or slot.next_except(())) if slot is not None else None
        if node is None:
            self.fail(Cause.NO_NODE)
        else:
            self._dial(node)

    # -- a node -------------------------------------------------------------------------------------------------

    def _dial(self, first: Node) -> None:
        """Try ``first``, then other candidates, until one takes the packet or is being waited for."""
        node: Node | None = first
        while node is not None:
            self._attempts += 1
            self._node = node
            self.phase = _CONNECT
            try:
                self._attempt(node)
                return
            except BlockingIOError:
                assert self._upstream is not None
                self._watch(self._upstream, 2, self._on_connected)
                return
            except OSError as error:
                node = self._after_failed_connect(node, error)

    def _attempt(self, node: Node) -> None:
        """Raises BlockingIOError while the connection is being made, OSError when it cannot be."""
        upstream = dial(node.family)
        self._upstream = upstream
        self.router.inflight[node.id] += 1
        code = upstream.connect_ex(node.sockaddr)
        if code == errno.EAGAIN:
            # Not as EAGAIN, which would be a BlockingIOError: nothing is under way that could be waited for.
            raise OSError(errno.ECONNREFUSED, "the backlog is full")
        if code and code != errno.EINPROGRESS:
            raise OSError(code, os.strerror(code))
        self._send_packet(upstream, node)

    def _on_connected(self) -> None:
        upstream, node = self._upstream, self._node
        assert upstream is not None and node is not None
        self.silence = 0
        try:
            code = upstream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            self._unwatch()
            self._send_packet(upstream, node)
        except BlockingIOError:
            self._watch(upstream, 2, self._on_connected)
        except OSError as error:
            self._redial(self._after_failed_connect(node, error))

    def _redial(self, node: Node | None) -> None:
        if node is not None:
            self._dial(node)

    def _after_failed_connect(self, node: Node, error: OSError) -> Node | None:
        """Mark the node; the next candidate, or None: then the client has its failure answer."""
        if error.errno in _OUT_OF_DESCRIPTORS:
            self.fail(Cause.OVERLOAD, os.strerror(error.errno))
            return None
        self.router.connect_failed(node, error, self._attempts - 1)
        following = self._next_candidate(node)
        if following is None:
            cause = Cause.CONNECT_TIMEOUT if error.errno == errno.ETIMEDOUT else Cause.CONNECT_FAILED
            self.fail(cause, error.strerror or str(error))
        return following

    def _next_candidate(self, node: Node) -> Node | None:
        """Leave ``node`` and choose another, within ``fastrouter-max-retries``."""
        self._leave_node()
        if self._tried is None:
            self._tried = []
        self._tried.append(node)
        self._cut = None
        if self._attempts > self.router.max_retries:
            return None
        # Looked up anew: the slot of the first attempt may be gone, and another one stand in its place.
        slot = self.router.find(self.key)
        following = slot.next_except(self._tried) if slot is not None else None
        if following is not None:
            self.router.cells[Counter.RETRIES] += 1
        return following

    def _leave_node(self) -> None:
        """Close the node's side and release its in-flight count, once."""
        if self._watcher is not None:
            self._unwatch()
        if self._down is not None:
            self._down.stop()
            self._down = None
        if self._up is not None:
            self._up.stop()
            self._up = None
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None
            assert self._node is not None
            self.router.inflight[self._node.id] -= 1

    def _send_packet(self, upstream: Stream, node: Node) -> None:
        """The first bytes to the node. Raises BlockingIOError while it is not connected, OSError when it failed."""
        router = self.router
        data = self._packet
        modifier1, modifier2 = node.modifiers
        if (data[0] != modifier1 or data[3] != modifier2) and (modifier1 or modifier2 or not router.keep_modifiers):
            data = bytes((modifier1, data[1], data[2], modifier2)) + data[4:]
        sent = upstream.send(data, _FLAGS)
        router.cells[_RX] += len(data)
        self.phase = _WAIT
        down = self._down = Pump(router.loop, router.relay, self, upstream, self.client)
        down.start()
        if self._left or sent < len(data):
            self._start_up(upstream, data[sent:])
        else:
            router.watch_later(self)

    def _start_up(self, upstream: Stream, pending: bytes) -> None:
        if self._node is not None and not self._node.address.is_unix:
            no_delay(upstream)
        self._up = Pump(self.router.loop, self.router.relay, self, self.client, upstream)
        self._up.start(pending)

    def watch_client(self) -> None:
        """See what a client does that has said all it has to say: it may go away, or speak after all.

        Called a moment after the packet went out, so that a request that is answered at once never pays for it.
        """
        if self._up is None and self._upstream is not None and self._down is not None:
            self._start_up(self._upstream, b"")

    # -- what the pumps tell ------------------------------------------------------------------------------------

    def moved(self, pump: Pump, count: int) -> None:
        """Bytes were read: body from the client, or response from the node."""
        cells = self.router.cells
        if pump is self._down:
            cells[_TX] += count
            if self.phase is _WAIT:
                self.phase = _RELAY
                cells[_ANSWERED] += 1
                self._packet = b""
            return
        cells[_RX] += count
        self._left = self._left - count if self._left >= count else STREAMING

    def ended(self, pump: Pump) -> None:
        """One side ended and all of it was passed on."""
        if pump is not self._down:
            self._client_ended()
        elif self._cut is not None:
            self.source_failed(pump, self._cut)
        elif self.phase is _WAIT:
            self._no_answer(Cause.NODE_CLOSED, "")
        else:
            self._node_ended()

    def source_failed(self, pump: Pump, error: OSError) -> None:
        """A reset met while reading."""
        if pump is not self._down:
            self._client_gone()
        elif self.phase is _WAIT:
            self._no_answer(Cause.NODE_RESET, error.strerror or str(error))
        elif self._owes_body():
            # A node that closes with body unread resets: an early answer. It was passed on; let the client read it.
            self._linger(_LINGER_RESET)
        else:
            self._abort(Cause.NODE_RESET, error.strerror or str(error))

    def sink_failed(self, pump: Pump, error: OSError) -> None:
        """A write met a peer that is gone. A node that reads no more may still have answered."""
        down = self._down
        if pump is down or down is None:
            self._client_gone()
        elif down.flow is _ENDED:
            self._linger(_LINGER)
        else:
            if error.errno == errno.ECONNRESET:
                self._cut = error
            pump.discard()

    # -- ends ---------------------------------------------------------------------------------------------------

    def _owes_body(self) -> bool:
        """Whether the client has, or may have, more to send than the node took."""
        up = self._up
        if up is None:
            return self._left != 0
        if up.flow is _ENDED:
            return False
        return self._left != 0 or up.held > 0 or up.flow is _DISCARDING

    def _client_ended(self) -> None:
        """Pass the end of the client's direction on."""
        down = self._down
        if down is None and self._is_reading():
            return  # expire() closes it
        if down is None or down.flow is _ENDED:
            self.close()
        elif self._upstream is not None:
            try:
                self._upstream.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the node is gone already: its own direction tells

    def _node_ended(self) -> None:
        """Pass the end of the response on; the session lasts while the client still has something to send."""
        up = self._up
        if up is not None and up.flow is _DISCARDING:
            self._linger(_LINGER)
        elif not self._owes_body():
            self.close()
        else:
            self.watch_client()
            try:
                self.client.shutdown(socket.SHUT_WR)
            except OSError:
                self._client_gone()

    def _no_answer(self, cause: Cause, detail: str) -> None:
        """The node ended before its first byte: another one, if the request may be sent twice."""
        node = self._node
        assert node is not None
        if self._may_repeat():
            following = self._next_candidate(node)
            if following is not None:
                self.router.repeated(self, node, cause)
                self._dial(following)
                return
        self.fail(cause, detail)

    def _may_repeat(self) -> bool:
        """An idempotent request of which no body byte was passed on (RFC 9110, 9.2.2)."""
        if self._left > 0 or self._left == STREAMING or len(self._packet) != self._end:
            return False
        return self._variable(b"REQUEST_METHOD") in IDEMPOTENT

    def _variable(self, name: bytes) -> bytes:
        """A variable of the packet, the last one of its name; for failures only, it reads the whole block."""
        try:
            return dict(decode_vars(self._packet[: self._end])).get(name, b"")
        except ProtocolError:
            return b""

    def fail(self, cause: Cause, detail: str = "") -> None:
        """Give the client the failure answer for ``cause`` and end the session. No response byte was sent before."""
        owes = self._owes_body()
        self.router.failed(self, cause, detail, self._node, self._attempts)
        self._leave_node()
        if self.router.error_pages:
            try:
                self.client.send(encode_answer(cause, self._variable(b"REQUEST_METHOD") == b"HEAD"), _FLAGS)
            except OSError:
                owes = False  # it did not wait for the answer
        self._packet = b""
        if owes and self.router.error_pages:
            self._linger(_LINGER)
        else:
            self.close()

    def _linger(self, phase: Phase) -> None:
        """Let the client read its answer: closing with its body unread would reset the connection under it."""
        self._leave_node()
        self.phase = phase
        self.silence = 0
        self.deadline = self.router.ticks + LINGER_TOTAL
        if phase is _LINGER:
            try:
                self.client.shutdown(socket.SHUT_WR)
            except OSError:
                self.close()
                return
        self._up = Pump(self.router.loop, self.router.relay, self, self.client, self.client)
        self._up.discard()

    def _is_reading(self) -> bool:
        """Whether a client that will be reset has yet to read its answer; a reset would take the rest of it away."""
        return self.phase is _LINGER_RESET and unsent(self.client)

    def expire(self) -> None:
        """Called each second for a session that is silent for long, or lingers: give up what took too long."""
        router = self.router
        phase = self.phase
        if phase is _LINGER or phase is _LINGER_RESET:
            if router.ticks >= self.deadline or (self.silence > LINGER_SILENCE and not self._is_reading()):
                self.close()
        elif phase is _CONNECT:
            if self.silence > router.connect_timeout and self._node is not None:
                error = OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
                self.silence = 0
                self._redial(self._after_failed_connect(self._node, error))
        elif phase is _PACKET and not self._packet and router.idle is not None:
            # It connected and has said nothing for a second or two: no reason to hold up a worker that drains.
            self.close()
        elif self.silence > router.timeout:
            self._expire_silent(phase)

    def _expire_silent(self, phase: Phase) -> None:
        if phase is _PACKET:
            if self._packet:
                self.fail(Cause.CLIENT_TIMEOUT, f"{len(self._packet)} bytes of the packet came")
            else:
                self.close()
        elif phase is _RELAY:
            self._abort(Cause.IDLE_TIMEOUT, "")
        elif self._left > 0 and self._up is not None and not self._up.held:
            self.fail(Cause.CLIENT_TIMEOUT, f"{self._left} bytes of the body did not come")
        else:
            self.fail(Cause.FIRST_BYTE_TIMEOUT)

    def _client_gone(self) -> None:
        self.router.cells[Counter.CLIENT_GONE] += 1
        self.close()

    def _abort(self, cause: Cause, detail: str) -> None:
        """A response that cannot be completed must not look complete: reset the client's connection."""
        self.router.aborted(self, cause, detail, self._node, self._attempts)
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
        self.phase = _CLOSED
        self._leave_node()
        self.client.close()
        self.router.closed(self)

    def abandon(self, cause: Cause) -> None:
        """Give up at once (a bug, a fast stop): an answer if none was begun, a reset of one that was."""
        phase = self.phase
        try:
            if phase is _RELAY:
                self._abort(cause, "")
            elif phase is _CONNECT or phase is _WAIT or (phase is _PACKET and self._packet):
                self.fail(cause)
        finally:
            self.close()

    def _watch(self, sock: Stream, events: int, handler: Callable[[], None]) -> None:
        if self._watcher is None:
            self._watcher = self.router.loop.io(sock.fileno(), events)
            self._watcher.start(handler)

    def _unwatch(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None
