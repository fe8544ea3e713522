"""``uwsgirouterctl subscribe``: its datagrams, when they are sent, and what it does when nobody listens."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.protocol.keys import pair
from tests.servers import Servers, free_udp_port, unpack, wait_until
from tests.servers.wire import where
from uwsgirouter.control.base import Exit
from uwsgirouter.control.main import run
from uwsgirouter.protocol.signing import split_signed


class Listener:
    """A subscription server that only reads."""

    def __init__(self, address: str) -> None:
        family, sockaddr = where(address)
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind(sockaddr)
        self.socket.settimeout(5)
        host = "[::1]" if family == socket.AF_INET6 else "127.0.0.1"
        self.address = address if family == socket.AF_UNIX else f"{host}:{self.socket.getsockname()[1]}"

    def receive(self) -> tuple[int, int, dict[bytes, bytes]]:
        """modifier1, modifier2 and the variables of the next datagram."""
        datagram = self.socket.recv(65536)
        assert len(datagram) == 4 + datagram[1] + 256 * datagram[2]
        return datagram[0], datagram[3], dict(unpack(datagram[4:]))


@pytest.fixture(params=["127.0.0.1:0", "[::1]:0", "/sock", "@uwsgirouter-test-subscribe"])
def anywhere(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Listener]:
    """A listener on each kind of address."""
    listener = Listener(servers.path("sock") if request.param == "/sock" else request.param)
    yield listener
    listener.socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A listener on UDP."""
    listener = Listener("127.0.0.1:0")
    yield listener
    listener.socket.close()


def test_once_on_every_kind_of_address(anywhere: Listener) -> None:
    code = run(["subscribe", "--server", anywhere.address, "--key", "a", "--address", "127.0.0.1:1", "--once"])
    assert code is Exit.OK
    assert anywhere.receive()[:2] == (224, 0)


def test_every_variable_is_sent(listener: Listener) -> None:
    options = [
        "--weight",
        "3",
        "--modifier1",
        "5",
        "--modifier2",
        "6",
        "--cores",
        "8",
        "--load",
        "9",
        "--backup",
        "2",
        "--algo",
        "lrc",
        "--vassal",
        "one.ini",
        "--notify",
        "127.0.0.1:9",
        "--unsubscribe",
    ]
    base = ["subscribe", "--server", listener.address, "--key", "k.example", "--address", "/run/app.sock"]
    assert run([*base, *options]) is Exit.OK
    sent = {"key": "k.example", "address": "/run/app.sock", "weight": 3, "modifier1": 5, "modifier2": 6}
    sent |= {"cores": 8, "load": 9, "backup": 2, "algo": "lrc", "vassal": "one.ini", "notify": "127.0.0.1:9"}
    assert listener.receive() == (
        224,
        1,
        {name.encode(): str(value).encode() for name, value in sent.items()},
    )


def test_several_keys_and_servers(listener: Listener) -> None:
    other = Listener("127.0.0.1:0")
    arguments = ["--server", listener.address, "--server", other.address, "--key", "a", "--key", "b"]
    assert run(["subscribe", *arguments, "--address", "127.0.0.1:1", "--once"]) is Exit.OK
    for server in (listener, other):
        assert [server.receive()[2][b"key"] for _ in range(2)] == [b"a", b"b"]
    other.socket.close()


def test_signed(servers: Servers, listener: Listener, capsys: pytest.CaptureFixture[str]) -> None:
    private = Path(servers.path("private.pem"))
    private.write_bytes(pair("ec").private_pem)
    base = ["subscribe", "--server", listener.address, "--key", "a", "--address", "127.0.0.1:1", "--once"]
    assert run([*base, "--sign", f"SHA256:{private}"]) is Exit.OK
    signed, signature = split_signed(listener.socket.recv(65536))
    assert pair("ec").public.verifies(signature, signed, "SHA256")
    with pytest.raises(SystemExit) as ended:
        run([*base, "--sign", "SHA256:/nowhere/at.all"])
    assert ended.value.code == Exit.USAGE
    assert "argument --sign: private key /nowhere/at.all: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_announces_until_stopped_and_then_takes_leave(servers: Servers, listener: Listener, stop: int) -> None:
    announcer = servers.announcer(listener.address, "a.example", "127.0.0.1:1", "--every", "0.3")
    moments = []
    for _ in range(3):
        assert listener.receive()[1] == 0
        moments.append(time.monotonic())
    assert moments[2] - moments[0] > 0.5, "the announcements do not keep their distance"
    assert announcer.stop(stop) == 0
    seen = []
    while not seen or seen[-1] == 0:
        seen.append(listener.receive()[1])
    assert seen[-1] == 1
    assert "a.example => 127.0.0.1:1, unsubscribed" in announcer.log()


def test_a_server_that_is_away_is_told_of_once_and_found_again(servers: Servers) -> None:
    server = f"127.0.0.1:{free_udp_port()}"
    announcer = servers.announcer(server, "a.example", "127.0.0.1:1", "--every", "0.05")
    announcer.wait_for_log(f"cannot announce to {server}: Connection refused")
    listener = Listener(server)
    assert listener.receive()[1] == 0
    log = announcer.wait_for_log(f"announcing to {server} works again")
    assert log.count("cannot announce") == 1
    listener.socket.close()
    announcer.wait_for_log("cannot announce", count=2)


def test_a_unix_server_that_comes_back_at_its_path_is_found(servers: Servers) -> None:
    path = servers.path("subscriptions")
    announcer = servers.announcer(path, "a.example", "127.0.0.1:1", "--every", "0.05")
    announcer.wait_for_log(f"cannot connect to {path}: No such file")
    for _ in range(2):
        listener = Listener(path)
        assert listener.receive()[1] == 0
        listener.socket.close()
        Path(path).unlink()
    wait_until(lambda: announcer.log().count("No such file") >= 2, what="the second absence is told")


@pytest.mark.parametrize(
    ("server", "code", "message"),
    [
        ("127.0.0.1:1", Exit.NOT_SENT, "Connection refused"),
        ("/nowhere/at.all", Exit.NO_CONNECTION, "No such file or directory"),
        ("no.such.name.invalid:1", Exit.NO_ADDRESS, "host name 'no.such.name.invalid'"),
    ],
)
@pytest.mark.parametrize("command", ["--once", "--unsubscribe"])
def test_once_fails_when_nobody_listens(
    capsys: pytest.CaptureFixture[str], server: str, code: Exit, message: str, command: str
) -> None:
    assert run(["subscribe", "--server", server, "--key", "a", "--address", "127.0.0.1:1", command]) is code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--key", "", "--address", "127.0.0.1:1"], "no key"),
        (["--key", "k" * 256, "--address", "127.0.0.1:1"], "key too long: 256 bytes, at most 255"),
        (["--key", "a", "--address", "127.0.0.1:0"], "a port is a number from 1 to 65535"),
        (["--key", "a", "--address", "no name:1"], "'no name:1' is neither an IP address nor a host name"),
    ],
)
def test_what_a_router_would_refuse_is_not_sent(
    listener: Listener, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(["subscribe", "--server", listener.address, *arguments, "--once"]) is Exit.USAGE
    assert message in capsys.readouterr().err
    listener.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.receive()


@pytest.mark.parametrize("option", [["--weight", "0"], ["--modifier1", "256"], ["--every", "0"], ["--cores", "x"]])
def test_numbers_out_of_range(capsys: pytest.CaptureFixture[str], option: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["subscribe", "--server", "127.0.0.1:1", "--key", "a", "--address", "127.0.0.1:1", *option])
    assert ended.value.code == Exit.USAGE
    assert f"argument {option[0]}: '{option[1]}': expected" in capsys.readouterr().err


def test_a_server_that_does_not_read_cannot_hold_the_announcer(servers: Servers) -> None:
    """A full unix datagram queue blocks its sender; the stop signal must still work."""
    listener = Listener(servers.path("full"))
    keys = [part for number in range(600) for part in ("--key", str(number))]
    announcer = servers.announcer(listener.address, *("599", "127.0.0.1:1"), *keys)
    announcer.wait_for_log(f"cannot announce to {listener.address}: timed out")
    assert announcer.stop() == 0
    listener.socket.close()


def test_longest_key_and_many_keys_fit(listener: Listener) -> None:
    keys = [part for number in range(20) for part in ("--key", f"{number:0255d}")]
    assert run(["subscribe", "--server", listener.address, *keys, "--address", "127.0.0.1:1", "--once"]) is Exit.OK
    assert [int(listener.receive()[2][b"key"]) for _ in range(20)] == list(range(20))


def test_a_vassal_that_can_be_started(listener: Listener) -> None:
    fixed = ["subscribe", "--server", listener.address, "--key", "a", "--vassal", "one.ini"]
    assert run([*fixed, "--inactive", "--once"]) is Exit.OK
    variables = listener.receive()[2]
    assert (variables[b"vassal"], variables[b"inactive"]) == (b"one.ini", b"1")
    assert b"address" not in variables
    assert run([*fixed, "--inactive", "--address", "127.0.0.1:1", "--unsubscribe"]) is Exit.OK
    _, modifier2, variables = listener.receive()
    assert (modifier2, variables[b"address"], variables[b"inactive"]) == (1, b"127.0.0.1:1", b"1")
    assert run([*fixed, "--address", "127.0.0.1:1", "--once"]) is Exit.OK
    assert b"inactive" not in listener.receive()[2]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--inactive"], "key 'a': no vassal: an inactive node needs the name of its vassal"),
        (["--vassal", "one.ini"], "the node's --address is missing (only --inactive can do without)"),
        ([], "the node's --address is missing (only --inactive can do without)"),
        (["--vassal", "v" * 300, "--inactive"], "key 'a': vassal too long: 300 bytes, at most 255"),
    ],
)
def test_what_an_announcement_of_a_vassal_needs(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["subscribe", "--server", "127.0.0.1:1", "--key", "a", *arguments, "--once"]) is Exit.USAGE
    assert reason in capsys.readouterr().err
