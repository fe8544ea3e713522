"""Listening sockets from a zerg server: real uWSGI ones, and peers that are none."""

from __future__ import annotations

import array
import os
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.master.watching import assert_no_failure, load, run_to_end, sockets, wait_for_serving
from tests.servers import Process, Router, Servers, answer, fetch, is_listening, local, wait_until
from tests.servers.programs import uwsgi_command
from uwsgirouter.master import zerg

APP = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'uwsgi']\n"


@pytest.fixture
def node(servers: Servers) -> str:
    """The address of a node that answers."""
    return servers.node(answer(b"node")).address


def pool(servers: Servers, path: str, *addresses: str) -> Process:
    """A real zerg pool: it binds and never accepts."""
    started = servers.process(
        *uwsgi_command(), "--master", "--zerg-pool", f"{path}:{','.join(addresses)}", "--die-on-term"
    )
    wait_until(lambda: is_listening(path), 10, "the zerg pool")
    return started


def router(servers: Servers, path: str, node: str, *lines: str) -> Router:
    """A router without an address of its own."""
    head = ["[uwsgirouter]", f"fastrouter-zerg = {path}", f"fastrouter-to = {node}"]
    started = servers.router(config="\n".join([*head, *lines, ""]))
    wait_for_serving(started, 2 if "fastrouter-processes = 2" in lines else 1)
    return started


def reload(started: Router) -> None:
    before = started.log().count("] reloaded in ")
    started.hup()
    started.wait_for_log("] reloaded in ", count=before + 1)


# -- real servers ---------------------------------------------------------------------------------------------------


def test_the_sockets_of_a_pool(servers: Servers, node: str) -> None:
    """One TCP, one unix; they are the same sockets over reloads, and nothing is lost."""
    path, tcp, unix = servers.path("pool"), local(), servers.path("pooled.sock")
    pool(servers, path, tcp, unix)
    started = router(servers, path, node, "fastrouter-processes = 2", "vacuum = true")
    assert f"uwsgirouter bound to {tcp} fd " in started.log()
    assert f"uwsgirouter bound to {unix} fd " in started.log()
    held = sockets(started.pid)
    with load(tcp) as asked, load(unix) as asked_too:
        wait_until(lambda: len(asked.results) > 50 and len(asked_too.results) > 50, 5, "both serve")
        for _ in range(2):
            reload(started)
        many = len(asked.results) + 50
        wait_until(lambda: len(asked.results) > many, 5, "it goes on")
    assert_no_failure(asked.results)
    assert_no_failure(asked_too.results)
    wait_for_serving(started, 2)
    listening = {inode for inode in held if inode in sockets(started.pid)}
    assert len(listening) >= 2, "those of before are those of now"
    started.stop()
    assert os.path.exists(unix), "it is not ours to remove"


def test_an_instance_with_a_zerg_server_and_the_router_share_the_work(servers: Servers, node: str) -> None:
    path, tcp = servers.path("server"), local()
    app = Path(servers.path("app.py"))
    app.write_text(APP)
    servers.uwsgi("--master", "--socket", tcp, "--wsgi-file", str(app), "--zerg-server", path, "--die-on-term")
    started = router(servers, path, node)
    with load(tcp) as asked:
        wait_until(lambda: len(asked.share()) == 2, 10, "both answer")
        reload(started)
    assert_no_failure(asked.results)
    assert set(asked.share()) == {b"uwsgi", b"node"}


def test_a_pool_that_went_away_leaves_its_sockets(servers: Servers, node: str) -> None:
    """A reload keeps them and says so; one that is back with others is taken at its word."""
    path, first, second = servers.path("pool"), local(), local()
    old = pool(servers, path, first)
    started = router(servers, path, node)
    old.stop()
    with load(first) as asked:
        reload(started)
    assert_no_failure(asked.results)
    assert "its sockets that are here stay in use" in started.log()
    os.unlink(path)
    pool(servers, path, second)
    reload(started)
    assert fetch(second).body == b"node"
    wait_until(lambda: not is_listening(first), 5, "nobody wants the old one any more")


def test_with_an_address_of_its_own_too(servers: Servers, node: str) -> None:
    path, given, own = servers.path("pool"), local(), local()
    pool(servers, path, given)
    router(servers, path, node, f"fastrouter = {own}")
    assert {fetch(address).body for address in (given, own)} == {b"node"}


# -- whatever a peer may do -----------------------------------------------------------------------------------------

Behaviour = Callable[[socket.socket], None]


def rights(*files: int) -> list[tuple[int, int, array.array[int]]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]


def greeting(count: int) -> bytes:
    return zerg.GREETING + struct.pack("=i", count)


class Peer:
    """Somebody behind a unix socket who does one thing to whoever connects."""

    def __init__(self, path: str, behaviour: Behaviour) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._behaviour = behaviour
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._behaviour(connection)

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def place() -> Iterator[str]:
    """A path for a socket; every descriptor that a test opens it must close."""
    before = set(os.listdir("/proc/self/fd"))
    with tempfile.TemporaryDirectory(prefix="uwsgirouter-") as directory:
        yield f"{directory}/zerg"
    assert set(os.listdir("/proc/self/fd")) <= before, "a descriptor was left"


def refusal(place: str, behaviour: Behaviour) -> str:
    peer = Peer(place, behaviour)
    try:
        with pytest.raises(OSError) as caught:
            zerg.attach(place)
    finally:
        peer.stop()
    return str(caught.value)


def test_a_listening_socket_is_taken(place: str) -> None:
    with socket.socket() as listener:
        listener.listen()
        peer = Peer(place, lambda connection: connection.sendmsg([greeting(1)], rights(listener.fileno())))
        try:
            (taken,) = zerg.attach(place)
        finally:
            peer.stop()
        with taken:
            assert taken.getsockname() == listener.getsockname()
            assert not os.get_inheritable(taken.fileno())


def test_nobody_there(place: str) -> None:
    with pytest.raises(FileNotFoundError):
        zerg.attach(place)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(place)
    with pytest.raises(ConnectionRefusedError):
        zerg.attach(place)


def test_somebody_who_is_no_zerg_server(place: str) -> None:
    assert "it is no zerg server: it sent b'HTTP/1.1 400 B'" in refusal(
        place, lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n")
    )


def test_one_who_closes(place: str) -> None:
    assert "closed the connection without an answer" in refusal(place, lambda connection: None)


def test_one_who_says_nothing(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zerg, "SECONDS", 0.2)
    done = threading.Event()
    began = time.monotonic()
    assert "no answer in 0.2 seconds" in refusal(place, lambda connection: done.set() or time.sleep(0.4))  # type: ignore[func-returns-value]
    assert time.monotonic() - began < 3


def test_one_without_sockets(place: str) -> None:
    assert "sent no sockets" in refusal(place, lambda connection: connection.sendall(greeting(0)))


def test_a_file_is_no_socket(place: str) -> None:
    with open(os.devnull) as file:
        answer = refusal(place, lambda connection: connection.sendmsg([greeting(1)], rights(file.fileno())))
    assert "sent no sockets" in answer


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_socket_that_does_not_listen(place: str, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as sock, socket.socket() as listener:
        listener.listen()
        files = (listener.fileno(), sock.fileno())
        answer = refusal(place, lambda connection: connection.sendmsg([greeting(2)], rights(*files)))
    assert "sent a socket that does not listen" in answer


def test_a_router_says_what_is_wrong_and_ends(servers: Servers, node: str) -> None:
    path = servers.path("nobody")
    status, log = run_to_end(servers, "--fastrouter-zerg", path, "--fastrouter-to", node)
    assert status == 1
    assert f"command line: cannot take sockets from the zerg server {path}: No such file or directory" in log
