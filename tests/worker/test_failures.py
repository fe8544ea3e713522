"""When nodes or clients fail: another node where that is allowed, else an answer that says what happened."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.servers import (
    Client,
    Connection,
    End,
    Node,
    Reply,
    Servers,
    announce,
    answer,
    close_at_once,
    fetch,
    get,
    hang,
    local,
    packet,
    post,
    reset_after_packet,
    reset_at_once,
    wait_until,
)
from tests.servers.wire import UNSUBSCRIBE, where
from tests.worker.patched import patched_router
from tests.worker.site import KINDS, Site

CAUSE = "x-uwsgirouter-cause"


def told(reply: Reply) -> tuple[int, str | None]:
    """Status and cause of a failure answer."""
    return reply.status, reply.header(CAUSE)


def close_after_packet(connection: Connection) -> None:
    """A node that takes the request and ends without an answer."""
    connection.read_packet()
    connection.read_body()


@contextlib.contextmanager
def stuffed(address: str) -> Iterator[str]:
    """A listener whose backlog is full: on TCP a connect hangs, on a unix socket it fails at once."""
    family, sockaddr = where(address)
    with contextlib.ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.socket(family))
        listener.bind(sockaddr)
        listener.listen(0)
        name = listener.getsockname()
        for _ in range(4):
            filler = open_sockets.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex(name)
        if family == socket.AF_UNIX:
            yield address
        else:
            yield f"[{name[0]}]:{name[1]}" if family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


@contextlib.contextmanager
def deaf(path: str) -> Iterator[str]:
    """A unix socket that is bound, but where nobody listens."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        yield path


def refused(site: Site) -> contextlib.AbstractContextManager[str]:
    return contextlib.nullcontext(local())


def missing(site: Site) -> contextlib.AbstractContextManager[str]:
    return contextlib.nullcontext(site.place("unix"))


def without_listener(site: Site) -> contextlib.AbstractContextManager[str]:
    return deaf(site.place("unix"))


def full(site: Site) -> contextlib.AbstractContextManager[str]:
    return stuffed(site.place("unix"))


DEAD: dict[str, tuple[Callable[[Site], contextlib.AbstractContextManager[str]], str]] = {
    "refused": (refused, "Connection refused"),
    "missing unix socket": (missing, "No such file or directory"),
    "unix socket without listener": (without_listener, "Connection refused"),
    "full unix backlog": (full, "the backlog is full"),
}


@pytest.mark.parametrize("what", DEAD)
def test_a_dead_node_is_skipped_for_the_next_one(site: Site, what: str) -> None:
    make, reason = DEAD[what]
    baseline = site.descriptors()
    with make(site) as dead:
        live = site.node(answer(b"live"))
        key = site.announce(site.key(), dead)
        site.announce(key, live.address)
        assert [site.fetch(key, body=b"a body").body for _ in range(4)] == [b"live"] * 4
        log = site.router.wait_for_log(f"{key} => marking {dead} as failed ({reason})")
        # Once it is marked nobody tries it again.
        assert log.count(f'unable to connect() to node "{dead}"') == 1
    site.assert_released(key, live, baseline)
    announce(site.server, key, dead, UNSUBSCRIBE)


@pytest.mark.parametrize("what", DEAD)
def test_without_another_node_the_client_is_told(site: Site, what: str) -> None:
    make, _ = DEAD[what]
    baseline = site.descriptors()
    with make(site) as dead:
        key = site.announce(site.key(), dead)
        for _ in range(2):  # the last resort: the second request tries the marked node again
            assert told(site.fetch(key)) == (502, "connect-failed")
    site.assert_released(key, dead, baseline)


def test_a_failed_node_is_back_by_its_next_announcement(site: Site) -> None:
    node, other = site.node(answer(b"node")), site.node(answer(b"other"))
    key = site.announce(site.key(), node.address, other.address)
    node.refuse()
    assert {site.fetch(key).body for _ in range(4)} == {b"other"}
    node.accept_again()
    assert {site.fetch(key).body for _ in range(4)} == {b"other"}
    site.announce(key, node.address)
    assert f"{key} => node is back: {node.address}" in site.router.log()
    assert {site.fetch(key).body for _ in range(2)} == {b"node", b"other"}


@pytest.fixture(scope="module")
def relaying(started: Servers) -> Site:
    """A router that keeps its clients: who is offered one and closes has adopted it (tests/worker/test_adoption.py)."""
    return Site(started, "no-fd-passing = true")


@pytest.mark.parametrize("handler", [close_after_packet, close_at_once, reset_at_once, reset_after_packet])
@pytest.mark.parametrize("kind", KINDS)
def test_a_node_that_ends_without_an_answer(relaying: Site, handler: Callable[[Connection], None], kind: str) -> None:
    """A GET goes to another node; a POST may have been executed, so its client is told."""
    site = relaying
    bad, live = site.node(handler, kind), site.node(answer(b"live"), kind)
    baseline = site.descriptors()
    both = site.announce(site.key(), bad.address)
    site.announce(both, live.address)
    assert [site.fetch(both, kind).body for _ in range(4)] == [b"live"] * 4
    tried = len(bad.connections)
    # One that resets before our packet is out has not even accepted it: it is marked, and tried once.
    assert tried >= (1 if handler in (close_at_once, reset_at_once) else 2)
    alone = site.announce(site.key(), bad.address)
    site.announce(alone, bad.address)
    status, cause = told(site.fetch(alone, kind, body=b"a body"))
    assert status == 502
    causes = {"node-closed"} if handler is close_after_packet else {"node-closed", "node-reset"}
    assert cause in (causes | {"connect-failed"} if handler in (close_at_once, reset_at_once) else causes)
    assert len(bad.connections) == tried + 1
    bad.expect_errors()
    site.assert_released(both, live, baseline)
    site.assert_released(alone, bad, baseline)


def test_a_post_that_was_sent_is_not_sent_twice(site: Site) -> None:
    bad, live = site.node(close_after_packet), site.node(answer(b"live"))
    key = site.announce(site.key(), bad.address)
    site.announce(key, live.address)
    answers = [told(site.fetch(key, body=b"a body"))[0] for _ in range(4)]
    assert sorted(answers) == [200, 200, 502, 502]


def test_a_late_end_is_retried_on_a_node_that_came_since(started: Servers) -> None:
    """The only node of a key expires under a request and then closes; by that time there is another one."""
    site = Site(started, "subscription-tolerance = 1")
    release = threading.Event()

    def close_late(connection: Connection) -> None:
        connection.read_packet()
        release.wait(10)

    key, late = site.serve(close_late)
    with Client(site.tcp) as client:
        client.send_packet(get(key))
        late.wait_for(1)
        site.router.wait_for_log(f"{key} => marking {late.address} as failed (no announce received in 1 seconds)")
        live = site.node(answer(b"live"))
        site.announce(key, live.address)
        release.set()
        assert client.reply().body == b"live"


def test_no_node(site: Site) -> None:
    reply = site.fetch("nobody.example")
    assert told(reply) == (503, "no-node")
    assert reply.header("retry-after") == "5"
    assert reply.header("connection") == "close"
    assert b"No application server" in reply.body


def test_head_is_answered_without_body(site: Site) -> None:
    with Client(site.tcp) as client:
        client.send_packet(get("nobody.example", method="HEAD"))
        data, end = client.read_all()
    assert (data.partition(b"\r\n\r\n")[2], end) == (b"", End.EOF)
    assert b"\r\nContent-Length: 1" in data


NO_KEY = packet([(b"REQUEST_METHOD", b"GET"), (b"CONTENT_LENGTH", b"")])
MALFORMED = packet([(b"HTTP_HOST", b"a.example")])[:-1] + b"\xff\xff"


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (NO_KEY, "no-key"),
        (packet([]), "no-key"),
        (packet([(b"HTTP_HOST", b"")]), "no-key"),
        (packet([(b"HTTP_HOST", b"a.example")], size=16), "bad-packet"),
        (packet([(b"", b"x"), (b"HTTP_HOST", b"a.example")]), "bad-packet"),
        (b"\x00\x04\x00\x00\xff\xff\xff\xff", "bad-packet"),
        (b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n" + b"x" * 0x5445, "bad-packet"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_routed_is_a_bad_request(site: Site, data: bytes, cause: str, kind: str) -> None:
    before = site.stats().causes.get(cause, 0)
    with Client(site.address(kind)) as client:
        client.send(data)
        assert told(client.reply()) == (400, cause)
    assert site.stats().causes[cause] == before + 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_packet_is_a_bad_request(site: Site, kind: str) -> None:
    whole = packet(get("a.example"))
    for size in (1, 3, 4, 50, len(whole) - 1):
        with Client(site.address(kind)) as client:
            client.send(whole[:size])
            client.half_close()
            assert told(client.reply()) == (400, "bad-packet")


def test_a_connection_that_says_nothing_is_no_failure(site: Site) -> None:
    before = site.stats()
    with Client(site.unix) as client:
        client.half_close()
        assert client.read_all() == (b"", End.EOF)
    after = site.stats()
    assert (after.causes, after.numbers["requests"]) == (before.causes, before.numbers["requests"])


def test_a_client_that_still_sends_can_read_its_failure_answer(site: Site) -> None:
    """Closing with unread data would reset the connection, and the answer with it."""
    with Client(site.tcp) as client:
        client.send_packet(post("nobody.example", 1 << 20))
        for _ in range(16):
            client.send(bytes(1 << 16))
        assert told(client.reply()) == (503, "no-node")


class Outcomes:
    """What slow scenarios came to; all of them run at the same time, for each is mostly waiting."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._futures: dict[str, Future[object]] = {}

    def begin(self, name: str, scenario: Callable[[], object]) -> None:
        self._futures[name] = self._pool.submit(scenario)

    def of(self, name: str) -> object:
        return self._futures[name].result(30)


def timed(ask: Callable[[], object]) -> tuple[object, float]:
    """A result and the seconds it took."""
    begin = time.monotonic()
    return ask(), time.monotonic() - begin


@pytest.fixture(scope="module")
def impatient(started: Servers) -> Site:
    """A router with a timeout of one second."""
    return Site(started, "fastrouter-timeout = 1")


@pytest.fixture(scope="module")
def slow(impatient: Site) -> Iterator[Outcomes]:
    """Every scenario that ends by a timeout."""
    site = impatient
    nodes: dict[str, Node] = {}

    def one_byte(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"H")
        connection.wait()

    def drip(connection: Connection) -> None:
        connection.read_packet()
        for _ in range(16):
            time.sleep(0.2)
            connection.send(b".")

    def body_reader(connection: Connection) -> None:
        connection.read_packet()
        connection.read_until_eof()

    handlers: dict[str, Callable[[Connection], None]] = {
        "silent": hang,
        "silent too": hang,
        "one byte": one_byte,
        "drip": drip,
        "stalled body": body_reader,
        "live": answer(b"live"),
    }
    for name, handler in handlers.items():
        nodes[name] = site.node(handler)
    keys = {name: site.key() for name in nodes}
    for name, node in nodes.items():
        announce(site.server, keys[name], node.address)
    announce(site.server, keys["silent"], nodes["silent too"].address)
    site.settle()

    def silent() -> object:
        reply = site.fetch(keys["silent"])
        return told(reply), len(nodes["silent"].connections) + len(nodes["silent too"].connections)

    def cut_after_one_byte() -> object:
        with Client(site.tcp) as client:
            client.send_packet(get(keys["one byte"]))
            return client.read_all()

    def half_a_packet() -> object:
        with Client(site.tcp) as client:
            client.send(packet(get("a.example"))[:50])
            return told(client.reply())

    def nothing() -> object:
        with Client(site.unix) as client:
            return client.read_all()

    def stalled_body() -> object:
        with Client(site.tcp) as client:
            client.send_packet(post(keys["stalled body"], 1000), b"half")
            reply = told(client.reply())
        (connection,) = nodes["stalled body"].wait_for(1)
        assert connection.finished.wait(5), "the node saw the end"
        return reply, bytes(connection.received).endswith(b"half")

    with ThreadPoolExecutor(10) as pool, stuffed("127.0.0.1:0") as one, stuffed("127.0.0.1:0") as two:
        outcomes = Outcomes(pool)
        hanging, beside = site.announce(site.key(), one), site.announce(site.key(), two)
        site.announce(beside, nodes["live"].address)
        outcomes.begin("silent", lambda: timed(silent))
        outcomes.begin("one byte", lambda: timed(cut_after_one_byte))
        outcomes.begin("drip", lambda: fetch_raw(site, keys["drip"]))
        outcomes.begin("half a packet", lambda: timed(half_a_packet))
        outcomes.begin("nothing", lambda: timed(nothing))
        outcomes.begin("stalled body", lambda: timed(stalled_body))
        outcomes.begin("hanging connect", lambda: timed(lambda: told(site.fetch(hanging))))
        outcomes.begin("hanging connect, another node", lambda: [site.fetch(beside).body for _ in range(2)])
        yield outcomes


def fetch_raw(site: Site, key: str) -> tuple[bytes, End]:
    """The bytes of an answer that is none."""
    with Client(site.tcp) as client:
        client.send_packet(get(key))
        return client.read_all()


TIMED = [
    ("silent", ((504, "first-byte-timeout"), 1)),
    ("one byte", (b"H", End.RESET)),
    ("half a packet", (408, "client-timeout")),
    ("nothing", (b"", End.EOF)),
    ("stalled body", ((408, "client-timeout"), True)),
    ("hanging connect", (504, "connect-timeout")),
]


@pytest.mark.parametrize(("name", "expected"), TIMED)
def test_a_timeout_of_one_second(slow: Outcomes, name: str, expected: object) -> None:
    outcome = slow.of(name)
    assert isinstance(outcome, tuple)
    result, seconds = outcome
    assert result == expected
    assert 0.9 < seconds < 4


def test_bytes_in_time_keep_a_session_alive(slow: Outcomes) -> None:
    assert slow.of("drip") == (b"." * 16, End.EOF)


def test_a_connect_that_hangs_ends_in_time_for_another_node(slow: Outcomes) -> None:
    assert slow.of("hanging connect, another node") == [b"live", b"live"]


def test_a_timeout_is_logged_with_node_and_cause(slow: Outcomes, impatient: Site) -> None:
    slow.of("silent")
    log = impatient.router.log()
    assert re.search(r"request failed: 504 first-byte-timeout key k\d+\.example node 127\.0\.0\.1:\d+ tries 1", log)
    slow.of("one byte")
    assert re.search(r"request cut off: 504 idle-timeout key k\d+\.example node 127\.0\.0\.1:\d+ tries 1", log)


def test_a_client_that_drips_after_its_answer_is_let_go(started: Servers) -> None:
    """An answered client that goes on sending has 30 seconds, however often it sends. Time is the router's tick."""
    router = patched_router(started, "uwsgirouter.worker.ending.LINGER_TOTAL = 2", "--fastrouter", local())
    with Client(router.address) as client:
        client.send_packet(post("nobody.example", 1 << 20))
        begin = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - begin < 8:
                client.send(b"x")
                time.sleep(0.1)
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(("retries", "tries"), [(0, 1), (2, 3)])
def test_max_retries_bounds_the_attempts(started: Servers, retries: int, tries: int) -> None:
    lines = [f"fastrouter-to = {local()}" for _ in range(5)]
    site = Site(started, f"fastrouter-max-retries = {retries}", *lines, announced=False)
    assert told(fetch(site.tcp)) == (502, "connect-failed")
    log = site.router.wait_for_log("request failed: 502")
    assert f"tries {tries} " in log
    assert log.count("unable to connect()") == tries


def test_a_dead_static_node_rests_for_its_grace_time(started: Servers) -> None:
    first, second = started.node(answer(b"first")), started.node(answer(b"second"))
    lines = [f"fastrouter-to = {node.address}" for node in (first, second)]
    site = Site(started, "fastrouter-gracetime = 2", *lines, announced=False)
    assert [fetch(site.tcp).body for _ in range(4)] == [b"first", b"second"] * 2
    first.refuse()
    assert [fetch(site.tcp).body for _ in range(6)] == [b"second"] * 6
    site.router.wait_for_log(f"marking static node {first.address} as failed (Connection refused)")
    first.accept_again()
    assert [fetch(site.tcp).body for _ in range(4)] == [b"second"] * 4
    site.router.wait_for_log(f"static node {first.address} is tried again")
    wait_until(lambda: fetch(site.tcp).body == b"first", 2, "it is given requests again")
    log = site.router.log()
    assert log.count(f'unable to connect() to node "{first.address}"') == 1


def test_without_error_pages_a_failure_is_a_bare_close(started: Servers) -> None:
    site = Site(started, "fastrouter-error-pages = false", f"fastrouter-to = {local()}", announced=False)
    for data in (packet(get("a.example")), NO_KEY, MALFORMED):
        with Client(site.tcp) as client:
            client.send(data)
            assert client.read_all() == (b"", End.EOF)
    assert "request failed: 502 connect-failed key a.example" in site.router.log()
