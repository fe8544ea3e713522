"""What holds for every algorithm: shares are as the weights, nobody is forgotten, and better backup levels go first."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.balancers.made import From, Site, nodes_of
from uwsgirouter.balancers.choice import balancing, factories
from uwsgirouter.model.node import State
from uwsgirouter.model.slot import NOBODY
from uwsgirouter.settings.algorithms import ALGORITHMS

EVERY = pytest.mark.parametrize("algo", ALGORITHMS)
WEIGHTED = ("wrr", "wlrc", "iphash", "p2c")
"""lrc does not look at weights."""
STATES = st.sampled_from([State.UP, State.UP, State.DOWN, State.DRAINING, State.EJECTED])


def clients(count: int) -> list[From]:
    return [From(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}") for number in range(count)]


def test_each_name_has_its_balancer_and_no_other_has() -> None:
    assert tuple(factories(lambda id: 0)) == ALGORITHMS
    for algo in ALGORITHMS:
        assert balancing(algo, lambda id: 0).default is not None
    with pytest.raises(KeyError):
        balancing("rr", lambda id: 0)


# -- shares ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algo", WEIGHTED)
def test_weights_1_to_5_over_10_000_requests_in_two_workers(algo: str) -> None:
    """Within 2 % of all requests; for what is exact by nature, nearly on the spot."""
    site = Site(algo, [1, 2, 3, 4, 5], workers=2)
    if algo == "iphash":
        found = Counter(site.begin(number % 2, client) for number, client in enumerate(clients(10_000)))
    else:
        found = Counter(site.serve(10_000))
    for id, weight in enumerate([1, 2, 3, 4, 5]):
        due = 10_000 * weight / 15
        assert abs(found[id] - due) <= (4 if algo in ("wrr", "wlrc") else 200), (algo, found)


@pytest.mark.parametrize("algo", ["wrr", "wlrc"])
@given(weights=st.lists(st.integers(1, 12), min_size=1, max_size=6), skipped=st.integers(0, 30))
def test_one_turn_gives_every_node_its_weight(algo: str, weights: list[int], skipped: int) -> None:
    """Whatever the weights, and wherever the turn begins."""
    site = Site(algo, weights)
    site.serve(skipped)
    assert Counter(site.serve(sum(weights))) == dict(enumerate(weights))


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 30))
def test_lrc_gives_idle_nodes_turns_whatever_their_weights(weights: list[int], skipped: int) -> None:
    site = Site("lrc", weights)
    site.serve(skipped)
    assert Counter(site.serve(len(weights))) == dict.fromkeys(range(len(weights)), 1)


@given(
    st.sampled_from(["lrc", "wlrc"]),
    st.lists(st.integers(1, 5), min_size=1, max_size=5),
    st.lists(st.one_of(st.just(True), st.integers(0, 20)), max_size=80),
)
def test_the_least_busy_one_is_chosen_always(algo: str, weights: list[int], steps: list[bool | int]) -> None:
    """Requests begin (True) in two workers by turns, and end (the number says which) in any order."""
    site = Site(algo, weights, workers=2)
    running: list[int] = []
    for number, step in enumerate(steps):
        if step is not True:
            if running:
                site.end(running.pop(step % len(running)))
            continue
        before = dict(site.inflight)
        chosen = site.begin(number % 2)
        running.append(chosen)
        loads = [before.get(id, 0) / (weight if algo == "wlrc" else 1) for id, weight in enumerate(weights)]
        assert loads[chosen] == min(loads)


@pytest.mark.parametrize("algo", ["lrc", "wlrc", "p2c"])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_slow_node_holds_no_more_than_the_others(algo: str, workers: int) -> None:
    """Three of four end a request in one step, the fourth in twenty: wrr would pile its requests up."""
    site = Site(algo, [1, 1, 1, 1], workers)
    most: Counter[int] = Counter()
    ends: list[tuple[int, int]] = []
    for step in range(400):
        for end, id in [one for one in ends if one[0] <= step]:
            site.end(id)
            ends.remove((end, id))
        for number in range(4):
            id = site.begin((step + number) % workers)
            ends.append((step + (20 if id == 3 else 1), id))
            most[id] = max(most[id], site.inflight[id])
    slack = 0 if algo != "p2c" else 3
    assert most[3] <= max(most[id] for id in range(3)) + slack


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.floats(0, 1, exclude_max=True), st.integers(0, 5))
def test_p2c_takes_the_less_busy_of_two_different_nodes(weights: list[int], second: float, busy: int) -> None:
    nodes = nodes_of(weights)
    loads = {node.id: 1 if node.id != busy % len(nodes) else 1000 for node in nodes}
    make = factories(lambda id: loads[id])["p2c"]
    balancer = make(nodes, 0)
    for lot in range(20):
        draws = iter([lot / 20, second])
        balancer._draw = lambda draws=draws: next(draws)  # type: ignore[attr-defined, misc]
        chosen = balancer.next(NOBODY)
        if len(nodes) == 2:
            assert loads[chosen.id] / chosen.weight == min(loads[node.id] / node.weight for node in nodes)
        if len(nodes) > 1 and weights == [weights[0]] * len(weights):
            assert chosen.id != busy % len(nodes), "of two different ones it cannot win"


# -- changes --------------------------------------------------------------------------------------------------------


@EVERY
@given(
    weights=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    before=st.integers(0, 40),
    gone=st.integers(0, 4),
)
def test_removing_a_node_never_starves_the_rest(algo: str, weights: list[int], before: int, gone: int) -> None:
    site = Site(algo, weights)
    site.serve(before)
    site.remove(gone % len(weights))
    rest = set(range(len(weights))) - {gone % len(weights)}
    if algo == "iphash":
        found = {site.begin(0, client) for client in clients(40 * sum(weights))}
    else:
        found = set(site.serve(4 * sum(weights) if algo != "p2c" else 40 * sum(weights)))
    assert found == rest


@EVERY
@given(
    before=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    changes=st.lists(st.tuples(st.integers(0, 5), STATES, st.integers(1, 9), st.integers(0, 2)), max_size=20),
    tried=st.sets(st.integers(0, 5)),
)
def test_whoever_is_chosen_is_up_on_the_best_level(
    algo: str, before: list[int], changes: list[tuple[int, State, int, int]], tried: set[int]
) -> None:
    """A level is used only when the better ones have nobody who is up; and after failures, nobody who was not tried."""
    site = Site(algo, before)
    for id, state, weight, level in changes:
        site.put(id, weight, state, backup=level)
        slot = site.slot
        failed = [node for node in slot.nodes if node.id in tried]
        up = [node for node in slot.nodes if node.state is State.UP]
        left = [node for node in up if node not in failed]
        for client in (NOBODY, From("192.0.2.7")):
            node = slot.next(client)
            assert (node is None) == (not up)
            assert node is None or (node in up and node.backup == min(one.backup for one in up))
            other = slot.next_except(failed, client)
            assert (other is None) == (not left)
            assert other is None or (other in left and other.backup == min(one.backup for one in left))
            free = slot.next_free(failed, client)
            at_hand = [one for one in left if one.backup == min(node.backup for node in up)]
            assert (free is None) == (not at_hand)
            assert free is None or free in at_hand, "being full puts no worse level in use"


@EVERY
def test_backup_levels_one_after_the_other(algo: str) -> None:
    site = Site(algo)
    for id, level in enumerate([0, 0, 1, 2]):
        site.put(id, backup=level)
    everyone = clients(60)

    def used() -> set[int]:
        return {site.begin(0, client) for client in everyone}

    assert used() == {0, 1}
    site.put(0, state=State.DRAINING)
    assert used() == {1}
    site.put(1, state=State.DOWN)
    assert used() == {2}
    site.put(2, state=State.EJECTED, backup=1)
    assert used() == {3}
    site.put(1)
    assert used() == {1}
    site.remove(1)
    site.remove(3)
    assert site.slot.next() is None
    assert site.slot.last_resort(()) is site.slot.nodes[1], "the ejected one: the other one drains"


def test_of_those_that_are_out_the_better_level_is_tried_first() -> None:
    site = Site("wrr")
    site.put(0, state=State.DOWN, backup=1)
    site.put(1, state=State.DOWN)
    site.put(2, state=State.EJECTED, backup=2)
    tried = []
    while (node := site.slot.last_resort(tried)) is not None:
        tried.append(node)
    assert [node.id for node in tried] == [2, 1, 0]


# -- wishes ---------------------------------------------------------------------------------------------------------


def test_the_last_wish_of_a_node_counts_for_its_slot() -> None:
    site = Site("wrr", [1, 1])
    assert site.slot.algo == ""
    site.put(0, algo="lrc", algo_since=10)
    assert site.slot.algo == "lrc"
    site.put(1, algo="p2c", algo_since=20)
    site.put(0, algo="lrc", algo_since=10)
    assert site.slot.algo == "p2c", "that the first one was heard of again is no new wish"
    site.put(2, algo="no such", algo_since=30)
    assert site.slot.algo == "p2c"
    site.remove(1)
    assert site.slot.algo == "lrc"
    site.remove(0)
    assert site.slot.algo == ""


def test_a_wish_is_what_requests_get() -> None:
    site = Site("wrr", [1, 1])
    site.inflight[0] = 5
    assert set(site.serve(4)) == {0, 1}
    site.put(1, algo="lrc", algo_since=1)
    assert set(site.serve(4)) == {1}
    site.put(0, algo="iphash", algo_since=2)
    assert len(set(site.serve(4, From("192.0.2.1")))) == 1


@given(st.permutations(range(4)))
def test_wishes_are_seen_alike_in_whatever_order_the_nodes_came(order: list[int]) -> None:
    wishes = [("lrc", 5.0), ("p2c", 7.0), ("iphash", 7.0), ("", 9.0)]
    site = Site("wrr")
    for id in order:
        site.put(id, algo=wishes[id][0], algo_since=wishes[id][1])
    assert site.slot.algo == "iphash", "of two at once, that of the higher number"
