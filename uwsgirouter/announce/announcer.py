"""The announcer: says where a node is, again and again, and takes leave at the end.

One idea: a *round* tells every server the same, one after the other, and a server that is away holds up none of the
others for long. :meth:`Announcer.announce` and :meth:`Announcer.leave` are one round each, for programs with a loop of
their own; :meth:`Announcer.start` has a daemon thread do it. It must not know who is announced.

Invariants: after :meth:`Announcer.stop` nothing is announced any more, whatever the thread was doing. It belongs to the
process that announced first: a forked child sends nothing and takes nobody out, unless it calls ``start`` itself.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable
from enum import Enum

from uwsgirouter.announce.node import Node, Number, local_address
from uwsgirouter.announce.servers import PATIENCE, Away, Server
from uwsgirouter.announce.signer import Clock, Signer
from uwsgirouter.errors import ConfigError
from uwsgirouter.protocol.subscription import Announce, encode_announce

EVERY = 10.0
"""Seconds between two announcements, as uWSGI has it; a router forgets a node after 17."""
SIGNED_EVERY_MIN = 1.0
"""Signed announcements are told apart by whole seconds."""
SIGNED_AGAIN = 2.0
"""Seconds after which the first signed announcement is repeated: what was here before may have left within its second,
and then the first one looks like one of its own."""


class Presence(Enum):
    """What is said at a round."""

    HERE = "announce"
    GONE = "take leave, once"
    SILENT = "say nothing: somebody else speaks for the address"


class Announcer:
    """``servers`` and ``keys``: one, or several. ``address``: ``host:port``, ``[v6]:port``, ``/path``, ``@abstract``,
    or ``:port`` for "the machine that this comes from".

    ``weight``, ``cores`` (requests served at once) and ``load`` are numbers, or callables that are asked at each round.
    ``sign`` is a :class:`Signer`, or a pair of digest and path of the private key. ``every`` is seconds. ``presence``
    is asked at each round of the thread. ``say`` gets lines for people, by default the logger
    ``uwsgirouter.announce``.

    Raises :class:`ConfigError` for what no router would take. Nothing is sent, and no thread runs, until it is asked
    to.
    """

    def __init__(
        self,
        servers: str | Iterable[str],
        keys: str | Iterable[str],
        address: str = "",
        *,
        weight: Number = 1,
        cores: Number = 1,
        load: Number = 0,
        modifier1: int = 0,
        modifier2: int = 0,
        backup: int = 0,
        algo: str = "",
        vassal: str = "",
        inactive: bool = False,
        notify: str = "",
        sign: Signer | tuple[str, str] | None = None,
        every: float = EVERY,
        presence: Callable[[], Presence] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._say = say or logging.getLogger("uwsgirouter.announce").warning
        self._servers = [Server(text) for text in _several(servers)]
        self._signer = Signer(*sign) if isinstance(sign, tuple) else sign
        self._every = every
        self._presence = presence
        if not self._servers:
            raise ConfigError("no server: where is it to be announced?")
        if not 0 < every < math.inf:
            raise ConfigError(f"every = {every:g}: expected seconds, over 0")
        if self._signer is not None and every < SIGNED_EVERY_MIN:
            raise ConfigError(f"every = {every:g}: signed announcements are at least {SIGNED_EVERY_MIN:g} second apart")
        self._node = Node(
            _several(keys),
            address,
            weight=weight,
            cores=cores,
            load=load,
            modifier1=modifier1,
            modifier2=modifier2,
            backup=backup,
            algo=algo,
            vassal=vassal,
            inactive=inactive,
            notify=notify,
            say=self._say,
        )
        self._clock = Clock()
        self._problem = ""
        """What was wrong when it was asked for the presence last."""
        self._process = 0
        self._renew()

    def _renew(self) -> None:
        # A signal handler may stop it in the middle of a leave.
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._bell: Bell | None = None
        self._is_stopping = False
        self.is_announced = False
        """The last word to the servers was that the node is here."""

    @property
    def name(self) -> str:
        """Keys and address, for a line in a log."""
        return f"{', '.join(self._node.keys)} => {self._node.name}"

    def __str__(self) -> str:
        return f"{self.name}, to {', '.join(server.address.text for server in self._servers)}, every {self._every:g} s"

    # -- one round ---------------------------------------------------------------------------------------------------

    def announce(self) -> list[Away]:
        """Announce the node to every server, now. What could be seen to go wrong, which was told once, too."""
        return self._round(leaving=False)

    def leave(self) -> list[Away]:
        """Unsubscribe the node from every server, now. Likewise."""
        return self._round(leaving=True)

    def _round(self, leaving: bool) -> list[Away]:
        if not self._is_ours():
            return []
        announces = self._node.announces(leaving)
        with self._lock:
            if self._is_stopping and not leaving:
                return []
            self.is_announced = not leaving
            unix = self._clock.next(leaving) if self._signer is not None else 0
            # Those that were well come first: who waits in vain is not to hold up a leave.
            servers = sorted(self._servers, key=lambda server: bool(server.problem))
            found = [server.try_to_send(self._letters(announces, unix), self._say) for server in servers]
        return [away for away in found if away is not None]

    def _is_ours(self) -> bool:
        """Whether this process may speak; the one that speaks first owns it."""
        self._process = self._process or os.getpid()
        return self._process == os.getpid()

    def _letters(self, announces: list[Announce], unix: int) -> Callable[[socket.socket], Iterable[bytes]]:
        def letters(connection: socket.socket) -> Iterable[bytes]:
            signer = self._signer
            if signer is None:
                return map(encode_announce, announces)
            return [signer.encode(self._closed(announce, connection), unix) for announce in announces]

        return letters

    def _closed(self, announce: Announce, connection: socket.socket) -> Announce:
        """A signature does not cover where a datagram comes from, so a signed one has to name the machine."""
        if not self._node.is_open:
            return announce
        host = connection.getsockname()[0] if connection.family != socket.AF_UNIX else "127.0.0.1"
        return announce._replace(address=local_address(announce.address, host))

    # -- in a thread -------------------------------------------------------------------------------------------------

    def start(self) -> Announcer:
        """Announce from a daemon thread, at once and from then on, until :meth:`stop` or the end of the program."""
        if self._process != os.getpid():
            self._renew()
            self._process = os.getpid()
        if self._thread is None:
            self._is_stopping = False
            self._bell = Bell()
            self._thread = threading.Thread(target=self._run, args=(self._bell,), name="uwsgirouter announcer")
            self._thread.daemon = True
            self._thread.start()
            atexit.register(self.stop)
        return self

    def wake(self) -> None:
        """Have the thread announce now, since something changed. A forked child may call it, too. Does not wait."""
        if self._bell is not None:
            self._bell.ring()

    def stop(self, leave: bool = True) -> None:
        """End the thread and unsubscribe. ``leave=False``: say nothing, somebody else serves at the address.

        Returns when the servers have been told; a few seconds later at most, when one of them cannot be reached.
        """
        if self._process != os.getpid():
            return
        self._is_stopping = True
        thread, self._thread = self._thread, None
        if thread is not None and self._bell is not None:
            self._bell.ring()
            thread.join(PATIENCE * (len(self._servers) + 1))
            if not thread.is_alive():
                self._bell.close()
            self._bell = None
            atexit.unregister(self.stop)
        if leave and self.is_announced:
            self.leave()

    def __enter__(self) -> Announcer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, bell: Bell) -> None:
        presence = Presence.HERE
        due = time.monotonic()
        while not self._is_stopping:
            was_announced = self.is_announced
            presence = self._asked(presence)
            if presence is Presence.HERE:
                self.announce()
            elif presence is Presence.GONE and self.is_announced:
                self.leave()
            is_new = self.is_announced and not was_announced
            pause = min(SIGNED_AGAIN, self._every) if is_new and self._signer is not None else self._every
            now = time.monotonic()
            due = max(due + pause, now)
            if bell.wait(due - now):
                due = time.monotonic()

    def _asked(self, before: Presence) -> Presence:
        if self._presence is None:
            return before
        problem = ""
        try:
            return self._presence()
        except Exception as error:  # noqa: BLE001 (it is the program's own code, and the node must not vanish for it)
            problem = f"presence: {type(error).__name__}: {error}"
            if problem != self._problem:
                self._say(problem)
            return before
        finally:
            self._problem = problem


class Bell:
    """Wakes the thread, from whatever thread, signal handler or forked child. Never a wait for who rings."""

    def __init__(self) -> None:
        # Not a pipe: a late call must not write to a descriptor that has become somebody else's.
        self._ear, self._button = socket.socketpair()
        self._ear.setblocking(False)
        self._button.setblocking(False)

    def ring(self) -> None:
        """Wake it, or have it not wait when it would."""
        try:
            self._button.send(b"!")
        except OSError:
            pass  # it is full of calls that were not heard yet, or closed: no more of them are needed

    def wait(self, seconds: float) -> bool:
        """Whether it rang within ``seconds``."""
        poll = select.poll()
        poll.register(self._ear, select.POLLIN)
        if not poll.poll(max(0.0, seconds) * 1000):
            return False
        self._ear.recv(4096)
        return True

    def close(self) -> None:
        """Give the descriptors back."""
        self._ear.close()
        self._button.close()


def _several(values: str | Iterable[str]) -> list[str]:
    return [values] if isinstance(values, str) else list(values)
