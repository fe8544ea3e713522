"""iphash: one node for one address, and as few moves as can be."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.balancers.made import From, Site, nodes_of
from uwsgirouter.balancers.iphash import AddressHash, seed_of
from uwsgirouter.model.node import Node, State
from uwsgirouter.model.slot import NOBODY
from uwsgirouter.settings.address import parse_peer

CLIENTS = [From(f"192.0.2.{number}") for number in range(100)] + [
    From(f"2001:db8::{number:x}") for number in range(100)
]
WEIGHTS = st.lists(st.integers(1, 9), min_size=2, max_size=6)


def homes(site: Site) -> list[int]:
    """The node of each client."""
    return [site.begin(0, client) for client in CLIENTS]


def test_a_client_has_one_node_in_every_worker() -> None:
    site = Site("iphash", [1, 2, 1], workers=3)
    for client in CLIENTS:
        assert len(set(site.serve(6, client))) == 1
    assert set(homes(site)) == {0, 1, 2}


@given(WEIGHTS, st.data())
def test_a_node_that_leaves_moves_its_own_clients_only(weights: list[int], data: st.DataObject) -> None:
    site = Site("iphash", weights)
    gone = data.draw(st.integers(0, len(weights) - 1))
    before = homes(site)
    if data.draw(st.booleans()):
        site.remove(gone)
    else:
        site.put(gone, weights[gone], data.draw(st.sampled_from([State.DOWN, State.DRAINING, State.EJECTED])))
    after = homes(site)
    for old, new in zip(before, after, strict=True):
        assert new == old or old == gone
    site.put(gone, weights[gone])
    assert homes(site) == before, "and they are back when it is"


@given(WEIGHTS, st.integers(1, 9))
def test_a_node_that_comes_takes_over_and_moves_nobody_else(weights: list[int], weight: int) -> None:
    site = Site("iphash", weights)
    before = homes(site)
    site.put(len(weights), weight)
    for old, new in zip(before, homes(site), strict=True):
        assert new in (old, len(weights))


@given(WEIGHTS, st.data())
def test_a_greater_weight_only_draws_clients_to_its_node(weights: list[int], data: st.DataObject) -> None:
    site = Site("iphash", weights)
    grown = data.draw(st.integers(0, len(weights) - 1))
    before = homes(site)
    site.put(grown, weights[grown] + data.draw(st.integers(1, 20)))
    for old, new in zip(before, homes(site), strict=True):
        assert new in (old, grown)


@given(WEIGHTS, st.data())
def test_the_second_choice_is_the_node_that_the_client_would_move_to(weights: list[int], data: st.DataObject) -> None:
    site = Site("iphash", weights)
    client = data.draw(st.sampled_from(CLIENTS))
    first = site.slot.next(client)
    assert first is not None
    second = site.slot.next_except([first], client)
    assert second is not None
    assert site.slot.next_except([first], client) is second
    site.remove(first.id)
    assert site.slot.next(client) is second


def test_shares_of_the_clients_are_as_the_weights() -> None:
    nodes = nodes_of([1, 2, 3, 4])
    balancer = AddressHash(nodes, 0)
    found = Counter(balancer.next(From(f"10.0.{n >> 8}.{n & 255}")).id for n in range(20_000))
    for node in nodes:
        assert abs(found[node.id] - 2000 * node.weight) < 300


def test_the_clients_of_a_node_that_left_are_shared_by_all_others() -> None:
    site = Site("iphash", [1, 1, 1, 1, 1])
    everyone = [From(f"10.2.{number >> 8}.{number & 255}") for number in range(4000)]
    moved = [client for client in everyone if site.begin(0, client) == 2]
    site.remove(2)
    found = Counter(site.begin(0, client) for client in moved)
    assert set(found) == {0, 1, 3, 4}
    for count in found.values():
        assert abs(count - len(moved) / 4) < 0.3 * len(moved) / 4


def test_equal_shares_are_even_for_any_number_of_nodes() -> None:
    for count in (2, 3, 5, 8, 16):
        balancer = AddressHash(nodes_of([1] * count), 0)
        found = Counter(balancer.next(From(f"10.1.{n >> 8}.{n & 255}")).id for n in range(4000))
        for id in range(count):
            assert abs(found[id] - 4000 / count) < 5 * (4000 / count) ** 0.5


def test_without_an_address_nodes_have_turns() -> None:
    site = Site("iphash", [3, 1])
    assert Counter(site.serve(40)) == {0: 30, 1: 10}
    assert Counter(site.serve(40, From(""))) == {0: 30, 1: 10}
    first = site.slot.nodes[0]
    assert site.slot.next_except([first]) is site.slot.nodes[1]
    assert site.slot.next_except(site.slot.nodes) is None


def test_an_address_is_the_same_node_however_it_is_spelled() -> None:
    pairs = [("127.0.0.1:3031", "127.0.0.1:03031"), ("[0::1]:80", "[::1]:80")]
    for one, two in pairs:
        assert seed_of(Node(1, b"a", parse_peer(one))) == seed_of(Node(2, b"b", parse_peer(two)))
    texts = ["/a", "@a", "127.0.0.1:80", "127.0.0.1:81", "[::1]:80", "/tmp/\udcff"]
    assert len({seed_of(Node(1, b"a", parse_peer(text))) for text in texts}) == len(texts)


def test_another_process_gives_a_client_the_same_node() -> None:
    """Python's own hash of text differs from process to process."""
    code = (
        "from tests.balancers.made import From, nodes_of\n"
        "from uwsgirouter.balancers.iphash import AddressHash\n"
        "balancer = AddressHash(nodes_of([1, 1, 2, 5]), 0)\n"
        "print([balancer.next(From(f'192.0.2.{n}')).id for n in range(100)])"
    )
    balancer = AddressHash(nodes_of([1, 1, 2, 5]), 0)
    ours = [balancer.next(client).id for client in CLIENTS[:100]]
    theirs = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert theirs.stdout.strip() == str(ours)
    assert balancer.next(NOBODY) is not None
