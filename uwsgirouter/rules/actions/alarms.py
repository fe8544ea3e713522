"""``alarm`` and ``signal``: tell somebody. Neither waits: what follows is the host's affair."""

from __future__ import annotations

from uwsgirouter.rules.arguments import shown, small
from uwsgirouter.rules.base import Act, BadRule, Found, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.settings.alarming import AlarmKind, alarms


@action("alarm")
def alarm(argument: bytes, place: Place) -> Act:
    """``alarm:NAME TEXT``: raise a configured alarm."""
    name, space, text = argument.partition(b" ")
    if not space or not name:
        raise BadRule("expected NAME TEXT")
    specs = alarms(place.settings)
    constant = place.constant(name)
    if constant is not None and constant.decode("utf-8", "surrogateescape") not in specs:
        place.warn(f"there is no alarm {shown(constant)}: write alarm = {shown(constant)} log:")
    if any(spec.kind is AlarmKind.SIGNAL for spec in specs.values()):
        place.scripts()
    which, what = place.template(name), place.template(text)

    def act(exchange: Exchange, found: Found) -> Verdict:
        called = which(exchange, found).decode("utf-8", "surrogateescape")
        exchange.host.alarm(called, what(exchange, found))
        return Verdict.NEXT

    return act


@action("signal")
def signal(argument: bytes, place: Place) -> Act:
    """``signal:N``: a uwsgi signal, for the function that a script registered for it."""
    number = small(argument, "the signal")
    place.scripts()

    def act(exchange: Exchange, found: Found) -> Verdict:
        exchange.host.signal(number)
        return Verdict.NEXT

    return act
