"""Other servers that rules ask: bounded threads and connections, bounded waiting, and nothing lost when they fail."""

from __future__ import annotations

import _thread
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event

from tests.servers.programs import environment
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.base import Broken
from uwsgirouter.rules.service import Service, ServiceDown, Timing
from uwsgirouter.worker import service_line, services
from uwsgirouter.worker.services import IDLE, Services

DEADLINE = 20


class Connection:
    """To a server that a test plays. ``broken``: the next calls fail."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.closed = False
        self.broken = False

    def use(self) -> None:
        assert self.thread == threading.get_ident(), "a connection never leaves its thread"
        assert not self.closed
        if self.broken:
            raise ConnectionResetError("reset by peer")


class Played:
    """A service. ``refuses``: nobody can connect."""

    def __init__(self, name: str = "played") -> None:
        self.made: list[Connection] = []
        self.refuses = False
        self.service: Service[Connection] = Service(name, self._connect, self._close, (OSError,))

    def _connect(self, timing: Timing) -> Connection:
        if self.refuses:
            self.made.append(Connection())
            self.made[-1].closed = True
            raise ConnectionRefusedError("refused")
        self.made.append(Connection())
        return self.made[-1]

    def _close(self, connection: Connection) -> None:
        assert connection.thread == threading.get_ident()
        connection.closed = True

    @property
    def open(self) -> int:
        return sum(not connection.closed for connection in self.made)


class Clock:
    """A time that only goes on when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    monotonic = __call__


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(services, "monotonic", found)
    monkeypatch.setattr(service_line, "time", found)
    return found


@pytest.fixture
def played() -> Played:
    return Played()


class Asked(Services):
    """Four connections, ``said`` are the lines of the log."""

    def __init__(self, timing: Timing) -> None:
        self.said: list[str] = []
        super().__init__(timing, self.said.append)


@pytest.fixture
def make() -> Iterator[Callable[..., Asked]]:
    """Makes one; its threads have left at the end."""
    before = _thread._count()
    made: list[Asked] = []
    held: list[threading.Event] = []

    def one(connect: float = 5.0, answer: float = 5.0, most: int = 4) -> Asked:
        made.append(Asked(Timing(connect, answer, most)))
        return made[-1]

    one.held = held  # type: ignore[attr-defined]
    yield one
    for event in held:
        event.set()
    for each in made:
        wait(lambda each=each: not any(pool.busy for pool in each._pools.values()))
        each.close()
    wait(lambda: _thread._count() <= before)


@pytest.fixture
def asked(make: Callable[..., Asked]) -> Asked:
    return make()


@pytest.fixture
def hold(make: Any) -> Callable[[], tuple[threading.Event, Callable[[Connection], str]]]:
    """A call that lasts until its event is set; at the end of the test at the latest."""

    def one() -> tuple[threading.Event, Callable[[Connection], str]]:
        event = threading.Event()
        make.held.append(event)

        def call(connection: Connection) -> str:
            connection.use()
            assert event.wait(60)
            return "held"

        return event, call

    return one


def wait(true: Callable[[], object]) -> None:
    """Until it is true, while the loop runs."""
    with gevent.Timeout(DEADLINE):
        while not true():
            gevent.sleep(0.005)


def use(connection: Connection) -> str:
    connection.use()
    return "answer"


def test_an_answer_of_a_thread(asked: Asked, played: Played) -> None:
    def call(connection: Connection) -> int:
        connection.use()
        return threading.get_ident()

    threads = {asked.ask(played.service, call) for _ in range(20)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    assert len(played.made) == 1


def test_never_more_threads_and_connections_than_allowed(asked: Asked, played: Played) -> None:
    beside: list[int] = []
    now = 0
    lock = threading.Lock()

    def call(connection: Connection) -> None:
        nonlocal now
        connection.use()
        with lock:
            now += 1
            beside.append(now)
        threading.Event().wait(0.002)
        with lock:
            now -= 1

    gevent.joinall([gevent.spawn(asked.ask, played.service, call) for _ in range(100)], raise_error=True)
    assert len(beside) == 100
    assert max(beside) <= 4
    assert len(played.made) <= 4
    assert played.open == len(played.made)


def test_what_an_action_says_leaves_the_connection_alone(asked: Asked, played: Played) -> None:
    def call(connection: Connection) -> None:
        connection.use()
        raise Broken("no such user")

    for _ in range(5):
        with pytest.raises(Broken, match="no such user"):
            asked.ask(played.service, call)
    assert asked.ask(played.service, use) == "answer"
    assert len(played.made) == 1
    assert not asked.said


def test_an_actions_word_counts_more_than_what_a_failure_is(asked: Asked, played: Played) -> None:
    every: Service[Connection] = Service("every", played._connect, played._close, (Exception,))
    calls = 0

    def call(connection: Connection) -> None:
        nonlocal calls
        calls += 1
        raise Broken("no such user")

    for _ in range(5):
        with pytest.raises(Broken, match="no such user"):
            asked.ask(every, call)
    assert (calls, played.open, asked.said) == (5, 1, [])


def test_a_bug_closes_the_connection(asked: Asked, played: Played) -> None:
    def call(connection: Connection) -> None:
        raise KeyError("half an answer may be left on the connection")

    with pytest.raises(KeyError):
        asked.ask(played.service, call)
    assert played.made[0].closed
    assert asked.ask(played.service, use) == "answer"


def test_a_thread_that_would_exit_goes_on(asked: Asked, played: Played) -> None:
    def call(connection: Connection) -> None:
        raise SystemExit(3)

    with pytest.raises(RuntimeError, match="SystemExit"):
        asked.ask(played.service, call)
    assert asked.ask(played.service, use) == "answer"


def test_nobody_else_waits_for_a_service_that_hangs(make: Callable[..., Asked], hold: Any) -> None:
    asked, hanging, other = make(answer=0.2, connect=0.1), Played("hanging"), Played("other")
    _, call = hold()
    greenlets = [gevent.spawn(asked.ask, hanging.service, call) for _ in range(4)]
    wait(lambda: len(hanging.made) == 4)
    assert asked.ask(other.service, use) == "answer"
    for greenlet in greenlets:
        with pytest.raises(ServiceDown, match="no answer in time") as caught:
            greenlet.get(timeout=DEADLINE)
        assert caught.value.cause is Cause.SERVICE_FAILED
    assert len(hanging.made) == 4
    assert asked.said == ["hanging is down: no answer in time; it is tried every 1 s"]


def test_waiting_for_a_connection_ends(make: Callable[..., Asked], played: Played, hold: Any) -> None:
    asked = make(answer=0.1, most=1)
    event, call = hold()
    first = gevent.spawn(asked.ask, played.service, call)
    wait(lambda: played.made)
    with pytest.raises(ServiceDown, match="played: all 1 connections are busy") as caught:
        asked.ask(played.service, use)
    assert caught.value.cause is Cause.SERVICE_BUSY
    event.set()
    assert first.get(timeout=DEADLINE) == "held"
    assert asked.ask(played.service, use) == "answer"


def test_so_many_wait_and_no_more(
    make: Callable[..., Asked], played: Played, hold: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "WAITING", 3)
    asked = make(most=1)
    event, call = hold()
    first = gevent.spawn(asked.ask, played.service, call)
    others = [gevent.spawn(asked.ask, played.service, use) for _ in range(3)]
    wait(lambda: len(asked._pool(played.service)._waiting) == 3)
    with pytest.raises(ServiceDown) as caught:
        asked.ask(played.service, use)
    assert caught.value.cause is Cause.SERVICE_BUSY
    event.set()
    assert [each.get(timeout=DEADLINE) for each in (first, *others)] == ["held", "answer", "answer", "answer"]
    assert len(played.made) == 1


def test_whoever_leaves_takes_nobodys_turn(make: Callable[..., Asked], played: Played, hold: Any) -> None:
    asked = make(most=1)
    event, call = hold()
    first = gevent.spawn(asked.ask, played.service, call)
    second = gevent.spawn(asked.ask, played.service, use)
    pool = asked._pool(played.service)
    wait(lambda: len(pool._waiting) == 1)
    second.kill()
    assert not pool._waiting
    first.kill()
    third = gevent.spawn(asked.ask, played.service, use)
    gevent.sleep(0.02)
    assert not third.ready(), "the thread is at it yet"
    event.set()
    assert third.get(timeout=DEADLINE) == "answer"
    assert len(played.made) == 1, "what came to its end left a good connection"


def test_a_service_that_fails_is_let_alone(asked: Asked, played: Played, clock: Clock) -> None:
    played.refuses = True
    for _ in range(3):
        with pytest.raises(ServiceDown, match="played: refused"):
            asked.ask(played.service, use)
    assert asked.said == ["played is down: refused; it is tried every 1 s"]
    for _ in range(50):
        with pytest.raises(ServiceDown, match="played is down"):
            asked.ask(played.service, use)
    assert len(played.made) == 3, "nobody tried"


def test_one_call_tries_a_service_that_is_down(asked: Asked, played: Played, clock: Clock, hold: Any) -> None:
    fail(asked, played, 3)
    clock.now += 1.1
    event, call = hold()
    played.refuses = False
    trying = gevent.spawn(asked.ask, played.service, call)
    wait(lambda: played.open == 1)
    for _ in range(10):
        with pytest.raises(ServiceDown, match="is down"):
            asked.ask(played.service, use)
    event.set()
    assert trying.get(timeout=DEADLINE) == "held"
    assert asked.ask(played.service, use) == "answer"
    assert asked.said[1:] == ["played answers again"]


def fail(asked: Asked, played: Played, times: int) -> None:
    played.refuses = True
    for _ in range(times):
        with pytest.raises(ServiceDown, match="refused"):
            asked.ask(played.service, use)


def test_one_that_tried_in_vain_is_followed_by_another(asked: Asked, played: Played, clock: Clock) -> None:
    fail(asked, played, 3)
    for tried in (4, 5, 6):
        clock.now += 1.1
        with pytest.raises(ServiceDown, match="refused"):
            asked.ask(played.service, use)
        with pytest.raises(ServiceDown, match="is down"):
            asked.ask(played.service, use)
        assert len(played.made) == tried
    assert len(asked.said) == 1


def test_one_that_tried_and_left_is_followed_by_another(asked: Asked, played: Played, clock: Clock, hold: Any) -> None:
    fail(asked, played, 3)
    played.refuses = False
    clock.now += 1.1
    _, call = hold()
    trying = gevent.spawn(asked.ask, played.service, call)
    wait(lambda: played.open == 1)
    trying.kill()
    clock.now += 1.1
    with pytest.raises(ServiceDown, match="is down"):
        asked.ask(played.service, use)
    clock.now += 20
    assert asked.ask(played.service, use) == "answer"


def test_nobody_tries_while_all_connections_hang(
    make: Callable[..., Asked], played: Played, clock: Clock, hold: Any
) -> None:
    asked = make(connect=0.05, answer=0.05)
    event, call = hold()
    hanging = [gevent.spawn(asked.ask, played.service, call) for _ in range(4)]
    for greenlet in hanging:
        with pytest.raises(ServiceDown):
            greenlet.get(timeout=DEADLINE)
    clock.now += 10
    with pytest.raises(ServiceDown, match="played is down"):
        asked.ask(played.service, use)
    event.set()
    wait(lambda: asked._pool(played.service).busy == 0)
    clock.now += 10
    assert asked.ask(played.service, use) == "answer"
    assert len(played.made) == 4


def test_an_answer_between_failures_counts(asked: Asked, played: Played) -> None:
    for _ in range(4):
        fail(asked, played, 2)
        played.refuses = False
        assert asked.ask(played.service, use) == "answer"
        played.made[-1].broken = True  # so that the next one connects
    assert not asked.said


def test_those_who_wait_hear_that_it_is_down(make: Callable[..., Asked], played: Played) -> None:
    asked = make(answer=60, most=3)
    go = threading.Event()

    def call(connection: Connection) -> None:
        assert go.wait(60)
        raise ConnectionResetError("gone")

    failing = [gevent.spawn(asked.ask, played.service, call) for _ in range(3)]
    waiting = [gevent.spawn(asked.ask, played.service, use) for _ in range(20)]
    wait(lambda: len(asked._pool(played.service)._waiting) == 20)
    played.refuses = True
    go.set()
    for greenlet in failing + waiting:
        with pytest.raises(ServiceDown):
            greenlet.get(timeout=DEADLINE)


def test_an_idle_connection_that_was_closed_is_replaced(asked: Asked, played: Played) -> None:
    for count in range(1, 5):
        assert asked.ask(played.service, use) == "answer"
        assert len(played.made) == count
        played.made[-1].broken = True
    assert [connection.closed for connection in played.made] == [True, True, True, False]
    assert not asked.said


def test_what_must_not_be_repeated_is_not(asked: Asked, played: Played) -> None:
    assert asked.ask(played.service, use, once=True) == "answer"
    played.made[0].broken = True
    with pytest.raises(ServiceDown, match="reset by peer"):
        asked.ask(played.service, use, once=True)
    assert asked.ask(played.service, use, once=True) == "answer"


def test_a_new_connection_that_fails_is_not_tried_again(asked: Asked, played: Played) -> None:
    calls = 0

    def call(connection: Connection) -> None:
        nonlocal calls
        calls += 1
        raise ConnectionResetError("reset by peer")

    with pytest.raises(ServiceDown):
        asked.ask(played.service, call)
    assert calls == 1
    assert asked.ask(played.service, use) == "answer"
    with pytest.raises(ServiceDown):
        asked.ask(played.service, call)
    assert calls == 3, "once on the idle one, once on a new one"


def test_whoever_has_waited_does_not_wait_again(asked: Asked, played: Played, clock: Clock) -> None:
    calls = 0

    def call(connection: Connection) -> None:
        nonlocal calls
        calls += 1
        clock.now += 5
        raise TimeoutError("timed out")

    assert asked.ask(played.service, use) == "answer"
    with pytest.raises(ServiceDown, match="timed out"):
        asked.ask(played.service, call)
    assert calls == 1


def test_a_reason_without_words_is_named(asked: Asked, played: Played) -> None:
    def call(connection: Connection) -> None:
        raise TimeoutError

    with pytest.raises(ServiceDown, match="played: TimeoutError"):
        asked.ask(played.service, call)


def test_a_call_that_nobody_waits_for(asked: Asked, played: Played, hold: Any) -> None:
    complaints: list[str] = []
    event, call = hold()
    for _ in range(4):
        asked.hand(played.service, call, complaints.append)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        asked.ask(played.service, use)
    event.set()
    assert asked.ask(played.service, use) == "answer"
    played.refuses = True
    for connection in played.made:
        connection.broken = True
    asked.hand(played.service, use, complaints.append)
    wait(lambda: complaints)
    assert complaints == ["played: refused"]


def test_what_an_action_says_of_a_call_that_nobody_waits_for(asked: Asked, played: Played) -> None:
    complaints: list[str] = []

    def call(connection: Connection) -> None:
        raise Broken("too large")

    asked.hand(played.service, call, complaints.append)
    wait(lambda: complaints)
    assert complaints == ["too large"]
    assert played.open == 1


def test_calls_that_nobody_waits_for_are_bounded(make: Callable[..., Asked], played: Played, hold: Any) -> None:
    asked = make(most=2)
    complaints: list[str] = []
    event, call = hold()
    for _ in range(20):
        asked.hand(played.service, call, complaints.append)
    assert complaints == ["played: 8 calls are under way"] * 12
    event.set()
    wait(lambda: not asked._pool(played.service)._handed)
    asked.hand(played.service, use, complaints.append)
    wait(lambda: not asked._pool(played.service)._handed)
    assert len(complaints) == 12


def test_calls_handed_to_a_service_that_is_down(asked: Asked, played: Played, clock: Clock) -> None:
    complaints: list[str] = []
    fail(asked, played, 3)
    asked.hand(played.service, use, complaints.append)
    assert complaints == ["played is down"]
    clock.now += 1.1
    played.refuses = False
    asked.hand(played.service, use, complaints.append)
    wait(lambda: asked.said[1:] == ["played answers again"])
    assert len(complaints) == 1


def test_a_bug_in_a_call_that_nobody_waits_for_goes_to_the_hub(
    asked: Asked, played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Any] = []
    monkeypatch.setattr(gevent.get_hub(), "handle_error", lambda context, kind, value, tb: errors.append(kind))

    def call(connection: Connection) -> None:
        raise KeyError("bug")

    asked.hand(played.service, call, errors.append)
    wait(lambda: errors)
    assert errors == [KeyError]


def test_lines_that_nobody_needs_leave(asked: Asked, played: Played, hold: Any) -> None:
    event, call = hold()
    many = [gevent.spawn(asked.ask, played.service, call) for _ in range(4)]
    wait(lambda: played.open == 4)
    event.set()
    gevent.joinall(many)
    for _ in range(2):
        for _ in range(IDLE):
            asked.tick()
            assert asked.ask(played.service, use) == "answer"
    wait(lambda: played.open == 1)
    for _ in range(2 * IDLE):
        asked.tick()
    wait(lambda: played.open == 0)
    assert asked.ask(played.service, use) == "answer"
    assert played.open == 1


def test_free_lines_say_goodbye(asked: Asked, played: Played, hold: Any) -> None:
    event, call = hold()
    gevent.spawn(asked.ask, played.service, call)
    wait(lambda: played.open == 1)
    assert asked.ask(played.service, use) == "answer"
    asked.close()
    wait(lambda: played.open == 1)
    event.set()
    wait(lambda: asked._pool(played.service).busy == 0)


def test_services_that_were_not_asked_for_long_are_forgotten(
    asked: Asked, hold: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "SERVICES_MOST", 3)
    many = [Played(f"number {number}") for number in range(4)]
    event, call = hold()
    first = gevent.spawn(asked.ask, many[0].service, call)
    wait(lambda: many[0].made)
    for each in many[1:]:
        assert asked.ask(each.service, use) == "answer"
    wait(lambda: many[1].open == 0)
    assert [each.open for each in many] == [1, 0, 1, 1]
    assert asked.ask(many[1].service, use) == "answer"
    busy = [gevent.spawn(asked.ask, each.service, call) for each in (many[1], many[3])]
    wait(lambda: sum(pool.busy for pool in asked._pools.values()) == 3)
    with pytest.raises(ServiceDown, match="all 3 services are busy") as caught:
        asked.ask(many[2].service, use)
    assert caught.value.cause is Cause.SERVICE_BUSY
    event.set()
    gevent.joinall([first, *busy], raise_error=True)


def test_a_system_without_threads(asked: Asked, played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(self: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as without:
        without.setattr(service_line.Orders, "start_line", none)
        with pytest.raises(ServiceDown, match="no thread can be started"):
            asked.ask(played.service, use)
        assert asked.said == ["played is down: no thread can be started; it is tried every 1 s"]
    wait(lambda: answers(asked, played))


def answers(asked: Asked, played: Played) -> bool:
    try:
        return bool(asked.ask(played.service, use))
    except ServiceDown:
        return False


def test_the_loop_goes_on_and_nothing_is_left(asked: Asked, played: Played) -> None:
    turns = 0
    stop = Event()

    def turn() -> None:
        nonlocal turns
        while not stop.is_set():
            turns += 1
            gevent.sleep(0.001)

    turning = gevent.spawn(turn)

    def several() -> None:
        for number in range(150):
            assert asked.ask(played.service, use) == "answer"
            if number % 50 == 49:
                for connection in played.made:
                    connection.broken = True

    gevent.joinall([gevent.spawn(several) for _ in range(10)], raise_error=True)
    stop.set()
    turning.join(timeout=DEADLINE)
    assert turns > 5
    assert played.open <= 4
    assert not asked.said


PATCHED = """
from gevent import monkey
monkey.patch_all(signal=False)
import gevent, os, socket, sys
from uwsgirouter.rules.service import Service, ServiceDown, Timing
from uwsgirouter.worker.services import IDLE, Services
from gevent.server import StreamServer

def serve(sock, address):
    while data := sock.recv(100):
        sock.sendall(data)

server = StreamServer(("127.0.0.1", 0), serve)
server.start()
connect = lambda timing: socket.create_connection(server.address, timing.connect)
service = Service("echo", connect, lambda sock: sock.close(), (OSError,))
said = []
services = Services(Timing(10, 10, 4), said.append)

def call(sock):
    sock.sendall(b"x")
    return sock.recv(1)

def several():
    for _ in range(50):
        assert services.ask(service, call) == b"x"

count = lambda: len(os.listdir("/proc/self/fd"))
threads = lambda: len(os.listdir("/proc/self/task"))
several()
for _ in range(3 * IDLE):
    services.tick()
gevent.sleep(0.1)
descriptors, tasks = count(), threads()
for _ in range(3):
    gevent.joinall([gevent.spawn(several) for _ in range(12)], raise_error=True)
    for _ in range(3 * IDLE):
        services.tick()
    with gevent.Timeout(20):
        while count() > descriptors or threads() > tasks:
            gevent.sleep(0.01)
assert not said, said
print("good")
"""


def test_beside_scripts_whose_sockets_are_gevents() -> None:
    env = {**os.environ, **environment(None)}
    done = subprocess.run([sys.executable, "-c", PATCHED], capture_output=True, text=True, timeout=100, env=env)
    assert (done.returncode, done.stdout) == (0, "good\n"), done.stderr
