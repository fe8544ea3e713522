"""The subscription server: datagrams in, announcements out.

One idea: a datagram can harm nobody. It is read at once or lost, judged by :mod:`uwsgirouter.protocol.subscription` (is
it well-formed?) and :mod:`uwsgirouter.model.trust` (may its sender say this?), and what is wrong with it is counted by
reason and logged once a second at most, with its sender. It owns the datagram sockets; what an announcement means is
the registry's to say. It must not block: each pass reads a bounded number.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from collections import Counter as Tally
from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import Protocol

from uwsgirouter.errors import ProtocolError
from uwsgirouter.log import Log, Throttle, printable
from uwsgirouter.master.receive_queue import ReceiveQueue
from uwsgirouter.model.changes import Change, Happening
from uwsgirouter.model.events import Put
from uwsgirouter.model.failing import FAULTS_TOLD
from uwsgirouter.model.node import Order
from uwsgirouter.model.table import CONFIGURED_KEYS, FALLBACK_KEY
from uwsgirouter.model.trust import Credentials, Trust
from uwsgirouter.protocol.forwarding import CAME_BACK
from uwsgirouter.protocol.packet import HEADER_SIZE
from uwsgirouter.protocol.repeated import Reader, digest_of
from uwsgirouter.protocol.subscription import DATAGRAM_MAX, Announce
from uwsgirouter.settings.address import Kind, at_host
from uwsgirouter.settings.algorithms import ALGORITHMS

PASS_MAX = 500
"""Datagrams read in one pass of the master's loop, so that a flood cannot keep it from its workers."""
PASS_SECONDS = 0.01
"""Seconds that a pass lasts, for datagrams that are dear (signed ones)."""
_BETWEEN_LOOKS = 32
"""Datagrams read between two looks at the clock."""

_CREDENTIALS = Struct("3i")
_NOBODY = 65534
"""The user that the kernel names when it does not know or cannot say."""
_ANCILLARY = socket.CMSG_SPACE(_CREDENTIALS.size)


class Gist(IntEnum):
    """What came of a pass, from little to much."""

    KNOWN = 0
    """Nothing, or only announcements that changed nothing."""
    REFUSED = 1
    """Something was refused, nothing changed."""
    NEWS = 2
    """Something is different now."""


class Echoes(Protocol):
    """Whoever knows datagrams that need not be read, since they say again what their node is anyway."""

    def hear_echo(self, digest: bytes) -> bool:
        """Whether the datagram of this digest is one of them; its node is there."""

    def note_echo(self, digest: bytes, announce: Announce) -> bool:
        """``announce`` was accepted; whether its datagram is one of them from now on."""


class _NoEchoes:
    """Every datagram is read."""

    def hear_echo(self, digest: bytes) -> bool:
        return False

    def note_echo(self, digest: bytes, announce: Announce) -> bool:
        return False


NO_ECHOES = _NoEchoes()


class SubscriptionServer:
    """Reads the datagrams of ``sock``; ``accept`` gets what ``trust`` lets through, and who sent it, and says whether
    that was news."""

    def __init__(
        self,
        sock: socket.socket,
        accept: Callable[[Announce, object], bool],
        rejects: Rejects,
        trust: Trust,
        reader: Reader,
        echoes: Echoes = NO_ECHOES,
    ) -> None:
        self.sock = sock
        self.queue = ReceiveQueue(sock)
        self.is_behind = False
        """Whether the last pass left something unread."""
        self.gist = Gist.KNOWN
        """What the last pass brought at most."""
        self._accept = accept
        self._rejects = rejects
        self._reader = reader
        self._echoes = echoes
        self._room = 0
        self.trust = trust
        sock.setblocking(False)

    @property
    def trust(self) -> Trust:
        """Who decides which announcements are taken; another one after a reload."""
        return self._trust

    @trust.setter
    def trust(self, trust: Trust) -> None:
        self._trust = trust
        asked = self.sock.family == socket.AF_UNIX and trust.rules.needs_credentials
        if self.sock.family == socket.AF_UNIX:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, asked)
        # Never room for more than the credentials: descriptors that somebody sends along would be ours.
        self._room = _ANCILLARY if asked else 0

    def read(self, now: float) -> int:
        """Take what waits, at most :data:`PASS_MAX`; how many there were."""
        wall_clock = time.time()
        end = time.monotonic() + PASS_SECONDS
        count = 0
        self.is_behind = True
        self.gist = Gist.KNOWN
        while count < PASS_MAX and (count % _BETWEEN_LOOKS or time.monotonic() < end):
            try:
                datagram, ancillary, _flags, sender = self.sock.recvmsg(DATAGRAM_MAX + 1, self._room)
            except BlockingIOError:
                self.is_behind = False
                break
            except OSError as error:
                self._rejects.add("receive error", error, None, now)
                break
            count += 1
            digest = b"" if self._trust.reads else digest_of(datagram)
            if digest and self._trust.admits(sender) and self._echoes.hear_echo(digest):
                continue
            said = None if self._trust.asks else self._reader.recall(digest)
            try:
                if said is None:
                    said = self._examine(datagram, sender, _credentials(ancillary), now, wall_clock)
                    if said is None:
                        continue
                if self._accept(_where_from(said, sender) if said.address.is_wildcard else said, sender):
                    self.gist = Gist.NEWS
                if digest and self._echoes.note_echo(digest, said):
                    self._reader.forget(digest)
            except ProtocolError as error:
                self.gist = max(self.gist, Gist.REFUSED)
                self._rejects.add(error.reason, error, sender, now, _credentials(ancillary))
        self.queue.was_read(count)
        return count

    def _examine(
        self, datagram: bytes, sender: object, credentials: Credentials | None, now: float, wall_clock: float
    ) -> Announce | None:
        """What ``datagram`` says; None when it was refused in silence. Raises :class:`ProtocolError`."""
        fault = self._fault(datagram, sender)
        if fault and self._rejects.add_silently(fault, now):
            self.gist = max(self.gist, Gist.REFUSED)
            return None
        return self._judge(datagram, sender, credentials, wall_clock)

    def _fault(self, datagram: bytes, sender: object) -> str:
        """Why a datagram need not be looked at; empty when it must be. What :meth:`_judge` would say, but at once."""
        if not self._trust.admits(sender):
            return "sender not allowed"
        size = len(datagram)
        if size > DATAGRAM_MAX:
            return "too long"
        if size < HEADER_SIZE:
            return "short"
        return "" if datagram[1] + (datagram[2] << 8) + HEADER_SIZE == size else "bad size"

    def _judge(self, datagram: bytes, sender: object, credentials: Credentials | None, wall_clock: float) -> Announce:
        """What ``datagram`` says, if its sender may say that. Raises :class:`ProtocolError`."""
        self._trust.judge_sender(sender)
        if len(datagram) > DATAGRAM_MAX:
            raise ProtocolError("too long", f"more than {DATAGRAM_MAX} bytes")
        announce = self._reader.read(datagram)
        self._trust.judge(datagram, announce, sender, credentials, wall_clock)
        return announce


def _credentials(ancillary: list[tuple[int, int, bytes]]) -> Credentials | None:
    """Who sent a datagram, if the kernel says it.

    It does not of what was sent before it was asked. (The process alone is 0 for a sender of another container.)
    """
    for level, kind, data in ancillary:
        if (level, kind, len(data)) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, _CREDENTIALS.size):
            process, user, group = _CREDENTIALS.unpack(data)
            return (process, user, group) if (process, user) != (0, _NOBODY) else None
    return None


def _where_from(announce: Announce, sender: object) -> Announce:
    """``:port`` and ``0.0.0.0:port`` name no machine: the node is where its datagram comes from."""
    address = announce.address
    if address.is_unix:
        return announce
    if isinstance(sender, tuple):
        host = ipaddress.ip_address(sender[0])
        # An IPv4 sender, perhaps, and a socket that hears both.
        text = str(getattr(host, "ipv4_mapped", None) or host)
    else:
        text = "::1" if address.kind is Kind.TCP6 else "127.0.0.1"
    return announce._replace(address=at_host(text, address.port))


class Rejects:
    """Datagrams that were refused: counted by reason, logged at one line a second."""

    def __init__(self, log: Log) -> None:
        self.reasons: Tally[str] = Tally()
        self._say = Throttle(log.line, 1)

    def add_silently(self, reason: str, now: float) -> bool:
        """One more, if nothing would be said of it anyway; whether that is so."""
        if not self._say.holds_back(now):
            return False
        self.reasons[reason] += 1
        return True

    def add(
        self,
        reason: str,
        detail: Exception,
        sender: object,
        now: float,
        credentials: Credentials | None = None,
    ) -> None:
        """One more, for ``reason``."""
        if reason == CAME_BACK:
            self.reasons[reason] += 1
            return
        if self.add_silently(reason, now):
            return
        self.reasons[reason] += 1
        origin = f"{sender[0]}:{sender[1]}" if isinstance(sender, tuple) else "a unix socket"
        if credentials is not None:
            origin += " (process {}, user {}, group {})".format(*credentials)
        total = self.reasons.total()
        self._say(f"{_prefix()} bad datagram from {origin}: {detail} ({total} so far)", now)

    def flush(self, now: float) -> None:
        """Say what was held back."""
        self._say.flush(now)


def describe(change: Change, reason: str, tolerance: float) -> str | None:
    """The log line for a change of the registry, in the FastRouter's words where it has some; None: not worth one."""
    key = printable(change.key)
    if change.key in CONFIGURED_KEYS:
        return _describe_configured(change, reason)
    node = f"{_prefix()} {key} =>"
    vassal = printable(change.vassal)
    address = change.address.text or f"vassal {vassal}"
    lines = {
        Happening.NEW_POOL: f"{_prefix()} new pool: {key} (hash key: {hash_key(change.key)})",
        Happening.NEW: f"{node} new node: {address}{_under_order(change)}",
        Happening.BACK: f"{node} node is back: {address}",
        Happening.FAILED: f"{node} marking {address} as failed ({reason})",
        Happening.EJECTED: f"{node} leaving {address} alone for {change.detail} s ({FAULTS_TOLD})",
        Happening.ODD_ALGO: f"{node} ignoring algo {change.detail} of {address}: not one of {', '.join(ALGORITHMS)}",
        Happening.EXPIRED: f"{node} marking {address} as failed (no announce received in {tolerance:g} seconds)",
        Happening.LEAVING: f"{node} draining node: {address} (unsubscribed)",
        Happening.LEFT: f"{node} removing node: {address} (unsubscribed)",
        Happening.DRAINED: f"{node} removing node: {address} (drained)",
        Happening.FULL: f"{node} refusing node: {address} (the registry is full)",
        Happening.NEW_VASSAL: f"{node} new vassal node: {vassal} ({change.address.text or 'no address yet'})",
        Happening.AWAKE: f"{node} vassal is running: {vassal} at {address}",
        Happening.ASLEEP: f"{node} vassal stopped: {vassal} ({address}); it is started when it is needed",
        Happening.FORGOTTEN: f"{node} removing vassal node: {vassal} (nobody announced it for hours)",
    }
    return lines.get(change.happening)


def _under_order(change: Change) -> str:
    """What a node finds said about itself when it comes."""
    if not isinstance(change.event, Put) or change.event.order is Order.READY:
        return ""
    return f" ({change.event.order.value}, by an operator's order)"


def _describe_configured(change: Change, reason: str) -> str | None:
    node = f"{'fallback' if change.key == FALLBACK_KEY else 'static'} node {change.address.text}"
    lines = {
        Happening.FAILED: f"marking {node} as failed ({reason})",
        Happening.EJECTED: f"leaving {node} alone for {change.detail} s ({FAULTS_TOLD})",
        Happening.BACK: f"{node} is tried again",
        Happening.FULL: f"refusing {node} (the registry is full)",
    }
    line = lines.get(change.happening)
    return line and f"[uwsgirouter pid {os.getpid()}] {line}"


def _prefix() -> str:
    return f"[uwsgi-subscription for pid {os.getpid()}]"


def hash_key(key: bytes) -> int:
    """The number of uWSGI's hash bucket (djb33x), which people see in its log."""
    value = 5381
    for byte in key:
        value = ((value << 5) + value) ^ byte
    return (value & 0xFFFFFFFF) % 0xFFFF
