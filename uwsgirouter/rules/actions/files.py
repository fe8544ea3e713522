"""Actions that answer with a file.

One idea: a file is opened, looked at by its descriptor and handed to the response, which sends it with sendfile(2).
Observed on uWSGI 2.0.31: ``static`` takes regular files without any link or ``..`` in their path, knows 304 and
ranges; ``file``, ``sendfile`` and ``fastfile`` follow links and send what is there. Nothing here opens a path with
a ``..`` in it, since what follows it may come from a client.
Invariant: a descriptor that is opened is handed to the response or closed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.arguments import keyed, shown
from uwsgirouter.rules.base import Act, Broken, Found, Make, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.mime import MimeTypes, mime_types
from uwsgirouter.rules.paths import inside
from uwsgirouter.rules.ranges import Part, http_date, is_same, is_unchanged, part
from uwsgirouter.rules.stage import Piece

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""NONBLOCK: a pipe in the place of a file must not hold the worker up."""
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SCARCE = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
_LENGTHLESS = frozenset(("no_content_length", "no_cl", "nocl"))
_KEYS = ("filename", "status", "code", "content_type", "mime", "no_headers", *sorted(_LENGTHLESS))

_LOOKS_AT = (b"REQUEST_METHOD", b"HTTP_IF_MODIFIED_SINCE", b"HTTP_RANGE", b"HTTP_IF_RANGE")
"""What static wants to know of a request."""

Opener = Callable[[bytes], int]


class _Refused(OSError):
    """A path that is not opened at all."""


def open_plain(path: bytes) -> int:
    """Open a file, following links but no ``..``. Raises OSError, ValueError (a NUL byte)."""
    _check(path)
    return os.open(path, _READ)


def open_strict(path: bytes) -> int:
    """Open a file if no part of its path is a link or ``..``. Raises OSError, ValueError."""
    _check(path)
    if path.endswith(b"/"):
        raise _Refused(f"{shown(path)} is the name of a directory")
    *directories, name = [step for step in path.split(b"/") if step not in (b"", b".")] or [b""]
    at = os.open(b"/" if path.startswith(b"/") else b".", _STEP)
    try:
        for directory in directories:
            below = os.open(directory, _STEP, dir_fd=at)
            os.close(at)
            at = below
        return os.open(name, _READ | os.O_NOFOLLOW, dir_fd=at)
    finally:
        os.close(at)


def _check(path: bytes) -> None:
    if b".." in path.split(b"/"):
        raise _Refused(f"{shown(path)} has .. in it")


def _opened(path: bytes, opener: Opener) -> tuple[int, os.stat_result] | None:
    """A regular file's descriptor and what is known of it; None: there is no such file for us.

    Raises :class:`Broken` where that cannot be known, for want of descriptors.
    """
    try:
        descriptor = opener(path)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _SCARCE:
            raise Broken(f"{shown(path)}: {error.strerror}", Cause.OVERLOAD) from None
        return None
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        return None
    return descriptor, about


def _missing(path: bytes) -> Broken:
    return Broken(f"{shown(path)}: no such file, or none that may be sent", Cause.NO_FILE)


# -- static ------------------------------------------------------------------------------------------------------------


def _static(otherwise: Verdict) -> Make[Act]:
    """``otherwise``: what follows where ``static`` ends the request; the file's answer is the answer all the same."""

    def make(argument: bytes, place: Place) -> Act:
        name = place.template(argument)
        ranges = place.settings.flag("honour-range")
        types = mime_types(place.settings)
        for variable in _LOOKS_AT:
            place.variable(variable)

        def act(exchange: Exchange, found: Found) -> Verdict:
            path = inside(exchange.directory, name(exchange, found))
            method = exchange.subject(b"REQUEST_METHOD")
            opened = _opened(path, open_strict) if method in (b"GET", b"HEAD") else None
            if opened is not None:
                _serve(exchange, *opened, types.of(path), ranges, method == b"HEAD")
            elif otherwise is Verdict.BREAK:
                raise _missing(path)
            return otherwise

        return act

    return make


def _serve(
    exchange: Exchange, descriptor: int, about: os.stat_result, content_type: bytes, ranges: bool, head_only: bool
) -> None:
    """Answer with the file, a part of it, or that the client has it."""
    sent: Part | None = None
    try:
        sent = _static_head(exchange, about, content_type, ranges)
    finally:
        if sent is None or head_only or sent.start == sent.end:
            os.close(descriptor)
            sent = None
    if sent is None:
        exchange.response.write_head()
    else:
        exchange.response.write_file(Piece(descriptor, sent.start, sent.end - sent.start))


def _static_head(exchange: Exchange, about: os.stat_result, content_type: bytes, ranges: bool) -> Part | None:
    """Prepare the head; which bytes follow it, None for none."""
    response, whole = exchange.response, Part(0, about.st_size)
    if is_unchanged(exchange.subject(b"HTTP_IF_MODIFIED_SINCE"), about.st_mtime):
        response.prepare(b"304 Not Modified")
        return None
    header = exchange.subject(b"HTTP_RANGE") if ranges else b""
    wanted: Part | None = whole
    if header and is_same(exchange.subject(b"HTTP_IF_RANGE"), about.st_mtime):
        wanted = part(header, whole.end)
    if wanted is None:
        if response.prepare(b"416 Requested Range Not Satisfiable"):
            response.header(b"Content-Range", b"bytes */%d" % whole.end)
        return None
    if not response.prepare(b"200 OK" if wanted == whole else b"206 Partial Content"):
        return None
    if content_type:
        response.header(b"Content-Type", content_type)
    response.header(b"Content-Length", b"%d" % (wanted.end - wanted.start))
    if wanted != whole:
        response.header(b"Content-Range", b"bytes %d-%d/%d" % (wanted.start, wanted.end - 1, whole.end))
    response.header(b"Last-Modified", http_date(about.st_mtime))
    return wanted


action("static")(_static(Verdict.BREAK))
action("static-next")(_static(Verdict.NEXT))


# -- file, sendfile, fastfile ------------------------------------------------------------------------------------------


class _File:
    """One rule of this kind, its arguments taken apart. ``changes``: transformations apply."""

    def __init__(self, argument: bytes, place: Place, changes: bool) -> None:
        given = keyed(argument, place, _KEYS, ("filename",))
        self.name = place.template(given["filename"])
        self._changes = changes
        self._status = place.template(given.get("status") or given.get("code") or b"200 OK")
        self._bare = "no_headers" in given
        self._with_length = not (changes and _LENGTHLESS & given.keys())
        self._default = given.get("content_type") or b"text/html"
        self._types = mime_types(place.settings) if "mime" in given else MimeTypes({})

    def answer(self, exchange: Exchange, found: Found, path: bytes, descriptor: int, size: int) -> None:
        """Send the file, and close it or have it closed."""
        try:
            goes_on = self._head(exchange, found, path, size)
        except BaseException:
            os.close(descriptor)
            raise
        if goes_on and size:
            exchange.response.write_file(Piece(descriptor, 0, size), self._changes)
            return
        os.close(descriptor)
        if goes_on:
            exchange.response.write_head()

    def _head(self, exchange: Exchange, found: Found, path: bytes, size: int) -> bool:
        response = exchange.response
        if self._bare:
            response.disable_headers()
            return True
        if not response.prepare(self._status(exchange, found)):
            return False
        if self._with_length:
            response.header(b"Content-Length", b"%d" % size)
        response.header(b"Content-Type", self._types.of(path) or self._default)
        return True


def _file(otherwise: Verdict, changes: bool) -> Make[Act]:
    """``otherwise``: what follows when there is no such file."""

    def make(argument: bytes, place: Place) -> Act:
        file = _File(argument, place, changes)

        def act(exchange: Exchange, found: Found) -> Verdict:
            path = inside(exchange.directory, file.name(exchange, found))
            opened = _opened(path, open_plain)
            if opened is None:
                if otherwise is Verdict.BREAK:
                    raise _missing(path)
                return otherwise
            file.answer(exchange, found, path, opened[0], opened[1].st_size)
            return Verdict.BREAK

        return act

    return make


for _name, _changes in (("file", True), ("sendfile", False), ("fastfile", False)):
    action(_name)(_file(Verdict.BREAK, _changes))
    action(f"{_name}-next")(_file(Verdict.NEXT, _changes))
