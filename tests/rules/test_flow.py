"""continue, last, break, return, log, logvar, harakiri, donotlog, donotoffload."""

from __future__ import annotations

import pytest

from tests.rules.made import Playground
from uwsgirouter.rules.base import Verdict


@pytest.mark.parametrize("name", ["continue", "last"])
def test_no_more_rules(name: str) -> None:
    reply = Playground(f"route-run = {name}:\nroute-run = log:no").get()
    assert (reply.verdict, reply.log, reply.status) == (Verdict.CONTINUE, [], 200)


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("404 Not Found", b"HTTP/1.1 404 Not Found"),
        ("500", b"HTTP/1.1 500 Internal Server Error"),
        ("403 Forbidden for ip ${REMOTE_ADDR} $0", b"HTTP/1.1 403 Forbidden for ip ${REMOTE_ADDR} $0"),
    ],
)
def test_break_sends_a_head(argument: str, line: bytes) -> None:
    reply = Playground(f"route = ^/(.*) break:{argument}").get()
    assert reply.raw == line + b"\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n"
    assert not reply.asked


@pytest.mark.parametrize("argument", ["", "40"])
def test_a_bare_break_is_a_failure_answer(argument: str) -> None:
    reply = Playground(f"route = ^/ break:{argument}").get()
    assert (reply.verdict, reply.asked, reply.status) == (Verdict.BREAK, False, 403)


@pytest.mark.parametrize("name", ["return", "break-with-status"])
def test_return_has_its_words_as_body(name: str) -> None:
    reply = Playground(f"route = ^/ {name}:403").get()
    assert reply.raw == (b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nForbidden")
    assert Playground("route = ^/ return:404 Text").get().head.startswith(b"HTTP/1.1 404 Text Not Found\r\n")


def test_log_and_logvar() -> None:
    reply = Playground("route = ^/(.) log:hello $1\nroute = ^/(.) logvar:item=x$1\nroute-run = logvar:a=b=c").get("/q")
    assert reply.log == ["hello q"]
    assert reply.exchange.logvars == {b"item": b"xq", b"a": b"b=c"}


def test_harakiri_and_the_log_of_requests() -> None:
    reply = Playground("route = ^/a harakiri:30\nroute = ^/b harakiri:x\nroute = ^/a donotlog:").get("/a")
    assert (reply.exchange.patience, reply.exchange.log_request) == (30, False)
    plain = Playground("route = ^/b harakiri:x").get("/b").exchange
    assert (plain.patience, plain.log_request) == (None, True)


def test_donotoffload_is_so_without_being_done() -> None:
    play = Playground("route-run = donotoffload:")
    assert play.get().status == 200 and not play.warnings


def test_what_is_for_a_log_of_requests_is_told_once() -> None:
    play = Playground("route = ^/a logvar:a=b\nroute-run = log:\nroute-run = donotlog:")
    assert not play.warnings
    (notice,) = play.table.notices
    assert notice.startswith("the router writes no log of requests") and notice.endswith("(rules:1, rules:3)")
