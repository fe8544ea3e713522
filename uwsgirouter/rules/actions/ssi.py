"""ssi: a page of a file, its server-side includes filled in.

One idea: the page's root is DOCUMENT_ROOT where the page lies in it, else the page's own directory, and nothing outside
of the root is ever read, by whatever link or name. Files are read aside; filling in takes no longer than its bounds
(rules/ssi.py) allow. Invariant: a page includes files, it starts no program and asks no server.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.protocol.packet import decode_vars
from uwsgirouter.rules.arguments import shown
from uwsgirouter.rules.base import Act, BadRule, Broken, Found, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.paths import inside
from uwsgirouter.rules.reading import read_file
from uwsgirouter.rules.ssi import NoInclude, Page, PageFailed, Source

T = TypeVar("T")


class Site:
    """What a page of one request sees (see :class:`uwsgirouter.rules.ssi.World`). ``root``: a real path."""

    def __init__(self, exchange: Exchange, root: bytes, most: int) -> None:
        self._exchange = exchange
        self._root = root
        self._most = most

    def variable(self, name: bytes) -> bytes | None:
        """A variable of the request."""
        return self._exchange.variable(name) if self._exchange.has(name) else None

    def variables(self) -> Iterable[tuple[bytes, bytes]]:
        """All of them."""
        return dict(decode_vars(self._exchange.packet)).items()

    def cached(self, key: bytes, name: bytes) -> bytes | None:
        """An item of a cache of this router."""
        caches = self._exchange.host.caches
        cache = None if caches is None else caches.find(shown(name))
        return None if cache is None else cache.get(key)

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._exchange.host.now()

    def complain(self, text: str) -> None:
        """A line of the log."""
        self._exchange.host.complain(text.encode("utf-8", "surrogateescape"))

    def find(self, name: bytes, place: bytes, is_virtual: bool) -> Source:
        """A file below the root. Raises :class:`NoInclude`."""
        return self._aside(name, lambda: self._read(self._path(name, place, is_virtual)))

    def about(self, name: bytes, place: bytes, is_virtual: bool) -> tuple[int, float]:
        """Its size and time of change. Raises :class:`NoInclude`."""

        def look() -> tuple[int, float]:
            known = os.stat(self._path(name, place, is_virtual))
            if not stat.S_ISREG(known.st_mode):
                raise NoInclude(f"{shown(name)} is no file")
            return known.st_size, known.st_mtime

        return self._aside(name, look)

    def _aside(self, name: bytes, call: Callable[[], T]) -> T:
        def quietly() -> T | Exception:
            try:
                return call()
            except (OSError, ValueError, Broken, NoInclude) as error:
                return error

        found = self._exchange.host.aside(quietly)
        if isinstance(found, Exception):
            raise NoInclude(f"{shown(name)} cannot be included: {found}") from None
        return found

    def _read(self, path: bytes) -> Source:
        text, known = read_file(path, self._most)
        return Source(text, path, known.st_mtime)

    def _path(self, name: bytes, place: bytes, is_virtual: bool) -> bytes:
        """The real path of a file. Raises :class:`NoInclude`, OSError, ValueError."""
        if is_virtual:
            name = unquote_to_bytes(name.partition(b"?")[0].partition(b"#")[0])
        if b".." in name.split(b"/") or not name.strip(b"/") or (name.startswith(b"/") and not is_virtual):
            raise NoInclude("it is no name of a file beside the page")
        directory = self._root if name.startswith(b"/") else os.path.dirname(place)
        path = os.path.realpath(os.path.join(directory, name.lstrip(b"/")), strict=True)
        if not is_below(path, self._root):
            raise NoInclude("it lies outside of the root")
        return path


def is_below(path: bytes, root: bytes) -> bool:
    """Both are real paths."""
    return path.startswith(root.rstrip(b"/") + b"/")


def root_of(exchange: Exchange, path: bytes) -> bytes:
    """The root of the page in the file ``path``, a real path."""
    root = exchange.variable(b"DOCUMENT_ROOT")
    if root:
        real = os.path.realpath(root)
        if is_below(path, real):
            return real
    return os.path.dirname(path)


def open_page(exchange: Exchange, path: bytes, most: int) -> tuple[Site, Source]:
    """The page in a file, and its world. Waits for the disk. Raises :class:`Broken`."""

    def read() -> tuple[bytes, Source] | Broken:
        try:
            text, known = read_file(path, most)
            real = os.path.realpath(path)
            return root_of(exchange, real), Source(text, real, known.st_mtime)
        except Broken as error:
            return error

    found = exchange.host.aside(read)
    if isinstance(found, Broken):
        raise found
    return Site(exchange, found[0], most), found[1]


@action("ssi", waits=True)
def ssi(argument: bytes, place: Place) -> Act:
    """``ssi:FILE``: answer with the page, filled in."""
    if not argument:
        raise BadRule("expected the file of a page")
    name = place.template(argument)
    most = place.settings.number("transformation-buffer")
    place.variable(b"DOCUMENT_ROOT")

    def act(exchange: Exchange, found: Found) -> Verdict:
        site, source = open_page(exchange, inside(exchange.directory, name(exchange, found)), most)
        try:
            page = Page(site, most).fill(source)
        except PageFailed as error:
            raise Broken(f"{shown(source.place)}: {error}", Cause.ANSWER_TOO_LARGE) from None
        response = exchange.response
        if response.prepare(b"200 OK"):
            response.header(b"Content-Length", b"%d" % len(page))
            response.header(b"Content-Type", b"text/html")
            if response.is_bodiless or not page:
                response.write_head()
            else:
                response.write(page)
        return Verdict.BREAK

    return act
