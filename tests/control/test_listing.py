"""The table of nodes: widths, spans of time, and nothing that a terminal would obey."""

from __future__ import annotations

import pytest

from uwsgirouter.control.base import shown
from uwsgirouter.control.listing import age, name, sort, table

NOW = 1_000_000.0


def row(**fields: object) -> dict[str, object]:
    made: dict[str, object] = {
        "key": "foo.com",
        "node": "127.0.0.1:3031",
        "state": "up",
        "order": "ready",
        "since": NOW - 65,
        "why": "announced",
        "weight": 1,
        "own_weight": 1,
        "cores": 0,
        "in_flight": 12,
        "load": 3,
        "backup": 0,
        "algo": "",
        "modifiers": [0, 0],
        "vassal": "",
        "announced": NOW - 2,
    }
    return made | fields


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (86399, "23h59m"),
        (86400, "1d00h"),
        (400 * 86400 + 7200, "400d02h"),
    ],
)
def test_age(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_columns_are_as_wide_as_their_cells() -> None:
    rows = [row(), row(key="a-long-key.example.com", weight=70, own_weight=3, cores=4, algo="lrc", announced=None)]
    head, first, second = table(rows, NOW)
    assert head.split() == (
        "KEY NODE STATE SINCE WEIGHT CORES IN FLIGHT LOAD BACKUP ALGO ANNOUNCED WHY".split()  # noqa: SIM905
    )
    assert first.split() == "foo.com 127.0.0.1:3031 up 1m05s 1 - 12 3 0 - 2s announced".split()  # noqa: SIM905
    assert second.split() == (
        "a-long-key.example.com 127.0.0.1:3031 up 1m05s 70 (3) 4 12 3 0 lrc - announced".split()  # noqa: SIM905
    )
    for title in ("NODE", "STATE", "ALGO", "WHY"):
        at = head.index(title)
        assert head[at - 2 : at] == first[at - 2 : at] == second[at - 2 : at] == "  "


def test_the_reason_is_cut_to_the_screen() -> None:
    lines = table([row(why="x" * 300), row(why="y" * 10)], NOW, 120)
    assert [len(line) <= 120 for line in lines] == [True] * 3
    assert lines[1].endswith("xx...") and lines[2].endswith("y" * 10)
    assert table([row(why="x" * 300)], NOW, 10)[1].endswith("  xxxxxxxxx...")
    assert "x" * 300 in table([row(why="x" * 300)], NOW)[1]


def test_nothing_reaches_the_terminal_as_it_was_announced() -> None:
    assert shown("\x1b[2Jcaf\xe9\udcff\n\u202e") == "\\x1b[2Jcaf\xe9\\xff\\n\\u202e"
    text = "\n".join(table([row(key="\x1b]0;x\x07", why="a\rb", node="\udcff")], NOW))
    assert text.replace("\n", "").isprintable()
    assert "\\x1b]0;x\\x07" in text and "a\\rb" in text


def test_a_vassal_without_an_address_goes_by_its_name() -> None:
    assert name(row(node="", vassal="one.ini")) == "vassal one.ini"


def test_an_absent_node_has_what_it_has() -> None:
    absent = {"key": "k", "node": "/a", "state": "absent", "order": "drain", "since": NOW, "why": "w", "weight": None}
    assert table([absent], NOW)[1].split() == ["k", "/a", "absent", "0s", *"-" * 7, "w"]


def test_the_nodes_of_a_key_keep_their_order() -> None:
    rows = [row(key="b", node="2"), row(key="a", node="9"), row(key="b", node="1")]
    assert [(one["key"], one["node"]) for one in sort(rows)] == [("a", "9"), ("b", "2"), ("b", "1")]
