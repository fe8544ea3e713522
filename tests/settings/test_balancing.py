"""The options of balancing: the algorithms that exist are the ones that may be written."""

from __future__ import annotations

import pytest

from tests.settings.files import LISTEN, Files
from uwsgirouter.errors import ConfigError
from uwsgirouter.settings import values
from uwsgirouter.settings.algorithms import ALGORITHMS
from uwsgirouter.settings.table import BY_NAME


def test_defaults(files: Files) -> None:
    settings = files.load(f"[uwsgirouter]\n{LISTEN}")
    assert settings.text("subscription-algo") == "wrr"
    assert settings.seconds("subscription-slow-start") == 0
    assert not settings.flag("subscription-limit-cores")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_each_algorithm_can_be_written(files: Files, name: str) -> None:
    settings = files.load(f"[uwsgirouter]\n{LISTEN}subscription-algo = {name}\n")
    assert settings.text("subscription-algo") == name
    assert settings.notices == ()


@pytest.mark.parametrize("text", ["WRR", "rr", "wrr,lrc", "least", "0"])
def test_another_name_is_an_error_that_tells_those_that_exist(files: Files, text: str) -> None:
    """The FastRouter takes any of them for wrr without a word."""
    with pytest.raises(ConfigError) as caught:
        files.load(f"[uwsgirouter]\n{LISTEN}subscription-algo = {text}\n")
    assert str(caught.value) == (f"router.conf:4: subscription-algo = {text}: expected wrr, lrc, wlrc, iphash or p2c")


def test_a_missing_name_is_an_error_too(files: Files) -> None:
    with pytest.raises(ConfigError, match="a value is missing: expected wrr, lrc, wlrc, iphash or p2c"):
        files.load(f"[uwsgirouter]\n{LISTEN}", "--subscription-algo=")


@pytest.mark.parametrize("text", ["-1", "ten", "86401", "1e3"])
def test_a_slow_start_is_some_seconds(files: Files, text: str) -> None:
    with pytest.raises(ConfigError, match=r"subscription-slow-start = .*: expected number of seconds from 0 to 86400"):
        files.load(f"[uwsgirouter]\n{LISTEN}subscription-slow-start = {text}\n")


def test_what_is_allowed_stands_on_the_reference_page() -> None:
    assert values.allowed(BY_NAME["subscription-algo"]) == "wrr, lrc, wlrc, iphash or p2c"
