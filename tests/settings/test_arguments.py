"""Cutting a command line into options."""

from __future__ import annotations

import pytest

from uwsgirouter.settings.arguments import UsageError, parse

GOOD = [
    ("--fastrouter 127.0.0.1:3017", [("fastrouter", "127.0.0.1:3017")]),
    ("--fastrouter=127.0.0.1:3017", [("fastrouter", "127.0.0.1:3017")]),
    ("--fastrouter --fastrouter /tmp/u.sock", [("fastrouter", "true"), ("fastrouter", "/tmp/u.sock")]),
    ("--fastrouter", [("fastrouter", "true")]),
    ("--vacuum --listen 5", [("vacuum", "true"), ("listen", "5")]),
    ("--vacuum false a.ini", [("vacuum", "false"), ("ini", "a.ini")]),
    ("--vacuum=no", [("vacuum", "no")]),
    ("a.ini --listen 5 b.conf", [("ini", "a.ini"), ("listen", "5"), ("ini", "b.conf")]),
    ("a.ini:section", [("ini", "a.ini:section")]),
    ("-c a.ini -cb.ini --config c.ini", [("-c", "a.ini"), ("-c", "b.ini"), ("config", "c.ini")]),
    ("--ini=d.ini - -:s", [("ini", "d.ini"), ("ini", "-"), ("ini", "-:s")]),
    ("-c -", [("-c", "-")]),
    ("--chmod-socket --vacuum", [("chmod-socket", "666"), ("vacuum", "true")]),
    ("--chmod 660 -C 600", [("chmod", "660"), ("-C", "600")]),
    ("--if-env A --vacuum --endif", [("if-env", "A"), ("vacuum", "true"), ("endif", "")]),
    ("--set-ph a=b", [("set-ph", "a=b")]),
    ("--master -M --plugins python", [("master", "true"), ("-M", "true"), ("plugins", "python")]),
    ("--processes 4 -p 2", [("processes", "4"), ("-p", "2")]),
    ("--module app --vhost", [("module", "app"), ("vhost", "true")]),
    ("--pidfile=", [("pidfile", "")]),
]  # fmt: skip

BAD = [
    ("--fastroter x", "unknown option --fastroter; did you mean fastrouter?"),
    ("--fastrouter_timeout 5", "did you mean fastrouter-timeout?"),
    ("--zzzzzz", "unknown option --zzzzzz$"),
    ("-Z", "unknown option -Z"),
    ("--fastrouter-usebase x", "did you mean fastrouter-use-base?"),
    ("--rawrouter x", "--rawrouter is a known uWSGI option, not available in this version"),
    ("--route-ury x", "unknown option --route-ury; did you mean route-uri?"),
    ("--http :80", "known uWSGI option, not available"),
    ("--emperor x", "--emperor is not supported: a router does not watch"),
    ("--listen", "--listen needs a value"),
    ("--listen --vacuum", "--listen needs a value"),
    ("-c", "-c needs a value"),
    ("word", "unexpected argument word"),
    ("a.yaml", "only ini files"),
    ("--", "unknown option --"),
]


@pytest.mark.parametrize(("line", "given"), GOOD)
def test_understood(line: str, given: list[tuple[str, str]]) -> None:
    assert parse(line.split()).given == given


@pytest.mark.parametrize(("line", "message"), BAD)
def test_refused(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        parse(line.split())


def test_commands_stand_apart() -> None:
    arguments = parse(["--check", "--vacuum", "-t", "--show-config"])
    assert arguments.commands == {"check", "show-config"}
    assert arguments.given == [("vacuum", "true")]
    assert parse(["--check=false"]).commands == set()
    assert parse(["-h", "-V"]).commands == {"help", "version"}


def test_a_value_may_start_with_one_dash() -> None:
    assert parse(["--set-ph", "-x=1"]).given == [("set-ph", "-x=1")]
