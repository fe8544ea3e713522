"""radius against a real FreeRADIUS: who gets in and who does not; answers that are none; lost datagrams."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.rules import made
from tests.rules.made import Playground, Reply
from tests.servers import Servers
from tests.servers.logins import Freeradius
from uwsgirouter.errors import ConfigError
from uwsgirouter.rules.service import Timing

SECRET = r"secret=se\,cret=1"


@pytest.fixture(scope="module")
def started() -> Iterator[Servers]:
    servers = Servers()
    try:
        yield servers
    finally:
        servers.close()


@pytest.fixture(scope="module")
def radius(started: Servers) -> Freeradius:
    return started.daemon(Freeradius)


def rule(server: str, *options: str, action: str = "radius", secret: str = SECRET) -> Playground:
    return Playground(f"route-run = {action}:realm=My Realm,server={server},{','.join([secret, *options])}")


def login(play: Playground, user: str | bytes, password: str | bytes) -> Reply:
    pair = b":".join(one.encode() if isinstance(one, str) else one for one in (user, password))
    return play.get("/", {"Authorization": f"Basic {base64.b64encode(pair).decode()}"})


@pytest.mark.parametrize(
    ("user", "password"),
    [("ann", "annpw"), ("bob", "b:ob (pw)*"), ("long", "x" * 128), ("pöpel", "pöpel"), ("signed", "pw")],
)
def test_who_gets_in(radius: Freeradius, user: str, password: str) -> None:
    reply = login(rule(radius.address), user, password)
    assert (reply.status, reply.variables["REMOTE_USER"].encode("latin-1").decode()) == (200, user)
    assert reply.log == []


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("ann", "annpw "), ("ann", ""), ("empty", ""), ("ann", "annpw\0"),
        ("ann", "x" * 128), ("ann", "x" * 129), ("ann", "x" * 20_000), ("", ""),
        ("eve", "annpw"), ("x" * 253, "y"), ("x" * 254, "y"), ("ann\0", "annpw"), ("long", "x" * 129),
        ("long", "x" * 127), (b"\xff", b"\xff"), ("port", "pw"), ("signed", "no"),
    ],
)  # fmt: skip
def test_who_does_not_get_in(radius: Freeradius, user: str, password: str) -> None:
    reply = login(rule(radius.address), user, password)
    assert reply.raw == (
        b'HTTP/1.1 401 Authorization Required\r\nWWW-Authenticate: Basic realm="My Realm"\r\n\r\nUnauthorized'
    )
    assert reply.variables.get("REMOTE_USER", "") == ""
    assert not reply.asked


def test_a_server_that_is_slow(started: Servers) -> None:
    """What is sent again meanwhile is the same question, for which it gives one answer."""
    slow = started.daemon(Freeradius, "slow")
    began = time.monotonic()
    assert login(rule(slow.address), "ann", "no").status == 401
    assert time.monotonic() - began > 0.8
    assert login(rule(slow.address), "ann", "annpw").status == 200


def test_what_is_said_of_the_one_who_asks(radius: Freeradius) -> None:
    right = rule(radius.address, "nas_port=7", "nas_address=192.0.2.7")
    assert login(right, "port", "pw").status == 200
    for wrong in (("nas_port=8", "nas_address=192.0.2.7"), ("nas_port=7", "nas_address=::1"), ("nas_port=7",)):
        assert login(rule(radius.address, *wrong), "port", "pw").status == 401
    assert login(rule(radius.address, "nas_address=localhost"), "ann", "annpw").status == 200


def test_only_signed_answers(radius: Freeradius, quick: None) -> None:
    assert login(rule(radius.address, "signed=1"), "signed", "pw").status == 200
    reply = login(rule(radius.address, "signed=1"), "ann", "annpw")
    assert reply.status == 502
    assert "its answer has no Message-Authenticator" in reply.log[-1]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "TIMING", Timing(1.0, 1.0, 8))


@pytest.mark.parametrize("action", ["radius", "radius-next"])
def test_another_secret(radius: Freeradius, quick: None, action: str) -> None:
    reply = login(rule(radius.address, action=action, secret="secret=other"), "ann", "annpw")
    assert reply.status == (502 if action == "radius" else 200)
    assert reply.variables.get("REMOTE_USER", "") == ""
    assert "none with the secret" in reply.log[-1]
    assert "other" not in reply.log[-1]


def test_next(radius: Freeradius) -> None:
    play = Playground(f"""
        route-run = radius-next:realm=R,server={radius.address},{SECRET}
        route-run = basicauth:R,other:pw
    """)
    assert login(play, "ann", "annpw").variables["REMOTE_USER"] == "ann"
    assert login(play, "other", "pw").variables["REMOTE_USER"] == "other"
    assert login(play, "other", "no").status == 401
    assert play.get().status == 401
    assert play.get("/", REMOTE_USER="known").asked


def test_a_server_that_is_not_there() -> None:
    """It is known at once, from the ICMP that says so."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    reply = login(rule(f"127.0.0.1:{port}"), "ann", "annpw")
    assert reply.status == 502
    assert "Connection refused" in reply.log[-1]
    assert login(rule("no.such.host.invalid"), "ann", "annpw").status == 502


class Between:
    """A server that is given each datagram and says what to answer."""

    def __init__(self, answers: Callable[[int, bytes], list[bytes]]) -> None:
        self.heard: list[bytes] = []
        self._answers = answers
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.settimeout(20)
        self.address = f"127.0.0.1:{self._sock.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, peer = self._sock.recvfrom(4096)
            if not data:
                return
            self.heard.append(data)
            for answer in self._answers(len(self.heard), data):
                self._sock.sendto(answer, peer)

    def __enter__(self) -> Between:
        return self

    def __exit__(self, *args: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            host, port = self.address.split(":")
            sock.sendto(b"", (host, int(port)))
        self._thread.join(20)
        self._sock.close()


def answer(request: bytes, code: int = 2, secret: bytes = b"se,cret=1", **changes: bytes) -> bytes:
    """An answer as a server makes it. ``number``, ``attributes``, ``authenticator`` (of the request): others."""
    number = changes.get("number", request[1:2])
    attributes = changes.get("attributes", b"")
    head = bytes([code]) + number + (20 + len(attributes)).to_bytes(2, "big")
    asked = changes.get("authenticator", request[4:20])
    return head + hashlib.md5(head + asked + attributes + secret).digest() + attributes


def test_lost_datagrams() -> None:
    """The same request is sent again, so the server can tell that it is the same."""
    with Between(lambda count, request: [answer(request)] if count == 3 else []) as between:
        assert login(rule(between.address), "ann", "annpw").status == 200
    assert len(between.heard) == 3
    assert len(set(between.heard)) == 1


def test_a_request_on_the_wire() -> None:
    with Between(lambda count, request: [answer(request)]) as between:
        for _ in range(2):
            assert login(rule(between.address, "nas_port=5"), "ann", "annpw").status == 200
    one, other = between.heard
    assert one[4:20] != other[4:20], "each has an authenticator of its own"
    assert one[20:22] == b"\x50\x12", "the Message-Authenticator is the first attribute"
    unsigned = one[:22] + bytes(16) + one[38:]
    assert hmac.compare_digest(one[22:38], hmac.new(b"se,cret=1", unsigned, hashlib.md5).digest())
    assert b"\x01\x05ann" in one
    assert b"\x05\x06\x00\x00\x00\x05" in one
    assert b"\x04\x06\x7f\x00\x00\x01" in one
    assert b"annpw" not in one


@pytest.mark.parametrize(
    "forged",
    [
        lambda request: answer(request, secret=b"other"),
        lambda request: answer(request, number=bytes([request[1] ^ 1])),
        lambda request: answer(request, authenticator=bytes(16)),
        lambda request: answer(request, attributes=b"\x50\x12" + bytes(16)),
        lambda request: answer(request, attributes=b"\x21\x05abc"),
        lambda request: answer(request)[:-1],
        lambda request: answer(request, attributes=b"\x12\x00"),
        lambda request: request,
        lambda request: b"\x02" + request[1:],
        lambda request: b"",
        lambda request: b"\x02" * 4000,
    ],
    ids=["secret", "number", "authenticator", "signature", "proxy-state", "short", "attribute", "echo", "code", "empty",
         "noise"],
)  # fmt: skip
def test_what_is_no_answer(forged: Callable[[bytes], bytes]) -> None:
    """It is passed over: the one behind it counts."""
    with Between(lambda count, request: [forged(request), answer(request, 3)]) as between:
        assert login(rule(between.address), "ann", "annpw").status == 401


def test_nothing_but_forged_answers(quick: None) -> None:
    with Between(lambda count, request: [answer(request, secret=b"other")]) as between:
        assert login(rule(between.address), "ann", "annpw").status == 502
    assert len(between.heard) == 3


@pytest.mark.parametrize("code", [1, 3, 4, 5, 11, 12, 13, 255])
def test_only_an_accept_lets_in(code: int) -> None:
    with Between(lambda count, request: [answer(request, code)]) as between:
        assert login(rule(between.address), "ann", "annpw").status == 401


def test_noise_breaks_nothing() -> None:
    from uwsgirouter.rules.radius import _code, packets

    request = packets.AuthPacket(id=1, secret=b"s", authenticator=bytes(16), dict=None)
    request.add_message_authenticator()
    plain = request.RequestPacket()
    chance = random.Random(8)
    for turn in range(3000):
        data = bytearray(answer(plain, secret=b"s", attributes=b"\x12\x07hello\x50\x12" + bytes(16)))
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if turn % 3 == 0:
            data = data[: chance.randrange(len(data))]
        if turn % 3 == 1:  # even by one who knows the secret
            data = bytearray(answer(plain, secret=b"s", attributes=bytes(data[20:])))
        _code(request, bytes(data), signed=True)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("", "realm= is missing"),
        ("realm=R,server=x", "secret= is missing"),
        ("realm=R,secret=topsecret", "server= is missing"),
        ("realm=R,server=x:port,secret=topsecret", "server=x:port: expected HOST[:PORT]"),
        ("realm=R,server=x:0,secret=topsecret", "expected HOST[:PORT]"),
        ("realm=R,server=x:123456789,secret=topsecret", "expected HOST[:PORT]"),
        ("realm=R,server=x,secret=topsecret,nas_address=no.such.host.invalid", "expected an address"),
        ('realm="R",server=x,secret=topsecret', "the realm holds"),
    ],
)
def test_bad_arguments(options: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Playground(f"route-run = radius:{options}")
    assert reason in str(caught.value)
    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize(
    ("server", "meant"),
    [
        ("x", ("x", 1812)),
        ("x:18", ("x", 18)),
        ("[::1]", ("::1", 1812)),
        ("[::1]:18", ("::1", 18)),
        (":18", ("127.0.0.1", 18)),
    ],
)
def test_addresses(server: str, meant: tuple[str, int]) -> None:
    from uwsgirouter.rules.actions.radius import _address

    assert _address(server) == meant


def test_no_secret_is_told_at_start() -> None:
    play = Playground("route-run = radius:realm=R,secret=hid,den=x,server=localhost,nas=1")
    told = "\n".join([*play.warnings, *play.table.describe(), *play.table.notices])
    assert "hid" not in told and "den" not in told
    assert "secret=***,server=localhost" in told
    assert r"a , in a value is written as \," in told


def test_without_the_extra() -> None:
    code = """
import sys
sys.modules["pyrad"] = None
from uwsgirouter.rules.table import Table
from uwsgirouter.settings.settings import Settings
try:
    Table.build(Settings.listed([("route-run", "radius:realm=R,server=x,secret=y", "x:1")], "x"), print)
except Exception as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "it needs pyrad" in done.stdout and "pip install 'uwsgirouter[radius]'" in done.stdout, done.stderr
