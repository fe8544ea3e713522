"""The beginning of a session: a request arrives, and is ready to be given to a node.

One idea: the packet has usually come with the connection, so it is read and routed at once, in one step; whatever else
can be (it comes in pieces, it says no length, its body is gathered first, rules have a say) is a detour on the way to
:meth:`Arrival.find`. It reads the packet's key and length, and must not know which nodes there are.
Invariant: what is found has a key and a packet that is whole, and ``left`` says what is still to come behind it.
"""

from __future__ import annotations

import socket

from uwsgirouter.errors import BadKey, BadTarget, ProtocolError
from uwsgirouter.mappers.mountpoints import path_of, with_path
from uwsgirouter.model.counters import Counter
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.protocol.packet import decode_vars, scan
from uwsgirouter.worker.body import Buffering
from uwsgirouter.worker.explaining import explain, step
from uwsgirouter.worker.phases import Phase
from uwsgirouter.worker.seeking import cannot_map, look, seek
from uwsgirouter.worker.session import Session
from uwsgirouter.worker.state import STREAMING

PACKET_READ = 65536
BODILESS = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
"""Methods whose requests have no body unless they announce one (RFC 9110, 9.3)."""

_DONTWAIT = int(socket.MSG_DONTWAIT)
_REQUESTS = int(Counter.REQUESTS)
_PACKET, _BODY, _CONNECT = Phase.PACKET, Phase.BODY, Phase.CONNECT


class Arrival(Session):
    """A session whose request is still to come. :meth:`start` begins it."""

    __slots__ = ()

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
        self.end = end
        if self.watcher is not None:
            self.unwatch()
        try:
            key, length, upgrade = scan(data, end)
        except ProtocolError as error:
            self.fail(Cause.BAD_PACKET, str(error))
            return
        came = len(data) - end
        if router.observer is not None:
            router.observer.begin(self, key)
            end = self.end
        if length < 0 and not upgrade and self._has_no_body():
            length = 0
        if length >= 0 and not upgrade:
            self.left = length - came if length >= came else STREAMING
        if router.rules is not None:
            self.key = key
            router.rules.begin(self, end, length, upgrade)
        else:
            self.admit(key, length, upgrade)

    def _has_no_body(self) -> bool:
        """Whether a request that does not tell its length has no body: nginx says so, other fronts leave it out."""
        variables = dict(decode_vars(self.packet[: self.end]))
        if b"CONTENT_LENGTH" in variables or b"HTTP_TRANSFER_ENCODING" in variables:
            return False
        return variables.get(b"REQUEST_METHOD") in BODILESS

    # -- whom it is for -----------------------------------------------------------------------------------------

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
            self.with_body = True
            if router.handles_bodies and self._body_is_handled(length, upgrade):
                return
        self.find()

    def _path(self) -> bytes:
        if self.routed is not None:
            return self.routed.path()
        return path_of(self.first_variable(b"PATH_INFO"), self.first_variable(b"REQUEST_URI"))

    def open_ended(self) -> None:
        """Its client speaks at any time, until it ends."""
        self.left = STREAMING
        self.with_body = True

    def repack(self, packet: bytes) -> bool:
        """Put ``packet`` in place of the one that was read; whether it is another one."""
        if packet == self.packet[: self.end]:
            return False
        self.packet = packet + self.packet[self.end :]
        self.end = len(packet)
        return True

    def find(self) -> None:
        """The request is ready: give it to the node whose turn it is."""
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
        if self.record is not None and self.record.steps is not None:
            explain(self, slot, node)
        if node is None:
            seek(self, slot)
        else:
            self.dial(node)

    # -- its body -----------------------------------------------------------------------------------------------

    def _body_is_handled(self, length: int, upgrade: bool) -> bool:
        """Whether the body is too large, or the request waits until it is here."""
        router = self.router
        if router.limit_post and length > router.limit_post:
            self.fail(Cause.TOO_LARGE, f"{length} bytes")
            return True
        if not router.post_buffering or upgrade or self.left < 0:
            return False
        if not self.left:
            self.end = len(self.packet)  # all of it came with the packet: it can be sent again as it is
            return False
        if self.asks() is None and not router.fallback_on_no_key and look(self) is None:
            # Better now than when all of the body was sent.
            if self.phase is _PACKET:
                self.fail(Cause.NO_NODE)
            return True
        self.phase = _BODY
        step(self, "its body is gathered first")
        came, self.packet = self.packet[self.end :], self.packet[: self.end]
        self.body = Buffering(router, self, self.client)
        self.body.begin(came, length)
        return True

    def body_here(self, body: bytes) -> None:
        """All of a buffered body is here: ``body``, or (empty) in a file."""
        self.left = 0
        self.phase = _CONNECT
        step(self, "the body is here, in memory" if body else "the body is here, in a file")
        self.packet += body
        self.end = len(self.packet)  # it can be sent again as it is
        self.find()
