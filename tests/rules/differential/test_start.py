"""What cannot be a rule: uWSGI's exit status at start beside that of ``uwsgirouter --check``."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.rules.differential.sides import uwsgi
from uwsgirouter.cli import main

SAME = [
    "route-run = last:",
    "route = ^/x log:ok",
    "route = ^/x log: with : colons ",
    "route-if = equal:a;b log:ok",
    "route-if-not = empty: log:ok",
    "route-label = anything at all",
    "route-run = redirect:",
    "route-run = static:",
    "error-route-run = log:x\nresponse-route-status = 404 log:x\nfinal-route-if = empty: log:x\nerror-route-label = x",
    "route-run = last",
    "route = ^/x",
    "route = ^/x log",
    "route = ^/x  log:two spaces",
    "route = ^/x log :space before the colon",
    "route = ^/x Log:upper case",
    "route-run = nosuchaction:x",
    "route-if = nosuchcondition:x log:x",
    "route-if = noconditioncolon log:x",
    "route = ( log:x",
    "route = [a log:x",
    "route = a** log:x",
    "route-host = (?<x log:x",
    "route = \\ log:x",
    "route-run = addvar:NAME",
    "route-run = logvar:NAME",
    "route-run = basicauth:realm",
    "route-run = basicauth:realm,",
    "route-run = uwsgi:127.0.0.1:1",
    "route-run = uwsgi:127.0.0.1:1,5",
    "route-run = uwsgi:127.0.0.1:1,5,0",
    "route-run = uwsgi:,5,0,app",
    "route-run = hash:items=a,var=b",
    "route-run = hash:key=a,items=b",
    "route-run = hash:key=a,var=b",
    "route-run = hash:key=a,var=b,items=c",
    "route-run = cache:name=x",
    "route-run = cachestore:name=x",
    "route-run = cacheinc:name=x",
    "cache2 = name=c,items=5\nroute-run = cacheset:key=x,value=y,name=c",
    "alarm = name log:\nroute-run = alarm:name text",
    "route-run = cacheset:key=x",
    "route-run = cachevar:key=x",
    "route-run = file:mime=1",
    "route-run = file:filename=/x",
    "route-run = sendfile:x",
    "route-run = tofile:/path",
    "route-run = tofile:filename=/path",
    "route-run = rpc:",
    "route-run = rpcvar:X",
    "route-run = rpcvar:X f",
    "route-run = alarm:name",
    "route-run = expires:value=1",
    "collect-header = OnlyOne\nroute-run = last:",
    "pull-header = OnlyOne\nroute-run = last:",
    "collect-header = X-Name VARIABLE",
    "route-run = chdir:/",
    "route-run = setmodifier1:5",
    "route-run = harakiri:x",
    "route-run = signal:1",
    "response-route-run = gzip:",
    "route-run = chunked:\nroute-run = fixcl:\nroute-run = forcecl:\nroute-run = flush:\nroute-run = template:",
    "route-if = regexp:${X};^a log:x",
    "route-run = send:\nroute-run = send-crnl:",
    "route-run = return:404\nroute-run = break:",
    "route-run = +:N,1\nroute-run = -:N\nroute-run = *:N,2\nroute-run = /:N,2",
]
STRICTER = {
    "route-run = goto:nowhere": "a goto to an unknown label",
    "route-label = above\nroute-run = goto:above": "a goto to a label above",
    "route-if = regexp:${X};( log:x": "a bad expression in a condition",
    "route-if = equal:nosemicolon log:x": "a condition without its semicolon",
    "route-status = 404 log:x": "a status in the request chain",
    "route-cookie = a log:x": "an unknown option of the family",
    "route-run = log:${nosuchfunction[x]}": "an unknown variable function",
    "response-route-status = 4 log:x": "a status of one digit",
    "route-if = ipv4in:${X};10.0.0.0/ log:x": "a network with an empty length",
    "route-if = ipv4in:${X};10.0.0.0/x log:x": "a network with a length that is no number",
    "route-if = ipv6in:${X};2001:db8::/129 log:x": "a network with a length that is too large",
    "route-run = return:799": "return without a reason for it",
    "route-run = addvar:=v": "a variable without a name",
    "route-run = cacheset:key=x,value=y": "a cache that is not there",
    "route-run = cachevar:key=x,var=y": "no cache at all",
    "route-run = alarm:name text": "an alarm that is not there",
    "route-run = metricinc:a": "a metric that is not there",
    "route-run = setmodifier1:x": "a modifier that is no number",
    "route-run = signal:abc": "a signal that is no number",
    "route-run = hash:key=a,var=b,items=c,algo=nope": "an unknown hash",
    "route-run = hash:key=a,var=b,items=c;;d": "an empty item",
    "route = [[:alpha:]] log:x": "what only PCRE knows",
}


def refused_by_uwsgi(file: Path) -> bool:
    """Whether uWSGI, asked to start without serving, ends with an error."""
    command = [*uwsgi(), "--no-server", "--ini", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=file.parent, check=False)
    assert done.returncode in (0, 1), done
    return done.returncode == 1


def checked(file: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What ``--check`` complains of; nothing when it does not."""
    with pytest.raises(SystemExit) as ended:
        main(["--check", "-c", str(file)])
    err = capsys.readouterr().err
    assert err or not ended.value.code
    return err if ended.value.code else ""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the configuration is written."""
    return tmp_path / "router.conf"


def write(file: Path, rules: str) -> None:
    """A configuration that both take, with these rules."""
    file.write_text(f"[uwsgi]\n{rules}\n")


@pytest.mark.parametrize("rules", SAME)
def test_both_refuse_or_take(rules: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same are refused; the router says where."""
    write(file, rules + "\nsocket = 127.0.0.1:0")
    real = refused_by_uwsgi(file)
    write(file, rules + "\nfastrouter = 127.0.0.1:0\nfastrouter-to = 127.0.0.1:1")
    complaint = checked(file, capsys)
    assert bool(complaint) is real, complaint
    if real:
        assert "router.conf:2" in complaint


@pytest.mark.parametrize("rules", STRICTER, ids=STRICTER.values())
def test_the_check_sees_more(rules: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """uWSGI starts with what can never do what it says; the check refuses it, with its line."""
    write(file, rules + "\nsocket = 127.0.0.1:0")
    assert not refused_by_uwsgi(file)
    write(file, rules + "\nfastrouter = 127.0.0.1:0\nfastrouter-to = 127.0.0.1:1")
    assert f"router.conf:{2 + rules.count(chr(10))}" in checked(file, capsys)
