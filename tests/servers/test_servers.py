"""The harness itself: it must notice what it promises to notice."""

from __future__ import annotations

import socket
import sys
import time

import pytest

from tests.servers import (
    Client,
    Connection,
    Daemon,
    End,
    Memcached,
    Redis,
    Servers,
    SteadyLoad,
    answer,
    echo,
    fetch,
    free_port,
    get,
    hang,
    is_bound_udp,
    is_listening,
    local,
    reset_after_packet,
    reset_at_once,
    uwsgi_get,
    wait_until,
)


def test_a_process_left_behind_fails_the_stop_and_is_killed(servers: Servers) -> None:
    process = servers.process(sys.executable, "-c", "import os, time; os.fork() and os._exit(0); time.sleep(60)")
    process.wait()
    with pytest.raises(AssertionError, match="no process of process is left"):
        process.stop()
    process.stop()


def test_a_process_that_ignores_the_signal_is_killed(servers: Servers) -> None:
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(60)"
    process = servers.process(sys.executable, "-c", ignore)
    process.wait_for_log("up")
    with pytest.raises(AssertionError, match=r"did not end within 0\.2 s"):
        process.stop(deadline=0.2)
    assert not process.running


def test_a_server_that_ends_at_once_shows_its_log(servers: Servers) -> None:
    process = servers.process(sys.executable, "-c", "print('out of order'); raise SystemExit(3)")
    with pytest.raises(AssertionError, match=r"(?s)ended with 3.*out of order"):
        process.wait_ready(lambda: False)


def test_a_failing_handler_fails_its_node() -> None:
    started = Servers()

    def wrong(connection: Connection) -> None:
        assert connection.read_packet().get(b"HTTP_HOST") == b"other"

    node = started.node(wrong)
    client = started.client(node.address)
    client.send_packet(get())
    assert client.read_all()[1] is End.EOF
    with pytest.raises(AssertionError, match=r"a handler of node .* raised"):
        started.close()


def test_listening_is_seen_without_a_connection(servers: Servers) -> None:
    for address in ("127.0.0.1:0", "[::1]:0", servers.path("node.sock"), "@uwsgirouter-test-listening"):
        node = servers.node(answer(), address)
        assert is_listening(node.address)
        node.refuse()
        wait_until(lambda at=node.address: not is_listening(at), what=f"{node.address} is closed")
        node.accept_again()
        assert is_listening(node.address)
        assert node.connections == []
    assert not is_listening(local())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        assert is_bound_udp(f"127.0.0.1:{server.getsockname()[1]}")
    assert not is_bound_udp(f"127.0.0.1:{free_port()}")


def test_client_and_node_see_each_others_ends(servers: Servers) -> None:
    node = servers.node(echo)
    assert fetch(node.address, body=b"x" * 100_000).body == b"x" * 100_000
    for handler in (reset_at_once, reset_after_packet):
        with Client(servers.node(handler).address) as client:
            client.send_packet(get())
            assert client.read_all() == (b"", End.RESET)
    with Client(servers.node(hang).address) as client:
        client.send_packet(get())
        assert client.read_all(patience=0.05) == (b"", End.SILENT)


def test_half_close_and_reset_of_the_client_reach_the_node(servers: Servers) -> None:
    node = servers.node(lambda connection: connection.send(b"%d" % len(connection.read_until_eof())))
    with Client(node.address) as client:
        client.send_pieces(b"x" * 1000, [1, 10, 100])
        client.half_close()
        assert client.read_all() == (b"1000", End.EOF)
    leaving = servers.client(node.address)
    leaving.send(b"x")
    wait_until(lambda: len(node.connections) == 2 and node.connections[1].received, what="the byte arrives")
    leaving.reset()
    assert node.connections[1].finished.wait(5)
    assert [type(error) for error in node.expect_errors()] == [ConnectionResetError]


def test_the_steady_load_counts_and_tells_failures(servers: Servers) -> None:
    node = servers.node(answer(b"one"))
    with SteadyLoad(uwsgi_get(node.address, "a.example"), rate=200) as load:
        wait_until(lambda: len(load.results) >= 20)
        assert load.failures == []
        node.refuse()
        wait_until(lambda: len(load.failures) >= 5)
    assert load.share() == {b"one": len(load.results) - len(load.failures)}
    assert all(outcome.status == 0 and outcome.error for outcome in load.failures)
    assert load.achieved() > 150


def test_the_c_fastrouter_runs_as_an_oracle(servers: Servers) -> None:
    node = servers.node(answer(b"through C"))
    config = f"[uwsgi]\nfastrouter = {local()}\nfastrouter-to = {node.address}\n"
    router = servers.fastrouter(config=config)
    assert fetch(router.address).body == b"through C"
    assert len(router.wait_for_workers(1)) == 1


@pytest.mark.parametrize("kind", [Memcached, Redis])
def test_a_daemon_goes_and_comes_back_at_the_same_address(
    servers: Servers, kind: type[Memcached] | type[Redis]
) -> None:
    daemon = servers.daemon(kind)
    address, before = daemon.address, daemon.pid
    daemon.set("name", b"value\r\nof two lines")
    assert daemon.get("name") == b"value\r\nof two lines"
    daemon.stop()
    daemon.stop()
    assert not is_listening(address)
    assert not daemon.running
    daemon.start()
    assert (daemon.address, daemon.get("name")) == (address, None)
    assert daemon.pid != before
    daemon.kill()
    wait_until(lambda: not daemon.running, 10, "it is dead")
    daemon.start()
    assert daemon.get("other") is None


def test_a_frozen_daemon_takes_connections_and_says_nothing(servers: Servers) -> None:
    memcached = servers.daemon(Memcached)
    with memcached.frozen(), pytest.raises(TimeoutError):
        memcached.converse(b"version\r\n", deadline=0.2)
    assert memcached.converse(b"version\r\n").startswith(b"VERSION")
    with socket.create_connection(("127.0.0.1", memcached.port)):
        wait_until(lambda: memcached.connections() == 1, 10, "its connection is counted")
    memcached.freeze()  # the fixture stops it all the same


def test_a_daemon_that_does_not_start_shows_its_log(servers: Servers) -> None:
    class Wrong(Daemon):
        name = "wrong"

        def argv(self) -> list[str]:
            return [sys.executable, "-c", "print('out of order')"]

        def answers(self) -> bool:
            return self.converse(b"x") == b"y"

    with pytest.raises(AssertionError, match=r"(?s)wrong ended with 0.*out of order"):
        servers.daemon(Wrong)


def test_a_detour_takes_its_time(servers: Servers) -> None:
    redis = servers.daemon(Redis)
    way = servers.detour(redis.address)

    def ping() -> tuple[bytes, float]:
        began = time.monotonic()
        with Client(way.address) as client:
            client.send(b"PING\r\n")
            return client.read(7), time.monotonic() - began

    assert ping()[0] == b"+PONG\r\n"
    way.delay = 0.3
    said, seconds = ping()
    assert said == b"+PONG\r\n"
    assert seconds >= 0.3
    redis.stop()
    with Client(way.address) as client:
        assert client.read_all()[1] is not End.SILENT
    assert way.made == 3
