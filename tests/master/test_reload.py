"""Reload by HUP: the new workers serve before the old ones leave, or everything stays as it was."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.master.watching import assert_no_failure, load, serving, title, wait_for_serving, workers
from tests.servers import (
    Client,
    Connection,
    Router,
    Servers,
    announce,
    answer,
    fetch,
    free_udp_port,
    get,
    hang,
    is_bound_udp,
    is_listening,
    local,
    wait_until,
)
from tests.worker.patched import CANNOT_BOOT, patched_router

TWO = "fastrouter-processes = 2"


class House:
    """A router with two workers and one static node; each test may change its file, and must put it back."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.address = local()
        self.node = servers.node(answer(b"first"))
        self.plain = [f"fastrouter = {self.address}", TWO, f"fastrouter-to = {self.node.address}"]
        self.router: Router = servers.router(config=self.text(*self.plain))
        self.workers = wait_for_serving(self.router, 2)

    def text(self, *lines: str) -> str:
        return "\n".join(["[uwsgirouter]", *lines, ""])

    def reload(self, *lines: str, workers: int = 2) -> list[int]:
        """A HUP with other lines, until the new workers are there alone; their pids."""
        self.router.rewrite(self.text(*lines))
        return self.hup(workers)

    def hup(self, workers: int = 2) -> list[int]:
        before = self.router.log().count("] reloaded in ")
        self.router.hup()
        self.router.wait_for_log("] reloaded in ", 20, before + 1)
        self.workers = wait_for_serving(self.router, workers, 20)
        return self.workers

    def hup_in_vain(self, reason: str, *lines: str) -> str:
        """A HUP that must fail, under load; the log from then on."""
        before = self.router.log()
        self.router.rewrite(self.text(*lines))
        with load(self.address) as asked:
            wait_until(lambda: len(asked.results) > 50, 5, "the load runs")
            self.router.hup()
            self.router.wait_for_log("the old configuration stays in use", count=before.count("the old conf") + 1)
            many = len(asked.results) + 50
            wait_until(lambda: len(asked.results) > many, 5, "the load goes on")
        assert_no_failure(asked.results)
        assert wait_for_serving(self.router, 2) == self.workers, self.router.log()[len(before) :]
        log = self.router.log()[len(before) :]
        assert f"reload failed: {self.router.config_file.name}:" in log.replace(f"{self.servers.directory}/", "")
        assert reason in log
        return log


@pytest.fixture(scope="module")
def house(started: Servers) -> House:
    """One router for all tests of this module."""
    return House(started)


@pytest.fixture(autouse=True)
def as_it_was(house: House) -> object:
    """Each test leaves the file as it was."""
    yield
    house.reload(*house.plain)


def test_five_reloads_under_load_lose_nothing(house: House) -> None:
    seen = set(house.workers)
    with load(house.address) as asked:
        for number in range(5):
            wait_until(lambda: len(asked.results) > 100 * (number + 1), 10, "the load runs")  # noqa: B023
            before = set(house.workers)
            assert before.isdisjoint(house.hup()), "all workers are new ones"
            seen |= set(house.workers)
    assert_no_failure(asked.results)
    assert len(seen) == 12
    assert len(asked.results) > 500


def test_ten_reloads_at_once_end_in_one_set_of_workers(house: House) -> None:
    before = house.workers
    begun = house.router.log().count("] reloaded in ")
    with load(house.address) as asked:
        for _ in range(10):
            house.router.hup()
            time.sleep(0.002)  # signals that come closer are one to the kernel
        house.router.wait_for_log("] reloaded in ", count=begun + 1)
        quiet_since = time.monotonic()
        known = house.router.log().count("] reloaded in ")

        def settled() -> bool:
            nonlocal quiet_since, known
            now = house.router.log().count("] reloaded in ")
            if now != known:
                known, quiet_since = now, time.monotonic()
            return time.monotonic() - quiet_since > 1.0

        wait_until(settled, 15, "no further reload")
        house.workers = wait_for_serving(house.router, 2)
    assert_no_failure(asked.results)
    assert set(house.workers).isdisjoint(before)
    assert known - begun < 10, "those that came during a reload are one further reload"


def test_a_broken_file_changes_nothing(house: House) -> None:
    log = house.hup_in_vain("fastrouter-timeout", *house.plain, "fastrouter-timeout = soon")
    assert f"{house.router.config_file.name}:5" in log
    house.hup_in_vain("fastrouter-tiemout", *house.plain, "fastrouter-tiemout = 3")


def test_an_address_in_use_changes_nothing(house: House) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        name = f"127.0.0.1:{taken.getsockname()[1]}"
        free = local()
        lines = [*house.plain, f"fastrouter = {free}", f"fastrouter = {name}"]
        log = house.hup_in_vain("address in use", *lines)
        assert f"{house.router.config_file.name}:6: cannot listen on {name}" in log
        assert not is_listening(free), "what was bound for it is closed again"


def test_a_dead_include_changes_nothing(house: House) -> None:
    log = house.hup_in_vain("nowhere.conf", *house.plain, "include = nowhere.conf")
    assert f"{house.router.config_file.name}:5" in log


def test_a_name_that_cannot_be_resolved_changes_nothing(house: House) -> None:
    free = local()
    house.hup_in_vain(
        "cannot resolve", *house.plain, f"fastrouter = {free}", "fastrouter-to = no-such-host.invalid:3017"
    )
    assert not is_listening(free)


def test_workers_that_cannot_start_change_nothing(house: House) -> None:
    """The file is well, but whoever starts by it dies."""
    config = house.text(f"fastrouter = {local()}", *house.plain[1:])
    router = patched_router(house.servers, CANNOT_BOOT, config=config)
    before = wait_for_serving(router, 2)
    router.rewrite(config + "fastrouter-timeout = 77\n")
    with load(router.address) as asked:
        router.hup()
        router.wait_for_log("the old configuration stays in use")
    assert_no_failure(asked.results)
    assert wait_for_serving(router, 2) == before
    assert "exited with 3 before it was ready" in router.log()
    router.rewrite(config)
    router.hup()
    router.wait_for_log("] reloaded in ")
    assert set(wait_for_serving(router, 2)).isdisjoint(before)


def test_listeners_come_and_go(house: House) -> None:
    more, path = local(), house.servers.path("more.sock")
    house.reload(*house.plain, f"fastrouter = {more}", f"fastrouter = {path}")
    assert {fetch(address).body for address in (house.address, more, path)} == {b"first"}
    with load(house.address) as asked:
        house.reload(*house.plain)
    assert_no_failure(asked.results)
    assert not is_listening(more)
    assert not is_listening(path)
    assert not os.path.exists(path)
    assert fetch(house.address).body == b"first"


def test_what_waits_at_a_listener_that_goes_is_served(house: House) -> None:
    """The old workers are the last ones there."""
    gone = local()
    old = house.reload(*house.plain, f"fastrouter = {gone}")
    for pid in old:
        os.kill(pid, signal.SIGSTOP)
    with ExitStack() as crowd:
        waiting = [crowd.enter_context(Client(gone)) for _ in range(20)]
        for client in waiting:
            client.send_packet(get())
        before = house.router.log().count("] reloaded in ")
        house.router.rewrite(house.text(*house.plain))
        house.router.hup()
        house.router.wait_for_log("] reloaded in ", count=before + 1)
        for pid in old:
            os.kill(pid, signal.SIGCONT)
        assert [client.reply().body for client in waiting] == [b"first"] * 20
    assert not is_listening(gone)
    house.workers = wait_for_serving(house.router, 2)


def test_sessions_that_do_not_end_in_time_are_cut_and_named(house: House) -> None:
    """Whose they were is told: keys and how many of each, the rest as a number."""
    node = house.servers.node(hang)
    node.expect_errors()
    server = f"127.0.0.1:{free_udp_port()}"
    lines = [*house.plain[:2], f"fastrouter-subscription-server = {server}", "reload-mercy = 1"]
    old = set(house.reload(*lines))
    keys = [f"{letter}.cut.example" for letter in "abcdefghijkl"]
    for key in keys:
        announce(server, key, node.address)
        house.router.wait_for_log(f"{key} => new node: {node.address}", 10)
    with ExitStack() as crowd:
        for key in [*keys, keys[0], keys[0], keys[1]]:
            crowd.enter_context(Client(house.address)).send_packet(get(key))
        node.wait_for(15, 20)
        house.hup()
        wait_until(lambda: not old & set(workers(house.router)), 20, "the old workers left")
    log = house.router.log()
    cut = [line.partition(" sessions are cut: ")[2] for line in log.splitlines() if " sessions are cut: " in line]
    counts = Counter()
    for line in cut:
        for key, number in re.findall(r"(\S+) (\d+)(?:,|$| and)", line):
            counts[key] += int(number)
    others = sum(int(number) for line in cut for number in re.findall(r" and (\d+) of \d+ other key", line))
    assert counts.total() + others == 15, cut
    assert counts[keys[0]] == 3 or others, cut
    assert "it did not finish in time; " in log


def test_the_number_of_workers_changes(house: House) -> None:
    one = [line for line in house.plain if line != TWO]
    with load(house.address) as asked:
        house.reload(*one, "fastrouter-processes = 3", workers=3)
        house.reload(*one, workers=1)
    assert_no_failure(asked.results)


def test_static_nodes_come_and_go(house: House) -> None:
    second = house.servers.node(answer(b"second"))
    with load(house.address) as asked:
        house.reload(*house.plain, f"fastrouter-to = {second.address}")
        both = {b"first", b"second"}
        # The load takes turns as well, at times every second one: ask until we were given either.
        wait_until(lambda: {fetch(house.address).body for _ in range(8)} == both, 5, "both are asked")
        house.reload(*house.plain)
        assert {fetch(house.address).body for _ in range(8)} == {b"first"}
    assert_no_failure(asked.results)


def test_the_address_of_the_subscription_server_changes(house: House) -> None:
    one, two = (f"127.0.0.1:{free_udp_port()}" for _ in range(2))
    house.reload(*house.plain[:2], f"fastrouter-subscription-server = {one}")
    announce(one, "a.example", house.node.address)
    wait_until(lambda: fetch(house.address).status == 200, 5, "the node is known")
    with load(house.address) as asked:
        house.reload(*house.plain[:2], f"fastrouter-subscription-server = {two}")
        wait_until(lambda: not is_bound_udp(one), 5, "the old server is closed")
        announce(two, "b.example", house.node.address)
        wait_until(lambda: fetch(house.address, "b.example").status == 200, 5, "the new server hears")
    assert_no_failure(asked.results)


def test_a_request_under_way_is_finished_by_its_old_worker(house: House) -> None:
    go_on = threading.Event()

    def slow(connection: Connection) -> None:
        connection.read_packet()
        go_on.wait(20)
        connection.answer(b"slow")

    node = house.servers.node(slow)
    house.reload(*house.plain[:2], f"fastrouter-to = {node.address}")
    with Client(house.address) as client:
        client.send_packet(get())
        node.wait_for(1)
        old = set(house.workers)
        house.router.rewrite(house.text(*house.plain))
        house.router.hup()
        house.router.wait_for_log("2 old workers drain")
        wait_until(lambda: len(old & set(workers(house.router))) == 1, 5, "the idle one left")
        (left,) = old & set(workers(house.router))
        wait_until(lambda: title(left).endswith("draining 1"), 5, "its title tells")
        assert fetch(house.address).body == b"first"
        go_on.set()
        assert client.reply().body == b"slow"
    wait_until(lambda: left not in workers(house.router), 5, "it is done")


def test_reloads_while_old_workers_drain(house: House) -> None:
    """Each generation that has something under way drains by itself, and an answer comes whoever was told to leave."""
    go_on = threading.Event()

    def slow(connection: Connection) -> None:
        connection.read_packet()
        go_on.wait(60)
        connection.answer(b"slow")

    def drain() -> int:
        return sum("draining 1" in title(pid) for pid in workers(house.router))

    node = house.servers.node(slow)
    lines = [*house.plain[:2], f"fastrouter-to = {node.address}"]
    house.reload(*lines)
    with ExitStack() as crowd:
        crowd.callback(go_on.set)
        clients = []
        for number in range(3):
            client = crowd.enter_context(Client(house.address, 60.0))
            client.send_packet(get())
            clients.append(client)
            node.wait_for(number + 1, 20)
            before = house.router.log().count("] reloaded in ")
            house.router.hup()
            house.router.wait_for_log("] reloaded in ", 20, before + 1)
            # Until it has read its order, an old worker may accept the next one, too.
            wait_until(lambda: (drain(), len(serving(house.router))) == (number + 1, 2), 20, "one more")  # noqa: B023
        wait_until(lambda: len(workers(house.router)) == 5, 20, "the idle ones left")
        go_on.set()
        assert [client.reply().body for client in clients] == [b"slow"] * 3
    house.workers = wait_for_serving(house.router, 2, 20)


def test_an_option_that_needs_a_restart_is_named(house: House) -> None:
    house.reload(*house.plain, f"gid = {os.getgid()}")
    assert "gid changed: that needs a restart, the old value stays" in house.router.log()


def test_what_the_process_itself_has_changes_too(house: House) -> None:
    """env, chdir, max-fd, pidfile, logto: for the new workers, and not at all when the reload fails."""
    one, two = house.servers.path("one.pid"), house.servers.path("two.pid")
    directory = house.servers.directory / "elsewhere"
    directory.mkdir(exist_ok=True)
    lines = [*house.plain, "env = COLOUR=green", f"chdir = {directory}", "max-fd = 700", f"pidfile = {one}"]

    def seen() -> list[tuple[str, str]]:
        found = []
        for pid in (house.router.pid, *house.workers):
            process = psutil.Process(pid)
            found.append((process.cwd(), str(process.rlimit(psutil.RLIMIT_NOFILE)[0])))
        return found

    before = seen()
    house.reload(*lines)
    assert seen() == [(str(directory), "700")] * 3
    assert Path(one).read_text() == f"{house.router.pid}\n"
    house.hup_in_vain("fastrouter-tiemout", *house.plain, "fastrouter-tiemout = 3")
    house.hup_in_vain("No such file", *house.plain, "chdir = /nowhere/at/all", "max-fd = 800")
    assert seen() == [(str(directory), "700")] * 3
    house.reload(*lines[:-1], f"pidfile = {two}")
    assert (os.path.exists(one), os.path.exists(two)) == (False, True)
    house.reload(*house.plain)
    assert seen() == before
    assert not os.path.exists(two)


def test_touch_reload(house: House) -> None:
    path = house.servers.path("touched")
    house.reload(*house.plain, f"touch-reload = {path}")
    before = house.workers
    with open(path, "w"):
        pass
    house.router.wait_for_log("a touch-reload file changed: reloading")
    wait_until(lambda: not set(workers(house.router)) & set(before), 5, "the old workers leave")
    house.workers = wait_for_serving(house.router, 2)


def test_one_worker_more_one_less_and_none(house: House) -> None:
    """TTIN, TTOU and WINCH; connections wait while nobody is there, until HUP brings workers back."""
    house.router.signal(signal.SIGTTIN)
    assert set(house.workers) < set(wait_for_serving(house.router, 3))
    house.router.signal(signal.SIGTTOU)
    assert wait_for_serving(house.router, 2) == house.workers
    house.router.signal(signal.SIGWINCH)
    wait_until(lambda: not workers(house.router), 5, "all workers left")
    with Client(house.address) as client:
        client.send_packet(get())
        house.hup()
        assert client.reply().body == b"first"


def test_resting_workers_come_back_with_ttin(house: House) -> None:
    house.router.signal(signal.SIGWINCH)
    wait_until(lambda: not workers(house.router), 5, "all workers left")
    house.router.signal(signal.SIGTTIN)
    wait_for_serving(house.router, 3)
    assert fetch(house.address).body == b"first"
