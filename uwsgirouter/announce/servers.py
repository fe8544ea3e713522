"""A subscription server as an announcer sees it: datagrams go there, or it is away, which is told once.

One idea: each round opens a new socket and asks anew what a host name means, because the server may have come back
elsewhere. It waits for nobody longer than :data:`PATIENCE`: not for a resolver (what the name meant before is used
then), not for a unix socket whose reader does not read. It must not know what the datagrams say.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum

from uwsgirouter.announce.forks import opened, unforked
from uwsgirouter.errors import ConfigError, RouterError
from uwsgirouter.settings.address import Address, Kind, parse_peer

PATIENCE = 2.0
"""Seconds for the answer of a resolver, and for a unix socket that takes no more."""

Target = tuple[socket.AddressFamily, "tuple[str, int] | bytes | str"]
Letters = Callable[[socket.socket], Iterable[bytes]]
"""The datagrams for one server; the connected socket tells which of our addresses it sees."""


class Stage(Enum):
    """How far it went."""

    NAME = "the host name has no address"
    CONNECT = "nobody can be connected to"
    SEND = "what was sent was refused"


class Away(RouterError):
    """Nobody takes announcements at a server, as far as that can be known. ``str()`` says where and why."""

    def __init__(self, stage: Stage, message: str) -> None:
        super().__init__(message)
        self.stage = stage


class Server:
    """One subscription server: ``host:port``, ``[v6]:port``, ``/path`` or ``@abstract``. Raises ConfigError."""

    def __init__(self, text: str) -> None:
        self.address = server_address(text)
        self._lookup = Lookup(self.address) if self.address.kind is Kind.NAME else None
        self.problem = ""
        """What was wrong in the last round; empty: nothing."""

    def send(self, letters: Letters) -> None:
        """Send them all, to the first address of the server that does not refuse them. Raises :class:`Away`."""
        targets = self._lookup.targets() if self._lookup is not None else [(self.address.family, self.address.sockaddr)]
        for family, sockaddr in targets[:-1]:
            try:
                return self._send_to(family, sockaddr, letters)
            except Away:
                continue  # the last address of the name is the one whose failure is told
        return self._send_to(*targets[-1], letters)

    def try_to_send(self, letters: Letters, say: Callable[[str], None]) -> Away | None:
        """As :meth:`send`, but a failure is returned, and a line when it is another one than in the last round."""
        away = None
        try:
            self.send(letters)
        except Away as error:
            away = error
        problem = "" if away is None else str(away)
        if problem != self.problem:
            say(problem or f"announcing to {self.address.text} works again")
        self.problem = problem
        return away

    def _send_to(self, family: socket.AddressFamily, sockaddr: tuple[str, int] | bytes | str, letters: Letters) -> None:
        with _open(family) as connection:
            try:
                connection.connect(sockaddr)
            except OSError as error:
                text = f"cannot connect to {self.address.text}: {error.strerror or error}"
                raise Away(Stage.CONNECT, text) from None
            for letter in letters(connection):
                try:
                    connection.send(letter)
                except OSError as error:
                    raise self._refused(error.strerror or str(error)) from None
                # On the same machine the kernel knows at once that no UDP socket was there.
                code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise self._refused(os.strerror(code))

    def _refused(self, reason: str) -> Away:
        return Away(Stage.SEND, f"cannot announce to {self.address.text}: {reason}")


def server_address(text: str) -> Address:
    """The address of a server. Raises :class:`ConfigError`."""
    address = parse_peer(text)
    if address.is_wildcard and not address.is_unix:
        raise ConfigError(f"server {text!r}: which machine? An address to send to has a host")
    return address


class Lookup:
    """What a host name means. A look-up that is not answered goes on in its thread, and is looked at next time."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._known: list[Target] = []
        self._asking: _Question | None = None

    def targets(self) -> list[Target]:
        """At least one. Raises :class:`Away`."""
        asking = self._asking
        if asking is None or asking.is_lost:
            asking = self._asking = _Question(self._address)
        if not asking.wait(PATIENCE):
            if self._known:
                return self._known
            raise Away(Stage.NAME, f"host name {self._address.host!r}: no answer within {PATIENCE:g} s")
        self._asking = None
        if asking.error:
            raise Away(Stage.NAME, f"host name {self._address.host!r}: {asking.error}")
        self._known = asking.found
        return self._known


class _Question:
    """One look-up in a thread of its own: the resolver's call has no time limit."""

    def __init__(self, address: Address) -> None:
        self.found: list[Target] = []
        self.error = ""
        self._address = address
        self._process = os.getpid()
        self._answered = threading.Event()
        try:
            threading.Thread(target=self._ask, name="uwsgirouter look-up", daemon=True).start()
        except RuntimeError:  # the interpreter ends (or no thread is to be had): a last word may wait
            self._ask()

    @property
    def is_lost(self) -> bool:
        """Its thread is in another process, which forked this one."""
        return self._process != os.getpid()

    def wait(self, seconds: float) -> bool:
        """Whether there is an answer within ``seconds``."""
        return self._answered.wait(seconds)

    def _ask(self) -> None:
        try:
            found = socket.getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_DGRAM)
            self.found = [(family, (str(sockaddr[0]), int(sockaddr[1]))) for family, _, _, _, sockaddr in found]
        except (OSError, UnicodeError) as error:
            self.error = getattr(error, "strerror", None) or str(error)
        self._answered.set()


@contextmanager
def _open(family: socket.AddressFamily) -> Iterator[socket.socket]:
    """A datagram socket, closed at the end; in a child that is forked meanwhile, too."""
    with unforked:
        connection = socket.socket(family, socket.SOCK_DGRAM)
        opened.add(connection)
    try:
        connection.settimeout(PATIENCE)
        yield connection
    finally:
        connection.close()
        opened.discard(connection)
