"""A function of another server, called for a rule: dial, ask, read the answer, each for a bounded time.

One idea: one connection a call, in the greenlet of the rule that waits for it. It knows the protocol (protocol/rpc.py)
and no rule. Whatever goes wrong is one reason, raised as :class:`CallFailed`.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

import gevent
from gevent import socket as cooperative

from uwsgirouter.errors import ConfigError, ProtocolError, RouterError
from uwsgirouter.protocol.rpc import Answer, encode_call
from uwsgirouter.settings.address import Kind
from uwsgirouter.settings.targets import peer

READ = 65536


class CallFailed(RouterError):
    """No result; ``str()`` says why."""


def call_at(
    address: str, name: bytes, arguments: Sequence[bytes], raw: bool, connect_timeout: float, timeout: float
) -> bytes:
    """The result of ``name`` at ``address``; ``timeout`` is the answer's, in seconds. Waits. Raises CallFailed."""
    try:
        call = encode_call(name, arguments, raw)
        stream = _dial(address, connect_timeout)
    except (ProtocolError, ConfigError, OSError) as error:
        raise CallFailed(str(error)) from None
    try:
        with gevent.Timeout(timeout, TimeoutError(f"no answer in {timeout:g} seconds")):
            stream.sendall(call)
            return _read(stream, Answer(raw))
    except (ProtocolError, OSError) as error:
        raise CallFailed(str(error)) from None
    finally:
        stream.close()


def _dial(text: str, timeout: float) -> cooperative.socket:
    """A connected socket. Raises OSError, ConfigError."""
    address = peer(text)
    if address.kind is Kind.NAME or not address.is_unix:
        return cooperative.create_connection((address.host, address.port), timeout)
    stream = cooperative.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.settimeout(timeout)
        stream.connect(address.sockaddr)
    except OSError:
        stream.close()
        raise
    return stream


def _read(stream: cooperative.socket, answer: Answer) -> bytes:
    stream.settimeout(None)
    while data := stream.recv(READ):
        result = answer.feed(data)
        if result is not None:
            return result
    return answer.end()
