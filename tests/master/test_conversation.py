"""A peer of the control socket, without a socket: lines in any pieces, answers in any pieces, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.master.conversation import (
    ALIVE,
    ALIVE_SECONDS,
    ANSWER_SECONDS,
    IDLE_SECONDS,
    LINE_MAX,
    PIECE_LINES,
    REQUEST_SECONDS,
    Conversation,
    Phase,
)


def echo(line: bytes) -> Iterator[bytes]:
    """As many lines as the first byte says, and one more."""
    return iter([b"%d " % number + line for number in range(line[0] if line else 0)] + [b"end"])


def complain(reason: str) -> Iterator[bytes]:
    return iter([b"no: " + reason.encode()])


def conversation() -> Conversation:
    return Conversation(echo, complain, 0.0)


def drain(talk: Conversation, take: int = 1 << 20) -> bytes:
    """All that it has to say, taken in pieces of ``take`` bytes."""
    said = b""
    while not talk.wants_input and not talk.over:
        data = talk.compose()[:take]
        said += data
        talk.sent(len(data), 0.0)
    return said


@given(
    st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=6),
    st.lists(st.integers(1, 30)),
    st.integers(1, 100),
    st.booleans(),
)
def test_any_pieces_make_the_same_conversation(lines: list[bytes], sizes: list[int], take: int, last_end: bool) -> None:
    sent = b"".join(line + b"\n" for line in lines)
    if lines and lines[-1] and not last_end:
        sent = sent[:-1]
    talk = conversation()
    said = b""
    for size in (*sizes, len(sent)):
        piece, sent = sent[:size], sent[size:]
        if piece:
            talk.feed(piece, 0.0)
            said += drain(talk, take)
    talk.feed(b"", 0.0)
    said += drain(talk, take)
    assert said == b"".join(answer + b"\n" for line in lines for answer in echo(line))
    assert talk.over


def test_an_answer_is_made_while_it_is_taken() -> None:
    made = count()
    endless = Conversation(lambda line: (b"%d" % number for number in made), complain, 0.0)
    endless.feed(b"go\ngo\n", 0.0)
    assert not endless.wants_input
    for _ in range(3):
        assert endless.compose() == endless.compose(), "nothing more before this is out"
        endless.sent(len(endless.compose()) - 1, 0.0)
        assert len(endless.compose()) == 1
        endless.sent(1, 0.0)
    assert next(made) == 3 * PIECE_LINES


def test_a_line_without_an_end_is_the_last_one() -> None:
    talk = conversation()
    talk.feed(b"x" * LINE_MAX, 1.0)
    assert talk.wants_input
    talk.feed(b"xx", 1.0)
    assert drain(talk) == b"no: a request has at most %d bytes\n" % LINE_MAX
    assert talk.over


def test_each_phase_has_its_time() -> None:
    talk = conversation()
    assert (talk.phase, talk.deadline) == (Phase.IDLE, IDLE_SECONDS)
    for now in (2.0, 5.0, 8.0):
        talk.feed(b"x", now)
        assert (talk.phase, talk.deadline) == (Phase.REQUEST, 2.0 + REQUEST_SECONDS), "a trickle does not prolong it"
    talk.feed(b"\n", 9.0)
    assert (talk.phase, talk.deadline) == (Phase.ANSWER, 9.0 + ANSWER_SECONDS)
    talk.compose()
    talk.sent(1, 20.0)
    assert talk.deadline == 9.0 + ANSWER_SECONDS, "nor does this"
    talk.sent(len(talk.out), 21.0)
    while talk.compose():
        talk.sent(len(talk.out), 22.0)
    talk.sent(0, 23.0)
    assert (talk.phase, talk.deadline) == (Phase.IDLE, 23.0 + IDLE_SECONDS)


# -- answers that go on --------------------------------------------------------------------------------------------


class Newspaper:
    """An answer that goes on: what is put into ``news`` comes, until ``over``."""

    def __init__(self) -> None:
        self.news: list[bytes] = []
        self.over = False
        self.closed = False

    def __call__(self, line: bytes) -> Iterator[bytes | None]:
        try:
            while not self.over or self.news:
                yield self.news.pop(0) if self.news else None
            yield b"end"
        finally:
            self.closed = True


def following() -> tuple[Newspaper, Conversation]:
    paper = Newspaper()
    talk = Conversation(paper, complain, 0.0)
    talk.feed(b"news\n", 0.0)
    assert talk.compose() == b""
    talk.sent(0, 0.0)
    assert talk.follows and talk.wants_input
    return paper, talk


def taken(talk: Conversation, now: float) -> bytes:
    said = b""
    while talk.look(now) or talk.out:
        said += talk.out
        talk.sent(len(talk.out), now)
    return said


def test_what_is_new_comes_when_it_is_there() -> None:
    paper, talk = following()
    assert taken(talk, 1.0) == b""
    paper.news += [b"one", b"two"]
    assert taken(talk, 2.0) == b"one\ntwo\n"
    assert talk.follows


def test_silence_says_that_it_is_alive() -> None:
    _, talk = following()
    assert taken(talk, ALIVE_SECONDS - 1) == b""
    assert taken(talk, ALIVE_SECONDS) == ALIVE
    assert taken(talk, ALIVE_SECONDS + 1) == b""
    assert talk.deadline > 10 * ALIVE_SECONDS / 2, "who takes it all is never late"


def test_an_answer_that_ends_makes_room_for_the_next() -> None:
    paper, talk = following()
    paper.over = True
    paper.news.append(b"last")
    assert talk.look(1.0)
    assert drain(talk) == b"last\nend\n"
    assert talk.phase is Phase.IDLE and paper.closed


def test_another_request_ends_the_news() -> None:
    paper, talk = following()
    talk.feed(b"again\n", 1.0)
    assert paper.closed
    talk.compose()
    assert talk.follows


def test_a_peer_that_ends_ends_the_news() -> None:
    paper, talk = following()
    talk.feed(b"", 1.0)
    assert paper.closed and talk.over


def test_who_has_ended_gets_what_there_is() -> None:
    paper = Newspaper()
    paper.news.append(b"old")
    talk = Conversation(paper, complain, 0.0)
    talk.feed(b"news", 0.0)
    talk.feed(b"", 0.0)
    assert drain(talk) == b"old\n"
    assert talk.over and paper.closed


def test_a_peer_that_takes_nothing_is_late() -> None:
    paper, talk = following()
    paper.news.append(b"one")
    assert talk.look(1.0)
    assert not talk.wants_input
    before = talk.deadline
    talk.look(500.0)
    assert talk.deadline == before
