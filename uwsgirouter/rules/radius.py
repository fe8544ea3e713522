"""A RADIUS server, and the one question that is asked of it: is this the user's password?

One idea: an Access-Request is one datagram, sent again while there is no answer, and exactly one kind of answer lets
somebody in: an Access-Accept that was made with the secret, for this very request. It knows no rule and no HTTP.
Invariants: whatever else arrives at the socket is passed over; every request is signed (Message-Authenticator, first
of all attributes), and a signature in an answer has to be right; a question ends at its deadline.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
import time
from dataclasses import dataclass
from typing import Any

from uwsgirouter.rules.service import Timing, extra

packets = extra("pyrad.packet", "radius")

PORT = 1812
_NAME_MOST, _PASSWORD_MOST = 253, 128
"""Bytes that fit into their attributes."""
_USER_NAME, _USER_PASSWORD, _NAS_ADDRESS, _NAS_PORT, _NAS_ADDRESS6 = 1, 2, 4, 5, 95
_SENDINGS = (1, 2, 4)
"""A question is sent so often; the parts of the time that is there which each sending gets."""
_SILENT = "no answer, or none with the secret that the rule says"
_UNSIGNED = "its answer has no Message-Authenticator"


@dataclass(frozen=True)
class Nas:
    """What is said of the one who asks. ``address``: that of the socket when it is None."""

    secret: bytes
    port: int = 0
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None
    only_signed: bool = False
    """Whether an answer without a Message-Authenticator is none."""


def hopeless(user: bytes, password: bytes) -> bool:
    """Whether it is no login, whatever a server says of it."""
    if not user or len(user) > _NAME_MOST or len(password) > _PASSWORD_MOST:
        return True
    return b"\0" in user + password  # some servers hear what is before it, and "ann\0" would be let in as ann


class RadiusDown(Exception):
    """There was no answer."""


class Radius:
    """A socket that is connected to one server. Raises :class:`RadiusDown`."""

    def __init__(self, host: str, port: int, timing: Timing) -> None:
        self._answer = timing.answer
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            self._sock = socket.socket(family, socket.SOCK_DGRAM)
            try:
                self._sock.connect(address)
            except OSError:
                self._sock.close()
                raise
        except OSError as error:
            raise RadiusDown(error.strerror or str(error)) from None
        self._own = ipaddress.ip_address(str(self._sock.getsockname()[0]).partition("%")[0])

    def close(self) -> None:
        """End it."""
        self._sock.close()

    def login(self, nas: Nas, user: bytes, password: bytes) -> bool:
        """Whether the server accepts them."""
        if hopeless(user, password):
            return False
        request = self._request(nas, user, password)
        try:
            return bool(self._asked(request, nas.only_signed) == packets.AccessAccept)
        except OSError as error:  # ICMP says that there is no server
            raise RadiusDown(error.strerror or str(error)) from None

    def _request(self, nas: Nas, user: bytes, password: bytes) -> Any:
        request = packets.AuthPacket(
            id=secrets.randbelow(256), secret=nas.secret, authenticator=secrets.token_bytes(16), dict=None
        )
        request.add_message_authenticator()
        request[_USER_NAME] = [user]
        request[_USER_PASSWORD] = [request.PwCrypt(password)]
        request[_NAS_PORT] = [nas.port.to_bytes(4, "big")]
        address = nas.address or self._own
        request[_NAS_ADDRESS if address.version == 4 else _NAS_ADDRESS6] = [address.packed]
        return request

    def _asked(self, request: Any, only_signed: bool) -> int:
        """The code of the answer. Raises OSError."""
        data = request.RequestPacket()
        until = time.monotonic()
        unsigned = False
        for part in _SENDINGS:
            until += self._answer * part / sum(_SENDINGS)
            self._send(data)
            while (answer := self._received(until)) is not None:
                code = _code(request, answer)
                if code is None:
                    continue
                if not only_signed or _code(request, answer, signed=True) is not None:
                    return code
                unsigned = True
        raise RadiusDown(_UNSIGNED if unsigned else _SILENT)

    def _send(self, data: bytes) -> None:
        self._sock.settimeout(self._answer)
        self._sock.send(data)

    def _received(self, until: float) -> bytes | None:
        """A datagram, None when there is none until then."""
        left = until - time.monotonic()
        if left <= 0:
            return None
        self._sock.settimeout(left)
        try:
            return self._sock.recv(4096)
        except TimeoutError:
            return None


def _code(request: Any, data: bytes, signed: bool = False) -> int | None:
    """What an answer says; None when it is none to this request."""
    try:
        answer = request.CreateReply(packet=data)
        right = request.VerifyReply(answer, data, enforce_ma=signed)
    except packets.PacketError:
        return None
    return int(answer.code) if right else None
