"""What docs/differences.md says of single requests: the same packets to both routers, and how they part.

A line of that page that is true no more of either router fails here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.twins import Request, Twins, record
from tests.end_to_end.ways import nodes
from tests.servers import Connection, End, Handler, Servers, announce, free_port, packet, reset_after_packet
from tests.servers.wire import Variables, get

MISSING = "missing.sock"


def asked(key: bytes, modifier1: int = 0) -> Request:
    """A plain GET for the key."""
    return Request(packet(get(key), modifier1))


def served_by(twins: Twins, request: Request) -> tuple[list[str], list[str]]:
    """The nodes that were reached by the C FastRouter, and by ours."""
    theirs, ours = twins.outcomes(request)
    return [name for name, _ in theirs.nodes], [name for name, _ in ours.nodes]


def to(*addresses: str) -> str:
    """Lines of static nodes."""
    return "\n".join(f"fastrouter-to = {address}" for address in addresses)


def test_an_empty_variable_does_not_wipe_the_key(servers: Servers) -> None:
    recorders = nodes(servers, one="")
    twins = Twins(servers, to(recorders["one"].address), recorders)
    orders: list[Variables] = [
        [(b"SERVER_NAME", b"a"), (b"HTTP_HOST", b"")],
        [(b"HTTP_HOST", b"a"), (b"HTTP_HOST", b"")],
        [(b"HTTP_HOST", b"a"), (b"UWSGI_FASTROUTER_KEY", b"")],
        [(b"UWSGI_FASTROUTER_KEY", b""), (b"HTTP_HOST", b"a")],
        [(b"UWSGI_FASTROUTER_KEY", b"a"), (b"UWSGI_FASTROUTER_KEY", b"")],
    ]
    assert [served_by(twins, Request(packet(order))) for order in orders] == [([], ["one"])] * len(orders)


def test_announced_keys(servers: Servers) -> None:
    """An unknown key is tried in lower case; modifiers of a later announcement count."""
    recorders = nodes(servers, one="")
    twins = Twins(servers, "fastrouter-subscription-server = {server}\nsubscription-tolerance = 600", recorders)
    one = recorders["one"].address
    twins.announce("a.example", one)
    assert served_by(twins, asked(b"A.Example")) == ([], ["one"])
    for router in twins.routers:
        announce(router.server, "a.example", one, extra={"modifier1": 5})
    twins.announce("later.example", one)
    theirs, ours = twins.outcomes(asked(b"a.example"))
    assert [outcome.nodes[0][1].start[0] for outcome in (theirs, ours)] == [0, 5]


def close_when_read(connection: Connection) -> None:
    """A node that takes the request and leaves without a word."""
    connection.read_packet()


def reset_midway(connection: Connection) -> None:
    """A node that resets after a part of its answer was read by the router."""
    connection.read_packet()
    connection.send(b"a part")
    assert connection.socket.recv(1) == b"x"
    connection.reset()


@pytest.mark.parametrize("bad", [close_when_read, reset_after_packet], ids=["closes", "resets"])
def test_a_get_goes_to_another_node_when_one_leaves_without_a_word(servers: Servers, bad: Handler) -> None:
    recorders = {"bad": servers.node(bad), "good": servers.node(record)}
    twins = Twins(servers, to(*(node.address for node in recorders.values())), recorders)
    assert served_by(twins, asked(b"a")) == (["bad"], ["bad", "good"])


def test_a_reset_in_the_middle_of_an_answer_is_passed_on(servers: Servers) -> None:
    recorders = {"one": servers.node(reset_midway)}
    twins = Twins(servers, to(recorders["one"].address), recorders)
    ends = []
    for number in (0, 1):
        with servers.client(twins.address(number)) as client:
            client.send(packet([*get(b"a"), (b"CONTENT_LENGTH", b"1")]))
            assert client.read(6) == b"a part"
            client.send(b"x")
            ends.append(client.read_all()[1])
    assert ends == [End.EOF, End.RESET]


def test_a_missing_unix_node_is_skipped(servers: Servers) -> None:
    recorders = nodes(servers, live=servers.path("live.sock"))
    twins = Twins(servers, to(servers.path(MISSING), recorders["live"].address), recorders)
    theirs, ours = zip(*(served_by(twins, asked(b"a")) for _ in range(4)), strict=True)
    assert sorted(theirs) == [[], [], ["live"], ["live"]]
    assert ours == (["live"],) * 4


def test_failed_nodes_are_tried_when_no_other_is_left(servers: Servers) -> None:
    recorders = nodes(servers, one="")
    twins = Twins(servers, to(recorders["one"].address), recorders)
    recorders["one"].refuse()
    assert served_by(twins, asked(b"a")) == ([], [])
    recorders["one"].accept_again()
    assert served_by(twins, asked(b"a")) == ([], ["one"])


def test_a_fallback_is_for_when_no_node_is_left(servers: Servers) -> None:
    recorders = nodes(servers, dead="", live="", fallback="")
    lines = f"{to(recorders['dead'].address, recorders['live'].address)}\nfastrouter-fallback = "
    twins = Twins(servers, lines + recorders["fallback"].address, recorders)
    recorders["dead"].refuse()
    # There it takes the place of the node that fails, whoever else lives.
    assert served_by(twins, asked(b"a")) == (["fallback"], ["live"])
    recorders["live"].refuse()
    assert served_by(twins, asked(b"a")) == (["fallback"], ["fallback"])
    # There it is not used once all nodes are in their grace time.
    assert served_by(twins, asked(b"a")) == ([], ["fallback"])


def test_keys_that_leave_the_configured_place(servers: Servers) -> None:
    (servers.directory / "base").mkdir()
    recorders = nodes(servers, outside=servers.path("outside"), port=f"127.0.0.1:{free_port()}")
    base = Twins(servers, f"fastrouter-use-base = {servers.directory}/base/", recorders)
    assert served_by(base, asked(b"../outside")) == (["outside"], [])
    pattern = Twins(servers, "fastrouter-use-pattern = %%s", recorders)
    assert served_by(pattern, asked(recorders["port"].address.encode())) == (["port"], [])


def test_a_script_may_return_text(servers: Servers) -> None:
    recorders = nodes(servers, one="")
    script = Path(servers.path("mapper.py"))
    script.write_text(f"def get(key):\n    return '{recorders['one'].address}'\n")
    twins = Twins(servers, f"fastrouter-use-code-string = 0:{script}:get", recorders)
    assert served_by(twins, asked(b"a")) == ([], ["one"])


def test_ipv6_nodes_and_a_forced_key(servers: Servers) -> None:
    recorders = nodes(servers, six="[::1]:0", forced=servers.path("forced"))
    six = Twins(servers, to(recorders["six"].address), recorders)
    assert served_by(six, asked(b"a")) == ([], ["six"])
    forced = Twins(servers, f"fastrouter-use-base = {servers.directory}/\nfastrouter-force-key = forced", recorders)
    assert served_by(forced, asked(b"a")) == ([], ["forced"])
