"""Signals of scripts: who runs, how often, and what a failing function does to others."""

from __future__ import annotations

import threading

import pytest

from tests.servers import wait_until
from uwsgirouter.scripting.module import install
from uwsgirouter.scripting.signals import SignalCalls
from uwsgirouter.settings.settings import Settings


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def signals(lines: list[str]) -> SignalCalls:
    return SignalCalls(lines.append)


def test_a_signal_calls_its_function(signals: SignalCalls) -> None:
    seen: list[int] = []
    signals.register_signal(17, "", seen.append)
    signals.register_signal(18, "worker", seen.append)
    assert signals.signal_registered(17) and not signals.signal_registered(3)
    signals.signal(17)
    wait_until(lambda: seen == [17], 10, "the function ran")


def test_a_flood_is_one_more_run(signals: SignalCalls) -> None:
    seen: list[int] = []
    go_on, runs = threading.Event(), threading.Event()

    def slow(number: int) -> None:
        seen.append(number)
        runs.set()
        assert go_on.wait(20)

    signals.register_signal(1, "", slow)
    signals.signal(1)
    assert runs.wait(20)
    for _ in range(100):
        signals.signal(1)
    go_on.set()
    wait_until(lambda: not signals._running, 10, "all is done")
    assert seen == [1, 1]


def test_a_failing_function_is_told_and_runs_again(signals: SignalCalls, lines: list[str]) -> None:
    def fail(number: int) -> None:
        raise RuntimeError(f"failed at {number}")

    signals.register_signal(2, "", fail)
    for count in (1, 2):
        signals.signal(2)
        wait_until(lambda count=count: len(lines) == count and not signals._running, 10, "it is told")
    assert "RuntimeError: failed at 2" in lines[0]


def test_a_signal_without_a_function(signals: SignalCalls, lines: list[str]) -> None:
    signals.signal(9)
    assert lines == ["signal 9 is raised, and no script has a function for it"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((256, "", print), ValueError),
        (("1", "", print), ValueError),
        ((1, "workers", print), ValueError),
        ((1, "mule", print), ValueError),
        ((1, "", "no function"), TypeError),
    ],
)
def test_bad_arguments(signals: SignalCalls, arguments: tuple[object, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        signals.register_signal(*arguments)  # type: ignore[arg-type]


def test_scripts_have_them(log: object) -> None:
    module = install(Settings.of(), None, log)  # type: ignore[arg-type]
    module.register_signal(1, "", print)
    assert module.signal_registered(1)
