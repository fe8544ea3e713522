"""The adopting socket alone, between a scripted router and a scripted client in this process."""

from __future__ import annotations

import os
import resource
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.local.peers import KINDS, RouterEnd, connected
from tests.local.served import BLOCK
from tests.servers import Client, End, get, packet, post
from uwsgirouter.local.adoption import AdoptingSocket, Stage

REQUEST = packet(get())


class Ends:
    """The three ends: ``router`` (scripted), ``client`` (the web server) and ``node`` (under test)."""

    def __init__(self, kind: str = "unix", patience: float | None = 5.0) -> None:
        ours, theirs = socket.socketpair()
        self.router = RouterEnd(ours)
        self.warnings: list[str] = []
        self.node = AdoptingSocket(theirs, patience, self.warnings.append)
        self.client, self.passed = connected(kind)

    def give(self, data: bytes = REQUEST) -> None:
        """A request with the client's descriptor."""
        self.router.give(data, self.passed.fileno())

    def adopt(self, data: bytes = REQUEST) -> bytes:
        """The same, and what the node reads of it."""
        self.give(data)
        return read_all(self.node)

    def close(self) -> None:
        """Close every end."""
        self.node.close()
        self.router.close()
        self.client.close()
        self.passed.close()


def read_all(node: AdoptingSocket) -> bytes:
    """The request, until its end."""
    blocks = []
    while block := node.recv(8192):
        blocks.append(block)
    return b"".join(blocks)


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A client on a unix socket."""
    before = os.listdir("/proc/self/fd")
    made = Ends()
    try:
        yield made
    finally:
        made.close()
    assert len(os.listdir("/proc/self/fd")) == len(before), "every descriptor is closed"


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_of_it(kind: str) -> None:
    ends = Ends(kind)
    assert ends.adopt() == REQUEST
    assert ends.node.stage is Stage.ADOPTED
    assert ends.router.is_adopted()
    ends.node.sendall(b"response")
    assert ends.client.read(8) == b"response"
    ends.node.finish()
    assert ends.router.end() is End.EOF
    # The end is the router's to tell.
    assert ends.client.read_all(0.05) == (b"", End.SILENT)
    ends.passed.close()
    assert ends.client.read_all() == (b"", End.EOF)
    ends.close()


def test_the_clients_copy_is_closed_before_the_last_byte_is_read(ends: Ends) -> None:
    """What the router sees first must not leave a moment in which two hold the client."""
    ends.adopt()
    ends.passed.close()  # the node's copy is the last one now
    seen = []
    router = ends.node._router

    class Watching:
        def recv(self, size: int) -> bytes:
            seen.append(ends.client.read_all())
            return router.recv(size)

        close = router.close

    ends.node._router = Watching()  # type: ignore[assignment]
    ends.node.finish()
    assert seen == [(b"", End.EOF)]


def test_without_a_descriptor_it_is_the_routers_connection(ends: Ends) -> None:
    ends.router.give(REQUEST + b"body")
    assert ends.node.recv(len(REQUEST)) == REQUEST
    assert ends.node.recv(2, socket.MSG_PEEK) == b"bo"
    assert ends.node.recv(100) == b"body"
    assert ends.node.stage is Stage.PLAIN
    plain = ends.node.plain
    assert plain is not None
    assert plain.fileno() == ends.node.fileno()
    ends.node.sendall(b"a")
    assert ends.node.send(b"b") == ends.node.sendmsg([b"c"]) == 1
    with Path(__file__).open("rb") as file:
        assert ends.node.sendfile(file, 3, 5) == 5
    ends.node.finish()
    ends.node.shutdown(socket.SHUT_WR)
    assert ends.router.read_all() == b"abc" + Path(__file__).read_bytes()[3:8]
    ends.node.close()
    assert ends.router.end() is End.EOF


def test_before_anything_came_it_is_the_routers_connection(ends: Ends) -> None:
    """gunicorn asks for the descriptor to poll, sets it blocking, and answers errors before a byte was read."""
    assert ends.node.fileno() == ends.node._router.fileno()
    ends.node.settimeout(3)
    assert ends.node._router.gettimeout() == ends.node.gettimeout() == 3
    ends.node.setblocking(True)
    assert ends.node._router.gettimeout() is None
    ends.node.sendall(b"error page")
    assert ends.router.socket.recv(100) == b"error page"


def test_one_without_a_byte_is_at_its_end(ends: Ends) -> None:
    ends.router.close()
    assert ends.node.recv(100) == b""
    assert ends.node.stage is Stage.PLAIN


@pytest.mark.parametrize("size", [0, 1, 2, 1000, 65535])
def test_all_sizes_of_packets(ends: Ends, size: int) -> None:
    """Also those that gunicorn will refuse: the last byte stays unread in any case."""
    request = bytes((0, size & 255, size >> 8, 0)) + b"\x01" * size
    assert ends.adopt(request) == request
    assert ends.node.recv(1) == b""
    assert ends.router.is_adopted()
    ends.node.close()
    assert ends.router.end() is End.RESET


@pytest.mark.parametrize("size", [1, 2, 5000, 300_000])
def test_a_body_that_comes_with_the_packet(ends: Ends, size: int) -> None:
    body = (BLOCK * 5)[:size]
    request = packet(post(length=size)) + body
    sender = threading.Thread(target=ends.give, args=(request,))
    sender.start()
    assert read_all(ends.node) == request
    sender.join()
    assert ends.node._router.recv(10, socket.MSG_PEEK) == request[-1:]
    ends.node.finish()
    assert ends.router.socket.recv(1) == b""
    assert ends.router.end() is End.EOF


@pytest.mark.parametrize("size", [1, 2, 300_000])
def test_a_body_that_nobody_reads(ends: Ends, size: int) -> None:
    request = packet(post(length=size))
    sender = threading.Thread(target=ends.give, args=(request + b"x" * size,))
    sender.start()
    assert ends.node.recv(len(request)) == request
    ends.node.sendall(b"enough")
    ends.node.finish()
    sender.join()
    assert ends.client.read(6) == b"enough"
    assert ends.router.end() is End.EOF


def test_the_router_goes_in_the_middle_of_the_body(ends: Ends) -> None:
    ends.give(packet(post(length=10)) + b"12345")
    ends.node.recv(len(packet(post(length=10))))
    assert ends.node.recv(10) == b"12345"
    ends.router.close()
    with pytest.raises(ConnectionResetError):
        ends.node.recv(10)
    ends.node.finish()
    assert ends.node.fileno() == -1


@given(st.lists(st.integers(1, 40), max_size=12), st.integers(0, 30), st.integers(1, 70))
def test_any_split_gives_the_same(pieces: list[int], length: int, read: int) -> None:
    request = packet([(b"HTTP_HOST", b"a"), (b"CONTENT_LENGTH", b"%d" % length)]) + b"b" * length
    ends = Ends()
    try:
        ends.router.give(request, ends.passed.fileno(), pieces=pieces)
        blocks = []
        while block := ends.node.recv(read):
            blocks.append(block)
        assert b"".join(blocks) == request
        assert ends.node._router.recv(10, socket.MSG_PEEK) == request[-1:]
        ends.node.finish()
        assert ends.router.end() is End.EOF
    finally:
        ends.close()


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes(data: bytes) -> None:
    """What is no packet ends the connection or is the parser's to refuse; nothing is left open."""
    before = len(os.listdir("/proc/self/fd"))
    ends = Ends()
    try:
        ends.give(data)
        ends.router.socket.shutdown(socket.SHUT_WR)
        try:
            assert data.startswith(read_all(ends.node))
        except ConnectionResetError as error:
            assert "ended inside" in str(error)
    finally:
        ends.close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("end", ["close", "fail"])
def test_a_response_that_is_not_complete_resets(ends: Ends, end: str) -> None:
    ends.adopt()
    ends.node.sendall(b"half of")
    if end == "fail":
        ends.node.fail()
        with pytest.raises(BrokenPipeError):
            ends.node.sendall(b"an error page")
        ends.node.finish()
    ends.node.shutdown(socket.SHUT_RDWR)  # as gunicorn does then: the client must not take it for an end
    ends.node.close()
    assert ends.router.end() is End.RESET
    assert ends.client.read_all(0.05) == (b"half of", End.SILENT)


# -- writing to a client that is slow, gone, or of another kind --------------------------------------------------


def drain(client: Client, into: list[bytes]) -> threading.Thread:
    """Reads all that comes, in a thread."""
    thread = threading.Thread(target=lambda: into.append(client.read_all()[0]))
    thread.start()
    return thread


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["sendall", "sendmsg", "sendfile", "sendfile to the end"])
def test_a_large_response(kind: str, way: str, tmp_path: Path) -> None:
    """More than the kernel holds: each way of writing waits for room, and the descriptor still does not block."""
    ends = Ends(kind)
    ends.adopt()
    data = BLOCK * 100
    got: list[bytes] = []
    reader = drain(ends.client, got)
    if way == "sendall":
        ends.node.sendall(memoryview(data))
    elif way == "sendmsg":
        sent = 0
        while sent < len(data):
            sent += ends.node.sendmsg([data[sent : sent + 1000], data[sent + 1000 :]])
    else:
        (tmp_path / "file").write_bytes(b"skipped" + data + b"not asked for")
        with (tmp_path / "file").open("rb") as file:
            count = len(data) if way == "sendfile" else None
            assert ends.node.sendfile(file, 7, count) == len(data) + (0 if count else 13)
            assert file.tell() == 0
        data = data if way == "sendfile" else data + b"not asked for"
    assert os.get_blocking(ends.passed.fileno()) is False
    ends.node.finish()
    assert ends.router.end() is End.EOF
    ends.passed.close()
    reader.join()
    assert got == [data]
    ends.close()


def test_a_descriptor_that_blocks_stays_so_and_is_written_to(ends: Ends) -> None:
    ends.passed.setblocking(True)
    ends.adopt()
    got: list[bytes] = []
    reader = drain(ends.client, got)
    ends.node.sendall(BLOCK * 100)
    assert os.get_blocking(ends.passed.fileno()) is True
    ends.node.finish()
    ends.passed.close()
    reader.join()
    assert got == [BLOCK * 100]


def test_a_file_that_the_kernel_does_not_send_is_copied(ends: Ends) -> None:
    """The files of /proc have no pages."""
    ends.adopt()
    with Path("/proc/self/status").open("rb") as file:
        try:
            os.sendfile(ends.passed.fileno(), file.fileno(), 0, 100)
        except OSError:
            pass
        sent = ends.node.sendfile(file)
    assert sent > 100
    assert ends.client.read(5) == b"Name:"


def test_a_file_that_became_shorter_ends_early(ends: Ends, tmp_path: Path) -> None:
    ends.adopt()
    (tmp_path / "file").write_bytes(b"short")
    with (tmp_path / "file").open("rb") as file:
        assert ends.node.sendfile(file, 0, 1000) == 5


def test_a_client_that_takes_nothing() -> None:
    ends = Ends(patience=0.1)
    ends.adopt()
    with pytest.raises(TimeoutError, match=r"took nothing for 0\.1 s"):
        ends.node.sendall(BLOCK * 100)
    with pytest.raises(BrokenPipeError):
        ends.node.sendall(b"an error page in the middle")
    ends.node.finish()
    ends.node.close()
    assert ends.router.end() is End.RESET
    ends.close()


def test_a_client_that_takes_a_little_now_and_then_is_not_cut() -> None:
    """The patience is for silence, not for the whole response."""
    ends = Ends(patience=0.2)
    ends.adopt()
    writer = threading.Thread(target=ends.node.sendall, args=(BLOCK * 12,))
    writer.start()
    total = 0
    slow = threading.Event()
    while total < len(BLOCK) * 12:
        slow.wait(0.04)
        total += len(ends.client.read_some(len(BLOCK)))
    writer.join()
    assert ends.node.stage is Stage.ADOPTED
    ends.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_is_gone(kind: str) -> None:
    ends = Ends(kind)
    ends.adopt()
    ends.client.reset()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(10):
            ends.node.sendall(BLOCK)
    ends.node.finish()
    ends.node.close()
    assert ends.router.end() is End.RESET
    ends.close()


def test_a_client_that_goes_while_it_is_waited_for(ends: Ends) -> None:
    ends.adopt()
    failures: list[OSError] = []

    def write() -> None:
        try:
            ends.node.sendall(BLOCK * 100)
        except OSError as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    ends.client.read(1)
    ends.client.close()
    writer.join()
    assert isinstance(failures[0], BrokenPipeError | ConnectionResetError)


# -- a router that stops, and descriptors of no use ---------------------------------------------------------------


def test_a_router_that_stops_in_the_middle_of_the_packet() -> None:
    ends = Ends(patience=0.1)
    ends.give(REQUEST[:-3])
    with pytest.raises(TimeoutError):
        ends.node.recv(8192)
    ends.client.socket.setblocking(False)
    ends.passed.close()
    assert ends.client.read_all() == (b"", End.EOF), "the node has closed its copy"
    ends.node.sendall(b"goes to the router")
    ends.node.close()
    ends.close()


@pytest.mark.parametrize("came", [1, 3, 4, 20, len(REQUEST) - 1])
def test_a_router_that_ends_in_the_middle_of_the_packet(ends: Ends, came: int) -> None:
    ends.give(REQUEST[:came])
    ends.router.close()
    ends.passed.close()
    with pytest.raises(ConnectionResetError):
        ends.node.recv(8192)
    assert ends.client.read_all() == (b"", End.EOF)


def test_the_router_may_go_once_it_is_adopted(ends: Ends) -> None:
    ends.adopt()
    ends.router.close()
    ends.passed.close()
    ends.node.sendall(b"all the same")
    ends.node.finish()
    assert ends.client.read_all() == (b"all the same", End.EOF)


def datagrams() -> list[int]:
    return [socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach()]


def listening() -> list[int]:
    return [socket.create_server(("127.0.0.1", 0)).detach()]


def pipe() -> list[int]:
    reader, writer = os.pipe()
    os.close(writer)
    return [reader]


def file() -> list[int]:
    return [os.open(__file__, os.O_RDONLY)]


def two() -> list[int]:
    return pipe() + file()


def more_than_expected() -> list[int]:
    return [number for _ in range(40) for number in pipe()]


def other_family() -> list[int]:
    return [socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).detach()]


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (datagrams, "no stream"),
        (listening, "listens"),
        (pipe, "no socket"),
        (file, "no socket"),
        (two, "2 descriptors"),
        (more_than_expected, "more control data"),
        (other_family, "no stream"),
    ],
)
def test_descriptors_of_no_use_are_closed_and_the_router_relays(ends: Ends, made: object, why: str) -> None:
    assert callable(made)
    wrong = made()
    ends.router.give(REQUEST, *wrong)
    for number in wrong:
        os.close(number)
    before = len(os.listdir("/proc/self/fd"))
    assert ends.node.recv(8192) == REQUEST
    assert len(os.listdir("/proc/self/fd")) == before
    assert ends.node.stage is Stage.PLAIN
    (warning,) = ends.warnings
    assert why in warning
    ends.node.sendall(b"relayed")
    ends.node.close()
    assert ends.router.socket.recv(100) == b"relayed"


def test_no_descriptor_is_free(ends: Ends) -> None:
    """The kernel drops what there is no number for, and says that something is missing."""
    ends.give()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    spare = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                spare.append(os.dup(0))
        data = ends.node.recv(8192)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in spare:
            os.close(number)
    assert data == REQUEST
    assert ends.node.stage is Stage.PLAIN
    assert "more control data" in ends.warnings[0]


# -- what else gunicorn asks ---------------------------------------------------------------------------------------


def test_questions_about_an_adopted_connection_are_about_the_client() -> None:
    ends = Ends("tcp", patience=7)
    ends.adopt()
    assert ends.node.fileno() not in (-1, ends.node._router.fileno())
    assert ends.node.getpeername() == ends.client.socket.getsockname()
    assert ends.node.getsockname() == ends.client.socket.getpeername()
    assert ends.node.plain is None
    assert not ends.node.begun
    ends.node.setblocking(True)
    ends.node.settimeout(None)
    assert ends.node.gettimeout() == 7
    assert os.get_blocking(ends.passed.fileno()) is False
    with pytest.raises(OSError, match="flags"):
        ends.node.recv(1, socket.MSG_PEEK)
    ends.node.send(b"x")
    assert ends.node.begun
    assert not os.get_inheritable(ends.node.fileno())
    ends.close()


def test_a_closed_one(ends: Ends) -> None:
    ends.adopt()
    ends.node.finish()
    ends.node.finish()
    ends.node.close()
    assert ends.node.fileno() == -1
    for call in (lambda: ends.node.recv(1), lambda: ends.node.shutdown(socket.SHUT_WR), lambda: ends.node.send(b"x")):
        with pytest.raises(OSError, match=r"Bad file descriptor|broken off"):
            call()


def test_polling_before_the_request_is_polling_the_router(ends: Ends) -> None:
    """gunicorn's thread worker waits for the first byte so."""
    poll = select.poll()
    poll.register(ends.node, select.POLLIN)
    assert poll.poll(0) == []
    ends.give()
    assert poll.poll(1000) == [(ends.node.fileno(), select.POLLIN)]
