"""docs/options.md is what the table gives, and its examples work."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.settings.files import Files
from uwsgirouter.settings import names
from uwsgirouter.settings.table import OPTIONS


def page(project: Path) -> str:
    return (project / "docs" / "options.md").read_text()


def test_the_page_is_up_to_date(project: Path) -> None:
    command = [sys.executable, str(project / "scripts" / "options_page.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_row_and_every_listed_name_stands_on_the_page(project: Path) -> None:
    text = page(project)
    rows = [name for option in OPTIONS for name in (option.name, *option.aliases)]
    listed = [
        *names.IGNORED_FLAGS,
        *names.IGNORED_VALUES,
        *names.APPLICATION,
        *names.LATER,
        *names.REFUSED,
    ]
    assert [name for name in rows + listed if f"`{name}`" not in text] == []


def test_every_ini_example_loads_without_a_doubt(project: Path, files: Files) -> None:
    examples = re.findall("```ini\n(.*?)```", page(project), re.DOTALL)
    assert len(examples) >= 3
    for text in examples:
        files.write("router.conf", text)
        settings = files.source("--check", "router.conf").load()
        assert settings.addresses("fastrouter")


def test_the_page_tells_that_it_is_stale(project: Path, tmp_path: Path) -> None:
    script = (project / "scripts" / "options_page.py").read_text()
    copy = tmp_path / "scripts" / "options_page.py"
    copy.parent.mkdir()
    (tmp_path / "docs").mkdir()
    copy.write_text(script)
    (tmp_path / "docs" / "options.md").write_text("old")
    run = [sys.executable, str(copy)]
    environment = {"PYTHONPATH": str(project)}
    stale = subprocess.run([*run, "--check"], capture_output=True, text=True, check=False, env=environment)
    assert stale.returncode == 1
    assert "make docs" in stale.stdout
    assert subprocess.run(run, check=False, env=environment).returncode == 0
    assert subprocess.run([*run, "--check"], check=False, env=environment).returncode == 0
