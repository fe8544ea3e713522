"""What the options of rules' services say of each other: those that nobody uses.

One idea: an option that has no effect is told. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from uwsgirouter.settings.rows.routing import RULES
from uwsgirouter.settings.settings import Settings

_OF_RULES = (
    "honour-range",
    "mime-file",
    "alarm",
    "alarm-freq",
    "alarm-msg-size",
    "metric",
    "metric-threshold",
    "service-connect-timeout",
    "service-timeout",
    "service-connections",
    "limit-keys",
)
_OF_ALARMS = ("alarm-freq", "alarm-msg-size")


def service_notices(settings: Settings) -> Iterator[str]:
    """What has no effect."""
    if not any(settings.is_set(name) for name in RULES):
        yield from _idle(settings, _OF_RULES, "a rule")
    elif not settings.is_set("alarm"):
        yield from _idle(settings, _OF_ALARMS, "an alarm")


def _idle(settings: Settings, names: tuple[str, ...], missing: str) -> Iterator[str]:
    idle = ", ".join(f"{name} ({settings.where(name)})" for name in names if settings.is_set(name))
    if idle:
        yield f"these options do nothing without {missing}: {idle}"
