"""The collector is spared what a grown table holds, and not more often than the table grows."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.model.made import put, table
from uwsgirouter.model.long_lived import LongLived


@pytest.fixture(autouse=True)
def _thaw() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_nodes_are_set_aside_when_there_are_many() -> None:
    nodes = table(*(put(id, address=f"/node{id}") for id in range(1000))).nodes
    before = gc.get_freeze_count()
    long_lived = LongLived()
    long_lived.look(999)
    assert gc.get_freeze_count() == before
    long_lived.look(len(nodes))
    assert gc.get_freeze_count() > before + len(nodes)


def test_once_for_each_height(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(gc, "freeze", lambda: calls.append(1))
    long_lived = LongLived()
    for _ in range(3):  # nodes come and go and come
        for nodes in (*range(0, 60_000, 500), *range(60_000, 0, -500)):
            long_lived.look(nodes)
    assert 10 < len(calls) < 50
