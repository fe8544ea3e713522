"""Applications are named as uWSGI names them."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from uwsgirouter.local.blueprint import Blueprint, Mounted
from uwsgirouter.local.loading import LoadError, load, prepare_path

TEXT = """
class Thing: pass
def application(environ, start_response): return [b"application"]
def other(environ, start_response): return [b"other"]
def make(): return other
class box: inner = staticmethod(other)
number = 5
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with an application in a file and in a package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    (tmp_path / "my.app.wsgi").write_text(TEXT)
    (tmp_path / "local_site").mkdir()
    (tmp_path / "local_site" / "wsgi.py").write_text(TEXT)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def file(name: str = "application", path: str = "my.app.wsgi") -> Mounted:
    return Mounted("", path, True, name)


@pytest.mark.parametrize(
    ("name", "body"),
    [("application", b"application"), ("other", b"other"), ("make()", b"other"), ("box.inner", b"other")],
)
def test_the_name_in_a_file_or_module(here: Path, name: str, body: bytes) -> None:
    prepare_path(())
    assert load(file(name))({}, None) == [body]
    assert load(Mounted("", "local_site.wsgi", False, name))({}, None) == [body]


def test_a_file_is_a_module_named_after_its_path(here: Path) -> None:
    assert load(file()).__module__ == "uwsgi_file_my_app_wsgi"
    thing = sys.modules["uwsgi_file_my_app_wsgi"].Thing
    assert type(pickle.loads(pickle.dumps(thing()))) is thing


@pytest.mark.parametrize(
    ("app", "message"),
    [
        (file(path="nowhere.py"), "nowhere.py: no such file"),
        (file("app"), "my.app.wsgi has no 'app' .the option callable"),
        (file("number"), "number in my.app.wsgi is a int, not something to call"),
    ],
)
def test_no_application(here: Path, app: Mounted, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        load(app)


def test_what_the_application_raises_goes_up(here: Path) -> None:
    (here / "broken.py").write_text("raise RuntimeError('mine')")
    with pytest.raises(RuntimeError, match="mine"):
        load(file(path="broken.py"))
    with pytest.raises(ModuleNotFoundError):
        load(Mounted("", "no_such_module", False, "application"))


def test_where_modules_are_looked_for(here: Path) -> None:
    """The last pythonpath comes first, the working directory after all of them; a pattern names several."""
    for name in ("one", "two", "more-a", "more-b"):
        (here / name).mkdir()
    prepare_path(("one", "two", "more-*", "none"))
    expected = ["none", "more-b", "more-a", "two", "one", "."]
    assert [Path(entry) for entry in sys.path[:6]] == [(here / name).resolve() for name in expected]


def test_a_blueprint_survives_its_text() -> None:
    apps = (file(), Mounted("/a", "b", False, "c()"))
    plan = Blueprint(apps, True, 4, 2, 0, False, 10, 100, 1, ("/p", "/q"), 60, "/log", 5, "/site")
    assert Blueprint.parse(plan.text()) == plan
