"""A log format as the access log runs it: numbers of steps, and what each of them needs.

One idea: what can be decided about a line before any request is there is decided once, when the worker starts, so that
a line costs a loop over small numbers (worker/access.py). It must not know of requests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from uwsgirouter.protocol.packet import BLOCK_MAX
from uwsgirouter.settings.log_format import LogFormat, Part, Source

END, VARIABLE, LOGVAR, METRIC, NOTHING = range(5)
"""Steps that have a variable's number, or a name as operand; and the last one of a line."""
TEXT, NUMBER, DECIMAL = 10, 20, 50
"""The first step of those that write a text, a whole number, a fraction."""

_TEXTS = ("ctime", "ltime", "ftime", "isotime", "key", "node", "cause", "id")
_NUMBERS = (
    "status", "size", "rsize", "hsize", "cl", "epoch", "time", "tmsecs", "tmicros", "micros", "msecs", "pid", "wid",
    "vars", "headers", "pktsize", "modifier1", "modifier2", "vsz", "rss", "vszM", "rssM", "tries",
)  # fmt: skip
_DECIMALS = ("secs", "queue_ms", "connect_ms", "ttfb_ms", "total_ms")
STEPS = {
    name: first + index
    for first, names in ((TEXT, _TEXTS), (NUMBER, _NUMBERS), (DECIMAL, _DECIMALS))
    for index, name in enumerate(names)
}
"""The step of each field that has one."""

_LENGTH = b"CONTENT_LENGTH"


class Program:
    """A line is, for each ``i``, ``sizes[i]`` more bytes of ``texts`` and what ``steps[i]`` makes of ``operands[i]``.

    ``names`` are the variables that a packet is searched for. Sizes have two bytes each.
    """

    def __init__(self, form: LogFormat) -> None:
        self.is_json = bool(form.keys)
        self.steps = b""
        self.texts = b""
        self.sizes = b""
        self.operands: list[bytes] = []
        self.numbers = b""
        """For a step VARIABLE the number of the variable, else 0."""
        self.names: list[bytes] = []
        self.fields = {part.text.decode() for part in form.parts if part.source is Source.FIELD}
        self.length = self._number(_LENGTH) if "cl" in self.fields else 0
        """The number of the variable that says how long the body is."""
        self._before = b""
        for part, key in zip(form.parts, self._keys(form), strict=True):
            self._before += key
            self._take(part)
        self._before += b"}\n" if self.is_json else b"\n"
        self._add(END)
        self.heads, self.nexts = _chains(self.names)

    def _keys(self, form: LogFormat) -> Iterable[bytes]:
        """What stands before each part of a JSON line."""
        if not form.keys:
            return [b""] * len(form.parts)
        return [b"%s%s:" % (b"," if at else b"{", json.dumps(key).encode()) for at, key in enumerate(form.keys)]

    def _take(self, part: Part) -> None:
        if part.source is Source.TEXT:
            self._before += part.text
        elif part.source is Source.VARIABLE:
            self._add(VARIABLE, number=self._number(part.text))
        elif part.source is Source.LOGVAR:
            self._add(LOGVAR, part.text)
        elif part.source is Source.METRIC:
            self._add(METRIC, part.text)
        else:
            self._add(STEPS.get(part.text.decode(), NOTHING))

    def _add(self, step: int, operand: bytes = b"", number: int = 0) -> None:
        self.texts += self._before
        self.sizes += len(self._before).to_bytes(2, "little")
        self._before = b""
        self.steps += bytes((step,))
        self.operands.append(operand)
        self.numbers += bytes((number,))

    def _number(self, name: bytes) -> int:
        """The number of a variable that the format names; 255: no packet can have it."""
        if not name or len(name) > BLOCK_MAX:
            return 255
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)


def slot_of(name: bytes) -> int:
    """Where a name is looked for: a number below 256 that depends on its length and its ends."""
    return (len(name) * 7 + name[0] * 3 + name[-1]) & 255


def _chains(names: list[bytes]) -> tuple[bytes, bytes]:
    """By slot, 1 + the number of the first name that belongs there; by that, the next one (0: there is none)."""
    heads, nexts = bytearray(256), bytearray(len(names) + 1)
    for index, name in enumerate(names, 1):
        slot = slot_of(name)
        nexts[index] = heads[slot]
        heads[slot] = index
    return bytes(heads), bytes(nexts)
