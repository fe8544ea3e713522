"""What --check and the start say of rules, and what a bad rule does to them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.settings.files import LISTEN, Files
from uwsgirouter import cli
from uwsgirouter.errors import ConfigError
from uwsgirouter.rules.base import ChainName
from uwsgirouter.rules.loading import load_rules

HEAD = f"[uwsgirouter]\n{LISTEN}"
RULES = "route = ^/a log:50%%\nroute-label = end\nfinal-route-run = log:${uwsgi[status]}\n"


def check(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--check", *argv])
    return caught.value.code, *capsys.readouterr()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    return Files(tmp_path)


def test_check_prints_the_numbered_table(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    files.write("router.conf", HEAD + RULES)
    code, out, err = check(capsys, "-c", "router.conf", "--route-run=goto:end", "--route-run", "log:--x")
    assert (code, err) == (1, "uwsgirouter: error: command line: route-run = goto:end: 'end' is not further down "
        "(a goto only jumps forward); a request that comes here ends\n")  # fmt: skip
    code, out, err = check(capsys, "-c", "router.conf", "--route-run=goto:9")
    assert (code, err) == (0, "")
    assert out.splitlines()[:9] == [
        "*** dumping internal routing table ***",
        "[rule: 0] subject: path_info regexp: ^/a action: log:50%",
        "[rule: 1] label: end",
        "[rule: 2] action: goto:9",
        "*** end of the internal routing table ***",
        "*** dumping internal final routing table ***",
        "[rule: 0] action: log:${uwsgi[status]}",
        "*** end of the internal final routing table ***",
        "listens on 127.0.0.1:3017, IPv4 (router.conf:2)",
    ]
    assert out.endswith("configuration ok\n")


def test_every_bad_rule_is_named(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    files.write("more.conf", "[uwsgirouter]\nresponse-route-run = addheader\n")
    files.write("router.conf", HEAD + "route = (x log:a\nroute-host = x lgo:b\ninclude = more.conf\n")
    code, out, err = check(capsys, "-c", "router.conf")
    assert (code, out) == (1, "")
    starts = [line.removeprefix("uwsgirouter: error: ").split(": ")[:2] for line in err.splitlines()]
    assert [(where, rule[:20]) for where, rule in starts] == [
        ("router.conf:4", "route = (x log:a"),
        ("router.conf:5", "route-host = x lgo:b"),
        ("more.conf:2", "response-route-run ="),
    ]


def test_doubts_are_warnings_where_the_reading_is_not_strict(files: Files) -> None:
    said: list[str] = []
    rules = HEAD + "route-run = goto:nowhere\n"
    table = load_rules(files.load(rules), said.append)
    assert table is not None and table.has(ChainName.REQUEST)
    (warning,) = said
    assert warning.startswith("router.conf:4: route-run = goto:nowhere: there is no label 'nowhere' in this chain")
    with pytest.raises(ConfigError, match="there is no label 'nowhere'"):
        load_rules(files.load(rules + "strict\n"), said.append)


def test_without_rules_no_part_is_loaded(files: Files, project: Path) -> None:
    code = """if True:
        import sys
        from uwsgirouter.rules.loading import load_rules
        from uwsgirouter.settings.load import Source

        print(load_rules(Source(sys.argv[1:]).load(), print), [name for name in sys.modules if ".actions" in name])
    """
    files.write("router.conf", HEAD)
    command = [sys.executable, "-c", code, "-c", "router.conf"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(project)}, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "None []\n"


def test_a_note_is_no_doubt(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    rules = HEAD + "route-run = logvar:a=b\n"
    files.write("router.conf", rules)
    code, _, err = check(capsys, "-c", "router.conf")
    assert code == 0
    assert err.startswith("uwsgirouter: warning: the router writes no log of requests") and "(router.conf:4)" in err
    said: list[str] = []
    load_rules(files.load(rules), said.append)
    assert len(said) == 1
