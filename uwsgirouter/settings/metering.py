"""What the options say about metrics and their thresholds.

One idea: the texts become :class:`MetricSpec` and :class:`Threshold`. What uWSGI collects by itself has no
counterpart here: a metric of a router is what rules make of it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.alarming import alarms
from uwsgirouter.settings.judge import raise_all
from uwsgirouter.settings.settings import Settings

MOST = 4096
"""Metrics that a router can have, over all its reloads."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_TYPES = ("counter", "gauge", "absolute")
_METRIC = ("name", "initial_value", "type", "collector", "oid")
_THRESHOLD = ("key", "name", "value", "alarm", "rate", "reset", "msg")


@dataclass(frozen=True)
class MetricSpec:
    """One metric, and the value that it begins with."""

    name: str
    initial: int = 0
    where: str = ""


@dataclass(frozen=True)
class Threshold:
    """What happens when a metric is ``value`` or more: an alarm, at most once in ``rate`` seconds, and a new value."""

    name: str
    value: int
    alarm: str = ""
    rate: int = 1
    reset: int | None = None
    text: str = ""
    where: str = ""


def metrics(settings: Settings) -> tuple[MetricSpec, ...]:
    """The metrics in their order. Raises :class:`ConfigError`."""
    raise_all(list(metric_faults(settings)))
    return tuple(spec for spec in _each(settings, "metric") if isinstance(spec, MetricSpec))


def thresholds(settings: Settings) -> tuple[Threshold, ...]:
    """The thresholds in their order. Raises :class:`ConfigError`."""
    raise_all(list(metric_faults(settings)))
    return tuple(spec for spec in _each(settings, "metric-threshold") if isinstance(spec, Threshold))


def metric_faults(settings: Settings) -> Iterator[ConfigError]:
    """What is wrong with both."""
    seen: dict[str, str] = {}
    for found in _each(settings, "metric"):
        if isinstance(found, ConfigError):
            yield found
        elif isinstance(found, MetricSpec):
            if found.name in seen:
                yield ConfigError(f"metric = {found.name}: there is one of that name ({seen[found.name]})", found.where)
            seen.setdefault(found.name, found.where)
    if len(seen) > MOST:
        yield ConfigError(f"{len(seen)} metrics, at most {MOST}")
    for found in _each(settings, "metric-threshold"):
        if isinstance(found, ConfigError):
            yield found
        elif isinstance(found, Threshold):
            yield from _dangling(settings, found, seen)


def _dangling(settings: Settings, found: Threshold, names: dict[str, str]) -> Iterator[ConfigError]:
    if found.name not in names:
        yield ConfigError(f"metric-threshold: there is no metric {found.name}", found.where)
    try:
        known = alarms(settings)
    except ConfigError:
        return  # told for the alarm itself
    if found.alarm and found.alarm not in known:
        yield ConfigError(f"metric-threshold: there is no alarm {found.alarm}", found.where)


def _each(settings: Settings, option: str) -> Iterator[MetricSpec | Threshold | ConfigError]:
    parse = _metric if option == "metric" else _threshold
    for index, text in enumerate(settings.texts(option)):
        where = settings.where(option, index)
        try:
            yield parse(text, where)
        except ConfigError as error:
            yield ConfigError(f"{option} = {text}: {error.message}", where)


def _metric(text: str, where: str) -> MetricSpec:
    given = _pairs(text, _METRIC) if "=" in text else {"name": text}
    name = given.get("name", "")
    if not _NAME.fullmatch(name):
        raise ConfigError("expected name=NAME, of letters, digits, and the characters _ - .")
    if given.get("type", "counter") not in _TYPES:
        raise ConfigError(f"type={given['type']}: expected {', '.join(_TYPES[:-1])} or {_TYPES[-1]}")
    if given.get("collector", "manual") != "manual":
        raise ConfigError(f"collector={given['collector']}: rules alone count here, expected manual")
    return MetricSpec(name, _number("initial_value", given.get("initial_value", "0")), where)


def _threshold(text: str, where: str) -> Threshold:
    given = _pairs(text, _THRESHOLD)
    name = given.get("key") or given.get("name", "")
    if not name or "value" not in given:
        raise ConfigError("expected key=NAME,value=NUMBER")
    if "alarm" not in given and "reset" not in given:
        raise ConfigError("nothing follows: expected alarm=NAME or reset=NUMBER")
    reset = _number("reset", given["reset"]) if "reset" in given else None
    value, rate = _number("value", given["value"]), _number("rate", given.get("rate", "1"))
    return Threshold(name, value, given.get("alarm", ""), max(0, rate), reset, given.get("msg", ""), where)


def _pairs(text: str, keys: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for item in text.split(","):
        key, equals, value = item.partition("=")
        if not equals or key not in keys:
            raise ConfigError(f"unknown key {key or item!r} (known: {', '.join(keys)})")
        found[key] = value
    return found


def _number(key: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ConfigError(f"{key}={text}: expected a whole number")
    return int(text)
