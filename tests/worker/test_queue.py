"""``subscription-limit-cores``: no node has more requests than its cores; the others wait, and not for ever."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.master.watching import title
from tests.servers import Client, Connection, Servers, announce, answer, fetch, get, wait_until
from tests.servers.wire import UNSUBSCRIBE, Reply
from tests.worker.site import Site

CAUSE = "x-uwsgirouter-cause"


class Held:
    """A handler that answers when it is let; it knows how many it had at once."""

    def __init__(self, body: bytes = b"held") -> None:
        self.body = body
        self.now = 0
        self.most = 0
        self._lock = threading.Lock()
        self.leave = threading.Semaphore(0)

    def __call__(self, connection: Connection) -> None:
        packet = connection.read_packet()
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        while not connection.stopping.is_set() and not self.leave.acquire(timeout=0.05):
            pass
        with self._lock:
            self.now -= 1  # before the answer, which the router may have seen to its end before this thread goes on
        connection.answer(self.body + b" " + (packet.get(b"REQUEST_URI") or b""))


@pytest.fixture(scope="module")
def limited(started: Servers) -> Site:
    return Site(
        started,
        "subscription-limit-cores = true",
        "subscription-queue-timeout = 1.5",
        "subscription-queue-length = 3",
    )


@pytest.fixture(scope="module")
def patient(started: Servers) -> Site:
    return Site(started, "subscription-limit-cores = true", "subscription-queue-timeout = 60")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as executor:
        yield executor


def ask(site: Site, key: str, path: str = "/") -> Client:
    """A request on its way."""
    client = site.servers.client(site.tcp)
    client.send_packet(get(key, path))
    return client


def sessions(site: Site) -> int:
    """Sessions of the worker, as ps shows them."""
    return int(title(site.worker).split()[-2])


def told(reply: Reply) -> tuple[int, str | None]:
    return reply.status, reply.header(CAUSE)


def test_never_more_than_its_cores_and_first_come_first_served(patient: Site) -> None:
    held = Held()
    key, node = patient.serve(held, cores=2)
    clients = [ask(patient, key, f"/{number}") for number in range(2)]
    wait_until(lambda: held.now == 2, 10, "both cores are busy")
    for number in range(2, 6):
        clients.append(ask(patient, key, f"/{number}"))
        wait_until(lambda: sessions(patient) >= len(clients), 10, "the request waits")
    for count in range(3, 7):
        held.leave.release()
        node.wait_for(count, 10)
    held.leave.release(2)
    assert [client.reply().body for client in clients] == [b"held /%d" % number for number in range(6)]
    paths = [connection.packet.get(b"REQUEST_URI") for connection in node.connections if connection.packet]
    assert paths[2:] == [b"/2", b"/3", b"/4", b"/5"], "in the order in which they came"
    assert held.most == 2


def test_a_free_node_takes_what_a_full_one_cannot(patient: Site) -> None:
    one, two = Held(b"one"), Held(b"two")
    first, second = patient.node(one), patient.node(two)
    key = patient.announce(patient.key(), first.address, second.address, cores=1)
    clients = [ask(patient, key) for _ in range(2)]
    wait_until(lambda: (one.now, two.now) == (1, 1), 10, "each has one")
    clients.append(ask(patient, key))
    two.leave.release()
    wait_until(lambda: len(second.connections) == 2, 10, "who is free first has the next one")
    assert (len(first.connections), one.most, two.most) == (1, 1, 1)
    one.leave.release()
    two.leave.release()
    assert sorted(client.reply().body.split()[0] for client in clients) == [b"one", b"two", b"two"]


def test_nobody_waits_longer_than_the_timeout(limited: Site) -> None:
    held = Held()
    key, node = limited.serve(held, cores=1)
    first = ask(limited, key)
    wait_until(lambda: held.now == 1, 10, "the core is busy")
    assert told(fetch(limited.tcp, key)) == (503, "queue-timeout")
    limited.router.wait_for_log(f"request failed: 503 queue-timeout key {key}")
    held.leave.release()
    assert first.reply().status == 200
    assert len(node.connections) == 1


def test_a_line_is_of_bounded_length(limited: Site, pool: ThreadPoolExecutor) -> None:
    held = Held()
    key, _ = limited.serve(held, cores=1)
    replies = [pool.submit(fetch, limited.tcp, key) for _ in range(9)]
    wait_until(lambda: sum(reply.done() for reply in replies) >= 5, 10, "one is served, three wait, five are told")
    held.leave.release(9)
    answers = sorted(told(reply.result()) for reply in replies)
    assert answers.count((503, "queue-full")) == 5
    assert answers.count((200, None)) == 4
    assert held.most == 1


def test_lines_of_other_keys_are_not_held_up(limited: Site) -> None:
    held = Held()
    key, _ = limited.serve(held, cores=1)
    other, _ = limited.serve(answer(b"other"), cores=1)
    first = ask(limited, key)
    wait_until(lambda: held.now == 1, 10, "the core is busy")
    waiting = ask(limited, key)
    assert [fetch(limited.tcp, other).body for _ in range(3)] == [b"other"] * 3
    held.leave.release(2)
    assert [client.reply().status for client in (first, waiting)] == [200, 200]


def test_no_cores_no_limit(limited: Site) -> None:
    held = Held()
    key, _ = limited.serve(held, cores=0)
    clients = [ask(limited, key) for _ in range(12)]
    wait_until(lambda: held.now == 12, 10, "all at once")
    held.leave.release(12)
    assert {client.reply().status for client in clients} == {200}


def test_a_client_that_leaves_the_line_is_not_served(patient: Site) -> None:
    baseline = patient.descriptors()
    held = Held()
    key, node = patient.serve(held, cores=1)
    first = ask(patient, key)
    wait_until(lambda: held.now == 1, 10, "the core is busy")
    leaves, stays = ask(patient, key, "/leaves"), ask(patient, key, "/stays")
    wait_until(lambda: sessions(patient) == 3, 10, "both wait")
    leaves.close()
    wait_until(lambda: sessions(patient) == 2, 10, "it is let go")
    held.leave.release(2)
    assert [client.reply().body for client in (first, stays)] == [b"held /", b"held /stays"]
    assert len(node.connections) == 2
    patient.assert_released(key, node, baseline)


def test_the_node_fails_while_others_wait_for_it(patient: Site) -> None:
    """Who waits is told when nobody is left, and served by whoever comes."""
    held = Held()
    key, node = patient.serve(held, cores=1)
    first = ask(patient, key)
    wait_until(lambda: held.now == 1, 10, "the core is busy")
    waiting = ask(patient, key)
    wait_until(lambda: sessions(patient) == 2, 10, "it waits")
    rescue = patient.node(answer(b"rescue"))
    patient.announce(key, rescue.address, cores=1)
    assert waiting.reply().body == b"rescue"
    last = ask(patient, key)
    assert last.reply().body == b"rescue"
    node.refuse()
    held.leave.release()
    assert first.reply().status == 200


def test_a_node_that_leaves_takes_nobody_along(patient: Site) -> None:
    held = Held()
    key, node = patient.serve(held, cores=1)
    first = ask(patient, key)
    wait_until(lambda: held.now == 1, 10, "the core is busy")
    waiting = ask(patient, key)
    wait_until(lambda: sessions(patient) == 2, 10, "it waits")
    announce(patient.server, key, node.address, UNSUBSCRIBE)
    assert told(waiting.reply()) == (503, "no-node"), "nobody is left to wait for"
    held.leave.release()
    assert first.reply().status == 200, "what runs is finished"


def test_two_workers_share_the_limit(started: Servers) -> None:
    """Requests that end in one worker let those go on that wait in the other."""
    site = Site(started, "subscription-limit-cores = true", "subscription-queue-timeout = 60")
    site.router.signal(signal.SIGTTIN)
    younger = max(psutil.Process(pid).create_time() for pid in site.router.wait_for_workers(2))
    wait_until(lambda: time.time() > younger + 3, 10, "each has looked, which is once a second, who the others are")
    held = Held()
    key, _ = site.serve(held, cores=3)
    clients = [ask(site, key) for _ in range(24)]
    wait_until(lambda: held.now >= 3, 10, "the cores are busy")
    held.leave.release(24)
    assert {client.reply().status for client in clients} == {200}
    assert held.most == 3
