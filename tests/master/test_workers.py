"""Workers that die, hang or are told to leave: replaced at once, and only what was in them is lost."""

from __future__ import annotations

import os
import re
import signal
import threading
import time

import psutil
import pytest

from tests.master.watching import (
    assert_no_failure,
    datagram_sockets,
    load,
    sockets,
    title,
    wait_for_serving,
    workers,
)
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
    local,
    wait_until,
)
from tests.worker.patched import patched_router

Kill = tuple[float, float]


def two_workers(servers: Servers, *lines: str) -> Router:
    """A router with two workers that serve."""
    node = servers.node(answer(b"served"))
    node.expect_errors()  # a worker may be killed between connecting and sending
    config = ["[uwsgirouter]", f"fastrouter = {local()}", "fastrouter-processes = 2", f"fastrouter-to = {node.address}"]
    router = servers.router(config="\n".join([*config, *lines, ""]))
    wait_for_serving(router, 2)
    return router


def test_ten_killed_workers_cost_only_what_was_in_them(started: Servers) -> None:
    """Whoever asks after the kill is served; the worker is back within a second; the tenth death backs off."""
    router = two_workers(started)
    kills: list[Kill] = []
    with load(router.address) as asked:
        for number in range(10):
            enough = len(asked.results) + 40
            wait_until(lambda: len(asked.results) > enough, 10, "the load runs")  # noqa: B023
            first, second = wait_for_serving(router, 2)
            at = time.monotonic()
            os.kill((first, second)[number % 2], signal.SIGKILL)
            wait_for_serving(router, 2)
            kills.append((at, time.monotonic() - at))
    assert max(away for _, away in kills) < 1.0, kills
    for outcome in asked.failures:
        under_way = [at for at, _ in kills if outcome.at <= at + 0.001 and at <= outcome.at + outcome.latency]
        assert under_way, f"{outcome} was not under way at any of {kills}"
    assert len(asked.failures) <= 16 * 10
    log = router.wait_for_log("workers died 10 times", 10)
    assert len(re.findall(r"uwsgirouter worker [12] \(pid: \d+\) was killed by signal 9", log)) == 10
    assert log.count("respawning uwsgirouter worker") == 9
    assert re.search(r"workers died 10 times in a minute: backing off, worker \d is respawned in 0.5 seconds", log)


def test_a_stuck_worker_is_killed_and_replaced(started: Servers) -> None:
    router = two_workers(started, "fastrouter-harakiri = 2")
    stuck, other = wait_for_serving(router, 2)
    os.kill(stuck, signal.SIGSTOP)
    begin = time.monotonic()
    router.wait_for_log(f"*** HARAKIRI ON GATEWAY uwsgirouter 1 (pid: {stuck}) ***")
    assert 1.0 < time.monotonic() - begin < 4.5
    assert "it gave no sign of life for 2 seconds" in router.log()
    replaced = wait_for_serving(router, 2)
    assert stuck not in replaced
    assert other in replaced
    assert {fetch(router.address).status for _ in range(10)} == {200}


def test_a_worker_that_is_told_to_leave_drains_and_is_replaced(started: Servers) -> None:
    go_on = threading.Event()

    def slow(connection: Connection) -> None:
        connection.read_packet()
        go_on.wait(20)
        connection.answer(b"slow")

    node = started.node(slow)
    router = started.router("--fastrouter", local(), "--fastrouter-to", node.address)
    (worker,) = wait_for_serving(router, 1)
    with Client(router.address) as client:
        client.send_packet(get())
        node.wait_for(1)
        os.kill(worker, signal.SIGTERM)
        wait_until(lambda: title(worker).endswith("draining 1"), 5, "it drains")
        wait_until(lambda: len(workers(router)) == 2, 5, "another one is there")
        with Client(router.address) as second:
            second.send_packet(get())
            node.wait_for(2)
            go_on.set()
            assert second.reply().body == b"slow"
        assert client.reply().body == b"slow"
    assert wait_for_serving(router, 1) != [worker]
    router.wait_for_log(f"(pid: {worker}) is done")


def test_telling_both_workers_to_leave_under_load_loses_nothing(started: Servers) -> None:
    router = two_workers(started)
    with load(router.address) as asked:
        for _ in range(3):
            enough = len(asked.results) + 50
            wait_until(lambda: len(asked.results) > enough, 10, "the load runs")  # noqa: B023
            for pid in wait_for_serving(router, 2):
                os.kill(pid, signal.SIGTERM)
    assert_no_failure(asked.results)


def test_signals_of_the_master_do_nothing_to_a_worker(started: Servers) -> None:
    """``killall -HUP`` reaches the workers, too."""
    router = two_workers(started)
    before = wait_for_serving(router, 2)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
        for pid in before:
            os.kill(pid, number)
    assert {fetch(router.address).status for _ in range(10)} == {200}
    assert wait_for_serving(router, 2) == before


def test_a_worker_has_what_is_its_own_and_nothing_else(started: Servers) -> None:
    """No datagram socket, no sibling's channel, nothing of the master's: its end of one channel and the listeners."""
    listening, server = [local(), local()], f"127.0.0.1:{free_udp_port()}"
    lines = [f"fastrouter = {address}" for address in listening]
    path = started.path("announcements")
    lines += [f"fastrouter-subscription-server = {server}", f"fastrouter-subscription-server = {path}"]
    router = started.router(config="\n".join(["[uwsgirouter]", *lines, "fastrouter-processes = 3", ""]))
    for reload in (False, True):
        if reload:
            router.hup()
            router.wait_for_log("] reloaded in ")
        pids = wait_for_serving(router, 3)
        master = sockets(router.pid)
        for pid in pids:
            own = sockets(pid)
            shared = own & master
            assert len(shared) == len(listening), "the listeners"
            assert not own & datagram_sockets()
            assert len(own - master) == 1, "its end of the channel"
            for other in pids:
                if other != pid:
                    assert sockets(other) & own == shared
    assert len(master & datagram_sockets()) == 2


def test_no_hub_exists_where_workers_are_forked(started: Servers) -> None:
    """A hub of the master's would be shared by all workers."""
    code = """
import os, sys
import gevent._hub_local
fork = os.fork
def checked():
    print("hub at the fork:", gevent._hub_local.get_hub_if_exists(), file=sys.stderr, flush=True)
    return fork()
os.fork = checked
"""
    node = started.node(answer())
    router = patched_router(
        started, code, "--fastrouter", local(), "--fastrouter-to", node.address, "--fastrouter-processes", "2"
    )
    wait_for_serving(router, 2)
    assert fetch(router.address).status == 200
    router.hup()
    router.wait_for_log("] reloaded in ")
    assert router.log().count("hub at the fork: None") == 4
    assert router.log().count("hub at the fork: ") == 4


def test_the_limit_of_open_files_is_the_workers_too(started: Servers) -> None:
    router = two_workers(started, "max-fd = 321")
    for pid in (router.pid, *wait_for_serving(router, 2)):
        assert psutil.Process(pid).rlimit(psutil.RLIMIT_NOFILE)[0] == 321


@pytest.mark.parametrize("cheap", [False, True])
def test_titles(started: Servers, cheap: bool) -> None:
    one, two = local(), local()
    lines = [
        f"fastrouter = {one}",
        f"fastrouter = {two}",
        f"fastrouter-subscription-server = {started.path(f'titles-{cheap}')}",
    ]
    router = started.router(config="\n".join(["[uwsgirouter]", *lines, f"fastrouter-cheap = {cheap}", ""]))
    assert title(router.pid) == f"uwsgirouter: master [{router.config_file.name}]"
    expected = "cheap" if cheap else f"{one} {two} 0 sessions"
    wait_until(lambda: [title(pid) for pid in workers(router)] == [f"uwsgirouter: worker 1 {expected}"], 5, expected)


def test_cheap_mode(started: Servers) -> None:
    """Connections wait while no node is there; a session under way does not care that its node was the last."""
    go_on = threading.Event()

    def slow(connection: Connection) -> None:
        connection.read_packet()
        go_on.wait(20)
        connection.answer(b"served")

    server = started.path("cheap")
    lines = [f"fastrouter = {local()}", f"fastrouter-subscription-server = {server}", "fastrouter-cheap = true"]
    router = started.router(config="\n".join(["[uwsgirouter]", *lines, "fastrouter-processes = 2", ""]))
    wait_until(lambda: [title(pid)[-5:] for pid in workers(router)] == ["cheap"] * 2, 5, "both are cheap")
    node = started.node(slow)
    with Client(router.address) as early, Client(router.address) as waiting:
        early.send_packet(get())
        waiting.socket.settimeout(0.3)
        waiting.send_packet(get())
        with pytest.raises(TimeoutError):
            waiting.read_some()
        announce(server, "a.example", node.address)
        node.wait_for(2)
        announce(server, "a.example", node.address, 1)
        router.wait_for_log("going cheap: no node is there", count=2)
        assert "draining node" in router.log()
        go_on.set()
        waiting.socket.settimeout(5)
        assert [client.reply().body for client in (early, waiting)] == [b"served"] * 2
    router.wait_for_log("removing node: ")
    wait_until(lambda: [title(pid)[-5:] for pid in workers(router)] == ["cheap"] * 2, 5, "both are cheap again")
    with Client(router.address) as late:
        late.send_packet(get())
        announce(server, "a.example", node.address)
        assert late.reply().body == b"served"


def test_a_fork_that_fails_is_tried_again(started: Servers) -> None:
    """A full process table is the machine's trouble of a moment: the master must outlive it."""
    code = """
original, left = os.fork, [2]
def fork():
    if left[0]:
        left[0] -= 1
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return original()
os.fork = fork
"""
    node = started.node(answer(b"served"))
    router = patched_router(started, code, "--fastrouter", local(), "--fastrouter-to", node.address)
    router.wait_for_log("cannot start worker 1: Resource temporarily unavailable; trying again in a second")
    assert fetch(router.address).body == b"served"
