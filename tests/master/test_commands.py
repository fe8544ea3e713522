"""What operators ask, without a socket: answers, errors that help, and what is logged."""

from __future__ import annotations

import json
from collections import Counter
from typing import cast

import pytest

from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.log import Log
from uwsgirouter.master.commands import Commands
from uwsgirouter.master.control_socket import Peer
from uwsgirouter.master.looking import Looking
from uwsgirouter.master.registrar import Registrar
from uwsgirouter.model.table import RouteTable
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import parse_peer

Row = dict[str, object]


class Lines(Log):
    """A log that keeps its lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


class Desk:
    """Commands over a registry with three nodes: two announced ones and a static one."""

    def __init__(self) -> None:
        self.log = Lines()
        self.inflight: Counter[int] = Counter()
        self.told: list[int] = []
        self.settled = True
        self.registrar = Registrar(
            RouteTable(WeightedRoundRobin), lambda id: self.inflight[id], self.log, self.told.append
        )
        self.commands = Commands(
            self.registrar, lambda id: self.inflight[id], lambda: self.settled, self.log, cast(Looking, None)
        )
        registry = self.registrar.registry
        for address in ("127.0.0.1:3031", "[::1]:3031"):
            registry.announce(Announce(b"foo.com", parse_peer(address), weight=2, cores=4), 10.0)
        registry.announce(Announce(b"caf\xe9\x1b", parse_peer("/run/a.sock")), 10.0)
        registry.configure([parse_peer("127.0.0.1:1")], 10.0, [parse_peer("127.0.0.1:1")])

    def ask_line(self, line: bytes) -> list[Row]:
        return [json.loads(line) for line in self.commands.answer(line, Peer(77, 1000, 1000))]

    def ask(self, command: str, **fields: object) -> tuple[list[Row], Row]:
        """The nodes of the answer, and its last line."""
        *rows, last = self.ask_line(json.dumps({"command": command, **fields}).encode())
        nodes = []
        for row in rows:
            node = row["node"]
            assert isinstance(node, dict) and len(row) == 1
            nodes.append(node)
        return nodes, last

    def error(self, command: str, **fields: object) -> tuple[object, str]:
        rows, last = self.ask(command, **fields)
        assert not rows and "ok" not in last
        return last["trouble"], str(last["error"])


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_nodes(desk: Desk) -> None:
    desk.inflight[0] = 3
    rows, last = desk.ask("nodes")
    assert [(row["key"], row["node"]) for row in rows] == [
        ("foo.com", "127.0.0.1:3031"),
        ("foo.com", "[::1]:3031"),
        ("caf\udce9\x1b", "/run/a.sock"),
        ("-", "127.0.0.1:1"),
        ("+", "127.0.0.1:1"),
    ]
    assert last == {"ok": True, "nodes": 5, "settled": True}
    first = rows[0]
    assert (first["state"], first["why"], first["in_flight"], first["cores"]) == ("up", "announced", 3, 4)
    assert (first["weight"], first["own_weight"]) == (2, 2)
    assert isinstance(first["announced"], float) and isinstance(first["since"], float)
    assert (rows[3]["announced"], rows[3]["why"]) == (None, "configured")


def test_nodes_of_a_key(desk: Desk) -> None:
    desk.settled = False
    rows, last = desk.ask("nodes", key="caf\udce9\x1b")
    assert [row["node"] for row in rows] == ["/run/a.sock"]
    assert last == {"ok": True, "nodes": 1, "settled": False}
    assert desk.error("nodes", key="bar.com") == (
        "no-key",
        "no nodes under key bar.com; the keys are foo.com, caf\udce9\x1b, -, +",
    )


@pytest.mark.parametrize(("order", "state"), [("drain", "draining"), ("down", "down")])
def test_an_order_and_its_end(desk: Desk, order: str, state: str) -> None:
    rows, last = desk.ask(order, key="foo.com", node="127.0.0.1:03031")
    assert (rows[0]["node"], rows[0]["state"], rows[0]["order"]) == ("127.0.0.1:3031", state, order)
    assert str(rows[0]["why"]).endswith("by an operator (uid 1000)")
    assert (last["ok"], desk.told) == (True, [0])
    assert desk.ask("ready", key="foo.com", node="127.0.0.1:3031")[0][0]["state"] == "up"
    assert desk.log.lines == [
        f"[uwsgirouter pid {__import__('os').getpid()}] operator (uid 1000, pid 77): {what} foo.com 127.0.0.1:3031"
        for what in (order, "ready")
    ]


def test_static_and_fallback_nodes(desk: Desk) -> None:
    assert desk.ask("down", key="-", node="127.0.0.1:1")[0][0]["state"] == "down"
    assert [row["state"] for row in desk.ask("nodes", key="+")[0]] == ["up"]
    assert desk.ask("drain", key="+", node="127.0.0.1:1")[0][0]["state"] == "draining"


def test_absent_nodes_are_listed_and_can_be_let_back(desk: Desk) -> None:
    node = {"key": "foo.com", "node": "[::1]:3031"}
    desk.ask("drain", **node)
    desk.registrar.registry.expire(1000.0)
    rows, last = desk.ask("nodes", key="foo.com")
    assert [(row["node"], row["state"], row["order"]) for row in rows] == [("[::1]:3031", "absent", "drain")]
    assert last["nodes"] == 0
    assert desk.ask("down", **node)[1]["ok"] is True
    assert desk.ask("nodes")[0][-1]["order"] == "down"
    rows, last = desk.ask("ready", key="foo.com", node="[::0001]:3031")
    assert (rows, last["ok"]) == ([], True)
    assert desk.error("nodes", key="foo.com")[0] == "no-key"


def test_weight(desk: Desk) -> None:
    node = {"key": "foo.com", "node": "127.0.0.1:3031"}
    rows, _ = desk.ask("weight", weight=9, **node)
    assert (rows[0]["weight"], rows[0]["own_weight"], rows[0]["state"]) == (9, 2, "up")
    for ends in (0, "-", None):
        desk.ask("weight", weight=9, **node)
        assert desk.ask("weight", weight=ends, **node)[0][0]["weight"] == 2
    for bad in (-1, 1.5, "7", True, False, 10**9, [1]):
        trouble, text = desk.error("weight", weight=bad, **node)
        assert (trouble, text) == ("bad-request", "weight: expected 1 to 1000000, or 0 for the announced one")


def test_errors_help(desk: Desk) -> None:
    assert desk.error("drain", key="foo.com", node="127.0.0.1:1") == (
        "no-node",
        "no node 127.0.0.1:1 under key foo.com; its nodes are 127.0.0.1:3031, [::1]:3031",
    )
    assert desk.error("drain", key="foo.com", node="127.0.0.1:0")[0] == "bad-request"
    assert desk.error("drain", key="foo.com", node="\ud800")[0] == "bad-request"
    assert desk.error("drain", key="\ud800", node="/a")[0] == "bad-request"
    assert desk.error("drain", key=7, node="/a") == ("bad-request", "key: expected a text")
    assert desk.error("drain", key="", node="/a")[0] == "bad-request"
    assert desk.error("drain", key="foo.com", node=None) == ("bad-request", "node: expected a text")
    assert desk.error("drain", key="foo.com") == ("bad-request", "drain needs node")
    assert desk.error("nodes", nodes="x") == ("bad-request", "nodes has no field 'nodes'")
    assert desk.error("reboot") == (
        "bad-request",
        "no command 'reboot'; there are: nodes, drain, down, ready, weight, status, events, trace",
    )
    for number in range(30):
        desk.registrar.registry.announce(Announce(b"k%d" % number, parse_peer(f"127.0.0.1:{4000 + number}")), 10.0)
    assert desk.error("nodes", key="bar")[1].endswith(", k5 and 24 more")


@pytest.mark.parametrize("line", [b"", b"x", b"[]", b"7", b"[" * 5000, b'{"command": "nodes"', b"\xff", b"9" * 5000])
def test_what_is_no_request_is_told_so(desk: Desk, line: bytes) -> None:
    (answer,) = desk.ask_line(line)
    assert answer["trouble"] == "bad-request"
    assert str(answer["error"]).startswith("a request is a line with a JSON object")


def test_a_node_that_goes_while_the_list_is_taken(desk: Desk) -> None:
    lines = desk.commands.answer(b'{"command":"nodes"}', Peer(1, 0, 0))
    next(lines)
    desk.registrar.registry.announce(Announce(b"foo.com", parse_peer("[::1]:3031"), leaving=True), 11.0)
    left = [json.loads(line) for line in lines]
    assert [row["node"]["node"] for row in left[:-1]] == ["/run/a.sock", "127.0.0.1:1", "127.0.0.1:1"]
    assert left[-1]["nodes"] == 4


def test_the_tls_files_that_a_node_announced_are_shown() -> None:
    desk = Desk()
    announce = Announce(b"tls.com", parse_peer("127.0.0.1:9"), sni_key=b"/k", sni_crt=b"/c")
    desk.registrar.registry.announce(announce, 10.0)
    (node,), _ = desk.ask("nodes", key="tls.com")
    assert node["sni"] == ["/k", "/c", ""]
    desk.registrar.registry.announce(Announce(b"tls.com", parse_peer("127.0.0.1:9")), 11.0)
    (node,), _ = desk.ask("nodes", key="tls.com")
    assert node["sni"] is None, "the last word counts"


def test_that_somebody_is_gone_is_known_to_all_workers_or_not_yet(desk: Desk) -> None:
    for desk.settled in (False, True):
        for question in (
            {"command": "nodes", "key": "bar.com"},
            {"command": "drain", "key": "foo.com", "node": "/none"},
        ):
            (answer,) = desk.ask_line(json.dumps(question).encode())
            assert answer["settled"] is desk.settled
    (answer,) = desk.ask_line(b"{}")
    assert "settled" not in answer
