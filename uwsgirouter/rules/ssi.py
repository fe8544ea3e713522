"""Server-side includes: a page with ``<!--#command ... -->`` in it, filled in.

One idea: the commands that Apache and nginx have in common (echo, set, if, include, config, fsize, flastmod, printenv)
and uWSGI's own (cache); what a page may see is given by :class:`World`, so nothing here touches a file or a request. A
page is written by other people than the rules and by nobody's leave reaches outside its root (the world's concern).
Invariants: how deep and how much is included is bounded, and so is what comes of it; what is put in is never looked at
again, unless it was included as a page; what goes wrong becomes ``errmsg`` in the page and a line of the log.
"""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from html import escape
from typing import NamedTuple, Protocol
from urllib.parse import quote

from uwsgirouter.errors import RouterError
from uwsgirouter.rules.ssi_conditions import BadTest, holds

DEPTH_MOST = 8
"""Pages within each other."""
INCLUDED_MOST = 256
"""Pages that one page includes, in all."""
COMMANDS_MOST = 10_000
"""Commands of one page, included ones counted."""
NAMES_MOST = 256
"""Variables that a page may set."""
VALUE_MOST = 65536
"""Bytes of one variable that a page sets."""
ERROR = b"[an error occurred while processing this directive]"
UNDEFINED = b"(none)"
TIME = "%A, %d-%b-%Y %H:%M:%S %Z"

_COMMAND = re.compile(rb"<!--#(.*?)-->", re.DOTALL)
_NAME = re.compile(rb"\s*([A-Za-z]+)\s*")
_ARGUMENT = re.compile(
    rb"""\s*([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s"'`]+))\s*""", re.DOTALL
)
_VARIABLE = re.compile(rb"\\\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)")


class PageFailed(RouterError):
    """The page is too large, too deep, or does too much: there is no answer. ``str()`` says why."""


class NoInclude(RouterError):
    """What is to be included is not there for this page."""


class Source(NamedTuple):
    """A page that was read; ``place`` is its file, beside which relative names are looked for."""

    text: bytes
    place: bytes
    modified: float


class World(Protocol):
    """What a page sees."""

    def variable(self, name: bytes) -> bytes | None:
        """A variable of the request, None when there is none."""

    def variables(self) -> Iterable[tuple[bytes, bytes]]:
        """All of them."""

    def cached(self, key: bytes, name: bytes) -> bytes | None:
        """An item of a cache."""

    def find(self, name: bytes, place: bytes, is_virtual: bool) -> Source:
        """A file by its name (a URL's path if ``is_virtual``), as seen from ``place``. Raises :class:`NoInclude`."""

    def about(self, name: bytes, place: bytes, is_virtual: bool) -> tuple[int, float]:
        """Size and time of change of such a file, without reading it. Raises :class:`NoInclude`."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def complain(self, text: str) -> None:
        """A line for the log."""


class Arguments(dict[bytes, bytes]):
    """Those of one command, the last one of a name; ``pairs``: all of them, in order."""

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


class _Branch:
    """One if that is open: ``taken`` when one of its branches was, ``shows`` while this one does."""

    def __init__(self, outer: bool, holds: bool) -> None:
        self.outer = outer
        self.taken = holds
        self.shows = outer and holds
        self.has_else = False


class Page:
    """One page being filled in, and all that it includes. ``most``: bytes of what comes of it."""

    def __init__(self, world: World, most: int) -> None:
        self._world = world
        self._most = most
        self._out: list[bytes] = []
        self._size = 0
        self._commands = 0
        self._included = 0
        self._own: dict[bytes, bytes] = {}
        self._error = ERROR
        self._undefined = UNDEFINED
        self._time = TIME
        self._is_size_short = True
        self._depth = 0
        self._source = Source(b"", b"", 0.0)
        self._does: dict[bytes, Callable[[Arguments], None]] = {
            b"echo": self._echo,
            b"set": self._set,
            b"include": self._include,
            b"config": self._config,
            b"fsize": self._fsize,
            b"flastmod": self._flastmod,
            b"printenv": self._printenv,
            b"cache": self._cache,
        }

    def fill(self, source: Source) -> bytes:
        """The whole page. Raises :class:`PageFailed`."""
        self._run(source)
        out, self._out = self._out, []
        return b"".join(out)

    # -- its text ----------------------------------------------------------------------------------------------------

    def _run(self, source: Source) -> None:
        outer, self._source = self._source, source
        self._depth += 1
        branches: list[_Branch] = []
        text, position = source.text, 0
        for found in _COMMAND.finditer(text):
            if not branches or branches[-1].shows:
                self._put(text[position : found.start()])
            position = found.end()
            self._command(found[1], branches)
        if not branches or branches[-1].shows:
            self._put(text[position:])
        if branches:
            self._fail("an if without its endif")
        self._depth -= 1
        self._source = outer

    def _put(self, text: bytes) -> None:
        self._size += len(text)
        if self._size > self._most:
            raise PageFailed(f"the page is larger than transformation-buffer = {self._most}")
        if text:
            self._out.append(text)

    def _fail(self, why: str) -> None:
        self._world.complain(f"ssi: {why}")
        self._put(self._error)

    def _command(self, text: bytes, branches: list[_Branch]) -> None:
        self._commands += 1
        if self._commands > COMMANDS_MOST:
            raise PageFailed(f"the page has more than {COMMANDS_MOST} commands")
        name = _NAME.match(text)
        word = name[1].lower() if name else b""
        if word in (b"if", b"elif", b"else", b"endif"):
            self._branch(word, text[name.end() :] if name else b"", branches)
            return
        if branches and not branches[-1].shows:
            return
        does = self._does.get(word)
        arguments = _arguments(text[name.end() :]) if name else None
        if does is None or arguments is None:
            self._fail(f"{text.strip()[:80]!r} is no command")
            return
        try:
            does(arguments)
        except NoInclude as error:
            self._fail(str(error))

    # -- its commands ------------------------------------------------------------------------------------------------

    def _branch(self, word: bytes, rest: bytes, branches: list[_Branch]) -> None:
        if word == b"if":
            shows = not branches or branches[-1].shows
            if len(branches) >= DEPTH_MOST * 4:
                raise PageFailed("ifs are too deep within each other")
            branches.append(_Branch(shows, shows and self._holds(rest)))
            return
        if not branches or (word != b"endif" and branches[-1].has_else):
            self._fail(f"{word.decode()} without an if")
            return
        last = branches[-1]
        if word == b"endif":
            branches.pop()
            return
        if word == b"else":
            last.has_else = True
        last.shows = last.outer and not last.taken and (word == b"else" or self._holds(rest))
        last.taken = last.taken or last.shows

    def _holds(self, rest: bytes) -> bool:
        arguments = _arguments(rest)
        if arguments is None or b"expr" not in arguments:
            self._fail("an if needs expr=")
            return False
        try:
            return holds(arguments[b"expr"], self._expanded)
        except BadTest as error:
            self._fail(str(error))
            return False

    def _value(self, name: bytes) -> bytes | None:
        own = self._own.get(name)
        if own is not None:
            return own
        special = self._special(name)
        return self._world.variable(name) if special is None else special

    def _special(self, name: bytes) -> bytes | None:
        if name == b"DATE_LOCAL":
            return self._date(self._world.now(), local=True)
        if name == b"DATE_GMT":
            return self._date(self._world.now(), local=False)
        if name == b"LAST_MODIFIED" and self._source.modified:
            return self._date(self._source.modified, local=True)
        if name == b"DOCUMENT_NAME" and self._source.place:
            return self._source.place.rpartition(b"/")[2]
        return None

    def _date(self, when: float, local: bool) -> bytes:
        try:
            text = time.strftime(self._time, time.localtime(when) if local else time.gmtime(when))
        except ValueError:
            return b""
        return text.encode("utf-8", "replace")

    def _expanded(self, text: bytes) -> bytes:
        """``$NAME`` and ``${NAME}`` filled in; ``\\$`` is a dollar sign."""

        def put(found: re.Match[bytes]) -> bytes:
            name = found[1] or found[2]
            return b"$" if name is None else (self._value(name) or b"")

        expanded = _VARIABLE.sub(put, text)
        if len(expanded) > VALUE_MOST:
            raise PageFailed(f"a value of more than {VALUE_MOST} bytes")
        return expanded

    def _echo(self, arguments: Arguments) -> None:
        encoding, default = b"entity", None
        for name, value in arguments.pairs:
            if name == b"default":
                default = value
            elif name == b"encoding":
                encoding = value.lower()
        for name, value in arguments.pairs:
            if name == b"var":
                found = self._value(value)
                if found is None:
                    found = self._undefined if default is None else default
                self._put(_encoded(found, encoding))

    def _set(self, arguments: Arguments) -> None:
        name = arguments.get(b"var", b"")
        if not name or (name not in self._own and len(self._own) >= NAMES_MOST):
            self._fail("set needs var= and value=, and there may be so many variables only")
            return
        self._own[name] = self._expanded(arguments.get(b"value", b""))

    def _include(self, arguments: Arguments) -> None:
        for name, is_virtual in self._named(arguments):
            self._included += 1
            if self._depth >= DEPTH_MOST or self._included > INCLUDED_MOST:
                raise NoInclude(f"more than {DEPTH_MOST} pages within each other, or more than {INCLUDED_MOST} in all")
            self._run(self._world.find(name, self._source.place, is_virtual))

    def _named(self, arguments: Arguments) -> Iterator[tuple[bytes, bool]]:
        """The files that a command names, and whether by the path of a URL."""
        for name, value in arguments.pairs:
            if name in (b"file", b"virtual"):
                yield self._expanded(value), name == b"virtual"

    def _about(self, arguments: Arguments) -> Iterator[tuple[int, float]]:
        for name, is_virtual in self._named(arguments):
            yield self._world.about(name, self._source.place, is_virtual)

    def _config(self, arguments: Arguments) -> None:
        self._error = arguments.get(b"errmsg", self._error)
        self._undefined = arguments.get(b"echomsg", self._undefined)
        if b"timefmt" in arguments:
            self._time = arguments[b"timefmt"].decode("utf-8", "replace")[:256]
        if b"sizefmt" in arguments:
            self._is_size_short = arguments[b"sizefmt"] != b"bytes"

    def _fsize(self, arguments: Arguments) -> None:
        for size, _ in self._about(arguments):
            self._put(_short(size) if self._is_size_short else b"%d" % size)

    def _flastmod(self, arguments: Arguments) -> None:
        for _, modified in self._about(arguments):
            self._put(self._date(modified, local=True))

    def _printenv(self, arguments: Arguments) -> None:
        for name, value in (*self._world.variables(), *self._own.items()):
            self._put(_encoded(name + b"=" + value, b"entity") + b"\n")

    def _cache(self, arguments: Arguments) -> None:
        found = self._world.cached(arguments.get(b"key", b""), arguments.get(b"name", b""))
        if found is not None:
            self._put(found)


def _arguments(text: bytes) -> Arguments | None:
    """``name="value"`` ..., None when it is something else."""
    pairs, position = [], 0
    text = text.strip()
    while position < len(text):
        found = _ARGUMENT.match(text, position)
        if found is None:
            return None
        value = found[2] if found[2] is not None else found[3] if found[3] is not None else found[4]
        quotes = b'"' if found[2] is not None else b"'"
        pairs.append((found[1].lower(), value.replace(b"\\" + quotes, quotes)))
        position = found.end()
    return Arguments(pairs)


def _encoded(value: bytes, encoding: bytes) -> bytes:
    if encoding == b"none":
        return value
    if encoding in (b"url", b"urlencoded"):
        return quote(value, safe="/" if encoding == b"url" else "").encode()
    if encoding == b"base64":
        return b64encode(value)
    return escape(value.decode("latin-1")).encode("latin-1")


def _short(size: int) -> bytes:
    """``512``, ``4.0K``, ``12M``."""
    amount = float(size)
    for unit in ("", "K", "M", "G"):
        if amount < 1000 or unit == "G":
            break
        amount /= 1024
    return (f"{size}" if not unit else f"{amount:.1f}{unit}" if amount < 10 else f"{amount:.0f}{unit}").encode()
