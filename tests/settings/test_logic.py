"""Conditions and loops, as they act on the lines of a file."""

from __future__ import annotations

import socket

import pytest

from tests.settings.files import Files
from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.table import BY_NAME, OPTIONS, Type

HOST = socket.gethostname()

HOLDS = [
    ("if-env = THERE", "value"),
    ("ifenv = THERE", "value"),
    ("if-env = THERE=value", "value"),
    ("if-not-env = GONE", ""),
    ("if-not-env = THERE=other", ""),
    ("if-file = file", "file"),
    ("if-not-file = dir", "dir"),
    ("if-dir = dir", "dir"),
    ("if-directory = dir", "dir"),
    ("if-not-dir = file", "file"),
    ("if-exists = dir", "dir"),
    ("if-not-exists = gone", "gone"),
    ("if-opt = earlier", "1"),
    ("if-opt = earlier=1", "1"),
    ("if-not-opt = later", ""),
    ("if-not-opt = earlier=2", ""),
    (f"if-hostname = {HOST}", HOST),
    ("if-not-hostname = no.such.host", "no.such.host"),
    (f"if-hostname-match = ^{HOST[0]}", f"^{HOST[0]}"),
    ("if-not-hostname-match = ^$", "^$"),
    ("if-plugin = fastrouter", "fastrouter"),
    ("if-not-plugin = python", "python"),
    ("if-not-reload", ""),
]

FAILS = [
    "if-env = GONE",
    "if-env = THERE=other",
    "if-not-env = THERE",
    "if-not-env = THERE=value",
    "if-file = dir",
    "if-file = gone",
    "if-not-file = file",
    "if-dir = file",
    "if-not-dir = dir",
    "if-exists = gone",
    "if-not-exists = file",
    "if-opt = later",
    "if-opt = earlier=2",
    "if-not-opt = earlier",
    "if-hostname = no.such.host",
    f"if-not-hostname = {HOST}",
    "if-hostname-match = ^$",
    "if-not-hostname-match = .",
    "if-plugin = python",
    "if-not-plugin = corerouter",
    "if-reload",
]


@pytest.fixture
def world(files: Files) -> Files:
    files.environment = {"THERE": "value"}
    files.write("file", "x")
    files.write("dir/inside", "x")
    return files


@pytest.mark.parametrize(("opening", "word"), HOLDS)
def test_a_condition_that_holds(world: Files, opening: str, word: str) -> None:
    text = f"earlier = 1\n{opening}\na = [%(_)]\nb = 2\nelse\nc = 3\nendif\nlater = 4\n"
    assert world.pairs(text) == [("earlier", "1"), ("a", f"[{word}]"), ("b", "2"), ("later", "4")]


@pytest.mark.parametrize("opening", FAILS)
def test_a_condition_that_does_not_hold(world: Files, opening: str) -> None:
    text = f"earlier = 1\n{opening}\na = [%(_)]\nelse =\nc = 3\nend-if =\nlater = 4\n"
    assert world.pairs(text) == [("earlier", "1"), ("c", "3"), ("later", "4")]


def test_every_condition_of_the_table_is_tried_both_ways() -> None:
    wanted = {option.name for option in OPTIONS if option.type is Type.LOGIC and option.name.startswith("if-")}
    for openings in ([opening for opening, _ in HOLDS], FAILS):
        tried = {BY_NAME[opening.split(" =")[0]].name for opening in openings}
        assert wanted - tried <= {"if-reload", "if-not-reload"}


def test_loops(world: Files) -> None:
    world.write("lines", "one\n  two  \n\nthree")
    world.write("dir/b.ini", "")
    world.write("dir/a.ini", "")
    assert world.pairs("for = 1 2  3\na = x%(_)\nb = %(_)%(_)\nendfor =\n") == [
        ("a", "x1"),
        ("a", "x2"),
        ("a", "x3"),
        ("b", "11"),
        ("b", "22"),
        ("b", "33"),
    ]
    assert world.pairs("for-glob = dir/*.ini\na = %(_)\nend-for") == [("a", "dir/a.ini"), ("a", "dir/b.ini")]
    assert world.pairs(f"for-glob = {world.directory}/d*\na = %(_)\nend") == [("a", f"{world.directory}/dir/")]
    assert world.pairs("for-glob = gone*\na = %(_)\nendfor") == [("a", "gone*")]
    assert world.pairs("for-readline = lines\na = [%(_)]\nendfor") == [
        ("a", "[one]"),
        ("a", "[  two  ]"),
        ("a", "[]"),
        ("a", "[three]"),
    ]
    assert world.pairs("for-times = 3\na = %(_)\nendfor") == [("a", "1"), ("a", "2"), ("a", "3")]
    assert world.pairs("for =\na = 1\nendfor\nb = 2") == [("b", "2")]


def test_files_and_placeholders_inside_a_block(world: Files) -> None:
    world.write("x.ini", "[uwsgi]\nif-env = THERE\nfrom-x = %(_)\nendif")
    text = "for = x y\nset-ph = p%(_)=%(_)\nendfor\nif-env = THERE\nini = x.ini\nendif\na = %(px)%(py)"
    assert ("a", "xy") in world.pairs(text)
    assert ("from-x", "value") in world.pairs(text)


def test_a_circle_of_conditions_is_decided_once_at_its_opening(world: Files) -> None:
    assert world.pairs("if-not-opt = a\na = 1\nb = 2\nendif") == [("a", "1"), ("b", "2")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "if-env = A\nfor = 1\nendfor\nendif",
            r"router.conf:3: for inside if-env \(router.conf:2\): blocks do not nest",
        ),
        ("else = ", "router.conf:2: else without an if"),
        ("for = 1\nelse =\nendfor", "router.conf:3: else stands in a for block"),
        ("for-readline = gone\nendfor", "router.conf:2: for-readline = gone: No such file"),
        ("for-times = many\nendfor", "router.conf:2: for-times = many: expected a whole number"),
        ("if-hostname-match = (\nendif", "router.conf:2: '\\(' is no regular expression"),
    ],
)
def test_mistakes(world: Files, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        world.gathered(text)


def test_an_open_block_ends_with_its_file_and_says_so(world: Files) -> None:
    world.write("x.ini", "[uwsgi]\nif-env = GONE\na = 1")
    found = world.gathered("ini = x.ini\nb = 2\nfor = 1 2\nc = 3")
    assert [entry.name for entry in found.entries] == ["-c", "ini", "b", "c", "c"]
    assert found.notices == [
        "x.ini:2: if-env has no endif; it ends with its file",
        "router.conf:4: for has no endfor; it ends with its file",
    ]


def test_logic_on_the_command_line(world: Files) -> None:
    source = world.source("--for", "1 2", "--fastrouter-to", "127.0.0.1:303%(_)", "--endfor")
    entries = source.gather().entries
    assert [entry.text for entry in entries] == ["127.0.0.1:3031", "127.0.0.1:3032"]


def test_if_reload_knows_the_second_reading(world: Files) -> None:
    text = "[uwsgi]\nfastrouter = :3017\nfastrouter-to = 127.0.0.1:1\nif-reload\nlisten = 7\nelse\nlisten = 8\nendif"
    world.write("router.conf", text)
    source = world.source("router.conf")
    assert [source.load().number("listen"), source.load().number("listen"), source.load().number("listen")] == [8, 7, 7]
