"""The C FastRouter and the router under test side by side: one configuration, the same nodes, the same bytes.

:class:`Twins` starts both; :meth:`Twins.outcomes` sends one request to each and gives what the client and the nodes
saw. Nodes are recorders: they keep every byte and answer as the request itself says, so that nothing but the routers
can make a difference.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import struct
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.servers import Client, Connection, End, Node, Router, Servers, announce, free_udp_port, local, wait_until
from tests.servers.wire import get, packet, unpack

LISTENERS = ("tcp", "unix", "abstract")
_numbers = itertools.count()


class Bytes(NamedTuple):
    """Many bytes in a form that is the same only for the same bytes, and short in a failure's text."""

    size: int
    digest: str
    start: bytes

    @classmethod
    def of(cls, data: bytes | bytearray) -> Bytes:
        """Of the bytes themselves."""
        return cls(len(data), hashlib.sha256(data).hexdigest()[:16], bytes(data[:120]))


class Outcome(NamedTuple):
    """What came of one request: at the client, and at every node that was connected to."""

    answer: Bytes
    end: End
    nodes: tuple[tuple[str, Bytes], ...]


class Request(NamedTuple):
    """What a client sends: packet and body, cut at these places."""

    packet: bytes
    body: bytes = b""
    cuts: Sequence[int] = ()
    listener: str = "tcp"
    half_close: bool = False


def answer_of(size: int, seed: int) -> bytes:
    """The bytes that a node answers with; no HTTP, because no router looks at them."""
    return random.Random(seed).randbytes(size)


def record(connection: Connection) -> None:
    """Read packet and body; answer X_ANSWER bytes made of X_SEED, cut where X_SEED says."""
    header = connection.read(4)
    block = connection.read(header[1] + (header[2] << 8))
    try:
        variables = dict(unpack(block))
    except (AssertionError, ValueError, struct.error):
        variables = {}
    connection.read(int(variables.get(b"X_BODY", b"0")))
    seed = int(variables.get(b"X_SEED", b"0"))
    data = answer_of(int(variables.get(b"X_ANSWER", b"2")), seed)
    for piece in pieces(data, sorted(random.Random(seed).choices(range(len(data) + 1), k=seed % 4))):
        connection.send(piece)


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The data cut at these places, in order."""
    places = [0, *sorted(cut for cut in cuts if 0 < cut < len(data)), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(places)]


class Twins:
    """Both routers. ``lines`` is a configuration; in it ``{server}`` is a subscription server's address and ``{own}``
    a path of each router's own.
    """

    def __init__(self, servers: Servers, lines: str, nodes: dict[str, Node]) -> None:
        self.servers = servers
        self.nodes = [nodes, dict(nodes)]
        """By name, for each router: they are the same ones but where a router brings its own."""
        self.own: list[str] = []
        self._listening: list[dict[str, str]] = []
        self.routers: list[Router] = []
        for start in (servers.fastrouter, servers.router):
            self.routers.append(start(config=self._config(lines)))

    def _config(self, lines: str) -> str:
        number = next(_numbers)
        listening = {
            "tcp": local(),
            "unix": self.servers.path(f"router-{number}.sock"),
            "abstract": f"@{self.servers.path(f'router-{number}')}",
        }
        self._listening.append(listening)
        self.own.append(self.servers.path(f"own-{number}.sock"))
        listen = "".join(f"fastrouter = {address}\n" for address in listening.values())
        lines = lines.replace("{server}", f"127.0.0.1:{free_udp_port()}").replace("{own}", self.own[-1])
        return f"[uwsgi]\n{listen}fastrouter-error-pages = false\nfastrouter-ejection = false\n{lines}\n"

    def announce(self, key: str, address: str, **extra: int) -> None:
        """To both, and wait until both know it."""
        for router, listening in zip(self.routers, self._listening, strict=True):
            announce(router.server, key, address, extra=dict(extra))
            wait_until(lambda where=listening: asked(where["tcp"], key), 5.0, f"{key} is known")  # type: ignore[misc]

    def address(self, number: int, listener: str = "tcp") -> str:
        """A listener of the C FastRouter (0) or of the router under test (1)."""
        return self._listening[number][listener]

    def outcomes(self, request: Request) -> list[Outcome]:
        """Of the C FastRouter and of the router under test."""
        pairs = zip(self._listening, self.nodes, strict=True)
        return [outcome(listening[request.listener], nodes, request) for listening, nodes in pairs]


def outcome(address: str, nodes: dict[str, Node], request: Request) -> Outcome:
    """Of one request to one router."""
    seen = {name: len(node.connections) for name, node in nodes.items()}
    with Client(address) as client:
        send(client, request)
        answer, end = client.read_all()
    return Outcome(Bytes.of(answer), end, tuple(arrived(nodes, seen)))


def arrived(nodes: dict[str, Node], seen: dict[str, int]) -> Iterator[tuple[str, Bytes]]:
    """What came to the nodes since then."""
    for name, node in nodes.items():
        for connection in node.connections[seen[name] :]:
            assert connection.finished.wait(10), f"node {name} is still reading"
            yield name, Bytes.of(connection.received)
            connection.received = bytearray()


def send(client: Client, request: Request) -> None:
    """The request in its pieces; a router that refuses may have closed before the last of them."""
    try:
        for piece in pieces(request.packet + request.body, request.cuts):
            client.send(piece)
            if request.cuts:
                time.sleep(0.0005)
        if request.half_close:
            client.half_close()
    except (BrokenPipeError, ConnectionResetError):
        pass


def asked(address: str, key: str) -> bytes:
    """The answer to a plain request for the key, nothing when it was refused."""
    with Client(address) as client:
        client.send(packet(get(key)))
        return client.read_all()[0]
