"""From the packet to the node: the key, the modifiers, and the packet itself, which arrives as it was sent."""

from __future__ import annotations

import pytest

from tests.servers import Client, Connection, Servers, answer, fetch, packet
from tests.servers.wire import Variables
from tests.worker.site import KINDS, Site

HOST = (b"HTTP_HOST", b"host.example")
NAME = (b"SERVER_NAME", b"name.example")
OVER = (b"UWSGI_FASTROUTER_KEY", b"over.example")
LONG = b"x" * 256
HIDDEN = b"\x09\x00HTTP_HOST\x0c\x00over.example"

PRECEDENCE: list[tuple[Variables, bytes]] = [
    ([HOST], b"host"),
    ([NAME], b"name"),
    ([OVER], b"over"),
    ([HOST, NAME], b"host"),
    ([NAME, HOST], b"host"),
    ([OVER, HOST, NAME], b"over"),
    ([NAME, HOST, OVER], b"over"),
    ([HOST, OVER, NAME], b"over"),
    ([(b"HTTP_HOST", b"first"), HOST], b"host"),
    ([(b"UWSGI_FASTROUTER_KEY", b"first"), OVER, HOST], b"over"),
    ([NAME, (b"SERVER_NAME", b"second")], b"name"),
    ([NAME, (b"HTTP_HOST", b"")], b"name"),
    ([(b"HTTP_HOST", b""), NAME], b"name"),
    ([HOST, (b"UWSGI_FASTROUTER_KEY", b"")], b"host"),
    ([(b"HTTP_HOST", LONG), NAME], b"name"),
    ([HOST, (b"UWSGI_FASTROUTER_KEY", LONG)], b"host"),
    ([(b"QUERY_STRING", HIDDEN), HOST], b"host"),
    ([HOST, (b"http_host", b"over.example"), (b"XHTTP_HOST", b"over.example")], b"host"),
]


@pytest.fixture(scope="module")
def named(site: Site) -> Site:
    """The site with one node each for host.example, name.example and over.example."""
    for name in ("host", "name", "over"):
        site.announce(f"{name}.example", site.node(answer(name.encode())).address)
    return site


@pytest.mark.parametrize(("variables", "expected"), PRECEDENCE)
def test_the_key(named: Site, variables: Variables, expected: bytes) -> None:
    with Client(named.tcp) as client:
        client.send_packet([*variables, (b"CONTENT_LENGTH", b"")])
        assert client.reply().body == expected


def test_a_key_of_255_bytes_works(site: Site) -> None:
    key = "k" * 255
    site.announce(key, site.node(answer(b"long")).address)
    assert site.fetch(key).body == b"long"


SMALL: Variables = [(b"CONTENT_LENGTH", b"6"), (b"REQUEST_METHOD", b"POST")]


@pytest.mark.parametrize("kind", KINDS)
def test_split_at_every_point(site: Site, kind: str) -> None:
    received: list[bytes] = []

    def record(connection: Connection) -> None:
        connection.read_packet()
        connection.read_body()
        received.append(bytes(connection.received))
        connection.answer(b"ok")

    key, _ = site.serve(record, kind)
    data = packet([*SMALL, (b"HTTP_HOST", key.encode())]) + b"a body"
    splits = [[at] for at in range(1, len(data))] + [[1] * len(data)]
    for sizes in splits:
        with Client(site.address(kind)) as client:
            client.send_pieces(data, sizes, pause=0.001)
            assert client.reply().body == b"ok", sizes
    assert set(received) == {data}
    assert len(received) == len(splits)


@pytest.mark.parametrize("kind", KINDS)
def test_a_packet_of_65535_bytes(site: Site, kind: str) -> None:
    whole: list[bytes] = []

    def record(connection: Connection) -> None:
        whole.append(connection.read_packet().raw + connection.read_body())
        connection.answer(b"ok")

    key, _ = site.serve(record, kind)
    variables = [(b"HTTP_HOST", key.encode()), (b"CONTENT_LENGTH", b"70000")]
    used = len(packet(variables)) - 4
    variables.append((b"HTTP_COOKIE", b"c" * (65535 - used - 4 - len(b"HTTP_COOKIE"))))
    data = packet(variables) + b"b" * 70000
    assert len(data) == 4 + 65535 + 70000
    with Client(site.address(kind)) as client:
        client.send(data)
        assert client.reply().body == b"ok"
    assert whole == [data]


def modifiers(connection: Connection) -> None:
    """Answers with the modifiers that arrived."""
    received = connection.read_packet()
    connection.answer(b"%d,%d" % (received.modifier1, received.modifier2))


def asked_with(site: Site, key: str, modifier1: int, modifier2: int) -> bytes:
    """The modifiers that arrive at the node when the web server sends these."""
    with Client(site.tcp) as client:
        client.send_packet([(b"HTTP_HOST", key.encode())], b"", modifier1, modifier2)
        return client.reply().body


def test_the_nodes_modifiers_are_written_into_the_packet(site: Site) -> None:
    key, _ = site.serve(modifiers, modifier1=3, modifier2=7)
    assert asked_with(site, key, 0, 0) == b"3,7"
    assert asked_with(site, key, 5, 6) == b"3,7"


def test_without_modifiers_of_the_node_the_web_servers_are_wiped(site: Site) -> None:
    key, _ = site.serve(modifiers)
    assert asked_with(site, key, 5, 6) == b"0,0"


def test_without_strip_port_only_the_case_may_differ(site: Site) -> None:
    for key in ("upper.example", "other.example", "[::1]"):
        site.announce(key, site.node(answer(key.encode())).address)
    assert site.fetch("Upper.Example").body == b"upper.example"
    assert site.fetch("other.example:8000").status == 503
    assert site.fetch("[::1]:8000").status == 503


@pytest.fixture(scope="module")
def other(started: Servers) -> Site:
    """A router with keep-modifiers and strip-port."""
    return Site(started, "fastrouter-keep-modifiers = true", "fastrouter-strip-port = true")


def test_keep_modifiers(other: Site) -> None:
    key, _ = other.serve(modifiers)
    assert asked_with(other, key, 5, 6) == b"5,6"


def test_keep_modifiers_does_not_override_the_node(other: Site) -> None:
    key, _ = other.serve(modifiers, modifier1=3)
    assert asked_with(other, key, 5, 6) == b"3,0"


def test_strip_port_and_lower_case(other: Site) -> None:
    for key in ("plain.example", "exact.example", "exact.example:81", "Case.Example", "case.example", "[::1]"):
        other.announce(key, other.node(answer(key.encode())).address)
    expected = {
        "plain.example:8000": "plain.example",
        "PLAIN.example:8000": "plain.example",
        "exact.example:81": "exact.example:81",
        "exact.example:82": "exact.example",
        "Case.Example": "Case.Example",
        "CASE.example": "case.example",
        "[::1]:443": "[::1]",
    }
    assert {asked: fetch(other.tcp, asked).body.decode() for asked in expected} == expected
    assert fetch(other.tcp, "plain.example:http").status == 503
    assert fetch(other.tcp, "plain.example.").status == 503
