"""Every option of the FastRouter that a real uWSGI lists is in the table, on the reference page, and used by a test.

Used means: it stands in a configuration or command line that a test outside tests/settings runs, in the test's own text
(comments and docstrings do not count) or in a file of conf/. The tests of tests/settings only read options.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.programs import uwsgi_command
from uwsgirouter.settings import names
from uwsgirouter.settings.table import BY_NAME

PROJECT = Path(__file__).resolve().parents[2]
BESIDE = ("no-fd-passing", "limit-post")
"""Options of uWSGI's core that its routers heed."""

LATER: dict[str, str] = {}
"""What is known and refused by name, and why; an option that is built must leave this list."""


@functools.cache
def listed() -> tuple[str, ...]:
    """The names of ``uwsgi --help`` that are the FastRouter's."""
    shown = subprocess.run([*uwsgi_command(), "--help"], capture_output=True, text=True, timeout=20, check=True).stdout
    found = re.findall(r"^\s+(?:-\w\|)?--([\w-]+)", shown, re.M)
    return tuple(name for name in found if name == "fastrouter" or name.startswith("fastrouter-") or name in BESIDE)


def ours() -> list[str]:
    """The names of the table that are a router's: uWSGI's and our own."""
    return sorted(name for name in BY_NAME if name.startswith("fastrouter") or name in BESIDE)


def test_uwsgi_lists_them() -> None:
    assert len(listed()) >= 33
    assert {*BESIDE, "fastrouter", "fastrouter-use-base", "fastrouter-resubscribe-bind"} <= set(listed())


def test_each_is_in_the_table_or_known_to_come_later() -> None:
    assert [name for name in listed() if name not in BY_NAME and name not in LATER] == []
    assert [name for name in LATER if name in BY_NAME or name not in names.LATER] == []


def test_each_is_on_the_reference_page() -> None:
    page = (PROJECT / "docs" / "options.md").read_text()
    assert [name for name in (*listed(), *ours()) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("name", ours())
def test_each_is_used_by_a_test(name: str) -> None:
    whole_name = re.compile(rf"(?<!\w)(?<!\w-){re.escape(name)}(?![\w-])")
    assert any(whole_name.search(text) for text in used())


@functools.cache
def used() -> tuple[str, ...]:
    """The texts that tests run."""
    return (*texts_of_tests(), *texts_of_conf())


def texts_of_tests() -> Iterator[str]:
    """All string literals of the tests that are not docstrings."""
    for path in (PROJECT / "tests").rglob("*.py"):
        if path != Path(__file__) and path.parent.name != "settings":
            yield from literals(ast.parse(path.read_text()))


def literals(tree: ast.Module) -> Iterator[str]:
    """The string literals of a module; a text that stands alone is a docstring.

    A name that an f-string puts together is filled with every word that the module has.
    """
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone
    }
    yield from texts
    words = [text for text in texts if re.fullmatch(r"[a-z-]+", text)]
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and any("fastrouter-" in ast.unparse(part) for part in node.values):
            for word in words:
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else word for part in node.values)


def texts_of_conf() -> Iterator[str]:
    """The lines of conf/ that are no comments; each of its files is run by a test (test_conf.py)."""
    for path in (PROJECT / "conf").rglob("*"):
        if path.is_file() and path.suffix not in (".pyc", ".md"):
            yield from (line for line in path.read_text().splitlines() if not line.lstrip().startswith((";", "#")))
