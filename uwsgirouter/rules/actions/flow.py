"""Actions that say how to go on (continue, last, break, return, goto) and those that only note something (log, logvar,
donotlog, harakiri).

Invariant: what break and return send is the operator's text as it stands; nothing of a request is put into it, as in
uWSGI.
"""

from __future__ import annotations

from uwsgirouter.rules.arguments import number
from uwsgirouter.rules.base import Act, BadRule, Found, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.reasons import reason
from uwsgirouter.settings.logging import is_on

_NEXT, _CONTINUE, _BREAK, _GOTO = Verdict.NEXT, Verdict.CONTINUE, Verdict.BREAK, Verdict.GOTO


_NO_LOG = (
    "the router writes no log of requests (there is no req-logger), so logvar and donotlog are only for parts of other "
    "packages"
)


def _is_for_the_log(place: Place) -> None:
    if not is_on(place.settings):
        place.note(_NO_LOG)


@action("continue", "last")
def go_on(argument: bytes, place: Place) -> Act:
    """No more rules of this chain."""
    return lambda exchange, found: _CONTINUE


@action("break")
def stop(argument: bytes, place: Place) -> Act:
    """End the request, with a head of that status when one is given."""
    if len(argument) < 3:
        return lambda exchange, found: _BREAK

    def act(exchange: Exchange, found: Found) -> Verdict:
        response = exchange.response
        if response.prepare(argument):
            response.header(b"Connection", b"close")
            response.header(b"Content-Type", b"text/plain")
            response.write_head()
        return _BREAK

    return act


@action("return", "break-with-status")
def give_back(argument: bytes, place: Place) -> Act:
    """End the request with that status, its words as the body."""
    words = reason(argument[:3])
    if words is None:
        raise BadRule(f"{_shown(argument)} has no status that has words; expected return:404")
    status = b"%s %s" % (argument, words)
    size = b"%d" % len(words)

    def act(exchange: Exchange, found: Found) -> Verdict:
        response = exchange.response
        if response.prepare(status):
            response.header(b"Content-Type", b"text/plain")
            response.header(b"Content-Length", size)
            response.write(words)
        return _BREAK

    return act


@action("goto")
def jump(argument: bytes, place: Place) -> Act:
    """Go on at a label or a number further down."""
    target = place.template(argument)
    constant = place.constant(argument)
    if constant is not None:
        place.jumps(constant)

    def act(exchange: Exchange, found: Found) -> Verdict:
        exchange.jump = target(exchange, found)
        return _GOTO

    return act


@action("log")
def log(argument: bytes, place: Place) -> Act:
    """A line of the log."""
    text = place.template(argument)

    def act(exchange: Exchange, found: Found) -> Verdict:
        line = text(exchange, found)
        exchange.host.log(b"%s [id %s]" % (line, exchange.identify()) if exchange.host.names_requests else line)
        return _NEXT

    return act


@action("logvar")
def logvar(argument: bytes, place: Place) -> Act:
    """NAME=VALUE for the log of requests."""
    name, equals, value = argument.partition(b"=")
    if not equals:
        raise BadRule("no =; expected logvar:NAME=VALUE")
    text = place.template(value)
    _is_for_the_log(place)

    def act(exchange: Exchange, found: Found) -> Verdict:
        exchange.logvars[name] = text(exchange, found)
        return _NEXT

    return act


@action("donotlog")
def donotlog(argument: bytes, place: Place) -> Act:
    """No line for this request in the log of requests."""
    _is_for_the_log(place)

    def act(exchange: Exchange, found: Found) -> Verdict:
        exchange.log_request = False
        return _NEXT

    return act


@action("donotoffload")
def donotoffload(argument: bytes, place: Place) -> Act:
    """No offload threads for this request: there are none here, so it is so without being done."""
    return lambda exchange, found: _NEXT


@action("harakiri")
def harakiri(argument: bytes, place: Place) -> Act:
    """So many seconds for this request at most."""
    seconds = number(argument)

    def act(exchange: Exchange, found: Found) -> Verdict:
        exchange.patience = seconds if seconds > 0 else None
        return _NEXT

    return act


def _shown(text: bytes) -> str:
    return repr(text.decode("utf-8", "backslashreplace"))
