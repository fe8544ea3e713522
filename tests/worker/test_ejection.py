"""A node that takes requests and breaks off: the worker reports it, the master ejects it (``fastrouter-ejection``)."""

from __future__ import annotations

import pytest

from tests.servers import Connection, Servers, answer
from tests.worker.site import Site


def break_off(connection: Connection) -> None:
    """Take the request, and close without an answer."""
    connection.read_packet()


@pytest.mark.parametrize("ejection", ["true", "false"])
def test_whoever_breaks_off_is_left_alone_unless_that_is_turned_off(started: Servers, ejection: str) -> None:
    site = Site(started, f"fastrouter-ejection = {ejection}")
    bad, good = site.node(break_off), site.node(answer(b"good"))
    key = site.announce(site.key(), bad.address, good.address)
    line = f"{key} => leaving {bad.address} alone for 1 s"
    asked = 0
    while len(bad.connections) < 3:
        assert site.fetch(key).body == b"good", "a GET goes on to the other node"
        asked += 1
    assert asked <= 6
    if ejection == "true":
        site.router.wait_for_log(line, 10)
        assert len(bad.connections) <= 4, "one may be under way while the master decides"
    else:
        for _ in range(8):
            assert site.fetch(key).body == b"good"
        assert len(bad.connections) >= 6, "it has its turns as ever"
        assert line not in site.router.log()
