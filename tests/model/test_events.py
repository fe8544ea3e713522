"""Events travel as JSON rows and come back as they were; the last one of a node is all that counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.made import table, view
from uwsgirouter.model.events import Event, Gone, Put
from uwsgirouter.model.node import State
from uwsgirouter.protocol.messages import MessageReader, encode_message
from uwsgirouter.settings.address import NOWHERE, parse_peer

ADDRESSES = ["127.0.0.1:3031", "127.0.0.1:03031", "[0::1]:80", "/run/a.sock", "/tmp/é\udcff", "@name", ":3031"]


def puts() -> st.SearchStrategy[Put]:
    small = st.integers(0, 255)
    return st.builds(
        Put,
        id=st.integers(0, 5),
        key=st.one_of(st.sampled_from([b"", b"a", b"b"]), st.binary(max_size=20)),
        address=st.one_of(st.sampled_from(ADDRESSES).map(parse_peer), st.just(NOWHERE)),
        modifiers=st.tuples(small, small),
        weight=st.integers(1, 1_000_000),
        cores=st.integers(0, 100),
        load=st.integers(0, (1 << 63) - 1),
        state=st.sampled_from(State),
        since=st.floats(0, 1e9),
        vassal=st.binary(max_size=20),
        backup=st.integers(0, 3),
        algo=st.sampled_from(["", "wrr", "lrc", "no such"]),
        algo_since=st.floats(0, 1e9),
    )


@given(puts())
def test_a_row_survives_the_channel(event: Put) -> None:
    ((name, row),) = MessageReader().feed(encode_message("row", event.row()))
    assert name == "row"
    assert isinstance(row, list)
    assert Put.from_row(row) == event


@given(puts())
def test_an_event_can_be_made_from_the_node_that_it_made(event: Put) -> None:
    node = table().apply(event)
    assert node is not None
    assert Put.of(node) == event


def test_every_byte_of_a_key_survives() -> None:
    event = Put(1, bytes(range(255)), parse_peer("/a"), (255, 1), 2, 3, 4, State.DRAINING, 1.5, bytes(range(255)))
    assert Put.from_row(event.row()) == event


@pytest.mark.parametrize(
    "row",
    [
        [],
        [1],
        [1, "k", "/a", 0, 0, 1, 0, 0, "up", 0.0, "", 0, ""],
        ["1", "k", "/a", 0, 0, 1, 0, 0, "up", 0.0, "", 0, "", 0.0],
        [1, "k", "/a", 0, 0, 1, 0, 0, "?", 0, "", 0, "", 0.0],
        [1, "k", "/a", 0, 0, 1, 0, 0, "up", 0, "", "0", "", 0.0],
    ],
)
def test_a_row_of_another_shape_is_a_bug(row: list[object]) -> None:
    with pytest.raises((AssertionError, ValueError)):
        Put.from_row(row)


@given(st.lists(st.one_of(puts(), st.builds(Gone, st.integers(0, 5))), max_size=30), st.randoms())
def test_only_the_last_event_of_a_node_counts(events: list[Event], dice: object) -> None:
    """The whole story, the last events in their order, and those in any order end in one table."""
    whole, last, shuffled = table(), table(), table()
    for event in events:
        whole.apply(event)
    final = list({event.id: event for event in events}.values())
    for event in final:
        last.apply(event)
    dice.shuffle(final)  # type: ignore[attr-defined]
    for event in final:
        shuffled.apply(event)
    assert view(whole) == view(last) == view(shuffled)
