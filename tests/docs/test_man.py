"""The man pages are what options, commands, signals and exit codes give, and clean to man and mandoc."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

import pytest

from scripts.man import control, daemon, roff
from scripts.man.__main__ import main, pages
from tests.servers.programs import program
from uwsgirouter.control.base import Exit
from uwsgirouter.control.main import COMMANDS, run
from uwsgirouter.settings.table import OPTIONS

NAMES = ("uwsgirouter.8", "uwsgirouterctl.1")


def shown(path: Path) -> str:
    """What a reader sees, without the marks of bold and italic."""
    command = [program("mandoc"), "-T", "utf8", "-O", "width=500", str(path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return re.sub(r".\x08", "", printed)


def test_they_are_up_to_date(project: Path) -> None:
    assert main(["--check"]) == 0, "run make docs"
    for name, text in pages().items():
        assert (project / "man" / name).read_text() == text


def test_stale_ones_are_told_of_and_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "uwsgirouter.8").write_text("old")
    assert main(["--check"], tmp_path) == 1
    assert all(f"man/{name} " in capsys.readouterr().out for name in NAMES[:1])
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0


@pytest.mark.parametrize("name", NAMES)
def test_mandoc_and_man_have_nothing_to_say(project: Path, name: str) -> None:
    page = str(project / "man" / name)
    lint = subprocess.run([program("mandoc"), "-T", "lint", page], capture_output=True, text=True, timeout=60)
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", "")
    roffed = subprocess.run(["groff", "-man", "-ww", "-Tutf8", page], capture_output=True, text=True, timeout=60)
    assert (roffed.returncode, roffed.stderr) == (0, "")


def test_every_option_stands_in_the_routers_page(project: Path) -> None:
    text = shown(project / "man" / "uwsgirouter.8")
    spellings = [name for option in OPTIONS for name in option.spellings]
    lines = re.findall(r"^ {5,9}(-\S.*)$", text, re.MULTILINE)
    listed = {word.strip(",") for line in lines for word in line.split() if word.startswith("-")}
    assert [name for name in spellings if name not in listed] == []


def test_every_command_stands_in_the_other_page_with_all_its_options(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(project / "man" / "uwsgirouterctl.1")
    parts = dict(re.findall(r"^ {3}(\w+)\n(.*?)(?=^ {0,3}\w|\Z)", text, re.MULTILINE | re.DOTALL))
    assert [command.name for command in COMMANDS if command.name not in parts] == []
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            run([command.name, "--help"])
        help_text = capsys.readouterr().out
        wanted = set(re.findall(r"^  (?:-\w[^,]*, )?(--[a-z0-9-]+)", help_text, re.MULTILINE)) - {"--help"}
        assert [option for option in sorted(wanted) if option not in parts[command.name]] == []


def test_every_exit_code_and_signal_is_explained(project: Path) -> None:
    assert set(control.MEANINGS) == set(Exit)
    text = shown(project / "man" / "uwsgirouter.8")
    assert {"HUP", "TERM, QUIT", "INT", "USR1"} <= {name for name, _ in daemon.table("signal")}
    for name, _ in (*daemon.table("signal"), *daemon.table("exit status")):
        assert re.search(rf"^ +{re.escape(name)}(\s|$)", text, re.MULTILINE), name


def test_text_is_shown_as_it_is_typed(tmp_path: Path) -> None:
    text = """.dot 'quote' `tick` ^ ~ \\n -- "two" """
    page = tmp_path / "page.1"
    head = roff.heading("page", "2026-01-01", "1", 1, "x")
    page.write_text("\n".join([*head, *roff.section("name"), r"page \- it", *roff.verbatim([text])]) + "\n")
    assert text.rstrip() in shown(page)


def test_the_wheel_installs_them(project: Path) -> None:
    config = configparser.ConfigParser()
    config.read(project / "setup.cfg")
    installed = config["options.data_files"]
    assert installed["share/man/man8"].split() == ["man/uwsgirouter.8"]
    assert installed["share/man/man1"].split() == ["man/uwsgirouterctl.1"]
