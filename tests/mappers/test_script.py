"""A Python function says which node: the manual's scripts, uWSGI's bytes, mistakes of every kind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mappers.made import World, only, places
from uwsgirouter.errors import BadTarget, BootError
from uwsgirouter.mappers.key import Key
from uwsgirouter.mappers.script import MODULE, ScriptMapper, load
from uwsgirouter.settings.targets import CodeString


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """The script's module is not left behind."""
    yield
    sys.modules.pop(MODULE, None)


def script(tmp_path: Path, text: str, function: str = "get") -> Callable[[Key], object]:
    path = tmp_path / "mapper.py"
    path.write_text(text)
    return load(CodeString("0", str(path), function))


def mapper(function: Callable[[Key], object], tries: int = 4, **hosts: list[str]) -> ScriptMapper:
    return ScriptMapper(function, World(**hosts).direct, tries)


# -- loading ----------------------------------------------------------------------------------------------------------


def test_the_manuals_mapper(project: Path) -> None:
    function = load(CodeString("0", str(project / "conf" / "manual" / "mapper.py"), "get"))
    assert places(mapper(function).ask(b"anything", ()), 2) == ["127.0.0.1:3031"] * 2


def test_the_manuals_megamapper_takes_turns(project: Path) -> None:
    found = mapper(load(CodeString("0", str(project / "conf" / "manual" / "megamapper.py"), "get")))
    nodes = [only(found.ask(b"unbit.it", ())) for _ in range(4)]
    assert [node.address.text for node in nodes] == ["127.0.0.1:3035", "192.168.0.100:3035"] * 2
    assert {node.modifiers for node in nodes} == {(5, 0)}
    assert places(found.ask(b"example.com", ()), 1) == ["127.0.0.1:3031"]
    assert places(found.ask(b"other.example", ()), 1) == ["192.168.0.1:1717"]


def test_the_function_is_called_with_a_key_of_both_kinds(tmp_path: Path) -> None:
    function = script(tmp_path, "domains = {b'a.example': b'/bytes', 'b.example': '/str'}\nget = domains.get\n")
    assert places(mapper(function).ask(b"a.example", ()), 1) == ["/bytes"]
    assert places(mapper(function).ask(b"b.example", ()), 1) == ["/str"]
    assert mapper(function).ask(b"c.example", ()) is None


def test_the_script_is_read_anew_however_soon_it_changed(tmp_path: Path) -> None:
    """Compiled files are compared by whole seconds and size: this one would not be told from the one before."""
    for letter in "abc":
        assert script(tmp_path, f"def get(key):\n    return '/{letter}'\n")(Key("x")) == f"/{letter}"
    assert [path.name for path in tmp_path.iterdir()] == ["mapper.py"], "nothing is written beside it"


def test_the_module_knows_itself(tmp_path: Path) -> None:
    function = script(tmp_path, "import sys\ndef get(key):\n    return sys.modules[__name__].__file__\n")
    assert function(Key("x")) == str(tmp_path / "mapper.py")
    assert function.__module__ == MODULE


@pytest.mark.parametrize("kind", ["missing", "directory"])
def test_a_file_that_cannot_be_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mapper.py"
    if kind == "directory":
        path.mkdir()
    with pytest.raises(BootError, match=f"^cannot read {path}: "):
        load(CodeString("0", str(path), "get"))


@pytest.mark.parametrize("text", ["", "get = 5\n", "def other(key): pass\n"])
def test_a_function_that_is_not_there(tmp_path: Path, text: str) -> None:
    with pytest.raises(BootError, match=r"mapper\.py has no function get"):
        script(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("def get(key:\n", SyntaxError),
        ("1 / 0\n", ZeroDivisionError),
        ("import nothing_of_this_name\n", ImportError),
        ("open('/nothing/of/this/name')\n", FileNotFoundError),
    ],
)
def test_what_the_script_raises_goes_through(tmp_path: Path, text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        script(tmp_path, text)


def test_a_script_that_exits_does_not_take_the_worker_along(tmp_path: Path) -> None:
    with pytest.raises(BootError, match=r"called exit\(3\)"):
        script(tmp_path, "import sys\nsys.exit(3)\n")


# -- asking -----------------------------------------------------------------------------------------------------------


def test_only_asking_tells() -> None:
    called: list[Key] = []
    found = mapper(lambda key: called.append(key))
    assert found.find(b"a") is None
    assert called == []
    assert found.ask(b"a", ()) is None
    assert called == [b"a"] and isinstance(called[0], Key)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("127.0.0.1:80", ["127.0.0.1:80"]),
        (b"127.0.0.1:80", ["127.0.0.1:80"]),
        (bytearray(b"127.0.0.1:80"), ["127.0.0.1:80"]),
        (Key.of(b"/tmp/\xc3\xa9\xff"), ["/tmp/é\udcff"]),
        ("/tmp/é", ["/tmp/é"]),
        ("/tmp/\udcff", ["/tmp/\udcff"]),
        ("/a|/b", ["/a", "/b"]),
        (" /a ", ["/a"]),
        ("app.example:80", ["10.0.0.1:80"]),
    ],
)
def test_results(result: object, expected: list[str]) -> None:
    turns = mapper(lambda key: result, app_example=["10.0.0.1"]).ask(b"a", ())
    assert places(turns, len(expected)) == expected


def test_a_path_made_of_the_key_keeps_its_bytes() -> None:
    turns = mapper(lambda key: "/tmp/" + key + ".sock").ask(b"b\xc3\xbccher", ())
    assert places(turns, 1) == ["/tmp/bücher.sock"]


@pytest.mark.parametrize("result", [5, 1.5, True, ["127.0.0.1:80"], ("127.0.0.1", 80), object()])
def test_results_that_are_none(result: object) -> None:
    with pytest.raises(BadTarget, match="expected an address as str or bytes, or None"):
        mapper(lambda key: result).ask(b"a", ())


@pytest.mark.parametrize("result", ["", b"", "nonsense:port", "127.0.0.1:80,x", "a\0b", "gone.example:80"])
def test_results_that_lead_nowhere(result: object) -> None:
    with pytest.raises(BadTarget):
        mapper(lambda key: result).ask(b"a", ())


def test_what_the_function_raises_goes_through() -> None:
    def get(key: Key) -> object:
        raise LookupError("no such site")

    with pytest.raises(LookupError, match="no such site"):
        mapper(get).ask(b"a", ())


def test_a_function_that_exits_does_not_take_the_worker_along() -> None:
    def get(key: Key) -> object:
        sys.exit("no such site")

    with pytest.raises(BadTarget, match="exit"):
        mapper(get).ask(b"a", ())


class Rotating:
    """A function that takes turns itself."""

    def __init__(self, *results: str | None) -> None:
        self.results = results
        self.calls = 0

    def __call__(self, key: Key) -> str | None:
        self.calls += 1
        return self.results[(self.calls - 1) % len(self.results)]


def test_one_call_is_enough_when_the_node_is_up() -> None:
    function = Rotating("/a", "/b")
    found = mapper(function)
    assert [places(found.ask(b"k", ()), 1) for _ in range(4)] == [["/a"], ["/b"], ["/a"], ["/b"]]
    assert function.calls == 4


def test_it_is_asked_for_another_one_while_the_node_is_down() -> None:
    world = World()
    function = Rotating("/a", "/b", "/c")
    found = ScriptMapper(function, world.direct, 4)
    world.direct.fail(only(found.ask(b"k", ())))
    assert [places(found.ask(b"k", ()), 1) for _ in range(4)] == [["/b"], ["/c"], ["/b"], ["/c"]]


def test_it_is_asked_for_one_that_was_not_tried() -> None:
    world = World()
    found = ScriptMapper(Rotating("/a", "/a", "/b"), world.direct, 4)
    first = only(found.ask(b"k", ()))
    turns = found.ask(b"k", [first])
    assert turns is not None
    other = turns.next_except([first])
    assert other is not None and other.address.text == "/b"


def test_it_is_asked_so_often_and_then_the_one_that_is_down_must_do() -> None:
    world = World()
    function = Rotating("/a")
    found = ScriptMapper(function, world.direct, 4)
    node = only(found.ask(b"k", ()))
    world.direct.fail(node)
    function.calls = 0
    turns = found.ask(b"k", ())
    assert function.calls == 4
    assert turns is not None and turns.next() is None
    assert turns.last_resort(()) is node


def test_none_after_a_dead_one_means_no_other() -> None:
    world = World()
    function = Rotating("/a", "/a", None)
    found = ScriptMapper(function, world.direct, 4)
    node = only(found.ask(b"k", ()))
    world.direct.fail(node)
    turns = found.ask(b"k", ())
    assert function.calls == 3
    assert turns is not None and turns.last_resort(()) is node
