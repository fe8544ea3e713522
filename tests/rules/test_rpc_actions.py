"""Rules that call functions: what becomes of their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.rules.made import Playground, PlayHost, Reply
from uwsgirouter.errors import ConfigError
from uwsgirouter.rules.base import ChainName

FUNCTIONS: dict[bytes, Callable[..., bytes]] = {
    b"hello": lambda *arguments: b"hello " + b",".join(arguments),
    b"same": lambda text: text,
    b"empty": lambda: b"",
    b"raw": lambda text: text.replace(b"|", b"\r\n"),
}


def ask(rules: str, path: str = "/one?q", **headers: str) -> Reply:
    return Playground(rules, PlayHost(functions=FUNCTIONS)).get(path, headers)


@pytest.mark.parametrize("name", ["rpc", "call"])
def test_the_result_is_the_answer(name: str) -> None:
    reply = ask(f"route = ^/(.*) {name}:hello $1  ${{QUERY_STRING}}")
    assert reply.raw == b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello one,q"
    assert not reply.asked


def test_an_argument_may_be_empty_or_have_spaces() -> None:
    assert ask("route-run = rpc:hello ${HTTP_X} ${HTTP_Y}", X="a b").body == b"hello a b,"


@pytest.mark.parametrize("rule", ["rpc:nope", "rpc:empty", "rpcnext:nope", "rpcret:nope", "rpcraw:empty"])
def test_nothing_ends_the_request(rule: str) -> None:
    reply = ask(f"route-run = {rule}")
    assert reply.status == 500 and not reply.asked
    assert "gave nothing" in reply.log[0]


@pytest.mark.parametrize("name", ["rpcnext", "rpcblob"])
def test_results_one_behind_the_other(name: str) -> None:
    reply = ask(f"route-run = {name}:hello a\nroute-run = {name}:hello b\nroute-run = break:")
    assert reply.raw == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello ahello b"


def test_a_result_as_a_variable() -> None:
    assert ask("route-run = rpcvar:X hello ${PATH_INFO}").variables["X"] == "hello /one"
    assert ask("route-run = rpcvar:X nope").variables["X"] == ""


@pytest.mark.parametrize(
    ("result", "seen"),
    [
        ("next", ["first", "second"]),
        ("continue", []),
        ("goto end", ["second"]),
        ("anything", []),
        ("break", []),
        ("goto nowhere", []),
    ],
)
def test_a_result_that_says_what_follows(result: str, seen: list[str]) -> None:
    reply = ask(
        """
        route-run = rpcret:same ${HTTP_X}
        route-run = addvar:FIRST=first
        route-label = end
        route-run = addvar:SECOND=second
        """,
        X=result,
    )
    assert [value for name, value in reply.variables.items() if name in ("FIRST", "SECOND")] == seen
    assert reply.asked == (result not in ("break", "goto nowhere"))


def test_a_break_with_a_status() -> None:
    reply = ask("route-run = rpcret:same ${HTTP_X}", X="break 404 Nope")
    assert reply.raw == b"HTTP/1.1 404 Nope\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n"


def test_a_whole_answer() -> None:
    reply = ask("route-run = rpcraw:raw ${HTTP_X}", X="HTTP/1.0 201 Created|X-R: 1|X-S: a: b||body")
    assert reply.raw == b"HTTP/1.1 201 Created\r\nX-R: 1\r\nX-S: a: b\r\n\r\nbody"
    assert ask("route-run = rpcraw:raw ${HTTP_X}", X="HTTP/1.0 204 None||").raw == b"HTTP/1.1 204 None\r\n\r\n"


@pytest.mark.parametrize(
    "text", ["junk", "junk||", "HTTP/1.0 200 OK|X: y", "HTTP/1.0 200 OK|X:y||", "HTTP/1.0 200 OK|: y||"]
)
def test_what_is_no_answer_ends_the_request(text: str) -> None:
    assert ask("route-run = rpcraw:raw ${HTTP_X}", X=text).status == 500


def test_a_function_cannot_break_a_line() -> None:
    reply = ask("route-run = rpcraw:raw ${HTTP_X}", X="HTTP/1.0 200 OK|X: a\nEvil: 1||")
    assert b"Evil" not in reply.raw


def test_functions_of_others() -> None:
    def elsewhere(address: str, name: bytes, arguments: Sequence[bytes]) -> bytes | None:
        return b"from " + address.encode() + b" " + name + b" " + b",".join(arguments)

    play = Playground("route-run = rpc:f@127.0.0.1:4000 ${PATH_INFO}", PlayHost(elsewhere=elsewhere))
    assert play.get("/x").body == b"from 127.0.0.1:4000 f /x"
    assert not play.table.scripts


def test_calls_may_wait_and_need_scripts() -> None:
    play = Playground("route-run = rpc:hello@ x\nresponse-route-run = log:x", PlayHost(functions=FUNCTIONS))
    assert play.get().body == b"hello x"
    assert play.table.waits(ChainName.REQUEST) and not play.table.waits(ChainName.RESPONSE)
    assert play.table.scripts
    assert not Playground("route-run = last:").table.scripts


@pytest.mark.parametrize("rule", ["rpc:", "rpc:@x", "rpcvar:X", "rpcvar: f", "rpc:f@[::1", "rpc:f " + "a " * 256])
def test_bad_arguments(rule: str) -> None:
    with pytest.raises(ConfigError, match="rules:1"):
        Playground(f"route-run = {rule}")
