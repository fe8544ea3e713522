"""spnego against a real Kerberos realm: whose ticket lets in, and whose does not."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import gssapi
import pytest

from tests.rules.made import Playground, Reply
from tests.servers import Servers
from tests.servers.logins import Kdc, negotiate
from uwsgirouter.errors import ConfigError

REFUSAL = (
    b"HTTP/1.1 401 Authorization Required\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    b"WWW-Authenticate: Negotiate\r\n\r\nUnauthorized"
)


@pytest.fixture(scope="module")
def kdc() -> Iterator[Kdc]:
    servers = Servers()
    try:
        yield servers.daemon(Kdc)
    finally:
        servers.close()


@pytest.fixture
def realm(kdc: Kdc, monkeypatch: pytest.MonkeyPatch) -> Kdc:
    """This process has ann's tickets, and the service's keys."""
    for name, value in {**kdc.tickets(), "KRB5_KTNAME": str(kdc.keytab)}.items():
        monkeypatch.setenv(name, value)
    return kdc


def ask(rules: str, header: str = "", **variables: str) -> Reply:
    return Playground(rules).get("/", {"Authorization": header} if header else {}, **variables)


@pytest.mark.parametrize("service", ["", "HTTP", "HTTP@localhost", "HTTP@${SERVER_NAME}"])
def test_a_ticket(realm: Kdc, service: str) -> None:
    reply = ask(f"route-run = spnego:{service}", negotiate(), SERVER_NAME="localhost")
    assert (reply.status, reply.variables["REMOTE_USER"]) == (200, "ann@EXAMPLE.ORG")
    answer = reply.header("WWW-Authenticate") or ""
    assert answer.startswith("Negotiate ") and base64.b64decode(answer[10:])
    assert reply.log == []


def test_no_ticket(realm: Kdc) -> None:
    for header in ("", "Basic YTpi", "Negotiate", "Negotiate ", "Negotiate !!!", "Negotiatex YQ=="):
        reply = ask("route-run = spnego:HTTP", header)
        assert (reply.raw, reply.asked) == (REFUSAL, False)
    assert ask("route-run = spnego:HTTP", REMOTE_USER="known").raw == REFUSAL


def test_a_ticket_is_good_once(realm: Kdc) -> None:
    header = negotiate()
    assert ask("route-run = spnego:HTTP", header).status == 200
    reply = ask("route-run = spnego:HTTP", header)
    assert (reply.raw, reply.variables.get("REMOTE_USER")) == (REFUSAL, None)
    assert "replay" in reply.log[0]


def test_what_is_no_ticket(realm: Kdc) -> None:
    good = base64.b64decode(negotiate()[10:])
    changed = bytearray(good)
    changed[-20] ^= 1
    for token in (b"x", good[:-5], bytes(changed), b"NTLMSSP\0" + bytes(40), bytes(40_000), good[1:]):
        reply = ask("route-run = spnego:HTTP", "Negotiate " + base64.b64encode(token).decode())
        assert (reply.raw, reply.variables.get("REMOTE_USER")) == (REFUSAL, None)
        assert reply.log[0].startswith("spnego: nobody: ")


def test_a_ticket_for_another_service(realm: Kdc) -> None:
    reply = ask(f"route-run = spnego:HTTP,keytab={realm.other_keytab}", negotiate())
    assert reply.raw == REFUSAL
    assert "not found in keytab" in reply.log[0]
    assert ask(f"route-run = spnego:,keytab={realm.keytab}", negotiate()).status == 200


@pytest.mark.parametrize("rule", ["spnego:HTTP@other", "spnego:HTTP,keytab=/nowhere/keytab"])
def test_keys_that_are_not_there(realm: Kdc, rule: str) -> None:
    reply = ask(f"route-run = {rule}", negotiate())
    assert (reply.status, reply.asked) == (500, False)
    assert "no key of HTTP" in reply.log[-1]
    assert ask(f"route-run = {rule}").raw == REFUSAL
    reply = ask(f"route-run = {rule.replace('spnego', 'spnego-next')}", negotiate())
    assert reply.asked
    assert "REMOTE_USER" not in reply.variables
    assert "no key of HTTP" in reply.log[-1]


def test_next(realm: Kdc) -> None:
    rules = """
        route-run = spnego-next:HTTP
        route-run = basicauth:R,foo:bar
        error-route-status = 401 addheader:WWW-Authenticate: Negotiate
    """
    reply = ask(rules, negotiate())
    assert (reply.status, reply.variables["REMOTE_USER"]) == (200, "ann@EXAMPLE.ORG")
    assert ask(rules, "Basic Zm9vOmJhcg==").variables["REMOTE_USER"] == "foo"
    for header in ("", "Negotiate eA=="):
        offered = [value for name, value in ask(rules, header).headers if name == "WWW-Authenticate"]
        assert sorted(offered) == ['Basic realm="R"', "Negotiate"]


@pytest.mark.parametrize(
    ("complete", "flags", "name", "user"),
    [
        (True, (), b"ann@R", b"ann@R"),
        (False, (), b"ann@R", b""),
        (True, (gssapi.RequirementFlag.anonymity,), b"ann@R", b""),
        (True, (), b"", b""),
    ],
)
def test_who_is_somebody(complete: bool, flags: tuple[int, ...], name: bytes, user: bytes) -> None:
    from uwsgirouter.rules.kerberos import judged

    context = SimpleNamespace(complete=complete, actual_flags=flags, initiator_name=name)
    found = judged(context, b"answer")
    assert found.user == user
    assert bool(found.reason) is not bool(user)


def test_what_is_told_at_start() -> None:
    assert "keytab=/nowhere cannot be read" in Playground("route-run = spnego:HTTP,keytab=/nowhere").warnings[0]
    with pytest.raises(ConfigError, match="unknown variable"):
        Playground("route-run = spnego:HTTP@${nothing[x]}")


def test_without_the_extra() -> None:
    code = """
import sys
sys.modules["gssapi"] = None
from uwsgirouter.rules.table import Table
from uwsgirouter.settings.settings import Settings
try:
    Table.build(Settings.listed([("route-run", "spnego:", "x:1")], "x"), print)
except Exception as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "it needs gssapi, which is not installed: pip install 'uwsgirouter[spnego]'" in done.stdout, done.stderr
