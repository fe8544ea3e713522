"""The end: what is under way is finished within the time given, and nothing is left."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.master.watching import Daemon, title, wait_for_serving, workers
from tests.servers import (
    Client,
    Connection,
    End,
    Node,
    Router,
    Servers,
    answer,
    fetch,
    get,
    is_listening,
    local,
    wait_until,
)
from tests.servers.process import alive_in_session
from tests.worker.patched import CANNOT_BOOT, patched_router


@contextmanager
def slow_node(servers: Servers) -> Iterator[tuple[Node, threading.Event]]:
    """A node that answers when the event is set."""
    go_on = threading.Event()

    def slow(connection: Connection) -> None:
        connection.read_packet()
        go_on.wait(20)
        connection.answer(b"slow")

    node = servers.node(slow)
    yield node, go_on
    go_on.set()
    node.expect_errors()


def routed_to(servers: Servers, node: Node, *lines: str) -> Router:
    """A router with two workers and this node."""
    config = ["[uwsgirouter]", f"fastrouter = {local()}", f"fastrouter-to = {node.address}", "fastrouter-processes = 2"]
    router = servers.router(config="\n".join([*config, *lines, ""]))
    wait_for_serving(router, 2)
    return router


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_graceful_stop_finishes_what_is_under_way(started: Servers, number: int) -> None:
    with slow_node(started) as (node, go_on):
        router = routed_to(started, node)
        with Client(router.address) as client:
            client.send_packet(get())
            node.wait_for(1)
            router.signal(number)
            router.wait_for_log("stopping: sessions have 60 seconds to finish")
            wait_until(lambda: len(workers(router)) == 1, 5, "the idle worker left")
            assert router.running
            go_on.set()
            assert client.reply().body == b"slow"
        assert router.wait(5) == 0
        assert "goodbye to uwsgirouter." in router.log()


def test_a_graceful_stop_ends_when_its_time_is_over(started: Servers) -> None:
    with slow_node(started) as (node, _):
        router = routed_to(started, node, "reload-mercy = 1")
        with Client(router.address) as client:
            client.send_packet(get())
            node.wait_for(1)
            begin = time.monotonic()
            router.signal(signal.SIGTERM)
            assert router.wait(5) == 0
            assert 0.9 < time.monotonic() - begin < 3
            reply = client.reply()
            assert (reply.status, reply.header("x-uwsgirouter-cause")) == (503, "stopped")
        assert "it did not finish in time; 1 sessions are cut" in router.log()


def test_a_fast_stop_waits_for_nobody(started: Servers) -> None:
    def half(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"half")
        connection.wait()

    node = started.node(half)
    router = routed_to(started, node)
    with Client(router.address) as client:
        client.send_packet(get())
        assert client.read(4) == b"half"
        begin = time.monotonic()
        router.signal(signal.SIGINT)
        assert router.wait(5) == 0
        assert time.monotonic() - begin < 1.5
        assert client.read_all() == (b"", End.RESET), "a cut response must not look whole"


def test_an_impatient_second_signal(started: Servers) -> None:
    """TERM, then INT: the operator does not want to wait any longer."""
    with slow_node(started) as (node, _):
        router = routed_to(started, node)
        with Client(router.address) as client:
            client.send_packet(get())
            node.wait_for(1)
            router.signal(signal.SIGTERM)
            router.wait_for_log("stopping: sessions have 60 seconds")
            router.signal(signal.SIGINT)
            assert router.wait(3) == 0


def test_what_waits_in_the_backlog_is_served_before_the_end(started: Servers) -> None:
    router = routed_to(started, started.node(answer(b"served")))
    pids = wait_for_serving(router, 2)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    with ExitStack() as crowd:
        waiting = [crowd.enter_context(Client(router.address)) for _ in range(20)]
        for client in waiting:
            client.send_packet(get())
        router.signal(signal.SIGTERM)
        router.wait_for_log("stopping: sessions have")
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        assert [client.reply().body for client in waiting] == [b"served"] * 20
    assert router.wait(5) == 0


def test_a_stop_during_a_reload(started: Servers) -> None:
    router = routed_to(started, started.node(answer()))
    router.hup()
    router.signal(signal.SIGTERM)
    assert router.wait(10) == 0
    assert not alive_in_session(router.pid)


def test_without_a_master_the_workers_finish_and_leave(started: Servers) -> None:
    with slow_node(started) as (node, go_on):
        router = routed_to(started, node)
        pids = wait_for_serving(router, 2)
        with Client(router.address) as client:
            client.send_packet(get())
            node.wait_for(1)
            os.kill(router.pid, signal.SIGKILL)
            router.wait(5)
            router.wait_for_log("the master is gone: draining", count=2)
            wait_until(lambda: sum(title(pid).startswith("uwsgirouter: worker") for pid in pids) == 1, 5, "one left")
            assert not is_listening(router.address)
            go_on.set()
            assert client.reply().body == b"slow"
        wait_until(lambda: not alive_in_session(router.pid), 5, "nothing is left")


def test_without_a_master_the_workers_do_not_wait_for_ever(started: Servers) -> None:
    with slow_node(started) as (node, _):
        router = routed_to(started, node, "reload-mercy = 1")
        with Client(router.address) as client:
            client.send_packet(get())
            node.wait_for(1)
            os.kill(router.pid, signal.SIGKILL)
            router.wait(5)
            wait_until(lambda: not alive_in_session(router.pid), 4, "nothing is left")


def test_vacuum_removes_what_was_made(started: Servers) -> None:
    path, server, pidfile = (started.path(name) for name in ("v.sock", "v.dgram", "v.pid"))
    arguments = ["--fastrouter", path, "--fastrouter-subscription-server", server, "--pidfile", pidfile, "--vacuum"]
    router = started.router(*arguments)
    assert fetch(path).status == 503
    assert all(map(os.path.exists, (path, server, pidfile)))
    assert Path(pidfile).read_text() == f"{router.pid}\n"
    assert router.stop() == 0
    assert [name for name in (path, server, pidfile) if os.path.exists(name)] == []


def test_without_vacuum_the_files_stay(started: Servers) -> None:
    path, pidfile = started.path("stay.sock"), started.path("stay.pid")
    router = started.router("--fastrouter", path, "--pidfile", pidfile)
    assert router.stop() == 0
    assert os.path.exists(path)
    assert os.path.exists(pidfile)


def test_a_start_that_fails_says_why_and_ends_with_1(started: Servers) -> None:
    router = started.router("--fastrouter", local())
    second = Daemon(started, "--fastrouter", router.address)
    assert second.wait(10) == 1
    assert f"command line: cannot listen on {router.address}: address in use" in second.log()
    assert not alive_in_session(second.pid)


def test_workers_that_cannot_start_end_the_first_start(started: Servers) -> None:
    router = patched_router(started, CANNOT_BOOT, "--fastrouter", local(), "--fastrouter-timeout", "77", ready=False)
    assert router.wait(10) == 1
    assert "RuntimeError: boom" in router.log()
    assert "the workers cannot start: giving up" in router.log()
    assert not alive_in_session(router.pid)
