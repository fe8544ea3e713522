"""What host names mean: known once, a request never waits again for long, whatever the name server does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mappers.made import World
from uwsgirouter.errors import BadTarget
from uwsgirouter.mappers import names
from uwsgirouter.mappers.names import FAILED_TTL, HOSTS_MOST, STALE, TTL


def test_unknown_then_known() -> None:
    world = World(app=["10.0.0.1"])
    known = world.direct.names
    assert known.known("app") is None
    known.learn("app")
    assert known.known("app") == ["10.0.0.1"]
    world.now += TTL - 0.1
    known.learn("app")
    assert known.known("app") == ["10.0.0.1"]
    assert (world.asked, world.later) == (["app"], [])


def test_what_is_old_is_used_while_somebody_looks() -> None:
    world = World(app=["10.0.0.1"])
    known = world.direct.names
    known.learn("app")
    world.hosts["app"] = ["10.0.0.2"]
    world.now += TTL
    assert [known.known("app") for _ in range(5)] == [["10.0.0.1"]] * 5
    assert len(world.later) == 1, "one look-up for all who ask"
    world.run_later()
    assert known.known("app") == ["10.0.0.2"]
    world.now += TTL
    known.known("app")
    assert len(world.later) == 1


def test_what_is_very_old_is_looked_up_first() -> None:
    world = World(app=["10.0.0.1"])
    known = world.direct.names
    known.learn("app")
    world.hosts["app"] = ["10.0.0.2"]
    world.now += TTL + STALE
    assert known.known("app") is None
    known.learn("app")
    assert known.known("app") == ["10.0.0.2"]


def test_a_dead_name_server_changes_nothing_for_names_that_are_known() -> None:
    world = World(app=["10.0.0.1"])
    known = world.direct.names
    known.learn("app")
    del world.hosts["app"]
    for _ in range(20):
        world.now += TTL
        assert known.known("app") == ["10.0.0.1"]
        world.run_later()
    world.now += TTL + STALE
    assert known.known("app") is None
    known.learn("app")
    assert known.known("app") == ["10.0.0.1"], "better the old one than none"


@pytest.mark.parametrize("hosts", [None, []])
def test_nobody_asks_again_for_a_moment_after_a_failure(hosts: list[str] | None) -> None:
    world = World()
    if hosts is not None:
        world.hosts["app"] = hosts
    known = world.direct.names
    for _ in range(3):
        with pytest.raises(BadTarget, match=r"cannot resolve app: (Name or service not known|it has no address)"):
            known.learn("app")
        assert known.known("app") == []
    assert world.asked == ["app"]
    world.now += FAILED_TTL
    with pytest.raises(BadTarget):
        known.learn("app")
    assert world.asked == ["app", "app"]


def test_each_error_is_a_new_one() -> None:
    """One that is raised again and again would keep all the frames that it went through."""
    world = World()
    raised = []
    for _ in range(2):
        with pytest.raises(BadTarget) as caught:
            world.direct.names.learn("app")
        raised.append(caught.value)
    assert raised[0] is not raised[1]


def test_names_are_bounded_and_one_that_is_used_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "REMEMBERED", 8)
    world = World(app=["10.0.0.1"])
    known = world.direct.names
    known.learn("app")
    for number in range(100):
        with pytest.raises(BadTarget):
            known.learn(f"made-up-{number}")
        assert known.known("app") == ["10.0.0.1"]
    assert len(known._names) == 8


def test_a_name_has_so_many_hosts_at_most() -> None:
    world = World(app=[f"10.0.{number >> 8}.{number & 255}" for number in range(5000)])
    world.direct.names.learn("app")
    assert world.direct.names.known("app") == world.hosts["app"][:HOSTS_MOST]


@given(st.lists(st.sampled_from(["ask", "fail", "mend", "wait", "run"]), max_size=40))
def test_what_was_found_once_is_never_lost(steps: list[str]) -> None:
    world = World(app=["10.0.0.1"])
    known = world.direct.names
    known.learn("app")
    for step in steps:
        if step == "ask":
            if known.known("app") is None:
                known.learn("app")
            assert known.known("app")
        elif step == "fail":
            world.hosts.pop("app", None)
        elif step == "mend":
            world.hosts["app"] = [f"10.0.0.{len(world.asked) % 200}"]
        elif step == "wait":
            world.now += TTL * 3
        else:
            world.run_later()
        assert len(world.later) <= 1
