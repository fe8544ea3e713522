"""What a line of the access log is made of: texts and fields, read from ``logformat`` or ``log-format-json``.

One idea: a format is a list of parts before any request is there, so whatever is doubtful in it (a field that means
nothing here, one that nobody sets) is told at start. It knows the names of fields and not how they are found out.
Source: uWSGI's LogFormat.rst, and how uWSGI 2.0 reads ``%(``, ``)`` (observed).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.metering import metrics
from uwsgirouter.settings.rows.routing import RULES
from uwsgirouter.settings.settings import Settings

VARIABLES = {
    "uri": b"REQUEST_URI",
    "method": b"REQUEST_METHOD",
    "user": b"REMOTE_USER",
    "addr": b"REMOTE_ADDR",
    "host": b"HTTP_HOST",
    "proto": b"SERVER_PROTOCOL",
    "uagent": b"HTTP_USER_AGENT",
    "referer": b"HTTP_REFERER",
}
"""Fields that are a variable of the request."""

TEXTS = ("ctime", "ltime", "ftime", "isotime", "key", "node", "cause", "id")
NUMBERS = (
    "status", "size", "rsize", "hsize", "cl", "epoch", "time", "tmsecs", "tmicros", "micros", "msecs", "pid", "wid",
    "vars", "headers", "pktsize", "modifier1", "modifier2", "vsz", "rss", "vszM", "rssM", "tries",
)  # fmt: skip
DECIMALS = ("secs", "queue_ms", "connect_ms", "ttfb_ms", "total_ms")
MEANINGLESS = ("switches", "core", "rerr", "werr", "ioerr")
"""What only an application server has."""

OF_HEADS = frozenset({"rsize", "hsize", "headers"})
"""What is in the head of a response beside its status."""

NAMES = (*VARIABLES, *TEXTS, *NUMBERS, *DECIMALS, *MEANINGLESS)
OWN = ("key", "node", "tries", "queue_ms", "connect_ms", "ttfb_ms", "total_ms", "cause", "id", "isotime")
"""Those of them that uWSGI does not have."""

DEFAULT = (
    '%(addr) - %(user) [%(ltime)] "%(method) %(uri) %(proto)" %(status) %(size) "%(referer)" "%(uagent)" '
    "key=%(key) node=%(node) tries=%(tries) queue=%(queue_ms) connect=%(connect_ms) ttfb=%(ttfb_ms) "
    "total=%(total_ms) cause=%(cause) id=%(id)"
)
DEFAULT_JSON = (
    "isotime id addr user method host uri proto status size referer uagent key node tries queue_ms connect_ms ttfb_ms "
    "total_ms cause wid"
)
TEXT_MOST = 4096
"""Bytes of text between the fields of a format."""
FIELDS_MOST = 64

_FIELD = re.compile(r"%\(([^)]+)\)")
_NAME = re.compile(r"[^\s,%()\"\\]+")
_LOGVAR = re.compile(r"\blogvar:([^=\s]+)=")


class Source(Enum):
    """Where a field's value comes from."""

    TEXT = "the format itself"
    VARIABLE = "a variable of the request"
    FIELD = "what is known of the request"
    METRIC = "a metric"
    LOGVAR = "what a rule noted"


@dataclass(frozen=True)
class Part:
    """A piece of a line. ``text``: the bytes, or the name of the variable, field, metric or logvar."""

    source: Source
    text: bytes


@dataclass(frozen=True)
class LogFormat:
    """Parts in order. In a JSON line each of ``keys`` is that of the part at its place, and no part is a text."""

    parts: tuple[Part, ...]
    keys: tuple[str, ...] = ()

    @property
    def needs_heads(self) -> bool:
        """Whether the heads of responses must be kept for it."""
        return any(part.source is Source.FIELD and part.text.decode() in OF_HEADS for part in self.parts)


def log_format(settings: Settings) -> LogFormat:
    """The format that ``settings`` ask for, or the default one. Raises :class:`ConfigError`."""
    if settings.is_set("log-format-json"):
        text = settings.text("log-format-json")
        return json_format(DEFAULT_JSON if text in ("true", "") else text)
    return line_format(settings.text("logformat") or DEFAULT)


def line_format(text: str) -> LogFormat:
    """Parts of text with ``%(fields)`` in it. What is no field stays as it is."""
    parts: list[Part] = []
    at = 0
    for found in _FIELD.finditer(text):
        parts += _literal(text[at : found.start()])
        parts.append(part_of(found[1]))
        at = found.end()
    parts += _literal(text[at:])
    if sum(len(part.text) for part in parts if part.source is Source.TEXT) > TEXT_MOST:
        raise ConfigError(f"more than {TEXT_MOST} bytes of text")
    return LogFormat(_few(parts))


def json_format(text: str) -> LogFormat:
    """Names with spaces or commas between them; ``%(name)`` is one too, and ``label=name`` is called ``label``."""
    parts, keys = [], []
    for word in re.split(r"[\s,]+", text.strip()):
        label, equals, name = word.partition("=")
        name = (name if equals else label).removeprefix("%(").removesuffix(")")
        key = label if equals else name
        if not _NAME.fullmatch(name) or not _NAME.fullmatch(key):
            raise ConfigError(f"{word!r} is no name of a field; expected names, as in: time addr method uri status")
        if key in keys:
            raise ConfigError(f"{key} is there twice")
        parts.append(part_of(name))
        keys.append(key)
    return LogFormat(_few(parts), tuple(keys))


def part_of(name: str) -> Part:
    """The field of that name; one that nothing here knows is a logvar, as in uWSGI."""
    if name in VARIABLES:
        return Part(Source.VARIABLE, VARIABLES[name])
    if name in NAMES:
        return Part(Source.FIELD, name.encode())
    if name.startswith("var."):
        return Part(Source.VARIABLE, name[4:].encode())
    if name.startswith("metric."):
        return Part(Source.METRIC, name[7:].encode())
    return Part(Source.LOGVAR, name.encode("utf-8", "surrogateescape"))


def _literal(text: str) -> list[Part]:
    return [Part(Source.TEXT, text.encode("utf-8", "surrogateescape"))] if text else []


def _few(parts: list[Part]) -> tuple[Part, ...]:
    if sum(part.source is not Source.TEXT for part in parts) > FIELDS_MOST:
        raise ConfigError(f"more than {FIELDS_MOST} fields")
    return tuple(parts)


def format_faults(settings: Settings) -> Iterator[ConfigError]:
    """What is wrong with the formats."""
    for name, read in (("logformat", line_format), ("log-format-json", json_format)):
        text = settings.text(name)
        if not text or (name == "log-format-json" and text == "true"):
            continue
        try:
            read(text)
        except ConfigError as error:
            yield ConfigError(f"{name} = {text}: {error.message}", settings.where(name))


def format_notices(settings: Settings) -> Iterator[str]:
    """What of the format will never have a value."""
    name = "log-format-json" if settings.is_set("log-format-json") else "logformat"
    if not settings.is_set(name):
        return
    parts = log_format(settings).parts
    where = settings.where(name)
    fields = [part.text.decode() for part in parts if part.source is Source.FIELD]
    empty = [field for field in MEANINGLESS if field in fields]
    if empty:
        shown = " ".join(f"%({field})" for field in empty)
        yield f"{where}: {name}: {shown}: these mean nothing in a router and give -"
    given = set(_logvars(settings))
    for part in parts:
        if part.source is Source.LOGVAR and part.text.decode("utf-8", "surrogateescape") not in given:
            field = part.text.decode("utf-8", "backslashreplace")
            yield f"{where}: {name}: %({field}) is no field, and no rule sets it by logvar:{field}=...{nearest(field)}"
        elif part.source is Source.METRIC and part.text.decode() not in {spec.name for spec in metrics(settings)}:
            yield f"{where}: {name}: %(metric.{part.text.decode()}): there is no such metric, it gives 0"


def nearest(field: str) -> str:
    """``; did you mean X?`` with the most alike field, or nothing when none is."""
    close = difflib.get_close_matches(field.lower(), NAMES, 1, 0.6)
    return f"; did you mean %({close[0]})?" if close else ""


def _logvars(settings: Settings) -> Iterable[str]:
    for _, text, _ in settings.sequence(RULES):
        yield from _LOGVAR.findall(text)
