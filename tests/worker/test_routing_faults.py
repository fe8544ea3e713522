"""Faults around rules: whatever a client, a node, a file or a rule does wrong, somebody is told once and nothing leaks.

Two routers share all the tests: one whose rules never wait, and one where each chain runs in a greenlet.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.servers import (
    Connection,
    End,
    Handler,
    Node,
    Servers,
    answer,
    close_at_once,
    get,
    hang,
    packet,
    post,
    reset_after_packet,
    wait_until,
)
from tests.servers.client import Client
from tests.servers.wire import Reply, Variables
from tests.worker.scarcity import without_descriptors
from tests.worker.site import Site
from uwsgirouter.worker.rpc_call import CallFailed, call_at

MEGABYTE = 1 << 20
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
BIG = os.urandom(4 * MEGABYTE)

PARTS = '''\
"""Parts that do what no part should."""

import gevent

from uwsgirouter.rules.base import Verdict, action, transformation
from uwsgirouter.rules.transform import Transform


def _boom(argument, place):
    def act(exchange, found):
        raise KeyError("boom " + argument.decode())

    return act


@action("late-boom", waits=True)
def late_boom(argument, place):
    def act(exchange, found):
        gevent.sleep(0)
        raise KeyError("late boom " + argument.decode())

    return act


@action("stall", waits=True)
def stall(argument, place):
    def act(exchange, found):
        gevent.sleep(float(argument))
        return Verdict.NEXT

    return act


class Exploding(Transform):
    def feed(self, data):
        raise ZeroDivisionError("exploding")


action("boom")(_boom)
transformation("exploding")(lambda argument, place: lambda exchange, found: Exploding())
'''

COMMON = """\
route = /gzip gzip:
route = /fixcl fixcl:
route = /exploding exploding:
route = /seen addheader:X-Seen: yes
route = /harakiri harakiri:1
route = /boom/request boom:request
route = ^/file file:filename=${HTTP_X_FILE}
route = /http httpdumb:${HTTP_X_NODE}
route = /tunnel httpconnect:${HTTP_X_NODE}
route = /node node:${HTTP_X_NODE}
error-route = /boom/error boom:error
error-route = /sorry/file sendfile:filename=${HTTP_X_FILE}
error-route = /sorry/redirect redirect:http://sorry.example/
response-route = /boom/response boom:response
final-route = /boom/final boom:final
"""
WAITING = """\
route = /late/boom late-boom:request
route = /harakiri harakiri:1
route = /slow/request stall:30
error-route = /late/error late-boom:error
error-route = /slow/error stall:30
response-route = /late/response late-boom:response
response-route = /slow/response stall:30
response-route = /tunnel stall:0.1
final-route = /slow/final stall:0.3
final-route = /slow/final log:final of ${PATH_INFO}
"""


TIMEOUTS = ("fastrouter-timeout = 10", "fastrouter-first-byte-timeout = 1", "fastrouter-idle-timeout = 1")


class Ruled(Site):
    """A site with the parts above. The clients' timeouts are short."""

    def __init__(self, servers: Servers, rules: str, *lines: str) -> None:
        place = servers.directory / "parts"
        about = place / "hostile-1.dist-info"
        about.mkdir(parents=True, exist_ok=True)
        (place / "hostile_parts.py").write_text(PARTS)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1\n")
        (about / "entry_points.txt").write_text("[uwsgirouter.rules]\nhostile = hostile_parts\n")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(place), prepend=os.pathsep)
            super().__init__(servers, *(lines or TIMEOUTS), *rules.splitlines(), announced=False)
        with asked(self, "/") as client:  # what is opened once is open now
            client.read_all()
        self.baseline = self.descriptors()

    def count(self, word: str) -> int:
        return self.stats().causes.get(word, 0)

    def at_rest(self) -> None:
        """Nothing of what was asked is left."""

        def rests() -> bool:
            numbers = self.stats().numbers
            return not numbers["sessions"] and not numbers["in flight"] and self.descriptors() <= self.baseline

        wait_until(rests, 10, "no session, no request and no descriptor is left")

    @contextmanager
    def telling(self, *words: str) -> Iterator[None]:
        """What is done within are failures for these causes; each is counted and told once."""
        before, lines = self.stats().causes, self.router.log().count("] request ")
        yield
        self.at_rest()
        after = self.stats().causes
        new = {cause: count - before.get(cause, 0) for cause, count in after.items() if count != before.get(cause, 0)}
        assert new == Counter(words)
        assert self.router.log().count("] request ") == lines + len(words), self.router.log()


@pytest.fixture(scope="module")
def quick(started: Servers) -> Ruled:
    """Its rules never wait."""
    return Ruled(started, COMMON)


@pytest.fixture(scope="module")
def slow(started: Servers) -> Ruled:
    """Its rules run in greenlets."""
    return Ruled(started, WAITING + COMMON)


@pytest.fixture(scope="module")
def buffering(started: Servers) -> Ruled:
    """It has bodies here before it asks a node, larger ones in files, and no pages of its own."""
    return Ruled(started, COMMON, *TIMEOUTS, "fastrouter-post-buffering = 1000", "fastrouter-error-pages = false")


@pytest.fixture(params=["quick", "slow"])
def both(request: pytest.FixtureRequest) -> Ruled:
    ruled: Ruled = request.getfixturevalue(request.param)
    return ruled


def asked(site: Site, path: str, node: Node | None = None, extra: Variables | None = None, **more: int) -> Client:
    """A client that has asked."""
    client = site.servers.client(site.tcp, **more)
    client.send_packet(get("any.example", path, extra=[*named(node), *(extra or [])]))
    return client


def named(node: Node | None) -> Variables:
    return [] if node is None else [(b"HTTP_X_NODE", node.address.encode())]


def ask(site: Site, path: str, node: Node | None = None, extra: Variables | None = None) -> Reply:
    with asked(site, path, node, extra) as client:
        return client.reply()


def cause_of(reply: Reply) -> tuple[int, str | None]:
    return reply.status, reply.header("x-uwsgirouter-cause")


def sparse(path: Path) -> Path:
    """A file larger than all that sockets hold."""
    with path.open("wb") as file:
        file.truncate(64 * MEGABYTE)
    return path


def file_of(path: Path) -> Variables:
    return [(b"HTTP_X_FILE", str(path).encode())]


# -- rules that raise what they should not -------------------------------------------------------------------------


def test_a_rule_with_a_bug_is_told(both: Ruled) -> None:
    with both.telling("internal-error"):
        assert cause_of(ask(both, "/boom/request")) == (500, "internal-error")


def test_an_error_rule_with_a_bug_leaves_the_plain_answer(both: Ruled) -> None:
    with both.telling("no-node"):
        assert cause_of(ask(both, "/boom/error")) == (503, "no-node")


def test_a_response_rule_with_a_bug_is_told(both: Ruled) -> None:
    node = both.node(answer(b"ok"))
    with both.telling("internal-error"):
        assert cause_of(ask(both, "/node/boom/response", node)) == (500, "internal-error")


def test_a_transformation_with_a_bug(both: Ruled) -> None:
    node = both.node(answer(b"ok"))
    with both.telling("internal-error"):
        assert cause_of(ask(both, "/node/exploding", node)) == (500, "internal-error")


def test_a_final_rule_with_a_bug_harms_nobody(both: Ruled) -> None:
    with both.telling("no-node"):
        assert cause_of(ask(both, "/boom/final")) == (503, "no-node")


def test_a_rule_that_fails_after_it_waited_is_told(slow: Ruled) -> None:
    with slow.telling("internal-error"):
        assert cause_of(ask(slow, "/late/boom")) == (500, "internal-error")
    with slow.telling("no-node"):
        assert cause_of(ask(slow, "/late/error")) == (503, "no-node")
    node = slow.node(answer(b"ok"))
    with slow.telling("internal-error"):
        assert cause_of(ask(slow, "/node/late/response", node)) == (500, "internal-error")


def garbage(connection: Connection) -> None:
    connection.read_packet()
    connection.send(b"this is no HTTP")


def test_without_pages_only_rules_answer_failures(buffering: Ruled) -> None:
    with buffering.telling("no-node"):
        assert ask(buffering, "/sorry/redirect").status == 302
    for path, word in (("/other", "no-node"), ("/boom/request", "internal-error"), ("/boom/error", "no-node")):
        with buffering.telling(word), asked(buffering, path) as client:
            assert client.read_all() == (b"", End.EOF)
    node = buffering.node(garbage)
    with buffering.telling("bad-answer"), asked(buffering, "/node/seen", node) as client:
        assert client.read_all() == (b"", End.EOF)


# -- whatever takes too long ---------------------------------------------------------------------------------------


def half(connection: Connection) -> None:
    """Half an answer, and silence."""
    connection.read_packet()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    connection.wait()


HELD = {"/node/fixcl": "idle-timeout", "/node/fixcl/harakiri": "harakiri"}
OUT = {"/node/gzip": "idle-timeout", "/node/seen/harakiri": "harakiri"}


def test_an_answer_that_stops(quick: Ruled, tmp_path: Path) -> None:
    """What is held becomes an answer, what is out is cut; so is what nobody reads."""
    node = quick.node(half)
    extra = file_of(sparse(tmp_path / "big"))
    with quick.telling(*HELD.values(), *OUT.values(), "idle-timeout"):
        held = {path: asked(quick, path, node) for path in HELD}
        out = [asked(quick, path, node) for path in OUT]
        idle = asked(quick, "/file", extra=extra, receive_buffer=65536)
        assert {path: client.reply().header("x-uwsgirouter-cause") for path, client in held.items()} == HELD
        assert [client.read_all()[1] for client in out] == [End.RESET] * 2
        wait_until(lambda: quick.stats().numbers["sessions"] == 0, 10, "the client that does not read is let go")
        assert idle.read_all()[1] is End.RESET, "what it has does not look whole"


WAITED = {
    "/slow/request": "rules-timeout",
    "/slow/error": "no-node",
    "/node/slow/response": "rules-timeout",
    "/harakiri/slow/request": "harakiri",
    "/node/fixcl": "idle-timeout",
    "/node/fixcl/harakiri": "harakiri",
}


def test_rules_that_take_too_long(slow: Ruled) -> None:
    """Their clients are told, and no node is blamed: where the error chain hangs, they get the plain answer."""
    node = slow.node(half)
    with slow.telling("rules-timeout", *WAITED.values()):
        clients = {path: asked(slow, path, node) for path in WAITED}
        with asked(slow, "/slow/request") as client:
            client.half_close()
            assert cause_of(client.reply()) == (504, "rules-timeout"), "it only had nothing more to say"
        assert {path: client.reply().header("x-uwsgirouter-cause") for path, client in clients.items()} == WAITED


# -- nodes and their answers ---------------------------------------------------------------------------------------


def test_bad_chunks_behind_good_ones_end_with_a_reset_only(both: Ruled) -> None:
    """Also where both are met within one step of the worker, which sends an answer's last bytes with its end."""

    def pour(connection: Connection) -> None:
        connection.read_packet()
        os.kill(both.worker, signal.SIGSTOP)
        try:
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            connection.send(b"10000\r\n" + BIG[:65536] + b"\r\nnonsense\r\n")
        finally:
            os.kill(both.worker, signal.SIGCONT)
        connection.wait()

    node = both.node(pour, "unix")
    with both.telling("bad-answer"), asked(both, "/node/gzip", node) as client:
        assert client.read_all()[1] is End.RESET


def test_an_early_answer_is_not_lost_with_the_body_that_nobody_reads(both: Ruled) -> None:
    def refuse(connection: Connection) -> None:
        connection.read_packet()
        connection.answer(b"too much", "413 Too Large")
        come.wait(10)

    come = threading.Event()
    node = both.node(refuse)
    with both.servers.client(both.tcp) as client:
        client.send_packet(post("any.example", 100_000_000, "/node/fixcl", named(node)))
        client.send(BIG[:100_000])
        come.set()
        reply = client.reply()
    assert (reply.status, reply.body) == (413, b"too much")
    both.at_rest()


# -- files ---------------------------------------------------------------------------------------------------------


def test_a_file_that_becomes_shorter_while_it_is_sent(both: Ruled, tmp_path: Path) -> None:
    path = sparse(tmp_path / "big")
    with both.telling("rule-failed"), asked(both, "/file", extra=file_of(path), receive_buffer=65536) as client:
        client.read(1000)
        path.write_bytes(b"")
        assert client.read_all()[1] is End.RESET


def test_a_page_of_the_error_chain_that_becomes_shorter(both: Ruled, tmp_path: Path) -> None:
    path = sparse(tmp_path / "big")
    with both.telling("no-node"), asked(both, "/sorry/file", extra=file_of(path), receive_buffer=65536) as client:
        client.read(1000)
        path.write_bytes(b"")
        assert client.read_all()[1] is End.RESET


def test_a_client_that_sends_all_of_its_body_before_it_reads(quick: Ruled, tmp_path: Path) -> None:
    path = sparse(tmp_path / "big")
    with quick.servers.client(quick.tcp) as client:
        client.send_packet(post("any.example", len(BIG) * 16, "/file", file_of(path)))
        for _ in range(16):
            client.send(BIG)
        client.half_close()
        assert len(client.reply().body) == 64 * MEGABYTE
    quick.at_rest()


@pytest.mark.parametrize("path", ["/file/boom/response", "/file/slow/response"])
def test_a_file_whose_answer_does_not_come_about_is_closed(slow: Ruled, tmp_path: Path, path: str) -> None:
    (tmp_path / "small").write_bytes(b"x")
    with asked(slow, path, extra=file_of(tmp_path / "small")) as client:
        if "slow" in path:
            wait_until(lambda: slow.descriptors() == slow.baseline + 2, 10, "the file is open")
            client.reset()
        else:
            assert cause_of(client.reply()) == (500, "internal-error")
    slow.at_rest()


def test_a_file_that_cannot_be_opened_for_want_of_descriptors(both: Ruled, tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"x")
    with both.telling("overload"), both.servers.client(both.tcp) as client:
        client.send(b"\0")
        wait_until(lambda: both.descriptors() > both.baseline, 5, "the client is accepted")
        with without_descriptors(both):
            variables = get("any.example", "/file", extra=file_of(path))
            client.send(packet(variables)[1:])
            assert cause_of(client.reply()) == (503, "overload")


# -- other servers -------------------------------------------------------------------------------------------------


class Web:
    """An HTTP server that keeps what it gets, answers, and does not close."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply
        self.got = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self.listener.getsockname())
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        connection, _ = self.listener.accept()
        connection.settimeout(10)
        with connection:
            is_answered = False
            while data := connection.recv(65536):
                self.got += data
                head, end, body = self.got.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                if end and not is_answered and len(body) >= (int(length[1]) if length else 0):
                    is_answered = True
                    connection.sendall(self.reply)

    def __enter__(self) -> Web:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(15)
        self.listener.close()


@pytest.mark.parametrize(
    ("answered", "body"),
    [
        (b"200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"200 OK\r\nContent-Length: 5\r\n\r\nhello, and more", b"hello"),
        (b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", CHUNKS),
        (b"304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
        (b"204 No Content\r\n\r\n", b""),
    ],
    ids=["counted", "counted badly", "chunked", "unchanged", "empty"],
)
def test_an_answer_of_a_server_that_stays_ends_where_it_says(quick: Ruled, answered: bytes, body: bytes) -> None:
    with Web(b"HTTP/1.1 " + answered) as web, quick.servers.client(quick.tcp) as client:
        client.send_packet(get("any.example", "/http", extra=[(b"HTTP_X_NODE", web.address.encode())]))
        data, end = client.read_all()
    assert (data.partition(b"\r\n\r\n")[2], end) == (body, End.EOF)
    quick.at_rest()


@pytest.mark.parametrize("size", [5, 500, 5000])
@pytest.mark.parametrize("apart", [False, True], ids=["together", "apart"])
def test_a_buffered_body_reaches_an_http_server(buffering: Ruled, size: int, apart: bool) -> None:
    with (
        Web(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as web,
        buffering.servers.client(buffering.tcp) as client,
    ):
        variables = post("any.example", size, "/http", [(b"HTTP_X_NODE", web.address.encode())])
        client.send_packet(variables, BIG[: 0 if apart else size])
        if apart:
            wait_until(lambda: buffering.descriptors() > buffering.baseline, 10, "the packet is there")
            client.send(BIG[:size])
        reply = client.reply()
    assert (reply.status, web.got.partition(b"\r\n\r\n")[2]) == (200, BIG[:size])
    buffering.at_rest()


@pytest.mark.parametrize("size", [0, 5, 300_000])
@pytest.mark.parametrize("early", [0, 3, 1000], ids=["apart", "begun", "together"])
def test_what_follows_a_body_is_no_request(quick: Ruled, size: int, early: int) -> None:
    data = BIG[:size] + b"GET /smuggled HTTP/1.0\r\n\r\n" * 3
    with Web(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as web, quick.servers.client(quick.tcp) as client:
        variables = post("any.example", size, "/http", [(b"HTTP_X_NODE", web.address.encode())])
        client.send_packet(variables, data[:early])
        wait_until(lambda: web.got, 10, "the head is there")
        client.send(data[early:])
        assert client.reply().status == 200
    assert web.got.partition(b"\r\n\r\n")[2] == BIG[:size]
    quick.at_rest()


def test_a_tunnel_whose_response_rules_wait(slow: Ruled) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with slow.servers.client(slow.tcp) as client:
            client.send_packet(get("any.example", "/tunnel", "CONNECT", [(b"HTTP_X_NODE", address.encode())]))
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"pong")
                assert client.read(13) == b"HTTP/1.1 200 "
                head = b""
                while not head.endswith(b"\r\n\r\npong"):
                    head += client.read_some()
    slow.at_rest()


def tunnelled(connection: Connection) -> None:
    connection.read_until_eof()


# -- clients that leave --------------------------------------------------------------------------------------------


PATHS = ["/slow/request", "/node/slow/response", "/slow/error", "/node/fixcl", "/node/gzip", "/tunnel"]


def test_clients_that_leave_take_their_rules_along(slow: Ruled, tmp_path: Path) -> None:
    nodes = {path: slow.node(half if "node" in path else tunnelled) for path in PATHS}
    extra = file_of(sparse(tmp_path / "big"))
    for leave in (Client.reset, Client.close):
        clients = [asked(slow, path, nodes[path], receive_buffer=65536) for path in PATHS]
        clients.append(asked(slow, "/file", extra=extra, receive_buffer=65536))
        wait_until(lambda: slow.stats().numbers["sessions"] == len(PATHS) + 1, 10, "all are there")
        for client in clients:
            leave(client)
    slow.at_rest()
    for node in nodes.values():
        node.expect_errors()


# -- calls of other servers ----------------------------------------------------------------------------------------


def endless(connection: Connection) -> None:
    connection.read_packet()
    with suppress(OSError):
        while True:
            connection.send(BIG)


def cut_short(connection: Connection) -> None:
    connection.read_packet()
    connection.send(b"\xad\x05\0\0abc")


def babbling(connection: Connection) -> None:
    connection.read_packet()
    connection.send(b"\x05" * 10)
    connection.wait()


@pytest.mark.parametrize(
    ("handler", "raw", "reason"),
    [
        (hang, False, "no answer in 0.3 seconds"),
        (hang, True, "no answer in 0.3 seconds"),
        (endless, True, "too large"),
        (cut_short, False, "the answer ended after 7 bytes"),
        (babbling, False, "no answer in 0.3 seconds|bad length"),
        (reset_after_packet, False, "reset by peer|ended after 0 bytes"),
        (close_at_once, False, "reset by peer|ended after 0 bytes|Broken pipe"),
    ],
)
@pytest.mark.parametrize("kind", ["tcp", "v6", "unix"])
def test_a_call_that_fails_says_why(quick: Ruled, handler: Handler, raw: bool, reason: str, kind: str) -> None:
    node = quick.node(handler, kind)
    with pytest.raises(CallFailed, match=reason):
        call_at(node.address, b"f", [b"x"], raw, 5, 0.3)
    node.expect_errors()


# -- rules beside other options ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def passing(started: Servers) -> Site:
    """Its rules see no response, so nodes may have the client's descriptor."""
    return Site(
        started,
        "subscription-mountpoints = 1",
        "route = ^/old/(.*) rewrite:/new/$1",
        "route = ^/harakiri harakiri:1",
    )


def test_a_rewritten_path_has_its_mountpoint(passing: Site) -> None:
    key = passing.key()
    passing.announce(key, passing.node(answer(b"host")).address)
    passing.announce(f"{key}/new", passing.node(answer(b"mounted")).address)
    for path in ("/new/page", "/old/page"):
        with passing.servers.client(passing.tcp) as client:
            client.send_packet(get(key, path))
            assert client.reply().body == b"mounted", path


def test_a_request_with_a_time_limit_stays_with_the_router(passing: Site) -> None:
    def look(connection: Connection) -> None:
        _, descriptors, _, _ = socket.recv_fds(connection.socket, 65536, 4)
        for descriptor in descriptors:
            os.close(descriptor)
        passed.append(len(descriptors))
        if not descriptors:
            connection.answer(b"ok")

    passed: list[int] = []
    key, _ = passing.serve(look, "unix")
    for path in ("/any", "/harakiri"):
        with passing.servers.client(passing.tcp) as client:
            client.send_packet(get(key, path))
            client.read_all()
    assert passed == [1, 0]


@pytest.fixture(scope="module")
def mixed(started: Servers) -> Site:
    """Cookies, nodes with few cores, a fallback, and rules that look at each response."""

    def stand_in(connection: Connection) -> None:
        received = connection.read_packet()
        connection.answer(b"fallback %d" % received.modifier1)

    fallback = started.node(stand_in)
    return Site(
        started,
        "fastrouter-sticky = ROUTE",
        "subscription-limit-cores = true",
        f"fastrouter-fallback = {fallback.address}",
        "route = ^/named node:${HTTP_X_NODE}",
        "route = ^/set setmodifier1:7",
        "route = ^/fixcl fixcl:",
        "route = ^/goto goto:0",
        "response-route-run = addheader:X-Seen: yes",
        "final-route-run = log:end ${uwsgi[status]} ${PATH_INFO}",
    )


def reply_of(site: Site, key: str, path: str, extra: Variables | None = None) -> Reply:
    with site.servers.client(site.tcp) as client:
        client.send_packet(get(key, path, extra=extra))
        return client.reply()


@pytest.mark.parametrize("path", ["/any", "/fixcl"])
def test_a_cookie_stands_beside_the_headers_of_rules(mixed: Site, path: str) -> None:
    key = mixed.announce(mixed.key(), *[mixed.node(answer(name)).address for name in (b"one", b"two")], cores=8)
    first = reply_of(mixed, key, path)
    cookie = first.header("set-cookie") or ""
    assert (cookie[:6], first.header("x-seen")) == ("ROUTE=", "yes")
    for _ in range(3):
        again = reply_of(mixed, key, path, [(b"HTTP_COOKIE", cookie.partition(";")[0].encode())])
        assert (again.body, again.header("set-cookie"), again.header("x-seen")) == (first.body, None, "yes")
    named = reply_of(mixed, key, "/named", [(b"HTTP_X_NODE", mixed.node(answer(b"named")).address.encode())])
    assert (named.body, named.header("set-cookie")) == (b"named", None)


@pytest.mark.parametrize("path", ["/any", "/fixcl"])
def test_the_cookie_is_that_of_the_node_which_answers_at_last(mixed: Site, path: str) -> None:
    def dies(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nSet-Cook")
        connection.reset()

    key = mixed.announce(mixed.key(), mixed.node(dies).address, cores=8)
    mixed.announce(key, mixed.node(answer(b"lives")).address, cores=8, backup=1)
    with mixed.servers.client(mixed.tcp) as client:
        client.send_packet(get(key, path))
        data, end = client.read_all()
    assert end is End.EOF
    reply = Reply.parse(data.removeprefix(b"HTTP/1.1 103 Early Hints\r\n\r\n"))
    assert (reply.status, reply.body) == (200, b"lives")
    assert sorted(name for name, _ in reply.headers) == ["content-length", "set-cookie", "x-seen"]


def test_a_fallback_answers_through_the_rules(mixed: Site) -> None:
    dead = mixed.node(answer(b"x"))
    key = mixed.announce(mixed.key(), dead.address, cores=8, modifier1=5)
    dead.refuse()
    for path, body in (("/any", b"fallback 5"), ("/set", b"fallback 7")):
        reply = reply_of(mixed, key, path)
        assert (reply.body, reply.header("x-seen"), reply.header("set-cookie")) == (body, "yes", None)
    reply = reply_of(mixed, "nobody.example", "/named", [(b"HTTP_X_NODE", dead.address.encode())])
    assert cause_of(reply) == (502, "connect-failed"), "nobody stands in for an address that a rule chose"


def test_a_line_moves_on_when_a_response_has_passed_its_rules(mixed: Site) -> None:
    def serve(connection: Connection) -> None:
        connection.read_packet()
        go_on.wait(10)
        connection.answer(b"ok")

    go_on = threading.Event()
    key, node = mixed.serve(serve, cores=1)
    clients = [mixed.servers.client(mixed.tcp) for _ in range(5)]
    for client in clients:
        client.send_packet(get(key, "/fixcl"))
    wait_until(lambda: mixed.stats().numbers["sessions"] == 5, 10, "all are there")
    assert len(node.connections) == 1
    clients.pop().reset()
    go_on.set()
    for client in clients:
        reply = client.reply()
        assert (reply.status, reply.header("x-seen")) == (200, "yes")
    wait_until(lambda: not mixed.stats().numbers["sessions"] + mixed.stats().numbers["in flight"], 10, "all are gone")


def test_clients_do_not_fill_the_log(mixed: Site) -> None:
    for _ in range(150):
        assert reply_of(mixed, "any.example", "/goto").status == 500
    assert mixed.stats().causes["rule-failed"] == 150
    assert mixed.router.log().count("goto can only jump forward") < 150


# -- ends ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def leaving(tmp_path: Path) -> Iterator[tuple[Ruled, dict[str, Client]]]:
    """A router of its own with a client in each phase that rules make."""
    path = sparse(tmp_path / "big")
    with closing(Servers()) as servers:
        ruled = Ruled(servers, WAITING + COMMON, "fastrouter-first-byte-timeout = 30", "fastrouter-idle-timeout = 30")
        node = ruled.node(answer(b"ok"))
        paths = ["/slow/request", "/slow/error", "/node/slow/response", "/file"]
        clients = {name: asked(ruled, name, node, file_of(path), receive_buffer=65536) for name in paths}
        clients["/file"].read(1000)
        wait_until(lambda: ruled.stats().numbers["sessions"] == 4, 10, "all are there")
        node.wait_for(1)
        yield ruled, clients


def test_a_stop_in_every_phase(leaving: tuple[Ruled, dict[str, Client]]) -> None:
    ruled, clients = leaving
    ruled.router.signal(signal.SIGINT)
    assert clients["/file"].read_all()[1] is End.RESET, "half a file does not look whole"
    assert cause_of(clients["/slow/error"].reply()) == (503, "no-node")
    assert cause_of(clients["/slow/request"].reply()) == (503, "stopped")
    assert cause_of(clients["/node/slow/response"].reply()) == (503, "stopped")
    assert ruled.router.wait(10) == 0
    assert "Traceback" not in ruled.router.log()


def test_a_drain_waits_for_rules(started: Servers) -> None:
    with closing(Servers()) as servers:
        ruled = Ruled(servers, WAITING.replace(":30", ":0.5") + COMMON)
        with asked(ruled, "/slow/request/slow/error/slow/final") as client:
            wait_until(lambda: ruled.stats().numbers["requests"] == 2, 10, "it is there")
            ruled.router.signal(signal.SIGTERM)
            assert cause_of(client.reply()) == (503, "no-node")
        assert ruled.router.wait(10) == 0
        assert "final of /slow/request/slow/error/slow/final" in ruled.router.log()
