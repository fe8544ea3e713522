"""Rules that send a request elsewhere: which target they make."""

from __future__ import annotations

import pytest

from tests.rules.made import Playground, packet_for
from uwsgirouter.errors import ConfigError
from uwsgirouter.rules.base import ChainName, Verdict
from uwsgirouter.rules.exchange import Exchange, Speech, Target


def ran(
    rule: str, path: str = "/a", headers: dict[str, str] | None = None, **variables: str
) -> tuple[Verdict, Exchange]:
    play = Playground(f"route = ^/(.*) {rule}")
    exchange = play.exchange(packet_for(path, headers, **variables))
    return play.table.run(ChainName.REQUEST, exchange), exchange


def target(rule: str, path: str = "/a", headers: dict[str, str] | None = None, **variables: str) -> Target:
    verdict, exchange = ran(rule, path, headers, **variables)
    assert verdict is Verdict.BREAK
    assert exchange.target is not None
    return exchange.target


@pytest.mark.parametrize("name", ["uwsgi", "proxyuwsgi"])
def test_a_uwsgi_server(name: str) -> None:
    found = target(f"{name}:127.0.0.1:3031,5,6")
    assert (found.address, found.speech, found.modifiers, found.untouched) == (
        "127.0.0.1:3031",
        Speech.UWSGI,
        (5, 6),
        False,
    )


def test_a_uwsgi_server_that_the_request_names() -> None:
    verdict, exchange = ran("uwsgi:${HTTP_X}:3031,0,0,shop", headers={"X": "10.0.0.1"})
    assert verdict is Verdict.BREAK
    assert exchange.target is not None
    assert exchange.target.address == "10.0.0.1:3031"
    assert exchange.variable(b"UWSGI_APPID") == b"shop"


def test_the_requests_own_modifiers() -> None:
    verdict, exchange = ran("uwsgi:,5,,fooapp")
    assert verdict is Verdict.CONTINUE
    assert exchange.target is None
    assert exchange.modifiers == (5, 0)
    assert exchange.variable(b"UWSGI_APPID") == b"fooapp"


@pytest.mark.parametrize("name", ["http", "proxyhttp"])
def test_an_http_server(name: str) -> None:
    found = target(f"{name}:backend.example:8080", "/a?b")
    assert (found.address, found.speech, found.untouched) == ("backend.example:8080", Speech.HTTP, False)
    assert found.head == (
        b"GET /a?b HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"
    )


def test_another_host_and_url() -> None:
    assert b"\r\nHost: inner.example\r\n" in target("http:/run/backend.sock,inner.example").head
    head = target("http:/run/backend.sock,,/else/$1").head
    assert head.startswith(b"GET /else/a HTTP/1.0\r\nHost: localhost\r\n")
    assert b"Host: ${X}\r\n" in target("http:/run/backend.sock,${X}").head


def test_dumb_http() -> None:
    found = target("httpdumb:127.0.0.1:80", headers={"Connection": "keep-alive"})
    assert found.head.startswith(b"GET /a HTTP/1.1\r\n")
    assert b"Connection: keep-alive" in found.head


@pytest.mark.parametrize("name", ["httpconnect", "proxyhttpconnect"])
def test_a_tunnel(name: str) -> None:
    found = target(f"{name}:${{HTTP_HOST}}", "/a", HTTP_HOST="db.example:443")
    assert (found.address, found.speech, found.untouched) == ("db.example:443", Speech.TUNNEL, True)


@pytest.mark.parametrize(
    "rule", ["http:${HTTP_X}", "http:127.0.0.1:80,,/a${HTTP_X}b", "http:127.0.0.1:80", "uwsgi:${HTTP_MISSING},0,0"]
)
def test_what_cannot_be_sent_breaks_the_request(rule: str) -> None:
    verdict, exchange = ran(rule, headers={"X": "a b\r\nX: y"})
    assert verdict is Verdict.BREAK
    assert exchange.target is None
    assert exchange.broken


@pytest.mark.parametrize("chain", ["error", "response", "final"])
@pytest.mark.parametrize(
    "rule", ["http:127.0.0.1:1", "uwsgi:127.0.0.1:1,0,0", "httpconnect:127.0.0.1:1", "setkey:x", "node:a:1"]
)
def test_later_chains_come_too_late(chain: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=f"the {chain} chain comes too late"):
        Playground(f"{chain}-route-run = {rule}")


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("uwsgi:127.0.0.1:3031", "expected ADDRESS,modifier1,modifier2"),
        ("uwsgi:127.0.0.1:3031,5", "expected ADDRESS,modifier1,modifier2"),
        ("uwsgi:127.0.0.1:3031,300,0", "from 0 to 255"),
        ("uwsgi:[::1,0,0", "address"),
        ("http:", "address"),
        ("httpconnect:[::1", "address"),
    ],
)
def test_bad_arguments_are_told_at_start(rule: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Playground(f"route-run = {rule}")
