"""The command as people run it: what it prints where, and its exit status."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.settings.files import LISTEN, Files
from uwsgirouter import __version__, cli, compiled
from uwsgirouter.settings.load import Source
from uwsgirouter.settings.settings import Settings

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    out, err = capsys.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, out, err


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    files = Files(tmp_path)
    monkeypatch.chdir(files.directory)
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    files.write("router.conf", f"[uwsgirouter]\n{LISTEN}")
    return files


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for argument in ("--help", "-h"):
        code, out, err = run(capsys, argument, "--listen", "5")
        assert (code, err) == (0, "")
        assert out.startswith("usage: uwsgirouter ")
    for argument in ("--version", "-V"):
        assert run(capsys, argument) == (0, f"uwsgirouter {__version__} ({compiled.describe()})\n", "")


def test_check(capsys: pytest.CaptureFixture[str], conf: Files) -> None:
    code, out, err = run(capsys, "-t", "router.conf", "--master")
    assert code == 0
    assert out.splitlines()[-1] == "configuration ok"
    assert err == (
        "uwsgirouter: warning: these options mean nothing in a router and are ignored: master (command line)\n"
    )
    conf.write("router.conf", f"[uwsgirouter]\n{LISTEN}reload_mercy = 5\nlisten = x\n")
    code, out, err = run(capsys, "--check", "-c", "router.conf")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "uwsgirouter: error: router.conf:5: listen = x: expected whole number from 1 to 65535, digits alone",
        "uwsgirouter: error: router.conf:4: reload_mercy is no option, and nothing uses it as %(reload_mercy); "
        "did you mean reload-mercy?",
    ]


def test_show_config(capsys: pytest.CaptureFixture[str], conf: Files) -> None:
    code, out, err = run(capsys, "--show-config", "router.conf", "--listen", "7")
    assert (code, err) == (0, "")
    assert out.startswith("[uwsgirouter]\nfastrouter = 127.0.0.1:3017\n")
    assert "\nlisten = 7\n" in out


def test_misuse_and_faults_have_their_exit_status(capsys: pytest.CaptureFixture[str], conf: Files) -> None:
    assert run(capsys, "--fastroter", "x") == (
        2,
        "",
        "uwsgirouter: error: unknown option --fastroter; did you mean fastrouter?\n"
        "uwsgirouter: see uwsgirouter --help\n",
    )
    code, _, err = run(capsys, "-c", "gone.conf")
    assert (code, err) == (1, "uwsgirouter: error: command line: cannot read gone.conf: No such file or directory\n")
    code, _, err = run(capsys, "--check")
    assert code == 1
    assert "write fastrouter = 127.0.0.1:3017" in err


def test_the_master_gets_the_source_and_the_settings(
    capsys: pytest.CaptureFixture[str], conf: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Sequence[str], int]] = []

    def pretend(source: Source, settings: Settings) -> int:
        seen.append((source.argv, settings.number("listen")))
        return 3

    module = types.ModuleType("uwsgirouter.master.run")
    module.run = pretend  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uwsgirouter.master.run", module)
    assert run(capsys, "router.conf", "--listen", "9")[0] == 3
    assert seen == [(("router.conf", "--listen", "9"), 9)]


def test_as_a_process_with_standard_input(conf: Files) -> None:
    text = f"[uwsgirouter]\n{LISTEN}listen = 11\n"
    command = [sys.executable, "-m", "uwsgirouter", "--show-config", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "listen = 11" in done.stdout


def test_check_imports_neither_the_master_nor_gevent(conf: Files) -> None:
    code = (
        "import sys\nfrom uwsgirouter.cli import main\n"
        "try:\n    main(['--check', 'router.conf'])\n"
        "except SystemExit as done:\n    assert done.code == 0\n"
        "print([name for name in sys.modules if name == 'gevent' or name.startswith('uwsgirouter.master')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout.splitlines()[-1] == "[]"
