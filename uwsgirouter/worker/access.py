"""The access log of one worker: a line for each request that is over, in a buffer that is given away now and then.

One idea: a line is written by running a small program (worker/log_program.py) over what is known of the request, byte
by byte into memory that is there already; nothing is made for it. In the compiled form that is C. Whatever a client
sent stands in a line only escaped, so that it ends no line, no quoted text and no JSON string.
It must not know where lines go, and never waits. Invariants: the buffer holds whole lines; a line has LINE_MOST bytes
at most.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from uwsgirouter.worker.log_program import Program

if TYPE_CHECKING:
    from uwsgirouter.model.node import Node
    from uwsgirouter.settings.address import Address
    from uwsgirouter.worker.record import Record
    from uwsgirouter.worker.session import Session

LINE_MOST = 65536
"""Bytes of a line."""
VALUE_MOST = 4096
"""Bytes of a value; the rest of a longer one is left out, and ``...`` says so."""
FLUSH_AT = 32768
"""Bytes of lines that are given away at once."""
NODES_MOST = 4096
"""Nodes whose names are kept."""
_FIELD_ROOM = 48
"""Bytes that each field may take even when the line is full."""

_DASH = b"-"
_NULL = b"null"
_CUT = b"..."
_HEXADECIMAL = b"0123456789abcdef"
_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_SPECIAL = bytes(not 32 <= byte < 127 or byte in b'"\\' for byte in range(256))
"""By byte, whether a value must not have it as it is."""


class Numbers(Protocol):
    """The metrics."""

    def get(self, name: bytes) -> int:
        """A metric's value; 0 when there is none of that name."""


class Choice:
    """Which requests get a line; ``slow`` is in seconds, and 0 like ``big`` and False is no condition."""

    __slots__ = ("all", "big", "client_errors", "server_errors", "slow", "zero")

    def __init__(
        self,
        all: bool = True,
        client_errors: bool = False,
        server_errors: bool = False,
        slow: float = 0.0,
        zero: bool = False,
        big: int = 0,
    ) -> None:
        self.all = all
        self.client_errors = client_errors
        self.server_errors = server_errors
        self.slow = slow
        self.zero = zero
        self.big = big


class AccessLog:
    """A sink of the observer. ``take(lines)`` gets a view of whole lines, to be copied or sent at once.

    ``begun()`` is called when the first line is in an empty buffer: :meth:`flush` is to be called soon.
    """

    __slots__ = (
        "_address",
        "_at",
        "_begun",
        "_choice",
        "_count",
        "_date",
        "_end",
        "_fields",
        "_found",
        "_full",
        "_heads",
        "_is_json",
        "_length",
        "_memory",
        "_metrics",
        "_most",
        "_name",
        "_names",
        "_nexts",
        "_nodes",
        "_numbers",
        "_offset",
        "_operands",
        "_out",
        "_page",
        "_pid",
        "_room",
        "_rss",
        "_second",
        "_sizes",
        "_stamps",
        "_steps",
        "_take",
        "_texts",
        "_vsz",
        "_wid",
        "lost",
    )

    def __init__(
        self,
        program: Program,
        choice: Choice,
        take: Callable[[memoryview], None],
        begun: Callable[[], None],
        number: int,
        date: str = "",
        metrics: Numbers | None = None,
    ) -> None:
        """``number``: the worker's; ``date``: how ``%(ftime)`` is written, empty: as ``%(ltime)``."""
        self._choice = choice
        self._take = take
        self._begun = begun
        self._wid = number
        self._pid = os.getpid()
        self._date = date
        self._metrics = metrics
        self._is_json = program.is_json
        self._steps = program.steps
        self._numbers = program.numbers
        self._texts = program.texts
        self._sizes = program.sizes
        self._operands = program.operands
        self._count = len(program.steps)
        self._names = program.names
        self._heads = program.heads
        self._nexts = program.nexts
        self._found = bytearray(4 * max(1, len(program.names)))
        self._length = program.length
        self._fields = program.fields
        self._room = LINE_MOST - len(program.texts) - _FIELD_ROOM * self._count
        self._out = bytearray(FLUSH_AT + LINE_MOST)
        self._at = 0
        self._end = 0
        self._full = FLUSH_AT
        self._most = VALUE_MOST
        self._second = -1
        self._stamps: list[bytes] = []
        self._offset = 0.0
        self._nodes: dict[int, tuple[Address, bytes]] = {}
        self._address: Address | None = None
        self._name = b""
        self._vsz = 0
        self._rss = 0
        self.lost = 0
        """Lines that could not be written because of a fault in here."""

    def __call__(self, session: Session, record: Record) -> None:
        """A request is over."""
        if record.unlogged or not (self._choice.all or self._is_chosen(record)):
            return
        begin = self._at
        if not begin:
            self._begin()
        try:
            self._line(session, record)
        except Exception:  # noqa: BLE001 - a session that is closing must be closed, whatever its line is
            self._at = begin
            self.lost += 1
        if self._at >= self._full:
            self.flush()

    def flush(self) -> None:
        """Give away what there is."""
        if self._at:
            count, self._at = self._at, 0
            self._take(memoryview(self._out)[:count])

    def _begin(self) -> None:
        """The first line of a buffer: look at the clock."""
        self._offset = time.time() - monotonic()
        if self._fields & {"vsz", "rss", "vszM", "rssM"}:
            with open("/proc/self/statm", "rb") as file:
                pages = file.read().split()
            size = os.sysconf("SC_PAGE_SIZE")
            self._vsz, self._rss = int(pages[0]) * size, int(pages[1]) * size
        self._begun()

    def _is_chosen(self, record: Record) -> bool:
        """Whether a condition names it."""
        choice = self._choice
        status = record.status
        if choice.server_errors and 500 <= status < 600:
            return True
        if choice.client_errors and 400 <= status < 500:
            return True
        if choice.slow and record.ended - record.began >= choice.slow:
            return True
        if choice.zero and not self._body_size(record):
            return True
        return bool(choice.big) and self._body_size(record) >= choice.big

    # -- a line -----------------------------------------------------------------------------------------------------

    def _line(self, session: Session, record: Record) -> None:
        self._end = self._at + self._room
        if self._names:
            self._search(record.packet)
        out, texts, sizes, steps = self._out, self._texts, self._sizes, self._steps
        place = 0
        for index in range(self._count):
            at, stop = self._at, place + (sizes[2 * index] | sizes[2 * index + 1] << 8)
            while place < stop:
                out[at] = texts[place]
                at += 1
                place += 1
            self._at = at
            step = steps[index]
            if step == 1:
                self._variable(record.packet, self._numbers[index])
            elif step >= 50:
                self._decimal_field(record, step - 50)
            elif step >= 20:
                self._number_field(session, record, step - 20)
            elif step >= 10:
                self._text_field(session, record, step - 10)
            elif step == 2:
                self._value(b"" if record.logvars is None else record.logvars.get(self._operands[index], b""))
            elif step == 3:
                self._whole(0 if self._metrics is None else self._metrics.get(self._operands[index]))
            elif step:
                self._nothing()

    def _search(self, packet: bytes) -> None:
        """Find the variables of the format in a packet that was scanned: in one walk, the last one of each name."""
        view, heads, nexts, found = packet, self._heads, self._nexts, self._found
        index, room = 0, len(self._found)
        while index < room:
            found[index] = 0
            index += 1
        position, end = 4, len(packet)
        if end < 4 or end != 4 + (view[1] | view[2] << 8):
            return  # it never was whole
        while position < end:
            name = position + 2
            at = name + (view[position] | view[position + 1] << 8)
            start = at + 2
            if start > end or at == name:
                return
            position = start + (view[at] | view[at + 1] << 8)
            if position > end:
                return
            size = at - name
            number = heads[(size * 7 + view[name] * 3 + view[at - 1]) & 255]
            while number:
                wanted = self._names[number - 1]
                if len(wanted) == size:
                    letters = wanted
                    index = 0
                    while index < size and letters[index] == view[name + index]:
                        index += 1
                    if index == size:
                        index = 4 * (number - 1)
                        found[index] = (start - 4) & 255
                        found[index + 1] = (start - 4) >> 8
                        found[index + 2] = (position - start) & 255
                        found[index + 3] = (position - start) >> 8
                        break
                number = nexts[number]

    def _variable(self, packet: bytes, number: int) -> None:
        if number == 255:
            self._nothing()
            return
        found = self._found
        index = 4 * number
        start = 4 + (found[index] | found[index + 1] << 8)
        self._part(packet, start, start + (found[index + 2] | found[index + 3] << 8))

    def _text_field(self, session: Session, record: Record, field: int) -> None:
        if field < 4:
            self._stamp(record, field)
        elif field == 4:
            self._value(session.key)
        elif field == 5:
            self._value(b"" if session.node is None else self._name_of(session.node))
        elif field == 6:
            if record.cause:
                self._own(record.cause.encode())
            else:
                self._nothing()
        elif session.request_id:
            self._own(session.request_id)
        else:
            self._nothing()

    def _name_of(self, node: Node) -> bytes:
        """Its address as the log shows it; made once."""
        address = node.address
        if address is self._address:
            return self._name
        known = self._nodes.get(node.id)
        if known is None or known[0] is not address:
            if len(self._nodes) >= NODES_MOST:
                self._nodes.clear()
            known = self._nodes[node.id] = (address, address.text.encode("utf-8", "surrogateescape"))
        self._address, self._name = known
        return self._name

    def _number_field(self, session: Session, record: Record, field: int) -> None:
        if field == 0:
            self._whole(record.status)
        elif field == 1:
            self._whole(self._head_size(record) + self._body_size(record))
        elif field == 2:
            self._whole(self._body_size(record))
        elif field == 3:
            self._whole(self._head_size(record))
        elif field == 4:
            self._whole(self._announced(record.packet))
        elif field == 5:
            self._whole(int(record.ended + self._offset))
        elif field == 6:
            self._whole(int(record.began + self._offset))
        elif field == 7:
            self._whole(int((record.began + self._offset) * 1000.0))
        elif field == 8:
            self._whole(int((record.began + self._offset) * 1000000.0))
        elif field == 9:
            self._whole(int((record.ended - record.began) * 1000000.0))
        elif field == 10:
            self._whole(int((record.ended - record.began) * 1000.0))
        elif field == 11:
            self._whole(self._pid)
        elif field == 12:
            self._whole(self._wid)
        elif field == 13:
            self._whole(self._variables(record.packet))
        elif field == 14:
            self._whole(max(0, record.head.count(b"\n") - 2))
        elif field == 15:
            self._whole(max(0, len(record.packet) - 4))
        elif field == 16:
            self._whole(record.packet[0] if record.packet else 0)
        elif field == 17:
            self._whole(record.packet[3] if len(record.packet) > 3 else 0)
        elif field == 18:
            self._whole(self._vsz)
        elif field == 19:
            self._whole(self._rss)
        elif field == 20:
            self._whole(self._vsz // 1048576)
        elif field == 21:
            self._whole(self._rss // 1048576)
        else:
            self._whole(session.attempts)

    def _decimal_field(self, record: Record, field: int) -> None:
        began = record.began
        if field == 0:
            self._fraction(record.ended - began, 1000000)
        elif field == 1:
            self._between(began, record.sought)
        elif field == 2:
            self._between(record.dialled, record.connected)
        elif field == 3:
            self._between(record.connected, record.first)
        else:
            self._between(began, record.ended)

    # -- what fields are made of --------------------------------------------------------------------------------------

    def _head_size(self, record: Record) -> int:
        """Bytes of the response's head, as far as they are known."""
        return len(record.head)

    def _body_size(self, record: Record) -> int:
        """Bytes of the response behind its head; all of it, when its head was not kept."""
        return (record.own if record.own else record.tx) - len(record.head)

    def _announced(self, packet: bytes) -> int:
        found, index = self._found, 4 * self._length
        start = 4 + (found[index] | found[index + 1] << 8)
        size = found[index + 2] | found[index + 3] << 8
        digits = packet[start : start + min(size, 18)]
        return int(digits) if digits.isdigit() else 0

    def _variables(self, packet: bytes) -> int:
        """As uWSGI counts them: names and values."""
        view = packet
        count, position, end = 0, 4, len(packet)
        while position + 2 <= end:
            position += 2 + (view[position] | view[position + 1] << 8)
            count += 1
        return count

    def _stamp(self, record: Record, field: int) -> None:
        """When the request began, in one of four forms."""
        wall = record.began + self._offset
        second = int(wall)
        if second != self._second:
            self._second = second
            self._stamps = stamps(second, self._date)
        if field < 3:
            self._value(self._stamps[field]) if field == 2 else self._own(self._stamps[field])
            return
        self._own(self._stamps[3] + b".%03dZ" % int((wall - second) * 1000.0))

    # -- writing ------------------------------------------------------------------------------------------------------

    def _raw(self, data: bytes) -> None:
        out, at, view = self._out, self._at, data
        size = len(data)
        for index in range(size):
            out[at + index] = view[index]
        self._at = at + size

    def _nothing(self) -> None:
        self._raw(_NULL if self._is_json else _DASH)

    def _own(self, data: bytes) -> None:
        """A text that nobody else has a say in."""
        if self._is_json:
            self._out[self._at] = _QUOTE
            self._at += 1
        self._raw(data)
        if self._is_json:
            self._out[self._at] = _QUOTE
            self._at += 1

    def _value(self, data: bytes) -> None:
        self._part(data, 0, len(data))

    def _part(self, data: bytes, start: int, stop: int) -> None:
        """``data[start:stop]``, escaped; what is too long is cut."""
        if start == stop:
            self._nothing()
            return
        out, at, view, special = self._out, self._at, data, _SPECIAL
        most = (self._end - at) // 6  # a byte becomes so many at most
        if most > self._most:
            most = self._most
        elif most < 0:
            most = 0
        end = stop if stop - start <= most else start + most
        if self._is_json:
            out[at] = _QUOTE
            at += 1
        begin, size = at, end - start
        odd = 0
        for index in range(size):  # nearly every value is as it should be; one that is not is written anew
            byte = view[start + index]
            out[at + index] = byte
            odd |= special[byte]
        if not odd:
            at += size
            start = end
        index = start
        while index < end:
            byte = view[index]
            if not special[byte]:
                out[at] = byte
                at += 1
            elif byte >= 128 and self._is_json:
                self._at = begin
                at = self._foreign(data[start:end])
                break
            else:
                self._at = at
                self._escape(byte)
                at = self._at
            index += 1
        self._at = at
        if end < stop:
            self._raw(_CUT)
        if self._is_json:
            out[self._at] = _QUOTE
            self._at += 1

    def _escape(self, byte: int) -> None:
        out, at, digits = self._out, self._at, _HEXADECIMAL
        out[at] = _BACKSLASH
        if byte in (_QUOTE, _BACKSLASH):
            out[at + 1] = byte
            self._at = at + 2
            return
        at += 1
        if self._is_json:
            out[at] = 117
            out[at + 1] = 48
            out[at + 2] = 48
            at += 3
        else:
            out[at] = 120
            at += 1
        out[at] = digits[byte >> 4]
        out[at + 1] = digits[byte & 15]
        self._at = at + 2

    def _foreign(self, data: bytes) -> int:
        """A whole value for JSON that is not ASCII; what is no UTF-8 either is shown as in Python. Where it ends."""
        self._raw(json.dumps(data.decode("utf-8", "backslashreplace"), ensure_ascii=False)[1:-1].encode())
        return self._at

    def _whole(self, value: int) -> None:
        out, at = self._out, self._at
        if value < 0:
            out[at] = 45
            at += 1
            value = -value
        digits, size, limit = value, 1, 10
        while digits >= limit and size < 19:
            size += 1
            limit *= 10
        index = at + size
        self._at = index
        while index > at:
            index -= 1
            out[index] = 48 + digits % 10
            digits //= 10

    def _between(self, begin: float, end: float) -> None:
        """Milliseconds from one moment to another, unless one of them never came."""
        if begin and end and end >= begin:
            self._fraction(end - begin, 1000)
        else:
            self._nothing()

    def _fraction(self, seconds: float, unit: int) -> None:
        """Microseconds in units of so many."""
        micros = int(seconds * 1000000.0 + 0.5)
        self._whole(micros // unit)
        out, at, rest = self._out, self._at, micros % unit
        out[at] = 46
        if unit == 1000:
            out[at + 1] = 48 + rest // 100
            out[at + 2] = 48 + rest // 10 % 10
            out[at + 3] = 48 + rest % 10
            self._at = at + 4
            return
        self._whole(rest + unit)  # the digit in front of it keeps its zeros, and its place is the point's
        out[at] = 46


def stamps(second: int, date: str) -> list[bytes]:
    """One moment as ``ctime``, ``ltime``, ``ftime``, and as the beginning of ``isotime``."""
    local = time.localtime(second)
    apache = time.strftime("%d/%b/%Y:%H:%M:%S %z", local)
    written = time.strftime(date, local)[:64] if date else apache
    forms = (time.ctime(second), apache, written or "-", time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
    return [form.encode("utf-8", "backslashreplace") for form in forms]
