"""A playground for rules: their text in, a request and an application's answer in; out come the bytes for the client,
the variables that the application got, and the lines of the log. No sockets, no processes.

    play = Playground('''
        route-host = ^x$ addheader:A: b
        route = ^/old redirect:/new
    ''')
    reply = play.get("/old", {"Host": "x"})
    assert reply.status == 302 and reply.header("Location") == "/new" and not reply.asked
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.protocol.cgi import LAST_CHUNK, HeadReader, chunk
from uwsgirouter.protocol.packet import decode_vars, encode_packet
from uwsgirouter.rules.base import Broken, ChainName, Verdict
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.host import Waiting
from uwsgirouter.rules.program import Program
from uwsgirouter.rules.response import Stage
from uwsgirouter.rules.service import Service, ServiceDown, Timing
from uwsgirouter.rules.table import Table
from uwsgirouter.settings.settings import Settings

APP = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
"""What the application answers unless a test gives something else."""

C = TypeVar("C")
T = TypeVar("T")

TIMING = Timing(1.0, 3.0, 8)


@dataclass
class PlayHost:
    """The process around the rules, in memory. Set ``functions`` and ``elsewhere`` for RPC; the rest is noted down."""

    worker: int = 1
    pid: int = 4711
    pages: bool = True
    names_requests: bool = False
    caches: Any = None
    metrics: Any = None
    buckets: Any = None
    holds: Any = None
    time: float = 1_700_000_000.0
    lines: list[str] = field(default_factory=list)
    alarms: list[tuple[str, bytes]] = field(default_factory=list)
    signals: list[int] = field(default_factory=list)
    titles: list[bytes] = field(default_factory=list)
    calls: list[tuple[str, bytes, tuple[bytes, ...]]] = field(default_factory=list)
    functions: dict[bytes, Callable[..., bytes]] = field(default_factory=dict)
    elsewhere: Callable[[str, bytes, Sequence[bytes]], bytes | None] = lambda address, name, arguments: None

    def log(self, text: bytes) -> None:
        self.lines.append(text.decode("utf-8", "backslashreplace"))

    complain = log

    def identify(self, brought: bytes) -> bytes:
        """Nobody names requests here."""
        return b""

    def now(self) -> float:
        return self.time

    def rpc(self, name: bytes, arguments: Sequence[bytes]) -> bytes | None:
        self.calls.append(("", name, tuple(arguments)))
        function = self.functions.get(name)
        return None if function is None else function(*arguments)

    def rpc_at(self, address: str, name: bytes, arguments: Sequence[bytes], raw: bool = False) -> bytes | None:
        self.calls.append((address, name, tuple(arguments)))
        return self.elsewhere(address, name, arguments)

    def program(self, program: Program) -> tuple[str, bytes]:
        return "@programs", b"token"

    def alarm(self, name: str, text: bytes) -> None:
        self.alarms.append((name, text))

    def signal(self, number: int) -> None:
        self.signals.append(number)

    def title(self, text: bytes) -> None:
        self.titles.append(text)

    def aside(self, call: Callable[[], T]) -> T:
        return call()

    def stand(self, waiting: Waiting, key: bytes) -> int:
        """Without a line: nothing else goes on meanwhile."""
        return self.holds.take(waiting.limit, key, waiting.most)  # type: ignore[no-any-return]

    def ask(self, service: Service[C], call: Callable[[C], T], once: bool = False) -> T:
        """A new connection for each call, without a thread."""
        try:
            connection = service.connect(TIMING)
            try:
                return call(connection)
            finally:
                service.close(connection)
        except service.failures as error:
            raise ServiceDown(f"{service.name}: {error}") from None

    def hand(self, service: Service[C], call: Callable[[C], object], what: str) -> None:
        """At once."""
        try:
            self.ask(service, call)
        except Broken as error:
            self.complain(f"{what}: {error}".encode())


@dataclass
class Reply:
    """What came of one request."""

    raw: bytes
    """All that the client got; bodies of files included."""
    exchange: Exchange
    verdict: Verdict
    """Of the request chain."""
    asked: bool
    """Whether the request went on (to a node, or to ``exchange.target``)."""
    log: list[str]

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def status(self) -> int:
        """0 when there is no status line."""
        words = self.raw.split(b"\r\n")[0].split(b" ")
        return int(words[1]) if words[0].startswith(b"HTTP/") and len(words) > 1 and words[1].isdigit() else 0

    @property
    def headers(self) -> list[tuple[str, str]]:
        """In order, repeated ones repeated."""
        pairs = [line.partition(b":") for line in self.head.split(b"\r\n")[1:]]
        return [(name.decode("latin-1"), value.strip().decode("latin-1")) for name, _, value in pairs]

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def variables(self) -> dict[str, str]:
        """What the application gets; the last one of a name."""
        return {k.decode("latin-1"): v.decode("latin-1") for k, v in decode_vars(self.exchange.packet)}


class Playground:
    """A table made of ``rules``: lines of a configuration, comments with ; or #. ``host``: what rules see of it all."""

    def __init__(self, rules: str, host: PlayHost | None = None) -> None:
        self.host = host or PlayHost()
        self.warnings: list[str] = []
        self.ends = True
        """Whether a request is over when it is answered; else the test says so, by ``reply.exchange.release()``."""
        self.settings = Settings.listed(_lines(rules), "rules")
        table = Table.build(self.settings, self.warnings.append)
        assert table is not None, "there is no rule"
        self.table = table

    def get(
        self,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        app: bytes | Sequence[bytes] = APP,
        **variables: str | bytes,
    ) -> Reply:
        """Ask ``path`` (with its query string). ``variables`` are set last (and replace; empty ones are sent, too)."""
        return self.ask(packet_for(path, headers, **variables), app)

    def exchange(self, packet: bytes, key: bytes = b"key") -> Exchange:
        """A request at its beginning."""
        return Exchange(self.table, self.host, packet, key)  # type: ignore[arg-type]

    def ask(self, packet: bytes, app: bytes | Sequence[bytes] = APP) -> Reply:
        """The whole of a request. ``app``: the bytes of the answer, in one piece or several."""
        exchange = self.exchange(packet)
        response = exchange.response
        before = len(self.host.lines)
        out: list[bytes] = []
        verdict = self.table.run(ChainName.REQUEST, exchange)
        _take(exchange, out)
        if exchange.target is not None and exchange.target.program is not None:
            app = ran(exchange.target.program)
        if verdict is not Verdict.BREAK or exchange.target is not None:
            for piece in [app] if isinstance(app, bytes) else app:
                if response.wanted and not response.transparent:
                    response.feed(piece)
                    _take(exchange, out)
                else:
                    out.append(piece)
            if response.wanted:
                response.feed_end()
        elif response.stage is Stage.NOTHING:
            response.fail(exchange.cause if exchange.broken else Cause.RULE_BREAK, detail=exchange.broken)
        else:
            response.complete()
        _take(exchange, out)
        response.finish()
        _take(exchange, out)
        if self.ends:
            exchange.release()
        asked = verdict is not Verdict.BREAK or exchange.target is not None
        return Reply(b"".join(out), exchange, verdict, asked, self.host.lines[before:])


def ran(program: Program) -> bytes:
    """What a program answers, which is run as it would be, without a limit and without a body."""
    done = subprocess.run(
        program.arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd=program.directory,
        env=dict(program.environment),
        check=False,
    )
    reader = HeadReader()
    head = reader.feed(done.stdout)
    assert head is not None, done
    return head.encode() + (chunk(reader.rest) if reader.rest else b"") + LAST_CHUNK


def packet_for(path: str = "/", headers: Mapping[str, str] | None = None, **variables: str | bytes) -> bytes:
    """The packet that nginx sends for a GET of ``path``."""
    where, _, query = path.partition("?")
    made: dict[str, str | bytes] = {
        "QUERY_STRING": query,
        "REQUEST_METHOD": "GET",
        "CONTENT_TYPE": "",
        "CONTENT_LENGTH": "",
        "REQUEST_URI": path,
        "PATH_INFO": where,
        "DOCUMENT_ROOT": "/var/www",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_SCHEME": "http",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "40000",
        "SERVER_PORT": "80",
        "SERVER_NAME": "server.example",
        "HTTP_HOST": "localhost",
    }
    for name, value in (headers or {}).items():
        made["HTTP_" + name.upper().replace("-", "_")] = value
    made.update(variables)
    return encode_packet((_bytes(name), _bytes(value)) for name, value in made.items())


def _bytes(text: str | bytes) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text


def _lines(rules: str) -> list[tuple[str, str, str]]:
    found = []
    for number, line in enumerate(rules.splitlines(), 1):
        text = line.strip()
        if text and text[0] not in ";#[":
            name, _, value = text.partition("=")
            found.append((name.strip(), value.strip(), f"rules:{number}"))
    return found


def _take(exchange: Exchange, out: list[bytes]) -> None:
    for piece in exchange.response.take():
        if isinstance(piece, bytes):
            out.append(piece)
        else:
            out.append(os.pread(piece.descriptor, piece.length, piece.offset))
            os.close(piece.descriptor)
