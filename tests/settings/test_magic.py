"""Magic variables of the process and of a file."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from uwsgirouter import __version__
from uwsgirouter.settings import magic


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "conf.d" / "my.router.ini"
    path.parent.mkdir()
    path.write_text("")
    return path


def test_a_files_variables(file: Path, tmp_path: Path) -> None:
    found = magic.of_file("conf.d/my.router.ini", "sec", str(tmp_path))
    directory = f"{tmp_path}/conf.d/"
    assert {letter: found[letter] for letter in "opsdencx"} == {
        "o": "conf.d/my.router.ini",
        "p": str(file),
        "s": "my.router.ini",
        "d": directory,
        "e": "ini",
        "n": "my.router",
        "c": "conf.d",
        "x": "sec",
    }
    assert found["i"] == str(file.stat().st_ino)
    assert found["0"] == str(tmp_path).split("/")[1]
    assert len([letter for letter in found if letter.isdigit()]) == min(10, directory.count("/") - 1)


def test_a_name_without_an_extension(tmp_path: Path) -> None:
    found = magic.of_file("router", "", str(tmp_path))
    assert (found["n"], found["e"], found["s"]) == ("router", "", "router")


def test_a_symbolic_link_keeps_its_own_name(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link.ini").symlink_to(file)
    assert magic.of_file("link.ini", "", str(tmp_path))["p"] == f"{tmp_path}/link.ini"
    assert magic.of_file("conf.d/../conf.d/my.router.ini", "", str(tmp_path))["p"] == str(file)


def test_standard_input_has_no_path(tmp_path: Path) -> None:
    found = magic.of_file("-", "sec", str(tmp_path))
    assert (found["o"], found["x"], found["p"], found["d"]) == ("-", "sec", "", "")


def test_the_processes_variables(tmp_path: Path) -> None:
    found = magic.of_process(str(tmp_path), 12.5)
    assert found["v"] == str(tmp_path)
    assert found["V"] == __version__
    assert found["h"] == socket.gethostname()
    assert (found["t"], found["T"]) == ("12", "12500000")
    assert found["k"] == str(os.cpu_count())
    assert (found["u"], found["g"]) == (str(os.getuid()), str(os.getgid()))
    assert found["U"]
    assert found["G"]


def test_a_user_without_a_name_is_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 3999999)
    monkeypatch.setattr(os, "getgid", lambda: 3999998)
    found = magic.of_process(str(tmp_path))
    assert (found["U"], found["G"]) == ("3999999", "3999998")


@pytest.mark.parametrize(
    ("text", "expanded", "unknown"),
    [
        ("a%nb", "aNb", []),
        ("100%%", "100%", []),
        ("%%%%", "%%", []),
        ("%(n)", "%(n)", []),
        ("%%(n)", "%(n)", []),
        ("%n%n", "NN", []),
        ("%%n", "%n", []),
        ("50%", "50%", []),
        ("%q%z", "", ["q", "z"]),
        ("%7", "", []),
        ("%N", "", []),
        ("", "", []),
    ],
)
def test_substitution(text: str, expanded: str, unknown: list[str]) -> None:
    variables = {"n": "N", "%": "%", "(": "%("}
    assert magic.substitute(text, variables) == (expanded, unknown)
