"""What one peer of the control socket says, and what it is answered: lines in, lines out, as much as is asked for.

One idea: an answer is an iterator of lines, and only so much of it is made as the peer takes. The next request is not
looked at before the answer to the one before it is out, and nothing more is read meanwhile. So whatever a peer does, it
costs one request's line and one piece of an answer. An answer may also have nothing more to say for now (it yields
None): it goes on when :meth:`Conversation.look` finds that it has, until the peer speaks or leaves. Sans-IO: it knows
no socket and no clock but the ``now`` that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from itertools import islice

LINE_MAX = 8192
"""Bytes of a request."""
PIECE_LINES = 50
"""Lines of an answer that are made at a time: about a millisecond's work."""

REQUEST_SECONDS = 10.0
"""For a request to be complete after its first byte."""
ANSWER_SECONDS = 60.0
"""For an answer to be taken as a whole."""
IDLE_SECONDS = 300.0
"""Between two requests."""
ALIVE_SECONDS = 10.0
"""An answer that goes on says at least so often that it does."""
ALIVE = b'{"alive":true}\n'


Lines = Iterator["bytes | None"]
"""The lines of an answer, without their ends; None: no more for now."""


class Phase(Enum):
    """What is going on; the value is what a peer did that took too long."""

    IDLE = "said nothing"
    REQUEST = "did not end its request"
    ANSWER = "did not take its answer"
    FOLLOWING = "did not take the news"


_SECONDS = {
    Phase.IDLE: IDLE_SECONDS,
    Phase.REQUEST: REQUEST_SECONDS,
    Phase.ANSWER: ANSWER_SECONDS,
    Phase.FOLLOWING: ANSWER_SECONDS,
}


class Conversation:
    """``answer`` gives the lines for a request's line; both without their ends. ``complain`` makes the last answer."""

    def __init__(self, answer: Callable[[bytes], Lines], complain: Callable[[str], Lines], now: float) -> None:
        self._answer = answer
        self._complain = complain
        self._in = bytearray()
        self._lines: Lines | None = None
        self._spoke = now
        self._ended = False
        self.out = b""
        """What is to be sent; whoever sends calls :meth:`sent`."""
        self.phase = Phase.IDLE
        self.deadline = now + IDLE_SECONDS

    @property
    def wants_input(self) -> bool:
        """Whether anything more should be read."""
        return not self._ended and self.phase is not Phase.ANSWER and not self.out

    @property
    def over(self) -> bool:
        """Whether nothing is left to be said on either side."""
        return self._ended and self.phase is not Phase.ANSWER

    @property
    def follows(self) -> bool:
        """Whether its answer goes on."""
        return self.phase is Phase.FOLLOWING

    def feed(self, data: bytes, now: float) -> None:
        """Bytes of the peer; none: it says no more."""
        if self.phase is Phase.FOLLOWING:
            self._stop_following(now)
        if data:
            self._in += data
        else:
            self._ended = True
            if self._in and not self._in.endswith(b"\n"):
                self._in += b"\n"  # a last line may do without its end
        self._next(now)

    def end(self, reason: str, now: float) -> None:
        """Answer ``reason`` and no request more."""
        self._ended = True
        self._in.clear()
        self._begin(self._complain(reason), now)

    def compose(self) -> bytes:
        """What is to be sent now; the next piece of the answer is made when the last one is out."""
        if not self.out and self._lines is not None:
            self.out = b"".join(self._piece(self._lines))
        return self.out

    def _piece(self, lines: Lines) -> Iterator[bytes]:
        count = 0
        for line in islice(lines, PIECE_LINES):
            if line is None:
                # Who has said that it says no more cannot say when it has enough: it gets what there is.
                self.phase = Phase.ANSWER if self._ended else Phase.FOLLOWING
                if self._ended:
                    self.drop()
                    self._lines = iter(())
                return
            count += 1
            yield line + b"\n"
        if count < PIECE_LINES:
            self.phase = Phase.ANSWER

    def look(self, now: float) -> bool:
        """Whether an answer that goes on has something to be sent. Called often, and at least once a second."""
        if self.phase is not Phase.FOLLOWING:
            return False
        if not self.out:
            # Nobody who takes all there is can be late.
            self.deadline = now + ANSWER_SECONDS
            if self.compose():
                self._spoke = now
            elif now - self._spoke >= ALIVE_SECONDS:
                self._spoke = now
                self.out = ALIVE
        return bool(self.out)

    def drop(self) -> None:
        """The peer is gone: an answer that goes on hears so (its generator is closed)."""
        lines, self._lines = self._lines, None
        close = getattr(lines, "close", None)
        if close is not None:
            close()

    def _stop_following(self, now: float) -> None:
        self.drop()
        self._turn(Phase.IDLE, now)

    def sent(self, count: int, now: float) -> None:
        """So many bytes of :attr:`out` went out, none if there were none."""
        if count == len(self.out) == 0 and self._lines is not None and self.phase is Phase.ANSWER:
            self._lines = None
            self._next(now)
        self.out = self.out[count:]

    def _next(self, now: float) -> None:
        """Turn to the next request if it is there."""
        if self._lines is not None:
            return
        line, found, rest = self._in.partition(b"\n")
        if len(line) > LINE_MAX:
            self.end(f"a request has at most {LINE_MAX} bytes", now)
        elif found:
            self._in = rest
            self._begin(self._answer(bytes(line)), now)
        else:
            self._turn(Phase.REQUEST if self._in else Phase.IDLE, now)

    def _begin(self, lines: Lines, now: float) -> None:
        self._lines = lines
        self._turn(Phase.ANSWER, now, again=True)

    def _turn(self, phase: Phase, now: float, again: bool = False) -> None:
        """A phase has its time, however often it is said that it goes on."""
        if phase is not self.phase or again:
            self.phase = phase
            self.deadline = now + _SECONDS[phase]
