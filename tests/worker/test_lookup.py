"""Looking names up: once at a time for each name, in threads, and never so many that others wait for made-up ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from uwsgirouter.worker import lookup
from uwsgirouter.worker.lookup import MOST, THREADS, Lookup


class Names:
    """What stands in for getaddrinfo. ``slow`` seconds each takes; ``asked`` is in the order of asking."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.slow = 0.0

    def __call__(self, host: str) -> list[str] | str:
        self.asked.append(host)
        time.sleep(self.slow)
        return f"no {host}" if host.startswith("gone") else ["10.0.0.1", "::1"]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names()
    monkeypatch.setattr(lookup, "_addresses", found)
    return found


@pytest.fixture
def look_up() -> Iterator[Lookup]:
    made = Lookup()
    yield made
    if made._pool is not None:
        made._pool.kill()


def test_the_systems_word() -> None:
    assert lookup._addresses("127.0.0.1") == ["127.0.0.1"], "each once"
    assert "::1" in lookup._addresses("::1")
    assert set(lookup._addresses("localhost")) & {"127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["gone.invalid", "a b", "x" * 64 + ".example", "a..b", "\udcff", ""])
def test_what_is_no_name_is_said_in_words(host: str) -> None:
    assert isinstance(lookup._addresses(host), str)


def test_found_and_not_found(look_up: Lookup, names: Names) -> None:
    assert look_up("app") == ["10.0.0.1", "::1"]
    for _ in range(2):
        with pytest.raises(OSError, match="no gone"):
            look_up("gone")
    assert names.asked == ["app", "gone", "gone"], "it remembers nothing"
    assert look_up._under_way == {}


def test_one_question_for_all_who_ask_at_once(look_up: Lookup, names: Names) -> None:
    names.slow = 0.05
    asking = [gevent.spawn(look_up, "app") for _ in range(50)]
    gevent.joinall(asking, raise_error=True)
    assert [greenlet.value for greenlet in asking] == [["10.0.0.1", "::1"]] * 50
    assert names.asked == ["app"]


def test_who_goes_away_takes_the_answer_from_nobody(look_up: Lookup, names: Names) -> None:
    names.slow = 0.05
    first, second = gevent.spawn(look_up, "app"), gevent.spawn(look_up, "app")
    gevent.sleep(0.01)
    first.kill()
    assert second.get(timeout=2) == ["10.0.0.1", "::1"]
    assert names.asked == ["app"]
    assert look_up._under_way == {}


def test_the_loop_goes_on_meanwhile_and_so_many_wait_at_most(look_up: Lookup, names: Names) -> None:
    names.slow = 2.0
    asking = [gevent.spawn(look_up, f"made-up-{number}") for number in range(MOST + 5)]
    before = time.monotonic()
    gevent.sleep(0)  # all have asked: what they wait for is a thread's two seconds
    assert time.monotonic() - before < 1.8, "the loop waited"
    refused = [greenlet for greenlet in asking if greenlet.ready()]
    assert len(refused) == 5
    assert all("too many names" in str(greenlet.exception) for greenlet in refused)
    assert len(names.asked) <= THREADS
    names.slow = 0.0
    gevent.joinall(asking, timeout=10)
    assert [greenlet.value for greenlet in asking[:MOST]] == [["10.0.0.1", "::1"]] * MOST
    assert look_up._under_way == {}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The greenlets that are refused raise, which gevent would print."""
    hub: Any = gevent.get_hub()
    monkeypatch.setattr(hub, "print_exception", lambda *_: None)
