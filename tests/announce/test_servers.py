"""Subscription servers as an announcer sees them: each kind of address, names, and who does not read."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator

import pytest

from tests.servers import Servers
from tests.servers.tap import Tap
from uwsgirouter.announce import servers as module
from uwsgirouter.announce.servers import Away, Server, Stage

LETTERS = [b"one", b"two"]


def letters(connection: socket.socket) -> Iterable[bytes]:
    return LETTERS


@pytest.mark.parametrize("address", ["127.0.0.1:0", "{directory}/sock", "@uwsgirouter-test-announce"])
def test_each_kind_of_address(servers: Servers, address: str) -> None:
    with Tap(address.format(directory=servers.directory)) as tap:
        Server(tap.address).send(letters)
        _wait_for(tap, 2)
        assert tap.datagrams == LETTERS


def _wait_for(tap: Tap, count: int) -> None:
    deadline = time.monotonic() + 15
    while len(tap.datagrams) < count:
        assert time.monotonic() < deadline, tap.datagrams
        time.sleep(0.01)


def test_ipv6() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as listener:
        listener.bind(("::1", 0))
        listener.settimeout(10)
        seen: list[str] = []

        def tell(connection: socket.socket) -> Iterable[bytes]:
            seen.append(connection.getsockname()[0])
            return [b"x"]

        Server(f"[::1]:{listener.getsockname()[1]}").send(tell)
        assert listener.recv(9) == b"x"
        assert seen == ["::1"], "the socket knows by which address the server sees us"


class Names:
    """In the place of the resolver: each call takes the next of ``answers``, and waits for ``gate``."""

    def __init__(self) -> None:
        self.answers: list[list[str] | OSError] = []
        self.gate = threading.Event()
        self.gate.set()
        self.asked = 0

    def getaddrinfo(self, host: str, port: int, type: int) -> object:
        self.asked += 1
        answer = self.answers.pop(0)
        assert self.gate.wait(30)
        if isinstance(answer, OSError):
            raise answer
        families = [socket.AF_INET6 if ":" in found else socket.AF_INET for found in answer]
        return [(family, type, 17, "", (found, port)) for family, found in zip(families, answer, strict=True)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    yield names
    names.gate.set()


def test_a_name_is_asked_for_in_each_round_and_the_first_address_that_does_not_refuse_is_told(names: Names) -> None:
    with Tap() as tap:
        server = Server(f"router.example:{tap.address.rpartition(':')[2]}")
        names.answers = [["127.0.0.2", "127.0.0.1"], ["127.0.0.1"], ["::1", "127.0.0.2"]]
        server.send(letters)
        server.send(letters)
        _wait_for(tap, 4)
        with pytest.raises(Away, match=r"cannot announce to router.example:\d+: Connection refused"):
            server.send(letters)
    assert names.asked == 3


def test_a_resolver_that_does_not_answer_holds_nobody_up(names: Names) -> None:
    with Tap() as tap:
        server = Server(f"router.example:{tap.address.rpartition(':')[2]}")
        names.gate.clear()
        names.answers = [["127.0.0.1"], ["127.0.0.2"], OSError(-2, "Name or service not known")]
        with pytest.raises(Away, match=r"host name 'router.example': no answer within 0.1 s") as away:
            server.send(letters)
        assert away.value.stage is Stage.NAME
        assert names.asked == 1
        with pytest.raises(Away):
            server.send(letters)
        assert names.asked == 1, "the question that is open is not asked again"
        names.gate.set()
        _until_answered(server)
        server.send(letters)
        _wait_for(tap, 2)
        names.gate.clear()
        server.send(letters)
        _wait_for(tap, 4)
        assert names.asked == 2, "what it meant before is used meanwhile"
        names.gate.set()
        _until_answered(server)
        with pytest.raises(Away, match="Connection refused"):
            server.send(letters)
        with pytest.raises(Away, match=r"host name 'router.example': Name or service not known"):
            server.send(letters)


def _until_answered(server: Server) -> None:
    assert server._lookup is not None
    assert server._lookup._asking is not None
    assert server._lookup._asking.wait(15)


def test_a_question_that_a_fork_cut_off_is_asked_again(names: Names) -> None:
    server = Server("router.example:1")
    names.gate.clear()
    names.answers = [["127.0.0.1"]]
    with pytest.raises(Away):
        server.send(letters)
    child = os.fork()
    if child == 0:
        names.gate = threading.Event()
        names.gate.set()
        names.answers = [["127.0.0.2"]]
        try:
            server.send(letters)
        except Away as away:
            os._exit(0 if away.stage is Stage.SEND else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_unix_server_that_does_not_read_is_waited_for_once(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(servers.path("full"))
        with pytest.raises(Away, match=r"cannot announce to .*/full: timed out"):
            Server(servers.path("full")).send(lambda connection: [b"x"] * 10_000)
