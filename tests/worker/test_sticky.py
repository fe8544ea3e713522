"""``fastrouter-sticky``: a cookie leads a client back to its node, for as long as that node serves its clients."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable

import pytest

from tests.servers import (
    Connection,
    End,
    Handler,
    Servers,
    announce,
    answer,
    get,
    hang,
    post,
    reset_after_packet,
    wait_until,
)
from tests.servers.wire import UNSUBSCRIBE, Reply, Variables
from tests.worker.site import Site

SECRET = "correct horse battery staple"
COOKIE = re.compile(r"ROUTE=([\w-]{24}); Path=/; HttpOnly; SameSite=Lax")


@pytest.fixture(scope="module")
def sticky(started: Servers) -> Site:
    return Site(started, "fastrouter-sticky = ROUTE", f"fastrouter-sticky-secret = {SECRET}", "no-fd-passing = true")


def ask(site: Site, key: str, cookie: str = "", extra: Variables | None = None, kind: str = "tcp") -> Reply:
    """One request with this Cookie header."""
    client = site.servers.client(site.address(kind))
    cookies = [(b"HTTP_COOKIE", cookie.encode())] if cookie else []
    client.send_packet(get(key, extra=[*cookies, *(extra or [])]))
    return client.reply()


def cookie_of(reply: Reply) -> str:
    """What the client sends from now on; empty when it was given nothing."""
    line = reply.header("set-cookie")
    if line is None:
        return ""
    found = COOKIE.fullmatch(line.removesuffix("; Secure"))
    assert found, line
    return f"ROUTE={found.group(1)}"


def pair(site: Site, kind: str = "tcp", **extra: int) -> str:
    """A key with two nodes, ``one`` and ``two``."""
    nodes = [site.node(answer(name), kind) for name in (b"one", b"two")]
    return site.announce(site.key(), *(node.address for node in nodes), **extra)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_client_stays_at_its_node(sticky: Site, kind: str) -> None:
    key = pair(sticky, kind)
    for _ in range(4):
        first = ask(sticky, key, kind=kind)
        cookie = cookie_of(first)
        again = [ask(sticky, key, f"a=b; {cookie}; c=d", kind=kind) for _ in range(5)]
        assert {reply.body for reply in again} == {first.body}
        assert {reply.header("set-cookie") for reply in again} == {None}, "it knows its node already"
    assert {ask(sticky, key).body for _ in range(2)} == {b"one", b"two"}, "clients without a cookie have turns"


def test_https_makes_it_secure(sticky: Site) -> None:
    key = pair(sticky)
    line = ask(sticky, key, extra=[(b"HTTPS", b"on")]).header("set-cookie")
    assert line is not None and line.endswith("; SameSite=Lax; Secure")


@pytest.mark.parametrize(
    "value", ["", "x", "A" * 24, '"', "=", "\N{SNOWMAN}", "A" * 9000, "ROUTE", "; ROUTE=", "%00", "=;=;==;"]
)
def test_a_made_up_cookie_is_as_none(sticky: Site, value: str) -> None:
    key = pair(sticky)
    assert {ask(sticky, key, f"ROUTE={value}").body for _ in range(2)} == {b"one", b"two"}
    assert cookie_of(ask(sticky, key, f"ROUTE={value}"))


def test_the_cookie_of_one_site_is_none_for_another(sticky: Site) -> None:
    one, two = sticky.node(answer(b"one")), sticky.node(answer(b"two"))
    keys = [sticky.announce(sticky.key(), one.address, two.address) for _ in range(2)]
    cookie = cookie_of(ask(sticky, keys[0]))
    assert {ask(sticky, keys[1], cookie).body for _ in range(2)} == {b"one", b"two"}


def test_a_node_that_leaves_gives_its_clients_up_and_one_that_comes_back_has_them_again(sticky: Site) -> None:
    one, two = sticky.node(answer(b"one")), sticky.node(answer(b"two"))
    key = sticky.announce(sticky.key(), one.address, two.address)
    cookies = {reply.body: cookie_of(reply) for reply in (ask(sticky, key) for _ in range(2))}
    announce(sticky.server, key, one.address, UNSUBSCRIBE)
    sticky.settle()
    moved = ask(sticky, key, cookies[b"one"])
    assert (moved.body, cookie_of(moved)) == (b"two", cookies[b"two"])
    sticky.announce(key, one.address)
    assert {ask(sticky, key, cookies[b"one"]).body for _ in range(3)} == {b"one"}


def test_a_draining_node_gives_its_clients_up(sticky: Site) -> None:
    def by_path(connection: Connection) -> None:
        packet = connection.read_packet()
        if packet.get(b"REQUEST_URI") == b"/hang":
            connection.wait()
        else:
            connection.answer(b"drains")

    node = sticky.node(by_path)
    key = sticky.announce(sticky.key(), node.address)
    cookie = cookie_of(ask(sticky, key))
    held = sticky.servers.client(sticky.tcp)
    held.send_packet(get(key, "/hang"))
    wait_until(lambda: len(node.connections) == 2, 10, "a request is under way")
    other = sticky.node(answer(b"other"))
    sticky.announce(key, other.address)
    assert ask(sticky, key, cookie).body == b"drains"
    announce(sticky.server, key, node.address, UNSUBSCRIBE)
    sticky.settle()
    assert ask(sticky, key, cookie).body == b"other"


@pytest.mark.parametrize("fault", ["refused", "reset"])
def test_when_its_node_fails_the_client_is_served_by_another_and_has_that_ones_cookie(sticky: Site, fault: str) -> None:
    one, two = sticky.node(answer(b"one")), sticky.node(answer(b"two"))
    key = sticky.announce(sticky.key(), one.address, two.address)
    cookies = {reply.body: cookie_of(reply) for reply in (ask(sticky, key) for _ in range(2))}
    if fault == "refused":
        one.refuse()
    else:
        one.handler = reset_after_packet
    reply = ask(sticky, key, cookies[b"one"])
    assert (reply.status, reply.body, cookie_of(reply)) == (200, b"two", cookies[b"two"])


def test_a_worse_level_keeps_nobody(sticky: Site) -> None:
    """Clients of a backup node go home when the better nodes are back."""
    spare, main = sticky.node(answer(b"spare")), sticky.node(answer(b"main"))
    key = sticky.announce(sticky.key(), spare.address, backup=1)
    cookie = cookie_of(ask(sticky, key))
    assert {ask(sticky, key, cookie).body for _ in range(2)} == {b"spare"}
    sticky.announce(key, main.address)
    assert {ask(sticky, key, cookie).body for _ in range(2)} == {b"main"}


def test_other_routers_with_the_secret_understand_it_and_others_do_not(sticky: Site, started: Servers) -> None:
    nodes = [sticky.node(answer(name)) for name in (b"one", b"two")]
    key = sticky.announce(sticky.key(), *(node.address for node in nodes))
    cookies = {reply.body: cookie_of(reply) for reply in (ask(sticky, key) for _ in range(2))}
    twin = Site(started, "fastrouter-sticky = ROUTE", f"fastrouter-sticky-secret = {SECRET}")
    stranger = Site(started, "fastrouter-sticky = ROUTE")
    for site in (twin, stranger):
        site.announce(key, *(node.address for node in nodes))
    for body, cookie in cookies.items():
        assert {ask(twin, key, cookie).body for _ in range(4)} == {body}
        assert {ask(stranger, key, cookie).body for _ in range(4)} == {b"one", b"two"}
    assert "fastrouter-sticky without fastrouter-sticky-secret" in stranger.router.log()
    # A reload keeps the secret that was drawn.
    mine = {reply.body: cookie_of(reply) for reply in (ask(stranger, key) for _ in range(2))}
    stranger.router.signal(signal.SIGHUP)
    stranger.router.wait_for_log("] reloaded in ", 15)
    for body, cookie in mine.items():
        assert {ask(stranger, key, cookie).body for _ in range(4)} == {body}


def raw(data: bytes, *more: bytes) -> Handler:
    """A node that sends these pieces, each when the one before was read, and closes."""

    def handle(connection: Connection) -> None:
        connection.read_packet()
        for piece in (data, *more):
            connection.send(piece)

    return handle


ODD: dict[str, tuple[Handler, bytes]] = {
    "a bare line feed": (raw(b"HTTP/1.0 200 OK\nX: y\n\nbody"), b"HTTP/1.0 200 OK\n%bX: y\n\nbody"),
    "not HTTP": (raw(b"Status: 200 OK\r\n\r\nbody"), b"Status: 200 OK\r\n\r\nbody"),
    "no line at all": (raw(b"HTTP/1.1 200"), b"HTTP/1.1 200"),
    "an endless line": (raw(b"HTTP/1.1 200 " + b"x" * 100_000), b"HTTP/1.1 200 " + b"x" * 100_000),
    "byte by byte": (
        raw(*(bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nbody")),
        b"HTTP/1.1 200 OK\r\n%bX: y\r\n\r\nbody",
    ),
    "early hints": (
        raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nX: y\r\n\r\nbody"),
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n%bX: y\r\n\r\nbody",
    ),
    "two interim responses in pieces": (
        raw(b"HTTP/1.1 10", b"0 Continue\r\n\r", b"\nHTTP/1.1 102 P\n", b"\nHTTP/1.1 ", b"204 No Content\r\n\r\n"),
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\n\nHTTP/1.1 204 No Content\r\n%b\r\n",
    ),
    "an endless interim response": (
        raw(b"HTTP/1.1 100 Continue\r\n" + b"x" * 100_000),
        b"HTTP/1.1 100 Continue\r\n" + b"x" * 100_000,
    ),
    "nothing after an interim response": (raw(b"HTTP/1.1 100 Continue\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n"),
    "another protocol": (
        raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nHTTP/1.1 200"),
        b"HTTP/1.1 101 Switching Protocols\r\n%bUpgrade: x\r\n\r\nHTTP/1.1 200",
    ),
    "a long body": (
        raw(b"HTTP/1.1 200 OK\r\n\r\n" + b"z" * 3_000_000),
        b"HTTP/1.1 200 OK\r\n%b\r\n" + b"z" * 3_000_000,
    ),
}


@pytest.mark.parametrize("what", ODD)
def test_the_rest_of_the_response_is_passed_on_as_it_is(sticky: Site, what: str) -> None:
    handler, expected = ODD[what]
    key, _ = sticky.serve(handler)
    client = sticky.servers.client(sticky.tcp)
    client.send_packet(get(key))
    data, _ = client.read_all()
    line = re.search(rb"Set-Cookie: [^\r]*\r\n", data)
    if b"%b" in expected:
        assert line is not None
        assert data == expected.replace(b"%b", line.group(), 1)
    else:
        assert data == expected


def test_what_the_client_waits_for_before_it_goes_on_is_not_held_back(sticky: Site) -> None:
    def continues(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.answer(b"%d" % len(connection.read_body()))

    key, _ = sticky.serve(continues)
    client = sticky.servers.client(sticky.tcp)
    client.send_packet(post(key, 1000))
    assert client.read(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"x" * 1000)
    reply = client.reply()
    assert reply.body == b"1000" and cookie_of(reply)


def test_what_is_no_http_is_not_held_back(sticky: Site) -> None:
    def talks(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"hello")
        assert connection.read(3) == b"bye"

    key, _ = sticky.serve(talks)
    client = sticky.servers.client(sticky.tcp)
    client.send_packet(get(key, extra=[(b"HTTP_UPGRADE", b"chat")]))
    assert client.read(5) == b"hello"
    client.send(b"bye")
    assert client.read_all() == (b"", End.EOF)


def test_a_large_upload_to_a_node_that_reads_all_of_it_first(sticky: Site) -> None:
    def echo_length(connection: Connection) -> None:
        connection.read_packet()
        connection.answer(b"%d" % len(connection.read_body()))

    key, _ = sticky.serve(echo_length)
    client = sticky.servers.client(sticky.tcp)
    client.send_packet(post(key, 5_000_000), b"x" * 5_000_000)
    reply = client.reply()
    assert reply.body == b"5000000" and cookie_of(reply)


def test_a_node_that_resets_within_its_status_line_has_answered_nothing(sticky: Site) -> None:
    """The client has seen nothing of it: another node may answer."""

    def breaks(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 20")
        connection.reset()

    broken, whole = sticky.node(breaks), sticky.node(answer(b"whole"))
    key = sticky.announce(sticky.key(), broken.address, whole.address)
    assert {ask(sticky, key).body for _ in range(2)} == {b"whole"}


def test_of_several_cookies_the_one_that_leads_somewhere_counts(sticky: Site) -> None:
    key = pair(sticky)
    cookies = {reply.body: cookie_of(reply) for reply in (ask(sticky, key) for _ in range(2))}
    for body, cookie in cookies.items():
        for header in (f"ROUTE=old; {cookie}", f"XROUTE=y;{cookie};ROUTE=", f'ROUTE="{cookie[6:]}"', f"{cookie}; a=b"):
            replies = [ask(sticky, key, header) for _ in range(2)]
            assert {(reply.body, reply.header("set-cookie")) for reply in replies} == {(body, None)}, header
    one, two = cookies[b"one"], cookies[b"two"]
    assert {ask(sticky, key, f"{two}; {one}").body for _ in range(3)} == {b"two"}, "the first of them"
    assert {ask(sticky, key, f"x{one}").body for _ in range(2)} == {b"one", b"two"}, "another name"


@pytest.mark.parametrize("value", ["ROUTE=" * 10_000, "; " * 30_000, "ROUTE" * 12_000])
def test_a_monstrous_cookie_is_looked_at_in_no_time(sticky: Site, value: str) -> None:
    key = pair(sticky)
    assert ask(sticky, key, value).status == 200


def test_an_upload_gets_its_cookie_too(sticky: Site) -> None:
    def echo_length(connection: Connection) -> None:
        connection.read_packet()
        connection.answer(b"%d" % len(connection.read_body()))

    key, _ = sticky.serve(echo_length)
    client = sticky.servers.client(sticky.tcp)
    client.send_packet(post(key, 500_000), b"x" * 500_000)
    reply = client.reply()
    assert reply.body == b"500000" and cookie_of(reply)


def test_a_node_that_never_answers_times_out_as_ever(started: Servers) -> None:
    site = Site(started, "fastrouter-sticky = ROUTE", "fastrouter-timeout = 1")
    key, node = site.serve(hang)
    baseline = site.descriptors()
    reply = ask(site, key)
    assert (reply.status, reply.header("x-uwsgirouter-cause")) == (504, "first-byte-timeout")
    site.assert_released(key, node, baseline)


def test_failure_answers_have_none(sticky: Site) -> None:
    reply = ask(sticky, sticky.key())
    assert reply.status == 503 and reply.header("set-cookie") is None


CHECKED: dict[str, tuple[str, Callable[[str], bool]]] = {
    "bad name": (
        "fastrouter-sticky = a b",
        lambda log: "fastrouter-sticky = a b: expected the name of a cookie" in log,
    ),
    "short secret": (
        "fastrouter-sticky = a\nfastrouter-sticky-secret = short",
        lambda log: "fastrouter-sticky-secret has 5 characters: expected 16 or more" in log,
    ),
}


@pytest.mark.parametrize("what", CHECKED)
def test_what_cannot_be_meant_is_an_error(started: Servers, what: str) -> None:
    lines, holds = CHECKED[what]
    router = started.router(config=f"[uwsgirouter]\nfastrouter = 127.0.0.1:0\n{lines}\n", ready=False)
    assert router.wait() == 1
    assert holds(router.log()), router.log()
