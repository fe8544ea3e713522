"""Trust: whether an announcement that is well-formed may be acted upon.

One idea: everything that the options ask of a sender is judged in one place, once, in the master, so that all workers
know the same nodes. Cheap questions come first, the signature last: where the sender is, whose file the key's is, that
it was not seen before, who signed it. It must not know sockets or files: the public keys and the owners of files are
asked for through callables. Pure but for those; ``now`` is wall-clock seconds, which is what nodes sign.

Invariant: what was refused leaves no trace; what was accepted by its signature is never accepted again (but for a node
that is back at once, see protocol/replay.py).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.replay import Replays
from uwsgirouter.protocol.signing import PublicKey, split_signed
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.senders import KeyRule, Network, Rules

Credentials = tuple[int, int, int]
"""Process, user and group of a sender, from the kernel."""

_PORT = re.compile(rb":[0-9]*\Z")


class Trust:
    """``find_key(key)`` gives the public key for a key, None when there is none; ``owner(key)`` the user and group of
    each file that has the key's name in a directory of credentials. ``replays`` outlives this object."""

    def __init__(
        self,
        rules: Rules,
        replays: Replays,
        find_key: Callable[[bytes], PublicKey | None],
        owners: Callable[[bytes], Iterable[tuple[int, int]]],
    ) -> None:
        self.rules = rules
        self.reads = any((rules.key_rules, rules.vassal_required, rules.owners, rules.digest))
        """Whether what is said matters; if not, the sender alone does (:meth:`admits`)."""
        self.asks = self.reads or bool(rules.allow)
        """Whether anything is asked of a sender; if not, all announcements are taken."""
        self._replays = replays
        self._find_key = find_key
        self._owners = owners
        self._is_allowed = lru_cache(4096)(lambda host: _within(host, rules.allow))

    def judge(
        self, datagram: bytes, announce: Announce, sender: object, credentials: Credentials | None, now: float
    ) -> None:
        """Raise :class:`ProtocolError` unless ``announce``, which ``datagram`` says, may be acted upon.

        ``announce`` is as it was decoded, before ``:port`` became the sender's address. ``sender`` is what recvfrom
        gives: a tuple with the IP address, or anything else for a unix socket.
        """
        self.judge_sender(sender)
        self._judge_key(announce.key, sender)
        if self.rules.vassal_required and not announce.vassal and not announce.leaving:
            raise ProtocolError("vassal required", f"{announce.address.text} names no vassal")
        if self.rules.owners:
            self._judge_owner(announce.key, credentials)
        if self.rules.digest and not (credentials is not None and credentials[1] in self.rules.skip_uids):
            self._judge_signature(datagram, announce, now)

    def judge_sender(self, sender: object) -> None:
        """Raise :class:`ProtocolError` for a sender whose datagrams need not be read at all."""
        if not self.admits(sender):
            assert isinstance(sender, tuple)
            raise ProtocolError("sender not allowed", f"{sender[0]} is in no network of subscription-allow")

    def admits(self, sender: object) -> bool:
        """Whether the datagrams of ``sender`` need to be read."""
        return not self.rules.allow or not isinstance(sender, tuple) or self._is_allowed(sender[0])

    def _judge_key(self, key: bytes, sender: object) -> None:
        if not self.rules.key_rules or not isinstance(sender, tuple):
            return
        rule = first_rule(self.rules.key_rules, key)
        if rule is not None and not _within(sender[0], rule.networks):
            raise ProtocolError("key not allowed", f"{sender[0]} may not announce {key!r} ({rule.pattern})")

    def _judge_owner(self, key: bytes, credentials: Credentials | None) -> None:
        if credentials is None:
            raise ProtocolError("no credentials", f"{key!r} was not announced over a unix socket")
        if credentials[1:] not in self._owners(key):
            _, user, group = credentials
            raise ProtocolError("wrong owner", f"{key!r} has no file of user {user} and group {group}")

    def _judge_signature(self, datagram: bytes, announce: Announce, now: float) -> None:
        signed, signature = split_signed(datagram)
        if announce.address.is_wildcard and not announce.address.is_unix:
            text = f"{announce.address.text} means whoever sends it, which a signature cannot cover"
            raise ProtocolError("open address", text)
        node = announce.address.text or f"vassal {announce.vassal.decode('latin-1')}"
        admission = (announce.key, node, announce.unix, signed, now, self.rules.tolerance, announce.leaving)
        self._replays.check(*admission)
        public = self._find_key(announce.key)
        if public is None:
            raise ProtocolError("no public key", f"for {announce.key!r}")
        if not public.verifies(signature, signed, self.rules.digest):
            raise ProtocolError("bad signature", f"of {announce.key!r} at {announce.address.text}")
        self._replays.admit(*admission)


def first_rule(rules: Iterable[KeyRule], key: bytes) -> KeyRule | None:
    """The first rule that speaks of ``key`` as it is, or of its host alone: without mount point, port, last dot."""
    whole = key.lower()
    authority = whole.partition(b"/")[0]
    host = _PORT.sub(b"", authority)
    forms = {whole, authority, host, host.rstrip(b".")}
    return next((rule for rule in rules if any(map(rule.expression.fullmatch, forms))), None)


def _within(host: str, networks: Iterable[Network]) -> bool:
    """Whether ``host`` is in one of them; an IPv4 address in an IPv6 one counts as what it is."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
