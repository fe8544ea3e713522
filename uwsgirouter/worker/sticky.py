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


class Sticky:
    """Cookies named ``name``, made with ``secret``."""

    def __init__(self, name: str, secret: bytes) -> None:
        self._name = name.encode()
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
        value = self._cookie(session)
        if not value:
            return None
        node = next((node for node in slot.nodes if self.token(node) == value), None)
        if node is None:
            return None
        if node.state is State.DRAINING:
            return node if node.order is Order.DRAIN else None  # one that unsubscribed is about to go
        if node.state not in SERVING:
            return None
        return node if not node.backup or node in slot.candidates() else None

    def header(self, session: Session, node: Node) -> bytes:
        """The header line that tells the client its node; empty when it knows, or when it is not to come back."""
        if node.key == DIRECT_KEY or node.key == FALLBACK_KEY:
            return b""
        token = self.token(node)
        if self._cookie(session) == token:
            return b""
        secure = b"; Secure" if session.first_variable(b"HTTPS") in (b"on", b"1") else b""
        return b"Set-Cookie: %b=%b; Path=/; HttpOnly; SameSite=Lax%b\r\n" % (self._name, token, secure)

    def _cookie(self, session: Session) -> bytes:
        """The value of our cookie in the request; empty when there is none."""
        for part in session.first_variable(b"HTTP_COOKIE").split(b";"):
            name, _, value = part.partition(b"=")
            if name.strip() == self._name:
                return value.strip().strip(b'"')
        return b""
