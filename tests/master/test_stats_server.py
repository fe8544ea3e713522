"""The stats server: whoever comes is served by a child, and whatever becomes of that the master goes on."""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.servers import wait_until
from uwsgirouter.log import Log
from uwsgirouter.master import stats_server as module
from uwsgirouter.master.sockets import Bound, Endpoints
from uwsgirouter.master.stats_server import (
    CHILD_SECONDS,
    CHILDREN_MOST,
    INTERVAL,
    StatsServer,
    Tell,
    closed,
    decode_naming,
    encode_naming,
)
from uwsgirouter.model.measures import ROW_CELLS
from uwsgirouter.settings.address import Kind
from uwsgirouter.stats.picture import Naming

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
"""The child is forked; the tests' servers have threads."""


class Lines(Log):
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("uwsgirouter")
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


Serve = Callable[[Endpoints, Naming, Tell], None]


class Desk:
    """A stats server with one socket; :meth:`turn` is a pass of the master's loop."""

    def __init__(self, serve: Serve) -> None:
        self.selector = selectors.DefaultSelector()
        self.log = Lines()
        self.server = StatsServer(self.selector, self.log, serve)
        sock = socket.create_server(("127.0.0.1", 0))
        sock.setblocking(False)
        self.address = sock.getsockname()
        self.bound = Bound((socket.SOCK_STREAM, Kind.TCP4, "", 0), sock, "here")
        self.server.watch(Endpoints(stats=[self.bound]))

    def turn(self, later: float = 0.0) -> None:
        for key, _ in self.selector.select(0.01):
            key.data()
        self.server.tick(time.monotonic() + later)

    def until(self, predicate: Callable[[], bool], what: str, later: float = 0.0) -> None:
        def turned() -> bool:
            self.turn(later)
            return predicate()

        wait_until(turned, 20, what)

    def peer(self) -> socket.socket:
        return socket.create_connection(self.address, 20)

    @property
    def children(self) -> int:
        return len(self.server._children)

    @property
    def is_watching(self) -> bool:
        return self.bound.sock in [key.fileobj for key in self.selector.get_map().values()]


@pytest.fixture
def start() -> Iterator[Callable[[Serve], Desk]]:
    desks: list[Desk] = []

    def make(serve: Serve) -> Desk:
        desks.append(Desk(serve))
        return desks[-1]

    yield make
    for desk in desks:
        desk.server.close()
        desk.bound.sock.close()
        desk.selector.close()


def say(endpoints: Endpoints, naming: Naming, tell: Tell) -> None:
    """A child's life: serve one, and name a key."""
    (bound,) = endpoints.stats
    bound.sock.setblocking(True)
    sock, _ = bound.sock.accept()
    sock.sendall(b"%d" % os.getpid())
    sock.close()
    closed(tell, Naming((*naming.keys, b"k\xff%d" % len(naming.keys)), (1,) * ROW_CELLS, True))


def test_a_child_serves_whoever_comes_and_the_master_listens_again(start: Callable[[Serve], Desk]) -> None:
    desk = start(say)
    assert desk.is_watching
    for number in (1, 2):
        with desk.peer() as peer:
            desk.until(lambda: desk.children > 0, "a child is there", later=INTERVAL)
            assert int(peer.recv(100)) != os.getpid()
        desk.until(lambda: not desk.children, "it is over", later=INTERVAL)
        desk.until(lambda: desk.is_watching, "the master listens", later=INTERVAL)
        assert desk.server.naming.keys == tuple(b"k\xff%d" % index for index in range(number))
    assert not [line for line in desk.log.lines if "bound to" not in line]


def test_nobody_is_forked_for_while_a_child_accepts(start: Callable[[Serve], Desk]) -> None:
    desk = start(lambda endpoints, naming, tell: time.sleep(60))
    with desk.peer(), desk.peer():
        desk.until(lambda: desk.children == 1, "a child is there")
        for _ in range(5):
            desk.turn(later=INTERVAL)
        assert desk.children == 1 and not desk.is_watching


def test_children_that_have_readers_left_are_few(start: Callable[[Serve], Desk]) -> None:
    def linger(endpoints: Endpoints, naming: Naming, tell: Tell) -> None:
        endpoints.stats[0].sock.accept()
        closed(tell, naming)
        time.sleep(60)

    desk = start(linger)
    peers = []
    for count in range(1, CHILDREN_MOST + 1):
        peers.append(desk.peer())
        desk.until(lambda: desk.children == count, f"{count} children", later=INTERVAL)  # noqa: B023 - called here
        desk.server._not_before = 0.0
    peers.append(desk.peer())
    for _ in range(5):
        desk.turn(later=INTERVAL)
    assert desk.children == CHILDREN_MOST and not desk.is_watching
    desk.server.tick(time.monotonic() + CHILD_SECONDS)
    assert desk.children == 0 and desk.is_watching
    for peer in peers:
        peer.close()


@pytest.mark.parametrize("life", ["raises", "leaves", "tells nonsense", "tells too much"])
def test_whatever_becomes_of_a_child(
    start: Callable[[Serve], Desk], life: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOLD_MOST", 1000)

    def serve(endpoints: Endpoints, naming: Naming, tell: Tell) -> None:
        if life == "raises":
            raise RuntimeError("so what")
        if life == "tells nonsense":
            tell(b'{"keys": [1]}\nclosed\n')
        if life == "tells too much":
            tell(b"x" * 5000)
            time.sleep(60)

    desk = start(serve)
    with desk.peer():
        desk.until(lambda: desk.children == 1, "a child is there")
        desk.until(lambda: desk.children == 0, "it is over")
        assert desk.server.naming == Naming()
        desk.until(lambda: desk.children == 1, "another one", later=INTERVAL + 1)


def test_a_reload_takes_sockets_away_and_brings_others(start: Callable[[Serve], Desk]) -> None:
    desk = start(say)
    desk.server.watch(Endpoints())
    assert not desk.is_watching
    desk.turn()
    desk.server.watch(Endpoints(metrics=[desk.bound]))
    assert desk.is_watching
    assert desk.log.lines == ["uwsgirouter stats server bound to here", "uwsgirouter metrics server bound to here"]


def test_the_end_of_the_master_is_that_of_its_children(start: Callable[[Serve], Desk]) -> None:
    desk = start(lambda endpoints, naming, tell: time.sleep(60))
    with desk.peer():
        desk.until(lambda: desk.children == 1, "a child is there")
        (child,) = desk.server._children
        desk.server.close()

        def is_gone() -> bool:
            try:
                return os.waitpid(child.pid, os.WNOHANG)[0] == child.pid
            except ChildProcessError:
                return True

        wait_until(is_gone, 20, "it is ended")


def test_a_naming_is_one_line() -> None:
    naming = Naming((b"a", b"\xff\n"), tuple(range(ROW_CELLS)), True)
    line = encode_naming(naming)
    assert line.count(b"\n") == 1
    assert decode_naming(line) == naming
    for bad in (b"[]", b"{}", b'{"keys": [], "correction": [1], "full": false}', b"x", b'{"keys": ["\\u1234"]}'):
        with pytest.raises((ValueError, TypeError, KeyError)):
            decode_naming(bad)
