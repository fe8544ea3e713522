"""cgi and cgihelper: which file is run, with what."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.rules.made import Playground, PlayHost
from uwsgirouter.rules.program import Program


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    (tmp_path / "a").write_text("#!/bin/sh\nprintf 'Content-Type: x\\n\\n'; echo $SCRIPT_NAME\n")
    (tmp_path / "a").chmod(0o755)
    (tmp_path / "b").write_text("printf 'Status: 404 Not Here\\nA: b\\n\\n'\n")
    (tmp_path / "dir").mkdir()
    return tmp_path


def run(play: Playground, path: str, **variables: str) -> Program:
    target = play.get(path, **variables).exchange.target
    assert target is not None and target.program is not None
    return target.program


def test_an_answer(programs: Path) -> None:
    play = Playground(f"route = ^/(.*) cgi:{programs}/$1")
    reply = play.get("/a")
    assert (reply.status, reply.body, reply.header("Content-Type")) == (200, b"/a\n", "x")
    assert reply.header("Transfer-Encoding") is None


def test_what_is_run(programs: Path) -> None:
    play = Playground(f"route = ^/(a) cgi:{programs}/$1\nroute = ^/(b) cgihelper:sh {programs}/$1")
    program = run(play, "/a/b?c+d", CONTENT_LENGTH="12")
    assert (program.arguments, program.directory) == ((os.fsencode(programs / "a"),), os.fsencode(programs))
    assert program.length == 12 and program.environment[b"PATH_INFO"] == b"/b"
    helped = run(play, "/b")
    assert helped.arguments == (os.fsencode(str(shutil.which("sh"))), os.fsencode(programs / "b"))
    assert play.get("/b").status == 404


@pytest.mark.parametrize(
    ("path", "status"), [("/none", 404), ("/dir", 404), ("/b", 403), ("/../etc/passwd", 404), ("/x/../a", 404)]
)
def test_what_is_not_run(programs: Path, path: str, status: int) -> None:
    reply = Playground(f"route = ^/(.*) cgi:{programs}/$1").get(path)
    assert (reply.status, reply.asked) == (status, False)


def test_names_with_odd_bytes(programs: Path) -> None:
    play = Playground(f"route-run = cgi:{programs}/${{QUERY_STRING}}")
    assert play.get("/", QUERY_STRING=b"a\0b").status == 404
    assert play.get("/", QUERY_STRING=b"\xff").status == 404
    assert play.get("/", QUERY_STRING=b"").status == 404


def test_relative_files_start_where_chdir_went(programs: Path) -> None:
    assert run(Playground(f"route-run = chdir:{programs}\nroute-run = cgi:a"), "/").directory == os.fsencode(programs)


def test_a_helper_that_is_not_there(programs: Path) -> None:
    play = Playground(f"route-run = cgihelper:no-such-helper {programs}/b")
    assert play.warnings == [
        "rules:1: route-run = cgihelper:no-such-helper " + f"{programs}/b: there is no program no-such-helper"
    ]
    assert play.get("/").header("X-Uwsgirouter-Cause") == "cgi-failed"


@pytest.mark.parametrize("rule", ["route-run = cgi:", "route-run = cgihelper:sh", "response-route-run = cgi:/bin/true"])
def test_rules_that_refuse_the_start(rule: str) -> None:
    with pytest.raises(Exception, match="cgi"):
        Playground(rule)


def test_no_descriptor_is_left(programs: Path) -> None:
    class Full(PlayHost):
        def program(self, program: Program) -> tuple[str, bytes]:
            raise OSError(24, "Too many open files")

    reply = Playground(f"route-run = cgi:{programs}/a", Full()).get("/")
    assert (reply.status, reply.header("X-Uwsgirouter-Cause")) == (503, "overload")
