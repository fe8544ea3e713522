"""Who may announce: networks, patterns of keys, and what else the options about trust say, as one value.

One idea: each text of these options is read here, by the checks and by the running router alike, so that ``--check``
finds what is wrong with it. Pure: no name is resolved; what a rule decides is model/trust.py's to say.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.resubscription import is_loopback
from uwsgirouter.settings.settings import Settings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DIGESTS = ("SHA1", "SHA224", "SHA256", "SHA384", "SHA512")
"""The digests of subscriptions-sign-check, which may be written in any case."""
WEAK_DIGESTS = ("SHA1",)

SIGN = "subscriptions-sign-check"
SKIP = "subscriptions-sign-skip-uid"
CREDENTIALS = "subscriptions-credentials-check"
ALLOW = "subscription-allow"
KEY_ALLOW = "subscription-key-allow"


@dataclass(frozen=True)
class KeyRule:
    """Keys that ``pattern`` matches (``*`` any bytes, ``?`` one) are announced from ``networks`` alone."""

    pattern: str
    networks: tuple[Network, ...]

    @cached_property
    def expression(self) -> re.Pattern[bytes]:
        """What the pattern means, for keys in lower case."""
        text = re.escape(self.pattern.lower().encode("utf-8", "surrogateescape"))
        return re.compile(text.replace(rb"\*", b".*").replace(rb"\?", b"."), re.DOTALL)


@dataclass(frozen=True)
class Rules:
    """What the options say; an empty value means that nothing is asked for. ``tolerance`` is seconds."""

    digest: str = ""
    keys: str = ""
    tolerance: float = 86400.0
    skip_uids: frozenset[int] = frozenset()
    use_credentials: bool = False
    owners: tuple[str, ...] = ()
    allow: tuple[Network, ...] = ()
    key_rules: tuple[KeyRule, ...] = ()
    vassal_required: bool = False
    mount_points: bool = False
    """Whether keys have paths: then the public key of a host is good for what is mounted on it."""

    @property
    def needs_credentials(self) -> bool:
        """Whether the kernel must tell who sends over a unix socket."""
        return self.use_credentials or bool(self.owners) or bool(self.digest and self.skip_uids)


def rules(settings: Settings) -> Rules:
    """The rules of checked settings."""
    digest, keys = sign_check(settings.text(SIGN)) if settings.is_set(SIGN) else ("", "")
    return Rules(
        digest=digest,
        keys=keys,
        tolerance=settings.seconds(f"{SIGN}-tolerance"),
        skip_uids=frozenset(settings.numbers(SKIP)),
        use_credentials=settings.flag("subscriptions-use-credentials"),
        owners=settings.texts(CREDENTIALS),
        allow=tuple(network for text in settings.texts(ALLOW) for network in networks(text)),
        key_rules=_merged([key_rule(text) for text in settings.texts(KEY_ALLOW)]),
        vassal_required=settings.flag("subscription-vassal-required"),
        mount_points=bool(settings.number("subscription-mountpoints")),
    )


def sign_check(text: str) -> tuple[str, str]:
    """Digest and directory of ``SHA256:/etc/uwsgi/keys``. Raises :class:`ConfigError`."""
    digest, colon, directory = text.partition(":")
    if not colon or not directory:
        raise ConfigError("expected DIGEST:DIRECTORY, as in SHA256:/etc/uwsgi/keys")
    if digest.upper() not in DIGESTS:
        raise ConfigError(f"unknown digest {digest!r}, there are {', '.join(DIGESTS)}")
    return digest.upper(), directory


def networks(text: str) -> tuple[Network, ...]:
    """The networks of ``10.0.0.0/8,::1``; an address alone is a network of one. Raises :class:`ConfigError`."""
    return tuple(map(_network, text.split(",")))


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text.strip())
    except ValueError as error:
        hint = ""
        if "host bits set" in str(error):
            hint = f"; the network of this address is {ipaddress.ip_network(text.strip(), strict=False)}"
        raise ConfigError(f"{text.strip()!r} is no network, which is written as 10.0.0.0/8 or fd00::/8{hint}") from None


def key_rule(text: str) -> KeyRule:
    """The rule of ``*.example.com 10.0.0.0/8,fd00::/8``. Raises :class:`ConfigError`."""
    pattern, space, allowed = text.strip().partition(" ")
    if not space:
        raise ConfigError("expected a pattern of keys, a space, and networks, as in *.example.com 10.0.0.0/8")
    return KeyRule(pattern, networks(allowed))


def _merged(found: list[KeyRule]) -> tuple[KeyRule, ...]:
    """One rule for each pattern, in the order in which they were first written."""
    by_pattern: dict[str, KeyRule] = {}
    for rule in found:
        earlier = by_pattern.get(rule.pattern.lower(), KeyRule(rule.pattern, ()))
        by_pattern[rule.pattern.lower()] = KeyRule(earlier.pattern, (*earlier.networks, *rule.networks))
    return tuple(by_pattern.values())


# -- checks -----------------------------------------------------------------------------------------------------------


def faults(settings: Settings) -> Iterator[ConfigError]:
    """Texts that cannot be read."""
    if settings.is_set(SIGN):
        try:
            sign_check(settings.text(SIGN))
        except ConfigError as error:
            yield ConfigError(f"{SIGN} = {settings.text(SIGN)}: {error.message}", settings.where(SIGN))
    for name, read in ((ALLOW, networks), (KEY_ALLOW, key_rule)):
        for index, text in enumerate(settings.texts(name)):
            try:
                read(text)
            except ConfigError as error:
                yield ConfigError(f"{name} = {text}: {error.message}", settings.where(name, index))


def notices(settings: Settings) -> Iterator[str]:
    """What is open to everybody, what is shut to everybody, and what has no effect."""
    found = rules(settings)
    yield from _open_servers(settings, found)
    if found.digest in WEAK_DIGESTS:
        yield f"{settings.where(SIGN)}: {SIGN}: {found.digest} is weak; use SHA256 here and in the nodes' sign="
    for name, needed in ((SKIP, SIGN), (f"{SIGN}-tolerance", SIGN)):
        if settings.is_set(name) and not settings.is_set(needed):
            yield f"{settings.where(name)}: {name} does nothing without {needed}"
    udp = [address.text for address in settings.addresses(_SERVER) if not address.is_unix]
    if found.owners and udp:
        yield (
            f"{settings.where(CREDENTIALS)}: {CREDENTIALS} needs the sender's credentials, which only a unix socket "
            f"has: every announcement to {', '.join(udp)} will be refused"
        )
    idle = [name for name in _ALL if settings.is_set(name) and not settings.is_set(_SERVER)]
    for name in idle:
        yield f"{settings.where(name)}: {name} does nothing without {_SERVER}"


_SERVER = "fastrouter-subscription-server"
_ALL = (SIGN, CREDENTIALS, ALLOW, KEY_ALLOW, "subscriptions-use-credentials", "subscription-vassal-required")


def _open_servers(settings: Settings, found: Rules) -> Iterator[str]:
    if found.digest or found.allow or found.owners or any(set(rule.pattern) == {"*"} for rule in found.key_rules):
        return
    for index, address in enumerate(settings.addresses(_SERVER)):
        if not address.is_unix and not is_loopback(address.host):
            yield (
                f"{settings.where(_SERVER, index)}: whoever can send a datagram to {address.text} can take over any "
                f"key and its requests: bind it to loopback, or write {ALLOW} = NETWORK, or {SIGN} = SHA256:DIRECTORY"
            )
