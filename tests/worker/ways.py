"""Every way by which a request finds its node, and an account of what the router says happened to it.

A :class:`Way` puts a node of its kind where its router will look for it: announced, made of the key, named by a Python
function, or configured. :func:`accounted` compares all counters of a router before and after, so that a test shows
what did not happen, too.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.servers import Servers, free_port, local
from tests.worker.site import Site, Stats, links

LINES_A_SECOND = 10
"""A worker writes so many about failures, and counts the rest."""

_SAY_NOTHING = ("requests", "answered", "clients gone", "cut off", "bad-key")
ANY = "any.example"
_GAUGES = ("nodes", "pools", "sessions", "in flight")
_OWN_MAPPER = """
def get(key):
    return bytes.fromhex(key.split(".")[0])
"""


class Way:
    """``key(address)`` is the key of a request to the node there, ``place()`` an address for a node."""

    def __init__(self, name: str, site: Site, key: Callable[[str], str], place: Callable[[], str]) -> None:
        self.name = name
        self.how, self.kind = name.split()
        self.site = site
        self.key = key
        self._place = place

    @property
    def is_unix(self) -> bool:
        """Its nodes have unix sockets."""
        return self.kind in ("unix", "passing")

    @property
    def is_fixed(self) -> bool:
        """It has a single place, always the same."""
        return self.how in ("static", "cache")

    def place(self) -> str:
        """Where nobody is."""
        place = self._place()
        if self.is_unix:
            Path(place).unlink(missing_ok=True)
        return place


class Ways:
    """The ways by name (:data:`WAYS`). Their routers start when they are first asked for; ``lines`` are for all."""

    def __init__(self, servers: Servers, *lines: str) -> None:
        self._servers = servers
        self._lines = lines
        self._sites: dict[str, Site] = {}
        self._ways: dict[str, Way] = {}

    def __getitem__(self, name: str) -> Way:
        if name not in self._ways:
            how, kind = name.split()
            make = {
                "announced": self._announced,
                "static": self._fixed,
                "cache": self._fixed,
                "base": self._base,
                "pattern": self._pattern,
                "code": self._code,
            }
            self._ways[name] = make[how](name, kind)
        return self._ways[name]

    def _site(self, name: str, kind: str, *lines: str, announced: bool = False) -> Site:
        if name not in self._sites:
            passing = [] if kind == "passing" else ["no-fd-passing = true"]
            self._sites[name] = Site(self._servers, *self._lines, *passing, *lines, announced=announced)
        return self._sites[name]

    def _announced(self, name: str, kind: str) -> Way:
        site = self._site("passing" if kind == "passing" else "announced", kind, announced=True)
        return Way(name, site, lambda address: site.announce(site.key(), address), _places(site, kind))

    def fixed(self, how: str, kind: str, address: str) -> Site:
        """A router whose configuration itself names the address: ``static`` or ``cache``."""
        lines = {
            "static": [f"fastrouter-to = {address}"],
            "cache": ["cache = 100", "fastrouter-use-cache = default", f"add-cache-item = {ANY}={address}"],
        }
        return self._site(f"{how} {address}", kind, *lines[how])

    def _fixed(self, name: str, kind: str) -> Way:
        address = local() if kind == "tcp" else self._servers.path(f"{name.replace(' ', '-')}.sock")
        return Way(name, self.fixed(name.split()[0], kind, address), lambda _: ANY, lambda: address)

    def _base(self, name: str, kind: str) -> Way:
        base = self._servers.path("base/")
        Path(base).mkdir()
        site = self._site(name, kind, f"fastrouter-use-base = {base}")
        return Way(name, site, lambda path: path.removeprefix(base), lambda: base + site.key())

    def _pattern(self, name: str, kind: str) -> Way:
        host = {"tcp": "127.0.0.1", "v6": "[::1]"}[kind]
        site = self._site(name, kind, f"fastrouter-use-pattern = {host}:%%s")
        return Way(name, site, lambda address: address.rpartition(":")[2], _places(site, kind))

    def _code(self, name: str, kind: str) -> Way:
        script = Path(self._servers.path("own_mapper.py"))
        script.write_text(_OWN_MAPPER)
        site = self._site("code", kind, f"fastrouter-use-code-string = 0:{script}:get")
        return Way(name, site, lambda address: f"{address.encode().hex()}.example", _places(site, kind))


def _places(site: Site, kind: str) -> Callable[[], str]:
    """Another place each time."""
    return {
        "tcp": local,
        "v6": lambda: f"[::1]:{free_port()}",
        "unix": lambda: site.place("unix"),
        "passing": lambda: site.place("unix"),
    }[kind]


WAYS = [
    *("announced tcp", "announced v6", "announced unix", "announced passing"),
    *("static tcp", "static unix", "cache tcp", "base passing", "pattern tcp", "pattern v6"),
    *("code tcp", "code v6", "code unix"),
]
"""How a node is found, and of what kind it is: ``passing`` is a unix socket to which descriptors are passed."""


def counts(stats: Stats) -> dict[str, int]:
    """All that was counted since the start: events, and failures by cause."""
    return {name: number for name, number in stats.numbers.items() if name not in _GAUGES} | stats.causes


def growth(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """What was counted in between."""
    return {name: more for name, number in after.items() if (more := number - before.get(name, 0))}


@contextlib.contextmanager
def accounted(site: Site, what: dict[str, int], deadline: float = 5.0) -> Iterator[None]:
    """What happens inside is counted as ``what`` (by the names of the stats line) and as nothing else.

    Afterwards nothing is in flight, and the worker has no more descriptors than before.
    """
    _pace(site, sum(number for name, number in what.items() if name not in _SAY_NOTHING))
    before, descriptors = counts(site.stats()), site.descriptors()
    yield
    end = time.monotonic() + deadline
    while True:
        stats = site.stats()
        grown = growth(before, counts(stats))
        left = stats.numbers["in flight"], max(0, site.descriptors() - descriptors)
        if (grown, left) == (what, (0, 0)) or time.monotonic() > end:
            break
        time.sleep(0.01)
    assert grown == what, f"counted {grown}, expected {what}"
    assert left == (0, 0), f"{left[0]} in flight, {left[1]} descriptors too many: {links(site.worker)}"


_FAILURE_LINE = re.compile(r"\[uwsgirouter worker \d+ pid \d+\] (?:request |unable |node)")
_seen: dict[int, list[tuple[float, int]]] = {}
"""By worker: how many such lines it had written when."""


def _pace(site: Site, coming: int) -> None:
    """Wait until the worker, which counts what is too much for a second, has that many lines left."""
    seen = _seen.setdefault(site.worker, [(0.0, 0)])
    while True:
        now, count = time.monotonic(), len(_FAILURE_LINE.findall(site.router.log()))
        seen.append((now, count))
        before = max(lines for moment, lines in seen if moment <= now - 1.05)
        if count - before + coming <= max(coming, LINES_A_SECOND):
            return
        time.sleep(0.02)
