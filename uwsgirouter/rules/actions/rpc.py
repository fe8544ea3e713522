"""Actions that call functions: of the operator's scripts, or of another server (``name@host:port``).

One idea: a call may wait, so chains with one run in a greenlet. An unknown function, one that fails, and an empty
answer end the request, as in uWSGI 2.0.31 (observed). What a function returns is the operator's: it may say a
status or a whole answer, but not break a header line.
"""

from __future__ import annotations

from uwsgirouter.errors import ConfigError
from uwsgirouter.protocol.rpc import ARGUMENTS_MOST
from uwsgirouter.rules.arguments import shown
from uwsgirouter.rules.base import Act, BadRule, Broken, Expand, Found, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.stage import Stage
from uwsgirouter.settings.targets import peer

_HEADS_MOST = 128
"""Header lines that rpcraw takes of an answer."""


class _Call:
    """One function with its arguments, as a rule names them. ``is_optional``: nothing is a result, too."""

    def __init__(self, text: bytes, place: Place, is_optional: bool = False) -> None:
        self._is_optional = is_optional
        words = text.split()
        if not words:
            raise BadRule("expected FUNCTION[@HOST:PORT] ARGUMENT ...")
        name, at, address = words[0].partition(b"@")
        if not name or len(words) - 1 > ARGUMENTS_MOST:
            raise BadRule(f"expected FUNCTION[@HOST:PORT] and at most {ARGUMENTS_MOST} arguments")
        self._name = name
        self._address = _address(address) if at else ""
        self._arguments: list[Expand] = [place.template(word) for word in words[1:]]
        if not self._address:
            place.scripts()

    def __call__(self, exchange: Exchange, found: Found) -> bytes:
        """The result. Raises :class:`Broken` when there is none, or it is empty, unless that is a result."""
        arguments = [argument(exchange, found) for argument in self._arguments]
        host = exchange.host
        if self._address:
            result = host.rpc_at(self._address, self._name, arguments)
        else:
            result = host.rpc(self._name, arguments)
        if not result and not self._is_optional:
            raise Broken(f"the function {shown(self._name)} gave nothing")
        return result or b""


def _address(text: bytes) -> str:
    """Empty for the own scripts: ``name@`` is ``name``."""
    plain = text.decode("utf-8", "surrogateescape")
    if plain:
        try:
            peer(plain)
        except ConfigError as error:
            raise BadRule(error.message) from None
    return plain


@action("rpc", "call", waits=True)
def rpc(argument: bytes, place: Place) -> Act:
    """``rpc:FUNCTION ARGUMENT ...``: the result is the answer."""
    call = _Call(argument, place)

    def act(exchange: Exchange, found: Found) -> Verdict:
        result = call(exchange, found)
        if exchange.response.prepare(b"200 OK"):
            exchange.response.header(b"Content-Length", b"%d" % len(result))
            exchange.response.write(result)
        return Verdict.BREAK

    return act


@action("rpcblob", "rpcnext", waits=True)
def rpcblob(argument: bytes, place: Place) -> Act:
    """``rpcnext:FUNCTION ARGUMENT ...``: the result is sent, and the next rule runs."""
    call = _Call(argument, place)

    def act(exchange: Exchange, found: Found) -> Verdict:
        result = call(exchange, found)
        response = exchange.response
        if response.stage in (Stage.NOTHING, Stage.PREPARED):
            if not response.prepare(b"200 OK"):
                return Verdict.BREAK
            response.header(b"Connection", b"close")
        response.write(result)
        return Verdict.NEXT

    return act


@action("rpcvar", waits=True)
def rpcvar(argument: bytes, place: Place) -> Act:
    """``rpcvar:NAME FUNCTION ARGUMENT ...``: the result becomes a variable."""
    name, space, text = argument.partition(b" ")
    if not space or not name:
        raise BadRule("expected NAME FUNCTION ARGUMENT ...")
    call = _Call(text, place, is_optional=True)

    def act(exchange: Exchange, found: Found) -> Verdict:
        exchange.set_variable(name, call(exchange, found))
        return Verdict.NEXT

    return act


@action("rpcret", waits=True)
def rpcret(argument: bytes, place: Place) -> Act:
    """``rpcret:FUNCTION ARGUMENT ...``: the result says what follows (next, ``goto X``, ``break 404``)."""
    call = _Call(argument, place)

    def act(exchange: Exchange, found: Found) -> Verdict:
        result = call(exchange, found)
        if result == b"next":
            return Verdict.NEXT
        if result.startswith(b"goto "):
            exchange.jump = result[5:]
            return Verdict.GOTO
        if not result.startswith(b"break"):
            return Verdict.CONTINUE
        if len(result) > 6 and exchange.response.prepare(result[6:]):
            exchange.response.header(b"Connection", b"close")
            exchange.response.header(b"Content-Type", b"text/plain")
            exchange.response.write_head()
        return Verdict.BREAK

    return act


@action("rpcraw", waits=True)
def rpcraw(argument: bytes, place: Place) -> Act:
    """``rpcraw:FUNCTION ARGUMENT ...``: the result is a whole HTTP answer."""
    call = _Call(argument, place)

    def act(exchange: Exchange, found: Found) -> Verdict:
        head, empty, body = call(exchange, found).partition(b"\r\n\r\n")
        line, *headers = head.split(b"\r\n")
        status = line.partition(b" ")[2]
        if not empty or len(status) < 3 or len(headers) > _HEADS_MOST:
            raise Broken("the function gave no HTTP answer")
        pairs = [header.partition(b": ") for header in headers]
        if not all(name and colon for name, colon, _ in pairs):
            raise Broken("the function gave no HTTP answer")
        if not exchange.response.prepare(status):
            return Verdict.BREAK
        for name, _, value in pairs:
            exchange.response.header(name, value)
        if body:
            exchange.response.write(body)
        else:
            exchange.response.write_head()
        return Verdict.BREAK

    return act
