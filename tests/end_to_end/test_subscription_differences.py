"""What docs/differences.md says of announced nodes: the same announcements and requests to both routers.

A line of that page that is true no more of either router fails here. Of trust: test_trust.py, test_senders.py.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest

from tests.end_to_end.test_differences import served_by
from tests.end_to_end.twins import Request, Twins, record
from tests.end_to_end.ways import nodes
from tests.servers import Connection, Handler, Node, Servers, announce, packet, reset_after_packet
from tests.servers.wire import get

LINES = "fastrouter-subscription-server = {server}\nsubscription-tolerance = 600\n"
KEY = "shared.example"


class Pair:
    """Both routers, told of the nodes in their order; ``fields`` are variables of each node's announcement."""

    def __init__(self, servers: Servers, nodes: dict[str, Node], lines: str = "", **fields: tuple[int, ...]) -> None:
        self.twins = Twins(servers, LINES + lines, nodes)
        for router in self.twins.routers:
            for number, node in enumerate(nodes.values()):
                extra = {name: values[number] for name, values in fields.items()}
                announce(router.server, KEY, node.address, extra=dict(extra))
                router.wait_for_log(f"{KEY} => new node: {node.address}", 15)

    def ask(self, count: int) -> tuple[list[list[str]], list[list[str]]]:
        """So many requests, one after the other: the nodes that each reached, in the C FastRouter and in ours."""
        asked = Request(packet(get(KEY)))
        theirs, ours = zip(*(served_by(self.twins, asked) for _ in range(count)), strict=True)
        return list(theirs), list(ours)


def shares(found: list[list[str]]) -> dict[str, int]:
    assert all(len(names) == 1 for names in found), found
    return dict(Counter(names[0] for names in found))


def longest_run(found: list[list[str]]) -> int:
    return max(len(list(run)) for _, run in groupby(names[0] for names in found))


def close_when_read(connection: Connection) -> None:
    """A node that takes the request and leaves without a word."""
    connection.read_packet()


@pytest.mark.parametrize("bad", [reset_after_packet, close_when_read], ids=["resets", "closes"])
def test_a_node_that_breaks_off_keeps_getting_requests_there(servers: Servers, bad: Handler) -> None:
    """There it has its half of them for ever, and they fail; here it is soon left alone, and the other one answers."""
    recorders = {"bad": servers.node(bad), "good": servers.node(record)}
    pair = Pair(servers, recorders, "fastrouter-ejection = true\n")
    theirs, ours = pair.ask(16)
    assert shares(theirs) == {"bad": 8, "good": 8}
    assert "marking" not in pair.twins.routers[0].log()
    assert {names[-1] for names in ours} == {"good"}
    assert 3 <= sum("bad" in names for names in ours) < 8
    pair.twins.routers[1].wait_for_log(f"{KEY} => leaving {recorders['bad'].address} alone for 1 s")


@pytest.mark.parametrize(
    ("weights", "theirs", "ours"),
    [
        ((3, 1), {"one": 15, "two": 5}, {"one": 15, "two": 5}),
        ((3, 2), {"one": 10, "two": 10}, {"one": 12, "two": 8}),
        ((7, 3), {"one": 14, "two": 7}, {"one": 14, "two": 6}),
        ((0, 1), {"one": 10, "two": 10}, {"one": 10, "two": 10}),
    ],
    ids=str,
)
def test_weights(servers: Servers, weights: tuple[int, ...], theirs: dict[str, int], ours: dict[str, int]) -> None:
    """There a weight counts in whole multiples of the smallest one."""
    found = Pair(servers, nodes(servers, one="", two=""), weight=weights).ask(21)
    assert shares(found[0][: sum(theirs.values())]) == theirs
    assert shares(found[1][: sum(ours.values())]) == ours


def test_turns_are_spread(servers: Servers) -> None:
    """There a node has all its requests of a round in a row."""
    theirs, ours = Pair(servers, nodes(servers, one="", two="", three=""), weight=(4, 4, 1)).ask(27)
    assert shares(theirs) == shares(ours) == {"one": 12, "two": 12, "three": 3}
    assert longest_run(theirs) == 4
    assert longest_run(ours) <= 2


def test_backup_counts_for_nothing_there(servers: Servers) -> None:
    theirs, ours = Pair(servers, nodes(servers, one="", two=""), backup=(0, 1)).ask(10)
    assert (shares(theirs), shares(ours)) == ({"one": 5, "two": 5}, {"one": 10})


def test_iphash_is_turns_there(servers: Servers) -> None:
    """2.0 takes the name without a word."""
    theirs, ours = Pair(servers, nodes(servers, one="", two=""), "subscription-algo = iphash\n").ask(10)
    assert shares(theirs) == {"one": 5, "two": 5}
    assert list(shares(ours).values()) == [10]


def test_wlrc_of_idle_nodes(servers: Servers) -> None:
    """There they share alike while nothing is under way, whatever their weights."""
    recorders = nodes(servers, one="", two="", three="")
    theirs, ours = Pair(servers, recorders, "subscription-algo = wlrc\n", weight=(1, 2, 3)).ask(24)
    assert shares(theirs) == {"one": 8, "two": 8, "three": 8}
    assert shares(ours) == {"one": 4, "two": 8, "three": 12}


def test_lrc_of_idle_nodes(servers: Servers) -> None:
    theirs, ours = Pair(servers, nodes(servers, one="", two="", three=""), "subscription-algo = lrc\n").ask(24)
    assert shares(theirs) == shares(ours) == {"one": 8, "two": 8, "three": 8}
