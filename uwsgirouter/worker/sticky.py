"""Sticky sessions (``fastrouter-sticky``): a cookie leads a client back to the node that it had before.

One idea: the cookie's value is a keyed hash of the node's key and address. Nobody without the secret can make one, it
tells nobody an address, and every worker (and every router with the same secret) understands it without a word from
the others. A cookie of a node that took leave, failed or was replaced by better ones (backup levels) is as none: the
client gets another node, and that one's cookie. Pure; never yields.
Invariant: a client is never led to a node of another key than that of its request.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

from uwsgirouter.mappers.direct import DIRECT_KEY
from uwsgirouter.model.node import SERVING, Node, Order, State
from uwsgirouter.model.table import FALLBACK_KEY

if TYPE_CHECKING:
    from uwsgirouter.model.slot import Slot
    from uwsgirouter.worker.session import Session

TOKEN_BYTES = 18
"""Of the hash; 24 characters in the cookie."""
VALUES_MOST = 16
"""Cookies of our name that are looked at in a request."""
_BEFORE_A_NAME = (b"", b";", b" ", b"\t")


class Sticky:
    """Cookies named ``name``, made with ``secret``."""

    def __init__(self, name: str, secret: bytes) -> None:
        self._name = name.encode()
        self._sought = self._name + b"="
        self._secret = secret

    def token(self, node: Node) -> bytes:
        """The value of a node's cookie."""
        if not node.token:
            kind, host, port = node.address.identity
            named = node.key + f"\0{kind.name}\0{host}\0{port}".encode("utf-8", "surrogateescape")
            node.token = urlsafe_b64encode(hmac.digest(self._secret, named, sha256)[:TOKEN_BYTES])
        return node.token

    def node_of(self, session: Session, slot: Slot) -> Node | None:
        """The node of the request's cookie, if it is in ``slot`` and serves its clients."""
        values = self._values(session)
        if not values:
            return None
        found = [node for node in slot.nodes if self.token(node) in values and _serves(node, slot)]
        return min(found, key=lambda node: values.index(self.token(node)), default=None)

    def explain(self, session: Session, slot: Slot) -> str:
        """What the request's cookie says, in words for a trace."""
        values = self._values(session)
        if not values:
            return f"no cookie {self._name.decode()}"
        node = self.node_of(session, slot)
        if node is not None:
            return f"its cookie names {node.address.text}"
        named = next((node for node in slot.nodes if self.token(node) in values), None)
        if named is None:
            return "its cookie names none of the nodes"
        return f"its cookie names {named.address.text}, which does not serve it now"

    def header(self, session: Session, node: Node) -> bytes:
        """The header line that tells the client its node; empty when it knows, or when it is not to come back."""
        if node.key == DIRECT_KEY or node.key == FALLBACK_KEY:
            return b""
        token = self.token(node)
        if token in self._values(session):
            return b""
        secure = b"; Secure" if session.first_variable(b"HTTPS") in (b"on", b"1") else b""
        return b"Set-Cookie: %b=%b; Path=/; HttpOnly; SameSite=Lax%b\r\n" % (self._name, token, secure)

    def _values(self, session: Session) -> list[bytes]:
        """The values of our cookie in the request: browsers send several when they were set for several paths."""
        cookies = session.first_variable(b"HTTP_COOKIE")
        values: list[bytes] = []
        at = cookies.find(self._sought)
        while at >= 0 and len(values) < VALUES_MOST:
            start = at + len(self._sought)
            end = cookies.find(b";", start)
            value = cookies[start : end if end >= 0 else len(cookies)]
            values.append(value.strip().strip(b'"') if cookies[at - 1 : at] in _BEFORE_A_NAME else b"")
            at = cookies.find(self._sought, start)
        return values


def _serves(node: Node, slot: Slot) -> bool:
    """Whether ``node`` serves those who hold its cookie."""
    if node.state is State.DRAINING:
        return node.order is Order.DRAIN  # one that unsubscribed is about to go
    return node.state in SERVING and (not node.backup or node in slot.candidates())
