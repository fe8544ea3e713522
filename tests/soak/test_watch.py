"""The watch finds what is not as it should be: a router that is looked at, with something planted each time."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from scripts.bench.processes import BenchError, split_address
from scripts.soak import watch as module
from scripts.soak.content import Sum, body, checksum
from scripts.soak.diary import Diary
from scripts.soak.site import Site
from scripts.soak.visits import PLAIN, packet
from scripts.soak.watch import MEGABYTE, Level, Watch
from tests.servers import wait_until
from tests.servers.wire import announcement


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def watch(site: Site) -> Watch:
    """At rest."""
    made = Watch(site, Diary())
    made.rest()
    assert made.diary.findings == []
    wait_until(lambda: site.stats() == (0, 0), 20, "its last session is closed")
    made.diary = Diary()  # the rest made visits of its own, which may explain a session for some seconds
    return made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST_WITHIN", 0.2)


def findings(watch: Watch) -> str:
    """What it finds in one look."""
    watch.second()
    return "\n".join(watch.diary.findings)


def test_all_is_well(watch: Watch) -> None:
    assert findings(watch) == ""
    watch.rest()
    assert watch.diary.findings == []
    assert watch.levels[0].descriptors["worker"] > 3


def test_sessions_that_are_nobodys(watch: Watch, impatient: None) -> None:
    with socket.create_connection(split_address(watch.site.listen[0])) as peer:
        peer.sendall(packet(PLAIN, "/hang"))
        wait_until(lambda: watch.site.stats() == (1, 1), 20, "the request is in flight")
        found = findings(watch)
        assert "1 sessions, where there must be 0 to 0" in found
        assert f"1 requests in flight at {PLAIN}, where there must be 0 to 0" in found
        watch.rest()
    assert "no request is in flight, and no session is open" in "\n".join(watch.diary.findings)
    wait_until(lambda: watch.site.stats() == (0, 0), 20, "it is gone")


def test_sessions_that_are_missing(watch: Watch) -> None:
    """A visit that both ends hold open, of which the router knows nothing."""
    visit = watch.diary.begin("stream", PLAIN)
    visit.begun = visit.held_since = visit.begun - 60
    assert "0 sessions, where there must be 1 to 1" in findings(watch)


def test_a_node_that_nobody_announced(watch: Watch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(announcement("odd.soak", "127.0.0.1:9"), split_address(watch.site.server))
        wait_until(lambda: len(watch.site.ask(command="nodes")[0]) == 7, 20, "it is known")
        assert "a node that nobody announced" in findings(watch)
        sender.sendto(announcement("odd.soak", "127.0.0.1:9", 1), split_address(watch.site.server))
    wait_until(lambda: len(watch.site.ask(command="nodes")[0]) == 6, 20, "it is gone")


def test_files_that_are_left(watch: Watch, impatient: None) -> None:
    left = watch.site.bodies / "left"
    left.write_text("")
    watch.rest()
    assert "no temporary file is left ; now" in "\n".join(watch.diary.findings)
    left.unlink()


def test_descriptors_and_memory_that_grow(watch: Watch, impatient: None) -> None:
    """Compared with a router that had fewer."""
    watch.levels[0] = Level({"master": 1, "worker": 1}, watch.levels[0].pss - 100 * MEGABYTE)
    assert "PSS" in findings(watch)
    watch.rest()
    found = "\n".join(watch.diary.findings)
    assert "descriptors are as many as at first" in found and "memory is about what it was at first" in found


def test_a_worker_too_few(watch: Watch, impatient: None) -> None:
    watch.site.master.send_signal(signal.SIGTTOU)
    wait_until(lambda: len(watch.site.children()) == 1, 20, "one is gone")
    watch._until("there are the master and 2 workers", watch._is_staffed)
    assert "there are the master and 2 workers" in watch.diary.findings[0]
    watch.site.reload()
    wait_until(lambda: len(watch.site.children()) == 2, 20, "it is back")


def test_a_worker_that_knows_a_node_less(watch: Watch) -> None:
    """As if there were a node more than the workers know."""
    assert watch.site.one.keys == {PLAIN, "stream.soak"}
    watch.site.faulty.keys = frozenset({*watch.site.faulty.keys, PLAIN})
    try:
        watch._one_worker_after_the_other()
    finally:
        watch.site.faulty.keys = watch.site.faulty.keys - {PLAIN}
    assert len(watch.diary.findings) == 2
    assert all(watch.site.faulty.address in finding for finding in watch.diary.findings)


def test_what_the_router_says(watch: Watch) -> None:
    watch.second()
    with open(watch.site.router.log, "a") as log:
        log.write("Traceback (most recent call last):\n")
    assert "the router says: Traceback" in findings(watch)


def test_a_router_that_is_gone(watch: Watch) -> None:
    os.kill(watch.site.master.pid, signal.SIGKILL)
    wait_until(lambda: not watch.site.router.tree(), 20, "it is dead")
    assert "the router cannot be looked at: the router has ended" in findings(watch)
    with pytest.raises(BenchError, match="has ended"):
        watch.site.reload()


def test_the_sum_of_what_comes() -> None:
    found = Sum()
    found.add(bytes(body(1000)[:10]))
    found.add(bytes(body(1000)[10:]))
    assert found.text == b"1000 %d" % checksum(1000)
    found.add(b"x")
    assert found.text != b"1001 %d" % checksum(1001)
