"""The log: whole lines, never a wait, never an exception; floods are told in one line."""

from __future__ import annotations

import fcntl
import os
import re
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import hypothesis_profiles
from uwsgirouter import log as module
from uwsgirouter.log import LINE_MAX, Log, Throttle, printable

hypothesis_profiles.load()

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


class Reader:
    """The other end of a log's pipe."""

    def __init__(self) -> None:
        self.end, self.descriptor = os.pipe()

    def read(self) -> bytes:
        """What waits, without waiting for more."""
        found = b""
        while select.select([self.end], [], [], 0)[0]:
            data = os.read(self.end, 1 << 20)
            if not data:
                break
            found += data
        return found

    def fill(self) -> int:
        """Fill the pipe to the brim; the bytes that it took."""
        flags = fcntl.fcntl(self.descriptor, fcntl.F_GETFL)
        fcntl.fcntl(self.descriptor, fcntl.F_SETFL, flags | os.O_NONBLOCK)
        took = 0
        try:
            while True:
                took += os.write(self.descriptor, b"x" * 4096)
        except BlockingIOError:
            fcntl.fcntl(self.descriptor, fcntl.F_SETFL, flags)
        return took

    def close(self) -> None:
        for descriptor in (self.end, self.descriptor):
            if descriptor >= 0:
                os.close(descriptor)
        self.end = self.descriptor = -1


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """A pipe where the log's descriptor is."""
    reader = Reader()
    monkeypatch.setattr(module, "DESCRIPTOR", reader.descriptor)
    yield reader
    reader.close()


# -- lines ----------------------------------------------------------------------------------------------------------


def test_lines_go_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    Log().line("hello")
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(STAMP + "hello\n", err)


def test_say_names_the_process(reader: Reader) -> None:
    Log("uwsgirouter master").say("started")
    assert re.fullmatch(STAMP + rf"\[uwsgirouter master pid {os.getpid()}\] started\n", reader.read().decode())


def test_the_time_is_that_of_the_line(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    for now in (1_000_000_000.9, 1_000_000_001.0, 1_000_000_000.0):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        log.line("x")
    expected = [
        time.strftime("%Y-%m-%d %H:%M:%S x", time.localtime(second))
        for second in (1_000_000_000, 1_000_000_001, 1_000_000_000)
    ]
    assert reader.read().decode().splitlines() == expected


def test_a_block_is_one_line_each(reader: Reader) -> None:
    Log("p").block("Traceback\n  File x\nError: y\n")
    lines = reader.read().decode().splitlines()
    assert [line.partition("] ")[2] for line in lines] == ["Traceback", "  File x", "Error: y"]


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "\udcff", "é\u2028", "\0", "x" * 100_000, "é" * 5000, "", "\n" * 9000]
)
def test_one_text_is_one_line_of_bounded_size(reader: Reader, text: str) -> None:
    log = Log()
    log.line(text)
    data = reader.read()
    assert data.count(b"\n") == 1 and data.endswith(b"\n") and b"\r" not in data
    assert len(data) <= LINE_MAX == select.PIPE_BUF
    assert log.dropped == 0


@settings(max_examples=30)
@given(st.text(max_size=200))
def test_any_text_is_one_line(text: str) -> None:
    reader = Reader()
    log = Log()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "DESCRIPTOR", reader.descriptor)
        log.line(text)
    data = reader.read()
    reader.close()
    assert re.fullmatch(STAMP.encode() + rb"[^\n\r]*\n", data)


def test_what_others_said_does_nothing_to_a_terminal(reader: Reader) -> None:
    Log().line("caf\xe9 \x1b[2J \x9b2J \u202e \t")
    assert reader.read().decode().endswith(r"café \x1b[2J \x9b2J \u202e \t".replace(r"caf\xe9", "caf\xe9") + "\n")


# -- a reader that does not read, or is not there -------------------------------------------------------------------


def test_a_full_pipe_drops_lines_and_counts_them(reader: Reader) -> None:
    log = Log()
    took = reader.fill()
    writer = threading.Thread(target=log.block, args=("lost\n" * 100,), daemon=True)
    writer.start()
    writer.join(10)
    assert not writer.is_alive(), "the log waited for its reader"
    assert log.dropped == 100
    assert reader.read() == b"x" * took
    log.line("kept")
    assert reader.read().endswith(b" kept\n")
    assert log.dropped == 100


def test_a_nearly_full_pipe_takes_whole_lines_only(reader: Reader) -> None:
    log = Log()
    for _ in range(40):
        log.line("y" * 5000)
    assert log.dropped > 0
    lines = reader.read().split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == 40 - log.dropped
    assert {len(line) for line in lines} == {LINE_MAX - 1}


def test_a_reader_that_went_away(reader: Reader) -> None:
    log = Log()
    os.close(reader.end)
    reader.end = -1
    log.line("x")
    log.say("y")
    assert log.dropped == 2


def test_a_closed_descriptor(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = os.dup(reader.descriptor)
    os.close(closed)
    monkeypatch.setattr(module, "DESCRIPTOR", closed)
    log = Log()
    log.line("x")
    assert log.dropped == 1


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(module, "DESCRIPTOR", full.fileno())
        log = Log()
        log.line("x")
    assert log.dropped == 1


# -- floods ---------------------------------------------------------------------------------------------------------


def test_a_burst_goes_through_and_the_rest_is_one_line() -> None:
    said: list[str] = []
    throttle = Throttle(said.append, 3)
    for number in range(10):
        throttle(f"line {number}", 100.0 + number / 100)
    assert said == ["line 0", "line 1", "line 2"]
    assert throttle.suppressed == 7
    throttle("next", 101.5)
    assert said[3:] == ["next [7 more lines of this sort were suppressed]"]
    assert throttle.suppressed == 0


def test_what_would_be_held_back_need_not_be_made() -> None:
    said: list[str] = []
    throttle = Throttle(said.append, 1)
    assert not throttle.holds_back(0.0)
    throttle("one", 0.0)
    assert [throttle.holds_back(0.5) for _ in range(3)] == [True] * 3
    assert not throttle.holds_back(1.0)
    throttle("two", 1.0)
    assert said == ["one", "two [3 more lines of this sort were suppressed]"]


def test_slow_lines_all_go_through() -> None:
    said: list[str] = []
    throttle = Throttle(said.append, 1)
    for number in range(5):
        throttle("x", 100.0 + number)
    assert said == ["x"] * 5


def test_flush_says_it_once() -> None:
    said: list[str] = []
    throttle = Throttle(said.append, 1)
    throttle.flush(9.0)
    assert said == []
    throttle("a", 10.0)
    throttle("b", 10.1)
    throttle.flush(10.5)
    assert said == ["a"], "the second's share is used up"
    throttle.flush(11.0)
    throttle.flush(11.1)
    assert said == ["a", "1 more lines of this sort were suppressed"]
    throttle("c", 11.2)
    assert said[2:] == [], "that line was this second's share"


@given(st.lists(st.floats(0, 0.7), max_size=60), st.integers(1, 4))
def test_no_more_than_the_share_in_any_window_and_none_uncounted(steps: list[float], burst: int) -> None:
    said: list[str] = []
    throttle = Throttle(said.append, burst)
    now = 50.0
    for step in steps:
        now += step
        throttle("x", now)
    throttle.flush(now + 1.0)
    shown = [line for line in said if line.startswith("x")]
    suppressed = [int(number) for line in said for number in re.findall(r"\d+", line)]
    assert len(shown) + sum(suppressed) == len(steps)
    assert len(said) <= burst * (int(now - 50.0) + 2)


# -- bytes from peers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", ""),
        (b"foo.com:80", "foo.com:80"),
        (b"a\nb\r\t\0", "a\\nb\\r\\t\\x00"),
        (b"\x1b[2J", "\\x1b[2J"),
        (b"\xe9\xff", "\\xe9\\xff"),
        (b"\\n", "\\\\n"),
        (b"k" * 200, "k" * 200),
        (b"k" * 201, "k" * 200 + "..."),
    ],
)
def test_printable(data: bytes, shown: str) -> None:
    assert printable(data) == shown


@given(st.binary(max_size=300))
def test_printable_is_plain_ascii_of_bounded_size_and_tells_keys_apart(data: bytes) -> None:
    shown = printable(data)
    assert shown.isascii() and (shown.isprintable() or not shown)
    assert len(shown) <= 803
    if len(data) <= 200:
        assert shown.encode().decode("unicode_escape").encode("latin-1") == data
