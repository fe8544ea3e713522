"""The documents: JSON and metrics that can be read, whatever anybody calls a key."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.stats.made import memory, picture
from uwsgirouter.model.counters import Counter
from uwsgirouter.model.measures import KEY, KEY_CELLS, ROW_CELLS, ROWS_USED, STATUS
from uwsgirouter.stats.document import document
from uwsgirouter.stats.exposition import exposition
from uwsgirouter.stats.figures import Figures, Process

KEYS = st.one_of(st.binary(min_size=1, max_size=60), st.text(min_size=1, max_size=20).map(str.encode))


def read(pieces: list[bytes]) -> Any:
    """The document; text that is no JSON is an error."""
    return json.loads(b"".join(pieces))


@given(st.lists(st.tuples(KEYS, st.binary(max_size=20)), max_size=6, unique_by=lambda pair: pair[0]), st.booleans())
@settings(deadline=None, max_examples=50)
def test_any_key_and_vassal_is_json(names: list[tuple[bytes, bytes]], minified: bool) -> None:
    found = picture((key, f"127.0.0.1:{port}", vassal) for port, (key, vassal) in enumerate(names, 1))
    pieces = document(Figures(found), minified)
    rows = read(pieces)["subscriptions"]
    assert [row["key"] for row in rows] == [key.decode("utf-8", "backslashreplace") for key, _ in names]
    assert [row["nodes"][0]["name"] for row in rows] == [f"127.0.0.1:{port}" for port in range(1, len(names) + 1)]
    assert b"\n" not in b"".join(pieces) or not minified


def put_key(key: bytes, requests: int) -> None:
    """One more row of the worker's measures."""
    part = memory()[2].part(0)
    number = max(1, part[ROWS_USED])
    place = number * ROW_CELLS
    part[place + KEY : place + KEY + KEY_CELLS] = memoryview(key.ljust(8 * KEY_CELLS, b"\0")).cast("q")
    part[place + ROWS_USED] = len(key)
    part[place + STATUS + 2] = requests
    part[ROWS_USED] = number + 1


def test_keys_that_are_written_alike_are_one_series() -> None:
    """A series that is there twice would make the whole text invalid."""
    for key in (b"other", b"\xff", b"\\xff", b'a"\n\\b', b"\x00"):
        put_key(key, 3)
    figures = Figures(picture())
    found = {}
    for family in parse(exposition(figures, "")[1].decode()):
        for sample in family.samples:
            assert (sample.name, tuple(sample.labels.items())) not in found
            found[sample.name, tuple(sample.labels.items())] = sample.value
    shown = {dict(labels)["key"]: value for (name, labels), value in found.items()
             if name == "uwsgirouter_responses_total" and ("class", "2xx") in labels}  # fmt: skip
    assert shown == {"other": 3, "\\xff": 6, 'a"\n\\b': 3, "\x00": 3}
    assert {row["key"] for row in read(document(figures))["uwsgirouter"]["keys"]} == set(shown)


def test_an_accept_header_of_nonsense_gets_the_plain_text() -> None:
    for accept in (
        "",
        "application/openmetrics-text;version=x.y",
        "a/b;q=2",
        "text/plain;version=",
        ";;,,",
        "application/openmetrics-text;version=1.0.0;escaping=x",
        "text/plain;version=1.0.0;escaping=y",
    ):
        kind, text = exposition(Figures(picture()), accept)
        assert text.startswith(b"# HELP uwsgirouter_") and "text" in kind


def test_cheap_is_what_all_workers_say() -> None:
    counters = memory()[0]
    assert read(document(Figures(picture())))["cheap"] == 0
    counters.row(0)[Counter.CHEAP] = 1
    shown = read(document(Figures(picture())))
    assert (shown["cheap"], shown["uwsgirouter"]["workers"][0]["state"]) == (1, "cheap")
    counters.row(0)[Counter.CHEAP] = 0


def test_a_process_that_is_gone_has_nothing() -> None:
    assert Process.of(1 << 22) == Process(0, 0.0)
