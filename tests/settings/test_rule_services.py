"""Options for rules that no rule uses are told."""

from __future__ import annotations

from uwsgirouter.settings.consistency import checked
from uwsgirouter.settings.settings import Settings


def notices(**options: object) -> list[str]:
    found = checked(Settings.of(fastrouter="127.0.0.1:3017", **options), inherits_sockets=False).notices
    return [text for text in found if "do nothing" in text]


def test_without_rules() -> None:
    assert notices(metric="m", honour_range=True, alarm="a log:") == [
        "these options do nothing without a rule: honour-range (test: honour-range), alarm (test: alarm), "
        "metric (test: metric)"
    ]


def test_without_rules_nothing_is_asked() -> None:
    assert notices(service_timeout=1, service_connections=2) == [
        "these options do nothing without a rule: service-timeout (test: service-timeout), "
        "service-connections (test: service-connections)"
    ]


def test_without_alarms() -> None:
    assert notices(alarm_freq=1, route_run="last:") == [
        "these options do nothing without an alarm: alarm-freq (test: alarm-freq)"
    ]


def test_in_use() -> None:
    assert notices(metric="m", alarm="a log:", alarm_freq=1, response_route_run="last:") == []
