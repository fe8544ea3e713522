"""The pages on routing: each example in them does what it says, and each part has an entry.

An example is an ```ini block and the ```test blocks behind it; a ```python block before it is a script. In a test,
``GET /path [Header: value] -> status`` asks, and the lines under it say what came of it: a header of the answer,
``| text`` in its body, ``> NAME=value`` as the application got it, ``log: text`` in the log.

An example that names a server (SERVERS) has a real one: it is started for the first example that needs it, and its
address takes the place of the one in the text.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from tests.rules.made import Playground, PlayHost, Reply
from tests.servers import Servers
from tests.servers.logins import Freeradius, Kdc, Slapd, negotiate
from tests.servers.services import Memcached, Nx27017, Redis
from uwsgirouter.cache.caches import Caches
from uwsgirouter.cache.specs import cache_specs
from uwsgirouter.rules import parts
from uwsgirouter.rules.limit_memory import LimitMemory
from uwsgirouter.rules.metric_memory import MetricMemory
from uwsgirouter.settings.metering import metrics

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "routing.md", *sorted((ROOT / "docs" / "routing").glob("*.md"))]

SERVERS: dict[str, Callable[[Servers], str]] = {
    "127.0.0.1:11211": lambda servers: servers.daemon(Memcached).address,
    "127.0.0.1:6379": lambda servers: servers.daemon(Redis).address,
    "127.0.0.1:389": lambda servers: servers.daemon(Slapd).address,
    "127.0.0.1:1812": lambda servers: servers.daemon(Freeradius).address,
    "127.0.0.1:27017": lambda servers: files_in(servers.daemon(Nx27017)),
}
"""What a page calls a server, and what starts one and gives its address."""
TICKET = "Negotiate TICKET"
"""A Kerberos ticket of ann's for HTTP@localhost."""


def files_in(server: Nx27017) -> str:
    """The address of a server with one file in the database site."""
    import gridfs
    import pymongo

    with pymongo.MongoClient(server.address, directConnection=True) as client:
        gridfs.GridFS(client["site"]).put(b"hello", filename="/photos/hello.txt")
    return server.address


_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{2,4} (.+)$", re.MULTILINE)
_ASK = re.compile(r"(?P<method>[A-Z]+) (?P<path>\S+)(?: (?P<header>[\w-]+: .*?))? -> (?P<status>\d{3})")


@dataclass(frozen=True)
class Example:
    """One ```test block, with the configuration and the script that it is for."""

    name: str
    heading: str
    script: str
    rules: str
    steps: str


def examples(page: Path) -> Iterator[Example]:
    text = page.read_text()
    headings = [(found.start(), found[1]) for found in _HEADING.finditer(text)]
    script = rules = ""
    for count, block in enumerate(_BLOCK.finditer(text)):
        name = next((title for start, title in reversed(headings) if start < block.start()), "top")
        if block[1] == "python":
            script, rules = block[2], ""
        elif block[1] == "ini":
            script = script if not rules else ""
            rules = block[2]
        elif block[1] == "test":
            yield Example(f"{page.stem}: {name} ({count})", name, script, rules, block[2])


ALL = [example for page in PAGES if page.exists() for example in examples(page)]


class Addresses:
    """The servers of SERVERS that were needed so far."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._known: dict[str, str] = {}

    def put(self, text: str) -> str:
        """``text`` with the addresses of real servers."""
        for name, start in SERVERS.items():
            if name in text:
                if name not in self._known:
                    self._known[name] = start(self._servers)
                text = text.replace(name, self._known[name])
        return text


@pytest.fixture(scope="module")
def addresses() -> Iterator[Addresses]:
    servers = Servers()
    try:
        yield Addresses(servers)
    finally:
        servers.close()


@pytest.fixture(scope="module")
def realm() -> Iterator[Kdc]:
    servers = Servers()
    try:
        yield servers.daemon(Kdc)
    finally:
        servers.close()


def enter(realm: Kdc, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process gets tickets of ann's, and the keys of the service."""
    for name, value in {**realm.tickets(), "KRB5_KTNAME": str(realm.keytab)}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("example", ALL, ids=lambda example: example.name)
def test_an_example(
    example: Example,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    addresses: Addresses,
    request: pytest.FixtureRequest,
) -> None:
    assert example.rules, "there is no ```ini block before it"
    if TICKET in example.steps:
        enter(request.getfixturevalue("realm"), monkeypatch)
    monkeypatch.chdir(ROOT)
    host = PlayHost(functions=functions(example.script, monkeypatch))
    play = Playground(addresses.put(example.rules), host)
    memory = MetricMemory()
    host.metrics = memory.configure(metrics(play.settings))
    limits = LimitMemory(1024)
    host.buckets, host.holds = limits.buckets, limits.holds(0)
    host.caches = Caches(cache_specs(play.settings), str(tmp_path))
    try:
        follow(example.steps, play)
    finally:
        del host.metrics
        memory.close()
        limits.close()
        host.caches.close()
    assert not play.warnings


def functions(script: str, monkeypatch: pytest.MonkeyPatch) -> dict[bytes, object]:
    """What a script registers."""
    found: dict[bytes, object] = {}
    module = ModuleType("uwsgi")
    module.register_rpc = lambda name, function: found.update({name.encode(): function})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uwsgi", module)
    exec(script, {})
    return found


def follow(steps: str, play: Playground) -> None:
    reply: Reply | None = None
    for line in filter(None, steps.splitlines()):
        ask = _ASK.fullmatch(line)
        if ask:
            name, _, value = (ask["header"] or "").partition(": ")
            value = negotiate() if value == TICKET else value
            reply = play.get(ask["path"], {name: value} if name else {}, REQUEST_METHOD=ask["method"])
            assert reply.status == int(ask["status"]), line
            continue
        assert reply is not None, f"nothing was asked before {line!r}"
        if line.startswith("| "):
            assert line[2:].encode() in reply.body, reply.body
        elif line.startswith("> "):
            name, _, value = line[2:].partition("=")
            assert reply.variables.get(name) == value, reply.variables
        elif line.startswith("log: "):
            assert line[5:] in reply.log
        else:
            name, _, value = line.partition(": ")
            assert value in [text for key, text in reply.headers if key.lower() == name.lower()], reply.headers


def named(heading: str) -> set[str]:
    """The parts that a heading is for: ``redirect, redirect-302``."""
    return {word.strip("`") for word in re.split(r"[,\s]+|\band\b", heading)}


@pytest.mark.parametrize("kind", ["actions", "transformations", "conditions", "variables"])
def test_every_part_has_an_entry(kind: str) -> None:
    text = "\n".join(page.read_text() for page in PAGES if page.exists())
    entries = set[str]().union(*(named(title) for title in re.findall(r"^### (.+)$", text, re.MULTILINE)))
    assert sorted(getattr(parts.load(), kind).keys() - entries) == []


@pytest.mark.parametrize("kind", ["actions", "transformations"])
def test_every_part_has_an_example(kind: str) -> None:
    shown = set[str]().union(*(named(example.heading) for example in ALL))
    assert sorted(getattr(parts.load(), kind).keys() - shown) == []
