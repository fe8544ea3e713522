"""Whose turn it is in the line: places that are kept, lines that hold nobody else up, and what a long look costs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from tests.servers import Client, Servers, answer, fetch, get, post, reset_after_packet, wait_until
from tests.worker.site import Site
from tests.worker.test_queue import Held, ask, sessions, told
from tests.worker.test_sticky import cookie_of
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.model.cores import FullNodes
from uwsgirouter.model.counters import ROW_CELLS, Counter
from uwsgirouter.model.events import Put
from uwsgirouter.model.node import Node, State
from uwsgirouter.model.slot import Slot
from uwsgirouter.model.table import RouteTable
from uwsgirouter.settings.address import parse_peer
from uwsgirouter.worker.choice import Choice
from uwsgirouter.worker.main import Duty, Worker
from uwsgirouter.worker.phases import Phase
from uwsgirouter.worker.queue import REST, Queue
from uwsgirouter.worker.seeking import lost

KEY = b"foo.com"


class Loop:
    """Runs nothing by itself."""

    def __init__(self) -> None:
        self.running = False
        self.soon: list[Callable[[], None]] = []

    def timer(self, after: float, repeat: float) -> Loop:
        return self

    def again(self, handler: Callable[[], None]) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def run_callback(self, handler: Callable[[], None]) -> None:
        self.soon.append(handler)

    def io(self, descriptor: int, events: int) -> Any:
        return SimpleNamespace(start=lambda handler: None, stop=lambda: None)


class Hall:
    """A queue, a slot of nodes with one core each, and how many requests they have under way."""

    def __init__(self, nodes: int = 1, most: int = 100) -> None:
        self.now = 0.0
        self.cost = 0.0
        self.loop = Loop()
        self.cells = memoryview(bytearray(8 * ROW_CELLS)).cast("q")
        self.elsewhere = 0
        self.counts = dict.fromkeys(range(nodes), 1)
        table = RouteTable(WeightedRoundRobin)
        for id in range(nodes):
            address = parse_peer(f"127.0.0.1:{3000 + id}")
            table.apply(Put(id, KEY, address, (0, 0), 1, 1, 0, State.UP, 0.0))
        self.slot: Slot | None = table.slots[KEY]
        self.nodes = table.nodes
        self.choice = Choice(None, FullNodes(self.counts.__getitem__))
        self.queue = self.choice.queue = Queue(
            self.loop, self.choice, 5.0, most, self.cells, lambda since: 0 < self.elsewhere < since, self.clock
        )
        self.router = SimpleNamespace(choice=self.choice, queue=self.queue, loop=self.loop)
        self.dialled: list[str] = []

    def clock(self) -> float:
        self.now += self.cost
        return self.now

    def wait(self, *names: str) -> list[Waiter]:
        waiters = [Waiter(self, name) for name in names]
        for waiter in waiters:
            assert self.put(waiter)
        return waiters

    def put(self, waiter: Waiter) -> bool:
        waiter.phase = Phase.QUEUE
        return self.queue.put(waiter, KEY, self.nodes.values())  # type: ignore[arg-type]

    def poll(self) -> None:
        self.queue._poll()


class Waiter:
    """As much of a session as the queue needs. ``loses``: another worker is faster, so many times."""

    def __init__(self, hall: Hall, name: str, loses: int = 0) -> None:
        self.hall = hall
        self.name = name
        self.loses = loses
        self.router = hall.router
        self.phase = Phase.QUEUE
        self.tried: list[Node] | None = None
        self.watcher = None
        self.record = None
        self.lent = None
        self.silence = 0
        self.causes: list[str] = []
        self.ends: list[int] = []
        self.client = SimpleNamespace(fileno=self._socket)

    def _socket(self) -> int:
        if not self.ends:
            self.ends = list(os.pipe())
        return self.ends[1]

    def candidates(self) -> Slot | None:
        return self.hall.slot

    def unwatch(self) -> None:
        pass

    def watch(self, *_: object) -> None:
        pass

    def remote_address(self) -> bytes:
        return b""

    def dial(self, node: Node) -> None:
        if self.loses:
            self.loses -= 1
            self.hall.counts[node.id] = 1
            lost(self, node)  # type: ignore[arg-type]
            return
        self.hall.counts[node.id] += 1
        self.hall.dialled.append(self.name)
        self.phase = Phase.WAIT

    def fail(self, cause: Any, detail: str = "") -> None:
        self.phase = Phase.CLOSED
        self.causes.append(cause.value.word)

    def close_ends(self) -> None:
        for end in self.ends:
            os.close(end)


@pytest.fixture
def hall() -> Iterator[Hall]:
    yield Hall()


def closing(waiters: Iterable[Waiter]) -> None:
    for waiter in waiters:
        waiter.close_ends()


def test_who_loses_its_turn_to_another_worker_keeps_its_place_and_its_time(hall: Hall) -> None:
    waiters = hall.wait("first", "second", "third")
    waiters[0].loses = 3
    for _ in range(3):
        hall.now += 1.0
        hall.counts[0] = 0
        hall.poll()
    assert hall.dialled == [] and waiters[0].phase is Phase.QUEUE
    hall.counts[0] = 0
    hall.poll()
    assert hall.dialled == ["first"]
    hall.now += 2.0  # five seconds since all of them came
    hall.poll()
    assert [waiter.causes for waiter in waiters] == [[], ["queue-timeout"], ["queue-timeout"]]
    assert not hall.loop.running
    closing(waiters)


def test_losing_does_not_buy_time_and_a_full_line_does_not_keep_its_first_out() -> None:
    hall = Hall(most=2)
    waiters = hall.wait("first", "second")
    waiters[0].loses = 1000
    hall.counts[0] = 0
    hall.poll()
    assert waiters[0].causes == [], "it came before the line was full"
    assert not hall.put(Waiter(hall, "third"))
    hall.now += 5.0
    hall.poll()
    assert [waiter.causes for waiter in waiters] == [["queue-timeout"]] * 2
    closing(waiters)


def test_who_loses_a_node_has_another_one_that_is_free() -> None:
    hall = Hall(nodes=2)
    (waiter,) = hall.wait("first")
    waiter.loses = 1
    hall.counts.update({0: 0, 1: 0})
    hall.poll()
    assert hall.dialled == ["first"] and sorted(hall.counts.values()) == [1, 1]
    closing([waiter])


def test_a_request_that_ends_has_its_own_line_looked_at(hall: Hall) -> None:
    (waiter,) = hall.wait("first")
    hall.queue.released(Node(7, b"other.com", parse_peer("127.0.0.1:1")))
    assert hall.loop.soon == []
    hall.counts[0] = 0
    for _ in range(5):
        hall.queue.released(hall.nodes[0])
    (handler,) = hall.loop.soon
    handler()
    assert hall.dialled == ["first"]
    closing([waiter])


def test_those_who_came_before_in_another_worker_have_a_chance(hall: Hall) -> None:
    """Every second time, for they may wait for quite another node."""
    hall.now = 1.0
    waiters = hall.wait(*"abcdef")
    hall.poll()
    assert hall.cells[Counter.WAITING_SINCE] == 1000
    for elsewhere, served in ((0, 1), (1001, 2), (1000, 3), (999, 3), (999, 4), (999, 4), (999, 5)):
        hall.elsewhere = elsewhere
        hall.counts[0] = 0
        hall.queue.released(hall.nodes[0])
        hall.loop.soon.pop()()
        assert len(hall.dialled) == served
    hall.counts[0] = 0
    hall.poll()
    assert hall.dialled == list("abcdef"), "nobody was faster"
    assert hall.cells[Counter.WAITING_SINCE] == 0
    closing(waiters)


def test_a_long_look_is_followed_by_a_rest(hall: Hall) -> None:
    waiters = hall.wait("first")
    hall.cost = 0.1  # for each look at the clock: the first one of a poll, and the last one
    hall.poll()
    assert hall.now == pytest.approx(0.2)
    hall.cost = 0.0
    hall.counts[0] = 0
    hall.now += 0.1 * REST - 0.01
    hall.poll()
    assert hall.dialled == []
    hall.now += 0.02
    hall.poll()
    assert hall.dialled == ["first"]
    closing(waiters)


def test_a_handler_that_raises_does_not_stop_the_clock_for_the_others(hall: Hall) -> None:
    waiters = hall.wait("first", "second")
    worker = Worker.__new__(Worker)
    logged: list[str] = []
    worker._errors = lambda text, now: logged.append(text)  # type: ignore[assignment]
    worker.duty = Duty.SERVING
    hall.loop.running = False  # as gevent does
    context = SimpleNamespace(callback=hall.queue._poll)
    worker.handle_error(context, ValueError, ValueError("a bug"), None)  # type: ignore[arg-type]
    for handler in hall.loop.soon:
        handler()
    assert hall.loop.running and "a bug" in logged[0]
    closing(waiters)


# -- with a router ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(started: Servers) -> Site:
    return Site(
        started,
        "fastrouter-sticky = ROUTE",
        "no-fd-passing = true",
        "subscription-limit-cores = true",
        "subscription-queue-timeout = 60",
        "subscription-queue-length = 3",
    )


def ask_with(site: Site, key: str, cookie: str) -> Client:
    client = site.servers.client(site.tcp)
    client.send_packet(get(key, extra=[(b"HTTP_COOKIE", cookie.encode())]))
    return client


def test_clients_who_wait_for_their_own_node_hold_nobody_up(site: Site) -> None:
    held = Held(b"mine")
    mine, other = site.node(held), site.node(answer(b"other"))
    key = site.announce(site.key(), mine.address, cores=1)
    held.leave.release()
    cookie = cookie_of(fetch(site.tcp, key))
    before = sessions(site)
    site.announce(key, other.address, cores=1)
    clients = [ask_with(site, key, cookie)]
    wait_until(lambda: held.now == 1, 10, "its core is busy")
    clients += [ask_with(site, key, cookie) for _ in range(3)]
    wait_until(lambda: sessions(site) >= before + 4, 10, "the line is full")
    assert told(ask_with(site, key, cookie).reply()) == (503, "queue-full")
    assert [fetch(site.tcp, key).body for _ in range(10)] == [b"other"] * 10
    held.leave.release(4)
    assert [client.reply().body for client in clients] == [b"mine /"] * 4
    assert held.most == 1


def test_a_client_that_left_with_its_body_unread_is_not_served(site: Site) -> None:
    held = Held()
    key, node = site.serve(held, cores=1)
    first = ask(site, key)
    wait_until(lambda: held.now == 1, 10, "the core is busy")
    leaves = site.servers.client(site.tcp)
    leaves.send_packet(post(key, 5000), b"x" * 100)
    wait_until(lambda: sessions(site) == 2, 10, "it waits")
    last = ask(site, key, "/last")
    wait_until(lambda: sessions(site) == 3, 10, "this one, too")
    leaves.close()
    held.leave.release(3)
    assert [client.reply().body for client in (first, last)] == [b"held /", b"held /last"]
    assert len(node.connections) == 2


def test_a_worse_level_is_waited_for_as_well(site: Site) -> None:
    """When the better nodes failed this request, it waits for the others and does not ask again and again."""
    held = Held(b"spare")
    main, spare = site.node(reset_after_packet), site.node(held)
    key = site.announce(site.key(), main.address)
    site.announce(key, spare.address, cores=1, backup=1)
    before = site.stats().numbers["retries"]
    clients = [ask(site, key)]
    wait_until(lambda: held.now == 1, 10, "the spare one is busy")
    clients.append(ask(site, key))
    main.wait_for(2, 10)
    wait_until(lambda: sessions(site) == 2, 10, "it waits")
    held.leave.release(2)
    assert [client.reply().body for client in clients] == [b"spare /"] * 2
    assert held.most == 1
    assert site.stats().numbers["retries"] - before <= 2


def test_requests_of_a_worker_that_was_killed_do_not_count(started: Servers) -> None:
    site = Site(started, "subscription-limit-cores = true", "subscription-queue-timeout = 60")
    held = Held()
    key, node = site.serve(held, cores=2)
    clients = [ask(site, key) for _ in range(3)]
    wait_until(lambda: held.now == 2, 10, "the cores are busy")
    os.kill(site.worker, signal.SIGKILL)
    site.router.wait_for_log("was killed by signal 9", 10)
    for client in clients:
        client.read_all()
    held.leave.release(4)
    wait_until(lambda: held.now == 0, 10, "the node is done with them")
    node.expect_errors()
    held.leave = type(held.leave)(0)
    with ThreadPoolExecutor(2) as pool:
        replies = [pool.submit(fetch, site.tcp, key) for _ in range(2)]
        wait_until(lambda: held.now == 2, 10, "both cores are there again")
        held.leave.release(2)
        assert {reply.result().status for reply in replies} == {200}
