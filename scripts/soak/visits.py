"""What a client does: one function for each kind of visit. It returns when all went as it should, else raises Trouble.

Each knows what it must see, byte for byte; a failure has one word, which the diary looks up among the causes.
"""

from __future__ import annotations

import math
import random
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from scripts.bench.processes import connect
from scripts.soak.content import LARGEST, PIECE, Sum, body, checksum
from scripts.soak.diary import CUT, RESET, Visit

PLAIN, STREAM, FAULTY, NOBODY = "plain.soak", "stream.soak", "faulty.soak", "nobody.soak"
PATIENCE = 40.0
"""Seconds of silence after which a client gives up: longer than anything takes, less than the router's own timeouts."""
GIVEN_UP = f"silence for {PATIENCE:.0f} s"
SMALL_WINDOW = 16384
"""Bytes that the kernel may take in for a client that reads slowly."""

_HEAD = re.compile(rb"HTTP/1\.[01] (\d+) .*?\r\n(.*?)\r\n\r\n", re.S)
_CAUSE = re.compile(rb"X-Uwsgirouter-Cause: (\S+)", re.I)
_NODE = re.compile(rb"X-Node: (\S+)", re.I)
_LENGTH = re.compile(rb"Content-Length: (\d+)", re.I)


class Trouble(Exception):
    """A visit did not go as it should. The message is one of the diary's words."""


@dataclass
class Client:
    """One visit's connection. ``longest``: seconds that slow ones take their time for."""

    address: str
    visit: Visit
    random: random.Random
    longest: float

    @contextmanager
    def connected(self, small: bool = False) -> Iterator[socket.socket]:
        """A connection; what breaks it off is Trouble."""
        try:
            with connect(self.address, PATIENCE) as peer:
                if small:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_WINDOW)
                yield peer
        except TimeoutError:
            raise Trouble(GIVEN_UP) from None
        except ConnectionRefusedError:
            raise Trouble("refused") from None
        except OSError:
            raise Trouble(RESET) from None

    def size(self) -> int:
        """Bytes of a body: nothing, or a byte to some megabytes, each order of magnitude as often as another."""
        return 0 if self.random.random() < 0.05 else int(LARGEST ** self.random.random())

    def while_(self) -> float:
        """Seconds that a slow one takes."""
        return self.random.uniform(0.2, 1.0) * self.longest


def packet(key: str, path: str, length: int | None = None) -> bytes:
    """A request as a web server sends it; a POST when there is a length."""
    values = {
        "REQUEST_METHOD": "GET" if length is None else "POST",
        "PATH_INFO": path,
        "REQUEST_URI": path,
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": "" if length is None else str(length),
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": key,
    }
    words = [word.encode() for pair in values.items() for word in pair]
    block = b"".join(struct.pack("<H", len(word)) + word for word in words)
    return struct.pack("<BHB", 0, len(block), 0) + block


class Reply:
    """A response as it comes: ``pace`` is called after each piece."""

    def __init__(
        self, peer: socket.socket, piece: int = PIECE, pace: Callable[[int], None] = lambda size: None
    ) -> None:
        data = b""
        while not (head := _HEAD.match(data)):
            more = peer.recv(piece)
            if not more:
                raise Trouble(CUT if not data.strip(b"\0") else f"{CUT}, in its head")
            data += more
        self.status = int(head[1])
        cause = _CAUSE.search(head[2])
        self.cause = cause[1].decode() if cause else ""
        node = _NODE.search(head[2])
        self.node = node[1].decode() if node else ""
        said = _LENGTH.search(head[2])
        self.length = int(said[1]) if said else None
        self.first = data[head.end() :]
        """The body's first bytes: all of a short one when :meth:`rest` is done."""
        self._peer, self._piece, self._pace = peer, piece, pace

    @property
    def word(self) -> str:
        """Status and cause."""
        return f"{self.status} {self.cause}".strip()

    def rest(self) -> Sum:
        """The whole body, to the connection's end."""
        found = Sum()
        found.add(self.first)
        while data := self._peer.recv(self._piece):
            found.add(data)
            if len(self.first) < 64:
                self.first += data
            self._pace(found.size)
        if self.status == 200 and self.length is not None and found.size < self.length:
            raise Trouble(CUT)
        if self.length is not None and found.size > self.length:
            raise Trouble(f"{found.size - self.length} bytes too many")
        return found


def must_be(expected: str, reply: Reply) -> None:
    """The status and the cause that were asked for."""
    if reply.word != expected:
        raise Trouble(reply.word)


# -- those who want something -----------------------------------------------------------------------------------------


def download(client: Client, slow: bool = False) -> None:
    """A body of any size."""
    size = client.random.randrange(1 << 18, LARGEST) if slow else client.size()
    piece, pause = (size // 40 + 1, client.while_() / 40) if slow else (PIECE, 0.0)
    with client.connected(small=slow) as peer:
        peer.sendall(packet(PLAIN, f"/bytes/{size}"))
        reply = Reply(peer, piece, lambda taken: time.sleep(pause) if pause else None)
        must_be("200", reply)
        found = reply.rest()
    if found.size != size or found.crc != checksum(size):
        raise Trouble(f"wrong bytes: {found.size} of {size}")


def served_by(client: Client) -> str:
    """A small body; the address of the node that gave it."""
    with client.connected() as peer:
        peer.sendall(packet(client.visit.key, "/bytes/10"))
        reply = Reply(peer)
        must_be("200", reply)
        reply.rest()
    return reply.node


def slow_reader(client: Client) -> None:
    """A body of a quarter megabyte at least, taken in forty pieces."""
    download(client, slow=True)


def upload(client: Client, slow: bool = False) -> None:
    """A body of any size; the node says what it got."""
    size = client.random.randrange(1 << 10, 1 << 19) if slow else client.size()
    with client.connected() as peer:
        peer.sendall(packet(PLAIN, "/upload", size))
        send(peer, size, client.while_() if slow else 0.0)
        reply = Reply(peer)
        must_be("200", reply)
        reply.rest()
    if reply.first != b"%d %d" % (size, checksum(size)):
        raise Trouble(f"the node got other bytes: {reply.first[:50]!r} of {size}")


def send(peer: socket.socket, size: int, seconds: float) -> None:
    """The body, at once or in twenty pieces. What the router says instead of taking it is the reader's to find."""
    content = body(size)
    step = size // 20 + 1 if seconds else max(size, 1)
    try:
        for place in range(0, size, step):
            peer.sendall(content[place : place + step])
            time.sleep(seconds / 20)
    except (BrokenPipeError, ConnectionResetError):
        return


def slow_sender(client: Client) -> None:
    """A body that takes its time."""
    upload(client, slow=True)


def stream(client: Client) -> None:
    """A connection that is kept open, over whatever happens meanwhile, with a line to and fro now and then."""
    with client.connected() as peer:
        peer.sendall(packet(STREAM, "/stream"))
        reply = Reply(peer)
        must_be("101", reply)
        client.visit.held_since = client.visit.heard = time.monotonic()
        end = client.visit.held_since + client.while_() * 2
        try:
            while time.monotonic() < end:
                to_and_fro(peer, b"%016x\n" % client.random.getrandbits(64))
                client.visit.heard = time.monotonic()
                time.sleep(min(0.5, max(0.0, end - time.monotonic())))
        finally:
            client.visit.held_since = math.inf


def to_and_fro(peer: socket.socket, line: bytes) -> None:
    """It must come back."""
    peer.sendall(line)
    back = b""
    while len(back) < len(line):
        more = peer.recv(len(line) - len(back))
        if not more:
            raise Trouble(CUT)
        back += more
    if back != line:
        raise Trouble(f"wrong bytes: {back!r}")


# -- those who leave --------------------------------------------------------------------------------------------------


def leave(client: Client, peer: socket.socket) -> None:
    """Politely, or by a reset, or by half and then whole."""
    way = client.random.randrange(3)
    if way == 1:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif way == 2:
        peer.shutdown(socket.SHUT_WR)
        time.sleep(0.1)


def leaving(phase: Callable[[Client, socket.socket], None]) -> Callable[[Client], None]:
    """A visit that is broken off by the client after ``phase``. Nothing that it sees can be wrong."""

    def visit(client: Client) -> None:
        try:
            with client.connected() as peer:
                phase(client, peer)
                leave(client, peer)
        except Trouble as trouble:
            if str(trouble) != RESET:
                raise  # refused, or nobody answers

    return visit


def _in_packet(client: Client, peer: socket.socket) -> None:
    whole = packet(PLAIN, "/bytes/10")
    peer.sendall(whole[: client.random.randrange(len(whole))])
    time.sleep(client.random.choice((0.0, 0.3)))


def _before_answer(client: Client, peer: socket.socket) -> None:
    peer.sendall(packet(STREAM, "/hang"))
    time.sleep(client.random.choice((0.0, 0.02, 0.5, 1.5)))


def _in_body(client: Client, peer: socket.socket) -> None:
    size = client.random.randrange(1 << 10, LARGEST)
    peer.sendall(packet(PLAIN, "/upload", size))
    peer.sendall(body(client.random.randrange(size)))
    time.sleep(client.random.choice((0.0, 0.3)))


def _in_answer(client: Client, peer: socket.socket) -> None:
    peer.sendall(packet(PLAIN, f"/bytes/{client.random.randrange(1 << 18, LARGEST)}"))
    Reply(peer)
    time.sleep(client.random.choice((0.0, 0.3)))


# -- those who are refused --------------------------------------------------------------------------------------------


def unknown_key(client: Client) -> None:
    """Nobody serves it."""
    _refused(client, packet(NOBODY, "/"), "503 no-node")


def bad_packet(client: Client) -> None:
    """A length that leads out of the packet."""
    block = struct.pack("<H", client.random.randrange(200, 60000)) + client.random.randbytes(100)
    _refused(client, struct.pack("<BHB", 0, len(block), 0) + block, "400 bad-packet")


def no_key(client: Client) -> None:
    """A request without a host."""
    _refused(client, packet("", "/"), "400 no-key")


def node_closes(client: Client) -> None:
    """A node without a word."""
    _refused(client, packet(FAULTY, "/close"), "502 node-closed")


def node_resets(client: Client) -> None:
    """The same, by a reset."""
    _refused(client, packet(FAULTY, "/reset"), "502 node-reset")


def node_cuts(client: Client) -> None:
    """A node that dies in the middle of its answer, which must be seen: a reset, over a unix socket too few bytes."""
    with client.connected() as peer:
        peer.sendall(packet(FAULTY, "/cut"))
        reply = Reply(peer)
        must_be("200", reply)
        try:
            reply.rest()
        except ConnectionResetError:
            return
        except Trouble as trouble:
            if str(trouble) == CUT and client.address.startswith("/"):
                return
            raise
    raise Trouble("an answer that was cut looks whole")


def _refused(client: Client, data: bytes, expected: str) -> None:
    with client.connected() as peer:
        peer.sendall(data)
        reply = Reply(peer)
        must_be(expected, reply)
        reply.rest()


KINDS: dict[str, tuple[int, str, Callable[[Client], None]]] = {
    "download": (30, PLAIN, download),
    "upload": (20, PLAIN, upload),
    "slow reader": (6, PLAIN, slow_reader),
    "slow sender": (6, PLAIN, slow_sender),
    "stream": (6, STREAM, stream),
    "leaves in its packet": (3, PLAIN, leaving(_in_packet)),
    "leaves before the answer": (3, STREAM, leaving(_before_answer)),
    "leaves in its body": (3, PLAIN, leaving(_in_body)),
    "leaves in the answer": (3, PLAIN, leaving(_in_answer)),
    "unknown key": (3, NOBODY, unknown_key),
    "bad packet": (3, NOBODY, bad_packet),
    "no key": (2, NOBODY, no_key),
    "node closes": (1, FAULTY, node_closes),
    "node resets": (1, FAULTY, node_resets),
    "node cuts": (1, FAULTY, node_cuts),
}
"""How often (of the sum of these numbers), the key, and what it does."""
