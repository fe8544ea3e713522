"""Faults around rules: whatever a client, a node, a file or a rule does wrong, somebody is told once and nothing leaks.

Two routers share all the tests: one whose rules never wait, and one where each chain runs in a greenlet.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import Connection, End, Handler, Node, Servers, answer, get, hang, post, wait_until
from tests.servers.client import Client
from tests.servers.wire import Reply, Variables
from tests.worker.scarcity import without_descriptors
from tests.worker.site import Site

MEGABYTE = 1 << 20
BIG = os.urandom(4 * MEGABYTE)

PARTS = '''\
"""Parts that do what no part should."""

import gevent

from uwsgirouter.rules.base import Verdict, action, transformation
from uwsgirouter.rules.transform import Transform


def _boom(argument, place):
    def act(exchange, found):
        raise KeyError("boom " + argument.decode())

    return act


@action("late-boom", waits=True)
def late_boom(argument, place):
    def act(exchange, found):
        gevent.sleep(0)
        raise KeyError("late boom " + argument.decode())

    return act


@action("stall", waits=True)
def stall(argument, place):
    def act(exchange, found):
        gevent.sleep(float(argument))
        return Verdict.NEXT

    return act


class Exploding(Transform):
    def feed(self, data):
        raise ZeroDivisionError("exploding")


action("boom")(_boom)
transformation("exploding")(lambda argument, place: lambda exchange, found: Exploding())
'''

COMMON = """\
route = ^/node node:${HTTP_X_NODE}
route = ^/node/harakiri harakiri:1
route = ^/node/gzip gzip:
route = ^/node/fixcl fixcl:
route = ^/node/exploding exploding:
route = ^/node/seen addheader:X-Seen: yes
route = ^/http httpdumb:${HTTP_X_NODE}
route = ^/tunnel httpconnect:${HTTP_X_NODE}
route = ^/file file:filename=${HTTP_X_FILE}
route = ^/sendfile sendfile:filename=${HTTP_X_FILE}
route = ^/boom boom:request
route = ^/paged/boom goto:nobody
error-route = ^/errors/boom boom:error
error-route = ^/errors/file sendfile:filename=${HTTP_X_FILE}
error-route = ^/errors/redirect redirect:http://sorry.example/
response-route = ^/node/responses/boom boom:response
final-route = ^/finals/boom boom:final
"""
WAITING = """\
route = ^/slow stall:30
route = ^/late-boom late-boom:request
route = ^/stall stall:${HTTP_X_STALL}
error-route = ^/errors/slow stall:30
error-route = ^/errors/late-boom late-boom:error
response-route = ^/node/responses/slow stall:30
response-route = ^/node/responses/late-boom late-boom:response
response-route = ^/tunnel stall:0.1
response-route = ^/answered/slow stall:30
final-route = ^/finals/slow stall:1
final-route = ^/finals log:final of ${PATH_INFO}
"""


class Ruled(Site):
    """A site with the parts above. The clients' timeouts are short."""

    def __init__(self, servers: Servers, rules: str, *lines: str) -> None:
        place = servers.directory / "parts"
        about = place / "hostile-1.dist-info"
        about.mkdir(parents=True, exist_ok=True)
        (place / "hostile_parts.py").write_text(PARTS)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1\n")
        (about / "entry_points.txt").write_text("[uwsgirouter.rules]\nhostile = hostile_parts\n")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(place), prepend=os.pathsep)
            super().__init__(servers, "fastrouter-timeout = 3", *lines, *rules.splitlines(), announced=False)
        self.fetch("warm.example")
        self.baseline = self.descriptors()

    def count(self, word: str) -> int:
        return self.stats().causes.get(word, 0)

    def at_rest(self) -> None:
        """Nothing of what was asked is left."""

        def rests() -> bool:
            numbers = self.stats().numbers
            return not numbers["sessions"] and not numbers["in flight"] and self.descriptors() <= self.baseline

        wait_until(rests, 10, "no session, no request and no descriptor is left")

    @contextmanager
    def telling_once(self, word: str) -> Iterator[None]:
        """What is done within is a failure for that cause, counted and told once."""
        before, lines = self.stats().causes, self.router.log().count("] request ")
        yield
        self.at_rest()
        after = self.stats().causes
        new = {cause: count - before.get(cause, 0) for cause, count in after.items() if count != before.get(cause, 0)}
        assert new == {word: 1}
        assert self.router.log().count("] request ") == lines + 1, self.router.log()


@pytest.fixture(scope="module")
def quick(started: Servers) -> Ruled:
    """Its rules never wait."""
    return Ruled(started, COMMON)


@pytest.fixture(scope="module")
def slow(started: Servers) -> Ruled:
    """Its rules run in greenlets."""
    return Ruled(started, WAITING + COMMON)


@pytest.fixture(params=["quick", "slow"])
def both(request: pytest.FixtureRequest) -> Ruled:
    ruled: Ruled = request.getfixturevalue(request.param)
    return ruled


def asked(site: Site, path: str, node: Node | None = None, extra: Variables | None = None, **more: int) -> Client:
    """A client that has asked."""
    client = site.servers.client(site.tcp, **more)
    client.send_packet(get("any.example", path, extra=[*named(node), *(extra or [])]))
    return client


def named(node: Node | None) -> Variables:
    return [] if node is None else [(b"HTTP_X_NODE", node.address.encode())]


def ask(site: Site, path: str, node: Node | None = None, extra: Variables | None = None) -> Reply:
    with asked(site, path, node, extra) as client:
        return client.reply()


def cause_of(reply: Reply) -> tuple[int, str | None]:
    return reply.status, reply.header("x-uwsgirouter-cause")


def file_of(path: Path) -> Variables:
    return [(b"HTTP_X_FILE", str(path).encode())]


# -- rules that raise what they should not -------------------------------------------------------------------------


def test_a_rule_with_a_bug_is_told(both: Ruled) -> None:
    with both.telling_once("internal-error"):
        assert cause_of(ask(both, "/boom")) == (500, "internal-error")


def test_an_error_rule_with_a_bug_leaves_the_plain_answer(both: Ruled) -> None:
    with both.telling_once("no-node"):
        assert cause_of(ask(both, "/errors/boom")) == (503, "no-node")
    assert "KeyError: 'boom error'" in both.router.log()


def test_a_response_rule_with_a_bug_is_told(both: Ruled) -> None:
    node = both.node(answer(b"ok"))
    with both.telling_once("internal-error"):
        assert cause_of(ask(both, "/node/responses/boom", node)) == (500, "internal-error")
    node.expect_errors()


def test_a_transformation_with_a_bug(both: Ruled) -> None:
    node = both.node(answer(b"ok"))
    with both.telling_once("internal-error"):
        assert cause_of(ask(both, "/node/exploding", node)) == (500, "internal-error")
    node.expect_errors()


def test_a_final_rule_with_a_bug_harms_nobody(both: Ruled) -> None:
    with both.telling_once("no-node"):
        assert cause_of(ask(both, "/finals/boom")) == (503, "no-node")


def test_a_rule_that_fails_after_it_waited_is_told(slow: Ruled) -> None:
    with slow.telling_once("internal-error"):
        assert cause_of(ask(slow, "/late-boom")) == (500, "internal-error")
    with slow.telling_once("no-node"):
        assert cause_of(ask(slow, "/errors/late-boom")) == (503, "no-node")
    node = slow.node(answer(b"ok"))
    with slow.telling_once("internal-error"):
        assert cause_of(ask(slow, "/node/responses/late-boom", node)) == (500, "internal-error")
    node.expect_errors()


# -- rules that take too long --------------------------------------------------------------------------------------


def test_rules_that_take_too_long_are_told(slow: Ruled) -> None:
    with slow.telling_once("rules-timeout"):
        assert cause_of(ask(slow, "/slow")) == (504, "rules-timeout")


def test_an_error_rule_that_takes_too_long_leaves_the_plain_answer(slow: Ruled) -> None:
    with slow.telling_once("no-node"):
        assert cause_of(ask(slow, "/errors/slow")) == (503, "no-node")


def test_a_response_rule_that_takes_too_long_is_not_the_nodes_fault(slow: Ruled) -> None:
    node = slow.node(answer(b"ok"))
    with slow.telling_once("rules-timeout"):
        assert cause_of(ask(slow, "/node/responses/slow", node)) == (504, "rules-timeout")
    node.expect_errors()
