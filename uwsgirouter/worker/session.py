"""A session: the life of one downstream connection, from its search for a node to its last byte.

One idea: a state machine whose inputs are the loop's watchers; each handler tries the system calls first, moves to the
next phase, and returns. Here is what every request does: a node is found, connected to, sent the packet, its response
relayed, the session closed. What few do stands beside, in functions over a session: finding another node (seeking.py,
retrying.py), ends of one side (halves.py), early ends (ending.py), waiting too long (patience.py), descriptor passing
(adoption.py). It knows the registry only as "a slot for this key" and a node as an address with modifiers; it must not
know how nodes are found, balanced or announced. Nothing here waits or yields.

Phases: PACKET -> CONNECT -> WAIT -> RELAY, and LINGER after an answer whose client may still be sending. Before CONNECT
there may be BODY (it is buffered) and MAP (it is being found out who serves the key); instead of RELAY, ADOPTED.
Invariants: a node's in-flight count is held exactly while ``upstream`` is; each descriptor is closed exactly once, in
:meth:`Session.close` or :meth:`Session.leave_node`. See docs/life-of-a-request.md.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from uwsgirouter.model.counters import Counter
from uwsgirouter.model.node import State
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.worker import ending, halves
from uwsgirouter.worker.adoption import answered_itself, end_adoption, may_adopt, offer
from uwsgirouter.worker.gathering import WHOLE
from uwsgirouter.worker.heading import Heading
from uwsgirouter.worker.measured import Measured
from uwsgirouter.worker.pacing import LARGE, unpaced
from uwsgirouter.worker.patience import expire
from uwsgirouter.worker.phases import Phase
from uwsgirouter.worker.relay import Pump
from uwsgirouter.worker.retrying import connect_failed, withdraw
from uwsgirouter.worker.seeking import Overfull, mapped, wake
from uwsgirouter.worker.state import STREAMING, SessionState
from uwsgirouter.worker.streams import Stream, dial, no_delay

if TYPE_CHECKING:
    from uwsgirouter.mappers.base import Candidates
    from uwsgirouter.model.node import Node

_UNIX = int(socket.AF_UNIX)
_EAGAIN, _EINPROGRESS = errno.EAGAIN, errno.EINPROGRESS
_FLAGS = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_ANSWERED = int(Counter.ANSWERED)
_RX = int(Counter.RX)
_TX = int(Counter.TX)

# An enum's member costs a look-up through its metaclass each time; a global costs next to nothing.
_CONNECT, _WAIT, _RELAY, _CLOSED = Phase.CONNECT, Phase.WAIT, Phase.RELAY, Phase.CLOSED
_RULES, _MAP, _QUEUE, _WAKE = Phase.RULES, Phase.MAP, Phase.QUEUE, Phase.WAKE
_ADOPTED, _LINGER_RESET = Phase.ADOPTED, Phase.LINGER_RESET
_UNCONFIRMED = State.UNCONFIRMED


class Session(SessionState):
    """One downstream connection. :meth:`dial` gives it to a node, :meth:`close` ends it; the watchers do the rest."""

    __slots__ = ()

    # -- a node -------------------------------------------------------------------------------------------------

    def dial(self, node: Node) -> None:
        """Connect and send the packet; go on to another node when that fails."""
        self.attempts += 1
        self.node = node
        self.phase = _CONNECT
        if self.record is not None:
            self.record.dial(node)
        try:
            self._attempt(node)
        except BlockingIOError:
            assert self.upstream is not None
            self.watch(self.upstream, 2, self._on_connected)
        except Overfull:
            withdraw(self, node)
        except OSError as error:
            connect_failed(self, node, error)

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
            connect_failed(self, node, error)

    def leave_node(self) -> None:
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
            if self.record is not None and self.router.observer is not None:
                self.router.observer.left(self)
            if self.phase is _ADOPTED:
                self.router.adoptions.forget(self.upstream.fileno())
            self.upstream.close()
            self.upstream = None
            assert self.node is not None
            self.router.inflight[self.node.id] -= 1
            if self.choice is not None:
                self.choice.released(self.node)

    # -- the packet ---------------------------------------------------------------------------------------------

    def _send_packet(self, upstream: Stream, node: Node) -> None:
        """The first bytes to the node. Raises BlockingIOError while it is not connected, OSError when it failed."""
        router = self.router
        data = self._opening(node)
        heading = self.choice.header(self, node) if self.choice is not None else b""
        if upstream.family == _UNIX and router.ticks >= node.pass_after and not heading and may_adopt(self, node):
            sent = offer(self, upstream, data)
        else:
            sent = upstream.send(data, _FLAGS)
            self.passed = False
        router.cells[_RX] += len(data)
        if self.record is not None:
            self.record.sent(len(data))
        self.phase = _WAIT
        if not self._await_response(upstream, heading):
            return
        if self.body is not None and self.body.spool is not None:
            self.body.start_upload(upstream, data[sent:])
        elif self.left or sent < len(data):
            self._start_up(upstream, data[sent:])
        else:
            router.watch_later(self)

    def _opening(self, node: Node) -> bytes:
        """What goes to the node first: the packet, with the node's modifiers."""
        data, routed = self.packet, self.routed
        modifier1, modifier2 = node.modifiers
        if routed is not None and routed.exchange.chosen is not None:
            modifier1, modifier2 = routed.exchange.chosen
        elif self.lent is not None:
            modifier1, modifier2 = self.lent
        if routed is not None and routed.speaks_otherwise:
            return routed.opening(data)
        if (data[0] != modifier1 or data[3] != modifier2) and (
            modifier1 or modifier2 or not self.router.keep_modifiers
        ):
            return bytes((modifier1, data[1], data[2], modifier2)) + data[4:]
        return data

    def _await_response(self, upstream: Stream, heading: bytes) -> bool:
        """Begin to read the response, ``heading`` to be put into its head. False: rules have ended it already."""
        routed = self.routed
        if routed is not None and routed.sees_response:
            down: Pump = routed.filter(upstream, heading)
            heading = b""
        else:
            down = Pump(self.router.loop, self.router.relay, self, upstream, self.client)
        self.down = down
        # Not while a body is sent: an end may be a reset then, which the client must be told as one.
        down.hasty = not self.left and self.body is None and self.client.family != _UNIX
        if heading:
            self.watch(upstream, 1, Heading(self, down, upstream, heading).on_readable)
        elif routed is not None:
            routed.start(down)
            return self.down is down
        else:
            down.start()
        return True

    def _start_up(self, upstream: Stream, pending: bytes) -> None:
        if upstream.family != _UNIX:
            no_delay(upstream)
        if self.routed is not None and self.routed.measures_body:
            self.up = Measured(self, upstream)
        else:
            self.up = Pump(self.router.loop, self.router.relay, self, self.client, upstream)
        self.up.start(pending)

    def watch_client(self) -> None:
        """See what a client does that has said all it has to say: it may go away, or speak after all.

        Called a moment after the packet went out, so that a request that is answered at once never pays for it.
        """
        if self.up is None and self.upstream is not None and self.down is not None and not halves.uploads(self):
            self._start_up(self.upstream, b"")

    # -- what the pumps tell ------------------------------------------------------------------------------------

    def moved(self, pump: Pump, count: int) -> None:
        """Bytes were read: body from the client, or response from the node."""
        cells = self.router.cells
        if pump is self.down:
            cells[_TX] += count
            if self.record is not None:
                self.record.came(count, pump)
            if self.routed is not None:
                self.routed.passed(pump, count)
            if self.phase is _WAIT:
                self._answered()
            return
        cells[_RX] += count
        if self.record is not None:
            self.record.rx += count
        self.left = self.left - count if self.left >= count else STREAMING

    def _answered(self) -> None:
        """The first byte of a response: no other node will need the request."""
        self.phase = _RELAY
        self.router.cells[_ANSWERED] += 1
        if self.record is not None:
            self.record.keep(self.packet, self.end)
        self.packet = b""
        if self.node is not None and self.node.state is _UNCONFIRMED:
            self.router.confirmed(self.node)
        if self.passed:
            answered_itself(self)
        if self.body is not None:
            self.body.answered()

    def awaited(self, pump: Pump) -> int:
        """Bytes that the source still sends for sure, WHOLE if its end comes behind them, 0 if nobody knows."""
        return WHOLE if pump is self.down else max(0, self.left)

    def ended(self, pump: Pump) -> None:
        """One side ended and all of it was passed on."""
        if pump is not self.down:
            halves.client_ended(self)
        elif self.phase is _RELAY and self.up is None and not self.left and self.cut is None and self.body is None:
            self.close()
        else:
            halves.node_ended(self)

    def source_failed(self, pump: Pump, error: OSError) -> None:
        """A reset met while reading."""
        if pump is self.down:
            halves.node_failed(self, error)
        else:
            self.client_gone()

    def sink_failed(self, pump: Pump, error: OSError) -> None:
        """A write met a peer that is gone."""
        halves.sink_failed(self, pump, error)

    # -- ends ---------------------------------------------------------------------------------------------------

    def fail(self, cause: Cause, detail: str = "") -> None:
        """Give the client the failure answer for ``cause`` and end the session. No response byte was sent before."""
        ending.fail(self, cause, detail)

    def abort(self, cause: Cause, detail: str) -> None:
        """A response that cannot be completed must not look complete: reset the client's connection."""
        ending.abort(self, cause, detail)

    def abandon(self, cause: Cause) -> None:
        """Give up at once (a bug, a fast stop): an answer if none was begun, a reset of one that was."""
        ending.abandon(self, cause)

    def mapped(self, slot: Candidates | None, error: Exception | None) -> None:
        """The mapper has answered."""
        mapped(self, slot, error)

    def wake(self) -> None:
        """The nodes have changed, and this session waits for a vassal."""
        wake(self)

    def expire(self) -> None:
        """Called each second for a session that is silent for long, or lingers: give up what took too long."""
        expire(self)

    def node_done(self) -> None:
        """A node that adopted our client closed its connection."""
        end_adoption(self)

    def client_gone(self) -> None:
        """There is nobody to answer any more."""
        self.router.cells[Counter.CLIENT_GONE] += 1
        if self.record is not None:
            self.record.cause = "client-gone"
            self.record.step("the client is gone")
        self.close()

    def close(self) -> None:
        """End the session: every watcher, descriptor and count it has goes now."""
        if self.phase is _CLOSED:
            return
        if self.phase is _LINGER_RESET:
            ending.reset_when_closed(self)
        elif self.phase is _MAP or self.phase is _QUEUE or self.phase is _WAKE or self.phase is _RULES:
            self.router.ask_no_more(self)
        self.leave_node()
        if self.record is not None and self.router.observer is not None:
            self.router.observer.over(self)
        self.phase = _CLOSED
        if self.body is not None:
            self.body.close()
        self.client.close()
        if self.routed is not None:
            self.routed.over()
        self.router.closed(self)
