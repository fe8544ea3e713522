"""Both directions of a session: at the same time, with bounded memory, and each with its own end."""

from __future__ import annotations

import fcntl
import hashlib
import socket
import termios
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.servers import Client, Connection, End, Reply, answer, get, packet, post, wait_until
from tests.worker.site import KINDS, Site

MB = 1 << 20
BLOCK = bytes(range(256)) * 1024
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"
UNKNOWN_LENGTH = [(b"REQUEST_METHOD", b"POST")]
LONG = 200 * MB
LINGER_SILENCE = 2
"""Seconds of silence after which the router lets go of a client that has its answer."""


def streaming(key: str) -> list[tuple[bytes, bytes]]:
    """A request whose body's length is not said."""
    return [(b"HTTP_HOST", key.encode()), *UNKNOWN_LENGTH]


def in_background(function: Callable[[], object]) -> threading.Thread:
    """Run something beside the test."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def blocks(size: int) -> Iterator[bytes]:
    """``size`` bytes in blocks."""
    for at in range(0, size, len(BLOCK)):
        yield BLOCK[: min(len(BLOCK), size - at)]


def send_all(peer: Client | Connection, size: int) -> None:
    """Write so many bytes."""
    for block in blocks(size):
        peer.send(block)


def digest(pieces: Iterator[bytes]) -> str:
    """The sha256 of what they are together."""
    sum = hashlib.sha256()
    for piece in pieces:
        sum.update(piece)
    return sum.hexdigest()


def incoming(sock: socket.socket, size: int) -> Iterator[bytes]:
    """``size`` bytes from a socket, in whatever pieces they come."""
    while size:
        piece = sock.recv(min(size, MB))
        assert piece, f"ended {size} bytes early"
        size -= len(piece)
        yield piece


@pytest.fixture(scope="module")
def expected() -> str:
    """The hash of a long body."""
    return digest(blocks(LONG))


@pytest.mark.parametrize("kind", KINDS)
def test_both_sides_write_at_the_same_time(site: Site, kind: str) -> None:
    size = 24 * MB

    def exchange(connection: Connection) -> None:
        connection.read_packet()
        writer = in_background(lambda: send_all(connection, size))
        read = sum(map(len, incoming(connection.socket, size)))
        writer.join()
        assert read == size

    key, _ = site.serve(exchange, kind)
    with Client(site.address(kind)) as client:
        client.send_packet(post(key, size))
        writer = in_background(lambda: send_all(client, size))
        assert sum(map(len, incoming(client.socket, size))) == size
        writer.join(10)
        assert not writer.is_alive()


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_is_echoed_block_by_block(site: Site, kind: str) -> None:
    """A node that writes before it reads on, and a client that does likewise, never wait for each other."""
    size = 24 * MB

    def echo(connection: Connection) -> None:
        connection.read_packet()
        for piece in incoming(connection.socket, size):
            connection.send(piece)

    key, _ = site.serve(echo, kind)
    with Client(site.address(kind)) as client:
        client.send_packet(post(key, size))
        writer = in_background(lambda: send_all(client, size))
        assert digest(incoming(client.socket, size)) == digest(blocks(size))
        writer.join(10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_clients_end_reaches_the_node_and_the_answer_the_client(site: Site, kind: str) -> None:
    def until_eof(connection: Connection) -> None:
        connection.read_packet()
        connection.answer(b"%d" % len(connection.read_until_eof()))

    key, _ = site.serve(until_eof, kind)
    with Client(site.address(kind)) as client:
        client.send_packet(streaming(key), b"x" * 100_000)
        client.half_close()
        assert client.reply().body == b"100000"


def test_an_end_of_a_request_without_body_reaches_the_node(site: Site) -> None:
    def until_eof(connection: Connection) -> None:
        connection.read_packet()
        connection.answer(b"%d" % len(connection.read_until_eof()))

    key, _ = site.serve(until_eof)
    with Client(site.tcp) as client:
        client.send_packet(get(key))
        client.half_close()
        assert client.reply().body == b"0"


@pytest.mark.parametrize("kind", KINDS)
def test_the_nodes_end_leaves_the_other_direction_open(site: Site, kind: str) -> None:
    """The session is over when both directions are, not before."""
    rest: list[bytes] = []

    def end_first(connection: Connection) -> None:
        connection.read_packet()
        connection.read(10)
        connection.answer(b"done")
        connection.half_close()
        rest.append(connection.read_until_eof())

    baseline = site.descriptors()
    key, node = site.serve(end_first, kind)
    with Client(site.address(kind)) as client:
        client.send_packet(post(key, 100_010), b"x" * 10)
        assert client.reply().body == b"done"
        during = site.descriptors()
        client.send(b"y" * 100_000)
        client.half_close()
        assert client.read_all() == (b"", End.EOF)
    wait_until(lambda: rest, 5, "the node saw the client's end")
    assert rest == [b"y" * 100_000]
    # Not by the baseline: a connection of an earlier request may have been open then.
    wait_until(lambda: site.descriptors() == during - 2, 5, "both were open until now")
    site.assert_released(key, node, baseline)


@pytest.mark.parametrize("kind", ["tcp", "v6"])
def test_a_reset_in_mid_response_is_a_reset_for_the_client(site: Site, kind: str) -> None:
    def half(connection: Connection) -> None:
        connection.read_packet()
        connection.send(CUT)
        connection.reset()

    baseline = site.descriptors()
    key, node = site.serve(half, kind)
    for _ in range(10):
        with Client(site.address(kind)) as client:
            client.send_packet(get(key))
            data, end = client.read_all()
            assert (CUT.startswith(data), end) == (True, End.RESET)
    site.assert_released(key, node, baseline)


def test_a_reset_in_mid_response_is_one_for_a_client_that_is_still_sending(site: Site) -> None:
    """The router may learn of the reset by a failed write; a clean end would make the cut answer look whole."""

    def half(connection: Connection) -> None:
        connection.read_packet()
        connection.read(100)
        connection.send(CUT)
        connection.reset()

    key, _ = site.serve(half)
    for _ in range(10):
        with Client(site.tcp) as client:
            client.send_packet(streaming(key))
            stop = threading.Event()

            def flood(client: Client = client, stop: threading.Event = stop) -> None:
                try:
                    while not stop.is_set():
                        client.send(b"x" * 1000)
                except OSError:
                    pass  # the reset

            writer = in_background(flood)
            assert client.read(len(CUT)) == CUT
            stop.set()
            writer.join()
            client.half_close()
            assert client.read_all() == (b"", End.RESET)


def test_a_reset_is_one_for_a_client_that_reads_slowly(site: Site) -> None:
    """It gets all that the router had got for it, however long that takes, and then no clean end."""
    size = 3 * MB

    def half(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(size))
        wait_until(lambda: unsent_bytes(connection.socket) == 0, 10, "the router has it all")
        connection.reset()

    key, node = site.serve(half)
    with Client(site.tcp, receive_buffer=1 << 16) as client:
        client.send_packet(post(key, 1000), b"a part")
        node.wait_for(1)
        assert node.connections[0].finished.wait(10)
        time.sleep(LINGER_SILENCE + 2)  # the client's own pace, which is what this is about
        data, end = client.read_all(patience=10)
        assert (len(data) - 19, end) == (size, End.RESET)


def unsent_bytes(sock: socket.socket) -> int:
    """What the kernel holds that the peer's kernel has not taken yet."""
    return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), "little")


def whole_reply(client: Client) -> Reply:
    """An answer with a Content-Length, read to its last byte and no further."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += client.read_some() or pytest.fail(f"ended in the head: {data!r}")
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return Reply.parse(data + client.read(length - len(body)))


@pytest.mark.parametrize("kind", KINDS)
def test_an_early_answer_is_delivered(site: Site, kind: str) -> None:
    """A node that answers 413 and closes without reading 3 MB: thirty of thirty clients get the answer."""

    def refuse(connection: Connection) -> None:
        connection.read_packet()
        connection.answer(b"too large", "413 Request Entity Too Large")

    baseline = site.descriptors()
    key, node = site.serve(refuse, kind)

    def upload(_: int) -> int:
        with Client(site.address(kind)) as client:
            client.send_packet(post(key, 3 * MB))
            writer = in_background(lambda: send_all(client, 3 * MB))
            reply = whole_reply(client)
            assert reply.body == b"too large"
            writer.join(10)
            return reply.status

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(upload, range(30))) == [413] * 30
    assert node.expect_errors() == []
    site.assert_released(key, node, baseline)


@pytest.mark.parametrize("kind", KINDS)
def test_an_early_answer_comes_while_the_client_is_still_sending(site: Site, kind: str) -> None:
    def refuse(connection: Connection) -> None:
        connection.read_packet()
        connection.read(1000)
        connection.answer(b"enough", "413 Request Entity Too Large")

    baseline = site.descriptors()
    key, node = site.serve(refuse, kind)
    with Client(site.address(kind)) as client:
        client.send_packet(post(key, 100 * 1000))
        answered = threading.Event()

        def drip() -> None:
            try:
                while not answered.wait(0.01):
                    client.send(b"x" * 1000)
            except OSError:
                pass  # the end of the session

        writer = in_background(drip)
        assert whole_reply(client).status == 413
        answered.set()
        writer.join()
    site.assert_released(key, node, baseline)


def test_frames_after_an_upgrade_pass_promptly_both_ways(site: Site) -> None:
    def frames(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        while frame := connection.socket.recv(4):
            connection.send(frame)

    key, _ = site.serve(frames)
    first: list[float] = []
    later: list[float] = []
    for _ in range(5):
        with Client(site.tcp) as client:
            client.send_packet(get(key, extra=[(b"HTTP_UPGRADE", b"websocket"), (b"HTTP_CONNECTION", b"upgrade")]))
            assert client.read(36).endswith(b"\r\n\r\n")
            for number in range(20):
                begin = time.monotonic()
                client.send(b"%04d" % number)
                assert client.read(4) == b"%04d" % number
                (later if number else first).append(time.monotonic() - begin)
    # The quickest of five: the machine may be busy, but a delay of the router's own would be in all of them.
    assert min(first) < 0.03
    assert sorted(later)[len(later) // 2] < 0.01


def test_a_client_may_speak_after_a_request_without_body(site: Site) -> None:
    def frames(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"head\r\n")
        connection.send(connection.read(5).upper())

    key, _ = site.serve(frames)
    with Client(site.tcp) as client:
        client.send_packet(get(key))
        assert client.read(6) == b"head\r\n"
        client.send(b"frame")
        assert client.read_all() == (b"FRAME", End.EOF)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_long_download_with_a_slow_reader(site: Site, kind: str, expected: str) -> None:
    def download(connection: Connection) -> None:
        connection.read_packet()
        for block in blocks(LONG):
            connection.send(block)

    key, _ = site.serve(download, kind)
    before = site.memory()
    most = 0
    with Client(site.address(kind)) as client:
        client.send_packet(get(key))
        most = max(most, stalled(site))
        pieces = incoming(client.socket, LONG)
        sum = hashlib.sha256()
        for piece in pieces:
            sum.update(piece)
            if len(piece) % 7 == 0:
                most = max(most, site.memory())
        assert client.read_all() == (b"", End.EOF)
    assert sum.hexdigest() == expected
    assert max(most, site.memory()) - before < 4 * MB


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_long_upload_to_a_slow_node(site: Site, kind: str, expected: str) -> None:
    go_on = threading.Event()

    def upload(connection: Connection) -> None:
        connection.read_packet()
        assert go_on.wait(20)
        connection.answer(digest(incoming(connection.socket, LONG)).encode())

    key, _ = site.serve(upload, kind)
    before = site.memory()
    with Client(site.address(kind)) as client:
        client.send_packet(post(key, LONG))
        writer = in_background(lambda: send_all(client, LONG))
        most = stalled(site)
        go_on.set()
        assert client.reply().body.decode() == expected
        writer.join(10)
    assert max(most, site.memory()) - before < 4 * MB


def stalled(site: Site) -> int:
    """Wait until the worker moves nothing any more; its memory then."""
    samples: list[tuple[int, int]] = []

    def quiet() -> bool:
        samples.append((cpu_ticks(site.worker), site.memory()))
        time.sleep(0.05)
        return len(samples) > 10 and samples[-1][0] == samples[-6][0]

    wait_until(quiet, 10, "the worker waits for the slow side")
    return max(memory for _, memory in samples)


def cpu_ticks(pid: int) -> int:
    """User and system time of a process in clock ticks."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"TRACE"])
def test_a_request_that_tells_no_length_and_needs_none_ends_with_its_answer(site: Site, method: bytes) -> None:
    """Not every front sends an empty CONTENT_LENGTH; the client's own direction need not end first."""
    key, _ = site.serve(answer(b"whole"))
    variables = [(b"REQUEST_METHOD", method), (b"HTTP_HOST", key.encode())]
    with Client(site.tcp) as client:
        client.send(packet(variables))
        assert client.reply().body == b"whole"
        wait_until(lambda: site.stats().numbers["in flight"] == 0, 5, "the session is over")
