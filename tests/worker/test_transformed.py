"""Responses on their way through transformations: streams stay streams, and half a body never looks whole."""

from __future__ import annotations

import gzip
import threading
import zlib
from pathlib import Path

import pytest

from tests.servers import Connection, End, Handler, Servers, get, wait_until
from tests.servers.client import Client
from tests.servers.wire import Reply
from tests.worker.site import Site

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
RULES = """\
route = ^/gzip gzip:
route = ^/fixcl fixcl:
route = ^/kept tofile:filename={directory}/page
route = ^/seen addheader:A: b
route = ^/small template:
transformation-buffer = 4096
"""


class Kept(Site):
    """A site whose rules keep bodies in ``directory``."""

    def __init__(self, servers: Servers, directory: Path) -> None:
        self.directory = directory
        lines = RULES.format(directory=directory).splitlines()
        super().__init__(servers, "fastrouter-timeout = 20", "no-fd-passing = true", *lines)

    def names(self) -> list[str]:
        """The files of the directory."""
        return sorted(path.name for path in self.directory.iterdir())


@pytest.fixture(scope="module")
def kept(started: Servers, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return Kept(started, tmp_path_factory.mktemp("kept"))


class Talk:
    """A node that says its pieces one by one, each when it is told to."""

    def __init__(self, *pieces: bytes, end: str = "close") -> None:
        self._pieces = pieces
        self._end = end
        self._turns = threading.Semaphore(0)

    def go_on(self) -> None:
        """Say the next piece; behind the last one: end."""
        self._turns.release()

    def __call__(self, connection: Connection) -> None:
        connection.read_packet()
        for piece in self._pieces:
            assert self._turns.acquire(timeout=30)
            try:
                connection.send(piece)
            except OSError:
                return  # its client has left, and the router with it
        assert self._turns.acquire(timeout=30)
        if self._end == "reset":
            connection.reset()


def asked(site: Site, handler: Handler, path: str) -> Client:
    """A client that has asked a new node."""
    key, _ = site.serve(handler)
    client = site.servers.client(site.tcp)
    client.send_packet(get(key, path))
    return client


def read_until(client: Client, wanted: bytes) -> bytes:
    data = b""
    while wanted not in data:
        more = client.socket.recv(65536)
        assert more, data
        data += more
    return data


def test_a_compressed_stream_stays_a_stream(kept: Kept) -> None:
    talk = Talk(HEAD + b"\r\n", b"hello ", b"world")
    with asked(kept, talk, "/gzip") as client:
        talk.go_on()
        talk.go_on()
        data = read_until(client, b"\x00\x00\xff\xff")
        head, _, body = data.partition(b"\r\n\r\n")
        stream = zlib.decompressobj(31)
        assert b"Content-Encoding: gzip" in head and stream.decompress(body) == b"hello "
        talk.go_on()
        talk.go_on()
        rest, end = client.read_all()
    assert (stream.decompress(rest), stream.eof, end) == (b"world", True, End.EOF)


def test_an_interim_response_does_not_wait_for_the_final_one(kept: Kept) -> None:
    talk = Talk(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", HEAD + b"\r\nhello")
    with asked(kept, talk, "/seen") as client:
        talk.go_on()
        assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>")
        talk.go_on()
        talk.go_on()
        data, end = client.read_all()
    assert (data, end) == (HEAD + b"A: b\r\n\r\nhello", End.EOF)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_half_a_body_that_was_held_is_a_failure(kept: Kept, end: str) -> None:
    talk = Talk(HEAD + b"Content-Length: 10\r\n\r\nhello", end=end)
    with asked(kept, talk, "/fixcl") as client:
        talk.go_on()
        talk.go_on()
        reply = client.reply()
    assert (reply.status, reply.header("x-uwsgirouter-cause")) == (
        502,
        f"node-{end}d" if end == "close" else "node-reset",
    )


@pytest.mark.parametrize("end", ["close", "reset"])
def test_half_a_body_that_is_out_ends_with_a_reset(kept: Kept, end: str) -> None:
    talk = Talk(HEAD + b"Content-Length: 10\r\n\r\n", b"hello", end=end)
    with asked(kept, talk, "/gzip") as client:
        talk.go_on()
        talk.go_on()
        read_until(client, b"\x00\x00\xff\xff")
        talk.go_on()
        assert client.read_all() == (b"", End.RESET)


def test_what_is_no_http_is_a_failure_with_a_line(kept: Kept) -> None:
    before = kept.stats().causes.get("bad-answer", 0)
    talk = Talk(b"hello, this is no HTTP")
    with asked(kept, talk, "/seen") as client:
        talk.go_on()
        talk.go_on()
        reply = client.reply()
    assert (reply.status, reply.header("x-uwsgirouter-cause")) == (502, "bad-answer")
    kept.router.wait_for_log("502 bad-answer")
    assert kept.stats().causes["bad-answer"] == before + 1


def test_a_page_that_is_too_large_to_fill_in_is_a_failure(kept: Kept) -> None:
    talk = Talk(HEAD + b"\r\n" + b"x" * 5000)
    with asked(kept, talk, "/small") as client:
        talk.go_on()
        reply = client.reply()
        talk.go_on()
    assert (reply.status, reply.header("x-uwsgirouter-cause")) == (502, "answer-too-large")


def fetched(site: Site, path: str, *pieces: bytes) -> Reply:
    talk = Talk(*pieces)
    with asked(site, talk, path) as client:
        for _ in range(len(pieces) + 1):
            talk.go_on()
        return client.reply()


def test_a_body_too_large_to_hold_passes(kept: Kept) -> None:
    reply = fetched(kept, "/fixcl", HEAD + b"\r\n", b"x" * 5000, b"y")
    assert (reply.status, reply.body, reply.header("content-length")) == (200, b"x" * 5000 + b"y", None)
    assert fetched(kept, "/fixcl", HEAD + b"\r\n", b"x" * 4000).header("content-length") == "4000"


def test_a_file_is_there_when_it_is_whole_and_not_before(kept: Kept) -> None:
    reply = fetched(kept, "/kept", HEAD + b"\r\n", b"hello")
    assert (reply.body, kept.names()) == (b"hello", ["page"])
    (kept.directory / "page").unlink()


def test_nothing_is_kept_of_a_client_that_left(kept: Kept) -> None:
    talk = Talk(HEAD + b"\r\n", b"hello", b"world" * 100_000, b"world" * 100_000)
    with asked(kept, talk, "/kept") as client:
        talk.go_on()
        talk.go_on()
        read_until(client, b"hello")
        assert len(kept.names()) == 1 and kept.names() != ["page"]
        client.reset()
    for _ in range(3):
        talk.go_on()
    wait_until(lambda: kept.names() == [], 10, "the beginning of the file is gone")


def test_many_pieces_come_out_whole(kept: Kept) -> None:
    pieces = [b"%d" % number * 1000 for number in range(40)]
    reply = fetched(kept, "/gzip", HEAD + b"\r\n", *pieces)
    assert gzip.decompress(reply.body) == b"".join(pieces)
