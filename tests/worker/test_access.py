"""The lines of the access log, made by hand: what each field is, and that nothing in a request breaks one."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.protocol.packet import encode_packet
from uwsgirouter.settings.log_format import (
    DEFAULT,
    DEFAULT_JSON,
    MEANINGLESS,
    NAMES,
    LogFormat,
    json_format,
    line_format,
)
from uwsgirouter.worker import access, log_program
from uwsgirouter.worker.access import FLUSH_AT, LINE_MOST, VALUE_MOST, AccessLog, Choice
from uwsgirouter.worker.arrival import Arrival
from uwsgirouter.worker.log_program import Program
from uwsgirouter.worker.record import Record

REQUEST = [
    (b"REQUEST_METHOD", b"GET"),
    (b"REQUEST_URI", b"/a?b"),
    (b"HTTP_HOST", b"a.example"),
    (b"REMOTE_ADDR", b"10.0.0.1"),
    (b"SERVER_PROTOCOL", b"HTTP/1.1"),
    (b"CONTENT_LENGTH", b""),
]


@dataclass
class Address:
    text: str


@dataclass
class Node:
    id: int
    address: Address


class Numbers:
    def get(self, name: bytes) -> int:
        return {b"hits": 7}.get(name, 0)


@dataclass
class Journal:
    """An access log whose lines are kept."""

    form: LogFormat
    choice: Choice = field(default_factory=Choice)
    date: str = ""
    lines: list[bytes] = field(default_factory=list)
    begun: int = 0

    def __post_init__(self) -> None:
        self.log = AccessLog(Program(self.form), self.choice, self._take, self._begin, 3, self.date, Numbers())

    def _take(self, lines: memoryview) -> None:
        data = bytes(lines)
        assert data.endswith(b"\n")
        self.lines += data[:-1].split(b"\n")

    def _begin(self) -> None:
        self.begun += 1

    def line(self, session: Arrival, record: Record) -> str:
        """What a request's line is."""
        self.log(session, record)
        self.log.flush()
        return self.lines.pop().decode()


def session(key: bytes = b"a.example", attempts: int = 2, node: Any = None) -> Arrival:
    found = Arrival()
    found.begin(None, None)  # type: ignore[arg-type]
    found.key = key
    found.attempts = attempts
    found.node = node or Node(5, Address("127.0.0.1:3031"))
    found.request_id = b"abc"
    return found


def record(variables: Iterable[tuple[bytes, bytes]] = REQUEST, **fields: Any) -> Record:
    """Of a request that took 1.5 seconds."""
    found = Record(True)
    found.packet = encode_packet(variables, 9, 4)
    began = found.began
    found.sought = found.dialled = began + 0.001
    found.connected = began + 0.0035
    found.first = began + 1.0
    found.ended = began + 1.5
    found.status = 200
    found.head = b"HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\n"
    found.tx = len(found.head) + 5
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def written(text: str, variables: Iterable[tuple[bytes, bytes]] = REQUEST, **fields: Any) -> str:
    return Journal(line_format(text)).line(session(), record(variables, **fields))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("%(method) %(uri) %(proto)", "GET /a?b HTTP/1.1"),
        ("%(addr) %(host) %(user) %(referer) %(uagent)", "10.0.0.1 a.example - - -"),
        ("%(var.HTTP_HOST)|%(var.NONE)|%(var.)", "a.example|-|-"),
        ("%(status) %(size) %(rsize) %(hsize) %(headers)", "200 36 5 31 2"),
        ("%(vars) %(modifier1) %(modifier2) %(wid)", "12 9 4 3"),
        ("%(micros) %(msecs) %(secs)", "1500000 1500 1.500000"),
        ("%(queue_ms) %(connect_ms) %(ttfb_ms) %(total_ms)", "1.000 2.500 996.500 1500.000"),
        ("%(key) %(node) %(tries) %(cause) %(id)", "a.example 127.0.0.1:3031 2 - abc"),
        ("%(switches) %(core) %(rerr) %(werr) %(ioerr)", "- - - - -"),
        ("%(metric.hits) %(metric.none)", "7 0"),
        ("%(what) 100% %%(method)% (uri) %(uri", "- 100% %GET% (uri) %(uri"),
        ("", ""),
        ("only text", "only text"),
    ],
)
def test_fields(text: str, shown: str) -> None:
    if not text:
        assert line_format(text).parts == ()
        return
    assert re.sub(r"(?<=\.\d\d)[019]+", lambda found: found[0], written(text)) == shown


def test_every_name_has_a_step_or_means_nothing() -> None:
    assert set(log_program.STEPS) | set(MEANINGLESS) | {"uri", "method", "user", "addr", "host", "proto"} | {
        "uagent",
        "referer",
    } == set(NAMES)


def test_times() -> None:
    now = time.time()
    line = written("%(time) %(tmsecs) %(tmicros) %(epoch) %(ctime)|%(ltime)|%(ftime)|%(isotime)")
    first, ltime, ftime, isotime = line.split("|")
    begun, tmsecs, tmicros, epoch, ctime = first.split(" ", 4)
    assert abs(int(begun) - now) < 30
    assert int(tmsecs) // 1000 == int(begun) == int(tmicros) // 1_000_000
    assert int(epoch) in (int(begun) + 1, int(begun) + 2)
    assert ctime == time.ctime(int(begun))
    assert ltime == ftime == time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(int(begun)))
    assert isotime.startswith(time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(int(begun))))
    assert re.fullmatch(r".*\.\d{3}Z", isotime)


def test_ftime_is_written_as_asked() -> None:
    journal = Journal(line_format("%(ftime)"), date="%Y!")
    assert journal.line(session(), record()) == time.strftime("%Y!")


def test_memory_of_the_worker() -> None:
    vsz, rss, vsz_mb, rss_mb = map(int, written("%(vsz) %(rss) %(vszM) %(rssM)").split())
    assert vsz > rss > 1 << 20
    assert (vsz_mb, rss_mb) == (vsz >> 20, rss >> 20)


def test_what_never_came() -> None:
    """A failure before any node: a dash for each moment that never was."""
    found = record(sought=0.0, dialled=0.0, connected=0.0, first=0.0, head=b"", tx=0, own=321, status=503)
    found.cause = "no-node"
    alone = session(attempts=0)
    alone.node = None
    text = "%(status) %(size) %(node) %(tries) %(queue_ms) %(connect_ms) %(ttfb_ms) %(cause)"
    assert Journal(line_format(text)).line(alone, found) == "503 321 - 0 - - - no-node"


def test_the_last_of_a_name_counts() -> None:
    twice = [*REQUEST, (b"REQUEST_URI", b"/last")]
    assert written("%(uri) %(var.REQUEST_URI)", twice) == "/last /last"


def test_logvars() -> None:
    assert written("%(site) %(other)", logvars={b"site": b"blue\n"}) == "blue\\x0a -"


def test_length_of_the_body() -> None:
    for value, shown in ((b"", "0"), (b"12", "12"), (b"x", "0"), (b"9" * 40, "9" * 18)):
        assert written("%(cl)", [*REQUEST, (b"CONTENT_LENGTH", value)]) == shown


def test_names_that_look_alike() -> None:
    """The search compares whole names, whatever their ends and lengths have in common."""
    variables = [(b"HTTP_HXST", b"wrong"), (b"HTTP_HOST", b"right"), (b"HTTP_HYST", b"wrong")]
    assert written("%(host) %(var.HTTP_HYST)", variables) == "right wrong"


def test_malformed_packets_are_no_trouble() -> None:
    """Of a request that was refused for its packet there is a line, too."""
    for packet in (b"", b"\0", b"\0\xff\xff\0abc", b"\0\3\0\0\1\0\0", b"\0\4\0\0\0\0\0\0", b"\0\5\0\0\1\0x\xff\xff"):
        assert written("%(uri) %(pktsize)", packet=packet).startswith("- ")
        assert re.fullmatch(r"\d+", written("%(vars)", packet=packet))


NASTY = st.binary(max_size=60) | st.sampled_from(
    [b'"', b"\\", b"\n", b"\r\n", b"\0", b"\x7f", b"\xff", "é\u2028".encode()]
)


@given(NASTY, NASTY, NASTY)
def test_nothing_breaks_a_line(uri: bytes, agent: bytes, key: bytes) -> None:
    found = record([(b"REQUEST_URI", uri), (b"HTTP_USER_AGENT", agent)], logvars={b"v": uri})
    journal = Journal(line_format('"%(uri)" "%(uagent)" %(key) "%(v)"'))
    line = journal.line(session(key=key), found)
    assert line.isascii() and line.isprintable()
    assert len(re.findall(r'(?<!\\)(?:\\\\)*"', line)) == 6 and not journal.lines


@given(NASTY, NASTY, NASTY)
def test_nothing_breaks_json(uri: bytes, agent: bytes, key: bytes) -> None:
    found = record([(b"REQUEST_URI", uri), (b"HTTP_USER_AGENT", agent)], logvars={b"v": uri})
    journal = Journal(json_format("uri uagent key v"))
    journal.log(session(key=key), found)
    journal.log.flush()
    (line,) = journal.lines
    values = json.loads(line.decode("utf-8"))
    for name, value in {"uri": uri, "uagent": agent, "key": key, "v": uri}.items():
        assert values[name] == (value.decode("utf-8", "backslashreplace") if value else None)


def test_the_usual_json() -> None:
    """Numbers are numbers, and what is not there is null."""
    values = json.loads(Journal(json_format(DEFAULT_JSON)).line(session(), record()))
    assert list(values) == DEFAULT_JSON.split()
    types = {name: type(value).__name__ for name, value in values.items() if value is not None}
    assert {name for name, kind in types.items() if kind == "int"} == {"status", "size", "tries", "wid"}
    assert {name for name, kind in types.items() if kind == "float"} == {
        "queue_ms",
        "connect_ms",
        "ttfb_ms",
        "total_ms",
    }
    assert values["cause"] is None and values["user"] is None


def test_json_keys_may_be_others() -> None:
    form = json_format("site=var.HTTP_HOST, %(status)")
    assert json.loads(Journal(form).line(session(), record())) == {"site": "a.example", "status": 200}


def test_long_values_are_cut() -> None:
    line = written("%(uri)|%(method)", [(b"REQUEST_URI", b"/" * 60000), (b"REQUEST_METHOD", b"GET")])
    assert line == "/" * VALUE_MOST + "...|GET"


@pytest.mark.parametrize("make", [line_format, json_format])
def test_a_line_has_its_bound(make: Any) -> None:
    """However many long and hostile values it has, and whole values that follow them still stand there."""
    names = [b"V%02d" % number for number in range(15)]
    form = make(" ".join(f"%(var.{name.decode()})" for name in names) + " %(status)")
    journal = Journal(form)
    journal.log(session(), record([(name, b"\x01" * 4300) for name in names]))
    journal.log.flush()
    (line,) = journal.lines
    assert len(line) < LINE_MOST
    if form.keys:
        assert json.loads(line)["status"] == 200
    else:
        assert line.endswith(b" 200")
    assert journal.log.lost == 0


@pytest.mark.parametrize(
    ("choice", "fields", "logged"),
    [
        (Choice(False), {}, False),
        (Choice(False, client_errors=True), {"status": 404}, True),
        (Choice(False, client_errors=True), {"status": 500}, False),
        (Choice(False, server_errors=True), {"status": 503}, True),
        (Choice(False, server_errors=True), {"status": 499}, False),
        (Choice(False, slow=1.5), {}, True),
        (Choice(False, slow=1.6), {}, False),
        (Choice(False, zero=True), {}, False),
        (Choice(False, zero=True), {"tx": 31}, True),
        (Choice(False, big=5), {}, True),
        (Choice(False, big=6), {}, False),
        (Choice(True), {"unlogged": True}, False),
        (Choice(True, server_errors=True), {}, True),
    ],
)
def test_which_requests(choice: Choice, fields: dict[str, Any], logged: bool) -> None:
    journal = Journal(line_format("x"), choice)
    found = record(**fields)
    found.ended = found.began + 1.5625  # without rounding
    journal.log(session(), found)
    journal.log.flush()
    assert journal.lines == [b"x"] * logged
    assert journal.begun == logged


def test_lines_are_given_away_when_there_are_many() -> None:
    journal = Journal(line_format(DEFAULT))
    one, other, count = session(), record(), 0
    while not journal.lines:
        journal.log(one, other)
        count += 1
    assert len(journal.lines) == count and journal.begun == 1
    assert FLUSH_AT <= sum(len(line) + 1 for line in journal.lines) < FLUSH_AT + 500


def test_a_fault_in_a_line_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that is closing goes on, and no half line is left."""
    journal = Journal(line_format("%(method) %(metric.hits)"))

    def fail(self: Numbers, name: bytes) -> int:
        raise ValueError

    monkeypatch.setattr(Numbers, "get", fail)
    journal.log(session(), record())
    journal.log.flush()
    assert journal.log.lost == 1 and not journal.lines


def test_names_of_nodes_are_kept_while_they_are_right() -> None:
    journal = Journal(line_format("%(node)"))
    one, other = Node(1, Address("a:1")), Node(1, Address("b:1"))
    for node, shown in ((one, "a:1"), (one, "a:1"), (other, "b:1"), (one, "a:1")):
        assert journal.line(session(node=node), record()) == shown
    for number in range(access.NODES_MOST + 2):
        assert journal.line(session(node=Node(number, Address(f"n{number}"))), record()) == f"n{number}"
