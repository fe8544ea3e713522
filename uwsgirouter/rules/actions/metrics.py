"""``metricinc metricdec metricmul metricdiv metricset``: numbers that all workers share.

One idea: a change is a few instructions under a lock of the kernel's; a metric that is not configured ends the
request, as in uWSGI. What a threshold says is looked at when a rule changes its metric, not once a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from uwsgirouter.model.metrics import Metrics
from uwsgirouter.rules.arguments import number, shown
from uwsgirouter.rules.base import Act, BadRule, Broken, Found, Make, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.settings.alarming import AlarmKind, alarms
from uwsgirouter.settings.metering import Threshold, metrics, thresholds
from uwsgirouter.settings.settings import Settings

Change = Callable[[Metrics, bytes, int], bool]


class _Watch:
    """The thresholds of a configuration, and when each alarm of theirs was raised by this process."""

    def __init__(self, settings: Settings) -> None:
        specs = alarms(settings)
        self.scripted = any(
            specs[found.alarm].kind is AlarmKind.SIGNAL for found in thresholds(settings) if found.alarm
        )
        """Whether an alarm of theirs calls a function of a script."""
        self._by_name: dict[bytes, list[Threshold]] = {}
        for threshold in thresholds(settings):
            self._by_name.setdefault(threshold.name.encode(), []).append(threshold)
        self._raised: dict[Threshold, float] = {}

    def look(self, exchange: Exchange, known: Metrics, name: bytes) -> None:
        """After a change of that metric."""
        for threshold in self._by_name.get(name, ()):
            if threshold.reset is not None:
                reached = known.reset_at(name, threshold.value, threshold.reset)
            else:
                reached = known.get(name) >= threshold.value
            if reached and threshold.alarm:
                self._raise(exchange, threshold)

    def _raise(self, exchange: Exchange, threshold: Threshold) -> None:
        now = exchange.host.now()
        if now - self._raised.get(threshold, 0.0) >= threshold.rate:
            self._raised[threshold] = now
            text = threshold.text or f"metric {threshold.name} reached {threshold.value}"
            exchange.host.alarm(threshold.alarm, text.encode("utf-8", "surrogateescape"))


def _math(change: Change) -> Make[Act]:
    def make(argument: bytes, place: Place) -> Act:
        name, comma, text = argument.partition(b",")
        if not name:
            raise BadRule("expected NAME or NAME,VALUE")
        constant = place.constant(name)
        names = {spec.name.encode() for spec in metrics(place.settings)}
        if constant is not None and constant not in names:
            place.warn(f"there is no metric {shown(constant)}: write metric = {shown(constant)}")
        which, by, watch = place.template(name), place.template(text if comma else b"1"), _Watch(place.settings)
        if watch.scripted:
            place.scripts()

        def act(exchange: Exchange, found: Found) -> Verdict:
            wanted, known = which(exchange, found), exchange.host.metrics
            if known is None or wanted not in known:
                raise Broken(f"there is no metric {shown(wanted)}")
            if not change(known, wanted, number(by(exchange, found))):
                raise Broken(f"the metric {shown(wanted)} cannot be divided by 0")
            watch.look(exchange, known, wanted)
            return Verdict.NEXT

        return act

    return make


_CHANGES: Sequence[tuple[str, Change]] = (
    ("metricinc", Metrics.inc),
    ("metricdec", Metrics.dec),
    ("metricmul", Metrics.mul),
    ("metricdiv", Metrics.div),
    ("metricset", Metrics.set),
)
for _name, _change in _CHANGES:
    action(_name)(_math(_change))
