"""Buffered bodies (fastrouter-post-buffering): whole, sent again, and what happens when they cannot be kept.

Whatever goes wrong, the temporary file is gone afterwards: it never had a name, and no descriptor holds it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import random
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers import (
    Client,
    Connection,
    End,
    Reply,
    Servers,
    answer,
    hang,
    local,
    packet,
    post,
    wait_until,
)
from tests.servers.wire import Variables
from tests.worker.patched import patched_router
from tests.worker.scarcity import with_short_files, without_descriptors
from tests.worker.site import KINDS, Site, links
from tests.worker.test_failures import deaf, told
from tests.worker.test_relay import whole_reply
from tests.worker.ways import accounted

MB = 1 << 20
LIMIT = 1 << 16
"""Bytes of a body that stay in memory."""
MEMORY, FILE = LIMIT, 3 * MB
"""Sizes of a body that is gathered in memory, and in a file."""
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"
QUOTA = 8 * MB
"""More than the log of a test has, which is a file, too."""
LARGEST = 24 * MB
FLUSH = 1 << 18
"""Bytes after which the first part of a longer body is written."""


class Buffering(Site):
    """A site that buffers, with a directory of its own for the temporary files."""

    def __init__(self, servers: Servers, *lines: str) -> None:
        self.spool = Path(servers.path(f"spool-{len(list(servers.directory.glob('spool-*')))}"))
        self.spool.mkdir()
        buffering = f"fastrouter-post-buffering = {LIMIT}", f"fastrouter-post-buffering-dir = {self.spool}"
        super().__init__(servers, *buffering, *lines)

    def files(self) -> list[str]:
        """The worker's open files in the directory."""
        return [link for link in links(self.worker) if link.startswith(str(self.spool))]

    def begin(self, key: str, size: int, sent: int, kind: str = "tcp", method: str = "POST") -> Client:
        """A client that has sent the first bytes of its body; the router has them when this returns."""
        requests = self.requests()
        client = self.servers.client(self.address(kind))
        client.send(packet(upload(key, size, method)))
        wait_until(lambda: self.requests() > requests, 5, "the packet was read")
        client.send(body(size)[:sent])
        if size > LIMIT and sent > FLUSH:
            wait_until(self.files, 5, "the body goes to a file")
        return client

    def requests(self) -> int:
        """Packets read so far."""
        return self.stats().numbers["requests"]


@pytest.fixture(scope="module")
def site(started: Servers) -> Buffering:
    """The router of this module."""
    return Buffering(started, f"limit-post = {LARGEST}", "no-fd-passing = true")


@pytest.fixture(autouse=True)
def no_file_is_left(site: Buffering) -> Iterator[None]:
    """After each test."""
    yield
    wait_until(lambda: not site.files(), 5, "the files are closed")
    assert os.listdir(site.spool) == []


@functools.lru_cache(maxsize=16)
def body(size: int) -> bytes:
    """A body of that size."""
    return random.Random(size).randbytes(size)


def digest(data: bytes) -> bytes:
    """What a node answers that got it."""
    return hashlib.sha256(data).hexdigest().encode()


def digesting(connection: Connection) -> None:
    """Answer with the body's hash."""
    connection.read_packet()
    connection.answer(digest(connection.read_body()))


def upload(key: str, size: int, method: str = "POST") -> Variables:
    """A request with a body."""
    return [(name, method.encode() if name == b"REQUEST_METHOD" else value) for name, value in post(key, size)]


# -- whole bodies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, LIMIT - 1, LIMIT, LIMIT + 1, 300_000, 20 * MB])
@pytest.mark.parametrize("kind", KINDS)
def test_a_body_arrives_whole_and_no_sooner(site: Buffering, kind: str, size: int) -> None:
    """The node hears of the request when all of it is here, however it was cut into pieces."""
    key, node = site.serve(digesting, kind)
    data, cut = body(size), random.Random(size)
    with accounted(site, {"requests": 1, "answered": 1}), Client(site.address(kind)) as client:
        whole = packet(post(key, size)) + data
        at = 0
        while at < len(whole) - 1:
            piece = whole[at : min(at + cut.randrange(1, len(whole) // 4), len(whole) - 1)]
            client.send(piece)
            at += len(piece)
        if size > FLUSH:
            wait_until(site.files, 5, "the body goes to a file")
            assert site.files()[0].endswith("(deleted)")
        assert os.listdir(site.spool) == []
        assert node.connections == []
        client.send(whole[-1:])
        assert client.reply().body == digest(data)
    (connection,) = node.connections
    assert connection.packet is not None
    assert connection.packet.raw == packet(post(key, size))


@pytest.mark.parametrize("length", ["none", "empty", "chunked", "upgrade"])
def test_a_body_whose_length_is_not_known_is_passed_on_at_once(site: Buffering, length: str) -> None:
    def echo(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"head\r\n")
        connection.send(connection.read(200_000).upper())

    extra = {
        "none": [],
        "empty": [(b"CONTENT_LENGTH", b"")],
        "chunked": [(b"CONTENT_LENGTH", b""), (b"HTTP_TRANSFER_ENCODING", b"chunked")],
        "upgrade": [(b"CONTENT_LENGTH", b"200000"), (b"HTTP_CONNECTION", b"Upgrade"), (b"HTTP_UPGRADE", b"x")],
    }[length]
    key, _ = site.serve(echo)
    with accounted(site, {"requests": 1, "answered": 1}), Client(site.tcp) as client:
        client.send_packet([(b"REQUEST_METHOD", b"POST"), (b"HTTP_HOST", key.encode()), *extra])
        assert client.read(6) == b"head\r\n"
        client.send(b"x" * 200_000)
        assert client.read(200_000) == b"X" * 200_000
        assert client.read_all() == (b"", End.EOF)


def test_many_bodies_at_once_stay_apart(site: Buffering) -> None:
    key, _ = site.serve(digesting)
    sizes = [LIMIT - number if number % 2 else LIMIT + 1000 * number for number in range(40)]

    def send(size: int) -> bool:
        with Client(site.tcp) as client:
            client.send_packet(post(key, size), body(size))
            return client.reply().body == digest(body(size))

    with accounted(site, {"requests": 40, "answered": 40}), ThreadPoolExecutor(10) as pool:
        assert all(pool.map(send, sizes))


# -- clients ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("size", [MEMORY, FILE])
def test_a_client_that_ends_in_its_body(site: Buffering, size: int, kind: str) -> None:
    """Nobody else hears of it; a client that only ended its own direction is told."""
    key, node = site.serve(answer(), kind)
    with accounted(site, {"requests": 1, "body-cut": 1}), site.begin(key, size, size - 5, kind) as client:
        client.half_close()
        assert told(client.reply()) == (400, "body-cut")
    site.router.wait_for_log(f"request failed: 400 body-cut key {key} tries 0 (5 bytes of the body did not come)")
    with accounted(site, {"requests": 1, "body-cut": 1}):
        site.begin(key, size, size - 5, kind).close()
    assert node.connections == []


@pytest.mark.parametrize("size", [MEMORY, FILE])
def test_a_client_that_is_reset_in_its_body(site: Buffering, size: int) -> None:
    key, node = site.serve(answer())
    with accounted(site, {"requests": 1, "clients gone": 1}):
        site.begin(key, size, size - 5).reset()
    assert node.connections == []


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("size", [MEMORY, FILE])
def test_a_client_that_goes_when_its_body_is_on_its_way(site: Buffering, size: int, kind: str) -> None:
    """The node gets all of it, then the end."""
    go_on = threading.Event()
    got: list[bytes] = []

    def later(connection: Connection) -> None:
        connection.read_packet()
        assert go_on.wait(5)
        got.append(connection.read_until_eof())

    key, node = site.serve(later, kind)
    with accounted(site, {"requests": 1, "node-closed": 1}):
        client = site.begin(key, size, size - 1, kind)
        client.send(body(size)[-1:])
        node.wait_for(1)
        client.close()
        go_on.set()
        assert node.connections[0].finished.wait(5)
    assert got == [body(size)]


@pytest.mark.parametrize("size", [1, LARGEST, LARGEST + 1, 1 << 62])
def test_a_body_that_is_too_large(site: Buffering, size: int) -> None:
    """Its length tells; a client that sends all the same can read its answer."""
    key, node = site.serve(digesting)
    if size <= LARGEST:
        assert site.fetch(key, body=bytes(size)).body == digest(bytes(size))
        return
    with accounted(site, {"requests": 1, "too-large": 1}), Client(site.tcp) as client:
        client.send_packet(post(key, size))
        for _ in range(32):
            client.send(bytes(1 << 16))
        assert told(client.reply()) == (413, "too-large")
    site.router.wait_for_log(f"request failed: 413 too-large key {key} tries 0 ({size} bytes)")
    assert node.connections == []


def test_nobody_is_asked_for_a_body_in_vain(site: Buffering) -> None:
    with accounted(site, {"requests": 1, "no-node": 1}), Client(site.tcp) as client:
        client.send_packet(post("nobody.example", FILE))
        assert told(client.reply()) == (503, "no-node")


# -- nodes ------------------------------------------------------------------------------------------------------------


def half_then_reset(connection: Connection) -> None:
    """Read some of the request, and leave the rest: a reset on whatever kind of socket."""
    connection.read_packet()
    connection.read(1000)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("size", [5000, MEMORY, FILE])
def test_a_put_is_sent_again_with_its_body(site: Buffering, size: int, kind: str) -> None:
    bad, live = site.node(half_then_reset, kind), site.node(digesting, kind)
    key = site.announce(site.key(), bad.address)
    site.announce(key, live.address)
    with accounted(site, {"requests": 1, "answered": 1, "retries": 1}):
        client = site.begin(key, size, size - 1, kind, "PUT")
        client.send(body(size)[-1:])
        assert client.reply().body == digest(body(size))
    assert len(bad.connections) == 1
    site.router.wait_for_log(f" by {bad.address}, key {key}: tried on another node")


def test_a_put_that_came_in_one_piece_is_sent_again(site: Buffering) -> None:
    bad, live = site.node(half_then_reset), site.node(digesting)
    key = site.announce(site.key(), bad.address)
    site.announce(key, live.address)
    with accounted(site, {"requests": 1, "answered": 1, "retries": 1}), Client(site.tcp) as client:
        client.send_packet(upload(key, 5000, "PUT"), body(5000))
        assert client.reply().body == digest(body(5000))
    assert len(bad.connections) == 1


@pytest.mark.parametrize("size", [MEMORY, FILE])
def test_a_post_is_not_sent_twice(site: Buffering, size: int) -> None:
    """A node that has read it may have done what it says."""
    bad, live = site.node(half_then_reset), site.node(digesting)
    key = site.announce(site.key(), bad.address)
    site.announce(key, live.address)
    with accounted(site, {"requests": 1, "node-reset": 1}), Client(site.tcp) as client:
        client.send_packet(post(key, size), body(size))
        assert told(client.reply()) == (502, "node-reset")
    assert live.connections == []


@pytest.mark.parametrize("size", [MEMORY, FILE])
def test_a_post_goes_to_another_node_when_the_first_does_not_accept(site: Buffering, size: int) -> None:
    """No byte of it was sent."""
    with deaf(site.place("unix")) as dead:
        live = site.node(digesting)
        key = site.announce(site.key(), dead)
        site.announce(key, live.address)
        counted = {"requests": 1, "answered": 1, "retries": 1, "failed connects": 1}
        with accounted(site, counted), Client(site.tcp) as client:
            client.send_packet(post(key, size), body(size))
            assert client.reply().body == digest(body(size))


def test_nodes_that_go_while_the_body_is_gathered(site: Buffering) -> None:
    """What was there at the beginning need not be there at the end."""
    key, node = site.serve(digesting)
    with accounted(site, {"requests": 1, "failed connects": 1, "connect-failed": 1}):
        client = site.begin(key, FILE, FILE - 1)
        node.refuse()
        client.send(body(FILE)[-1:])
        assert told(client.reply()) == (502, "connect-failed")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("size", [100, MEMORY, 20 * MB])
def test_a_node_that_answers_early(site: Buffering, size: int, kind: str) -> None:
    """It reads little, answers and closes: the client gets all of the answer."""

    def refuse(connection: Connection) -> None:
        connection.read_packet()
        connection.answer(b"too large", "413 Request Entity Too Large")

    key, _ = site.serve(refuse, kind)
    with accounted(site, {"requests": 5, "answered": 5}):
        for _ in range(5):
            with Client(site.address(kind)) as client:
                client.send_packet(post(key, size), body(size))
                assert whole_reply(client).body == b"too large"


def begun_then_reset(connection: Connection) -> None:
    """Read some of the request, begin an answer, and leave the rest of the request: a cut response."""
    connection.read_packet()
    connection.read(1000)
    connection.send(CUT)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_reset_that_comes_while_the_file_is_sent(site: Buffering, kind: str) -> None:
    """However it is met: sendfile(2) keeps an error to itself when it had sent something before."""
    silent, begun = site.serve(half_then_reset, kind)[0], site.serve(begun_then_reset, kind)[0]

    def ask(key: str) -> tuple[bytes, End]:
        with Client(site.tcp) as client:
            client.send_packet(post(key, FILE), body(FILE))
            return client.read_all()

    for _ in range(40):
        assert told(Reply.parse(ask(silent)[0])) == (502, "node-reset")
    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(ask, [begun] * 40)) == {(CUT, End.RESET)}


@pytest.mark.parametrize("size", [100, FILE])
def test_who_has_sent_all_need_not_wait_for_the_end_of_an_early_answer(site: Buffering, size: int) -> None:
    """Nothing more is to come of a client whose body is here, so its connection ends behind the answer at once."""

    def early(connection: Connection) -> None:
        connection.read_packet()
        connection.send(CUT)

    key, _ = site.serve(early)
    begin = time.monotonic()
    with Client(site.tcp) as client:
        client.send_packet(post(key, size), body(size))
        assert client.read_all() == (CUT, End.RESET)
    assert time.monotonic() - begin < 1.9


# -- silence ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def silences() -> Iterator[Future[None]]:
    """They take some seconds, beside the module's other tests."""

    def run() -> None:
        with contextlib.closing(Servers()) as servers:
            silence(Buffering(servers, "fastrouter-timeout = 1"))

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(run)


def test_silence_while_a_body_is_gathered_or_sent(silences: Future[None]) -> None:
    silences.result(30)


def silence(site: Buffering) -> None:
    """Bodies that stop, one that only trickles, and nodes that never read, all at once."""
    served, _ = site.serve(digesting)
    silent, _ = site.serve(hang)

    def stopped(size: int) -> object:
        with site.begin(served, size, size - 7) as client:
            return told(client.reply())

    def trickled() -> object:
        with Client(site.tcp) as client:
            client.send_packet(post(served, 8))
            for byte in body(8):
                time.sleep(0.3)  # the client's own pace, which is what this is about
                client.send(bytes([byte]))
            return client.reply().body

    def unread(size: int) -> object:
        with Client(site.tcp) as client:
            client.send_packet(post(silent, size), body(size))
            return told(client.reply())

    counted = {"requests": 5, "answered": 1, "client-timeout": 2, "first-byte-timeout": 2}
    with accounted(site, counted), ThreadPoolExecutor(5) as pool:
        stops = [pool.submit(stopped, size) for size in (MEMORY, FILE)]
        trickle = pool.submit(trickled)
        unreads = [pool.submit(unread, size) for size in (MEMORY, 20 * MB)]
        assert [stop.result() for stop in stops] == [(408, "client-timeout")] * 2
        assert [stop.result() for stop in unreads] == [(504, "first-byte-timeout")] * 2
        assert trickle.result() == digest(body(8))
    log = site.router.wait_for_log("request failed: 408", count=2)
    assert log.count("tries 0 (7 bytes of the body did not come)") == 2
    assert site.files() == []


# -- the disk ---------------------------------------------------------------------------------------------------------


def failing_disk(site: Buffering, detail: str) -> None:
    """One client's body cannot be kept: it is told so while it sends, and others are served."""
    key, node = site.serve(digesting)
    with accounted(site, {"requests": 1, "storage": 1}), Client(site.tcp) as client:
        client.send_packet(post(key, LARGEST))
        client.send(body(LARGEST)[: 3 * QUOTA // 2])
        assert told(client.reply()) == (507, "storage")
    site.router.wait_for_log(f"request failed: 507 storage key {key} tries 0 ({detail})")
    assert node.connections == []
    assert site.fetch(key, body=body(MEMORY)).body == digest(body(MEMORY))


def test_a_full_disk_is_that_clients_alone(site: Buffering) -> None:
    """As with a quota. Files that were open before go on, and short ones find their place."""
    key, _ = site.serve(digesting)
    with site.begin(key, MB, MB - 1) as early, with_short_files(site, QUOTA):
        failing_disk(site, "File too large")
        early.send(body(MB)[-1:])
        assert early.reply().body == digest(body(MB))
    assert site.fetch(key, body=body(FILE)).body == digest(body(FILE))


def test_a_device_without_space(started: Servers) -> None:
    """The kernel's own ENOSPC, by a device that is always full."""
    code = "import uwsgirouter.worker.body as module; module._open = lambda _: open('/dev/full', 'r+b', buffering=0)"
    live = started.node(digesting)
    router = patched_router(
        started, code, *("--fastrouter", local(), "--fastrouter-to", live.address, "--fastrouter-post-buffering", "10")
    )
    with Client(router.address) as client:
        client.send_packet(post("a.example", MB), body(MB)[:-1])
        assert told(client.reply()) == (507, "storage")
    router.wait_for_log("request failed: 507 storage key a.example tries 0 (No space left on device)")
    with Client(router.address) as client:
        client.send_packet(post("a.example", 10), body(10))
        assert client.reply().body == digest(body(10))


def test_a_directory_that_is_not_there(site: Buffering) -> None:
    shutil.rmtree(site.spool)
    try:
        failing_disk(site, "No such file or directory")
    finally:
        site.spool.mkdir()
    key, _ = site.serve(digesting)
    assert site.fetch(key, body=body(FILE)).body == digest(body(FILE))


def test_a_directory_that_is_a_file(site: Buffering) -> None:
    site.spool.rmdir()
    site.spool.touch()
    try:
        failing_disk(site, "Not a directory")
    finally:
        site.spool.unlink()
        site.spool.mkdir()


def test_without_a_descriptor_for_the_file(site: Buffering) -> None:
    key, _ = site.serve(digesting)
    with (
        accounted(site, {"requests": 1, "overload": 1}),
        site.begin(key, FILE, 1000) as client,
        without_descriptors(site),
    ):
        client.send(body(FILE)[1000:])
        assert told(client.reply()) == (503, "overload")
    site.router.wait_for_log(f"request failed: 503 overload key {key} tries 0 (Too many open files)")
    assert site.fetch(key, body=body(FILE)).body == digest(body(FILE))
