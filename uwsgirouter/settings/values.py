"""From the text of a value to the value, by the type of its row.

Pure but for the users and groups of the machine, which are looked up here so that an unknown one is an error
of the configuration. What is parsed: BOOL bool, INT int, MODE int, USER and GROUP int, OWNER (uid, gid),
SECONDS float, addresses :class:`Address`, everything else text. An error says what is allowed; the caller
adds where.
"""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Callable

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.address import Address, Kind, parse_listen
from uwsgirouter.settings.table import Option, Type
from uwsgirouter.settings.targets import peer

Value = bool | int | float | str | Address | tuple[int, int]

_WORDS = {
    **dict.fromkeys(("", "true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
KEEP = -1
"""The group of an owner that names a user only: what ``os.chown`` takes for no change."""


def parse(option: Option, text: str) -> Value:
    """The value of ``text``; :class:`ConfigError` (without a place) says what the row allows."""
    if any(character in text for character in "\n\r\0"):
        raise ConfigError("the value holds a line break or a NUL byte")
    value = _PARSERS[option.type](text, option)
    if isinstance(value, (int, float)) and not _in_range(option, value):
        raise ConfigError(f"expected {allowed(option)}")
    if option.choices and value not in option.choices:
        raise ConfigError(f"expected {allowed(option)}")
    return value


def is_bool(text: str) -> bool:
    """Whether ``text`` is one of the words for yes and no (the empty text is not a word)."""
    return text != "" and text.lower() in _WORDS


def allowed(option: Option) -> str:
    """What the row allows, for errors and for the reference page."""
    if option.choices:
        return f"{', '.join(option.choices[:-1])} or {option.choices[-1]}"
    unit = f" of {option.unit}" if option.unit else ""
    text = f"{option.type.value}{unit}"
    if option.low is not None and option.high is not None:
        return f"{text} from {option.low:g} to {option.high:.0f}"
    return f"{text} from {option.low:g} up" if option.low is not None else text


def _in_range(option: Option, value: float) -> bool:
    return (option.low is None or value >= option.low) and (option.high is None or value <= option.high)


def _bool(text: str, option: Option) -> bool:
    try:
        return _WORDS[text.lower()]
    except KeyError:
        raise ConfigError("expected true or false (yes, no, on, off, 1, 0, or the name alone for true)") from None


def _int(text: str, option: Option) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ConfigError(f"expected {allowed(option)}, digits alone")
    return int(text)


def _seconds(text: str, option: Option) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        raise ConfigError(f"expected {allowed(option)}, written plainly as in 30 or 0.5")
    return float(text)


def _mode(text: str, option: Option) -> int:
    if not re.fullmatch(r"[0-7]{3,4}", text or "666"):
        raise ConfigError("expected an octal mode such as 660 (the name alone means 666)")
    return int(text or "666", 8)


def _text(text: str, option: Option) -> str:
    if not text:
        raise ConfigError(f"a value is missing: expected {allowed(option)}")
    return text


def _variable(text: str, option: Option) -> str:
    name, equals, _ = _text(text, option).partition("=")
    if not name or not equals:
        raise ConfigError("expected NAME=value")
    return text


def _listen(text: str, option: Option) -> Address:
    address = parse_listen(text)
    if option.name == "shared-socket" and address.kind is Kind.SHARED:
        raise ConfigError(f"a shared-socket is an address to bind, and {text} is the number of one")
    return address


def _peer(text: str, option: Option) -> Address:
    return peer(text)


def _datagram(text: str, option: Option) -> Address:
    address = parse_listen(text)
    if address.kind in (Kind.SHARED, Kind.FD):
        raise ConfigError(f"address {text!r}: announcements arrive on host:port, [v6]:port, /path or @name")
    return address


def _user(text: str, option: Option) -> int:
    if re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    try:
        return pwd.getpwnam(_text(text, option)).pw_uid
    except KeyError:
        raise ConfigError(f"no user {text!r} on this machine") from None


def _group(text: str, option: Option) -> int:
    if re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    try:
        return grp.getgrnam(_text(text, option)).gr_gid
    except KeyError:
        raise ConfigError(f"no group {text!r} on this machine") from None


def _owner(text: str, option: Option) -> tuple[int, int]:
    user, colon, group = text.partition(":")
    return (_user(user, option), _group(group, option) if colon else KEEP)


_PARSERS: dict[Type, Callable[[str, Option], Value]] = {
    Type.BOOL: _bool,
    Type.INT: _int,
    Type.SECONDS: _seconds,
    Type.TEXT: _text,
    Type.PATH: _text,
    Type.LISTEN: _listen,
    Type.PEER: _peer,
    Type.DATAGRAM: _datagram,
    Type.USER: _user,
    Type.GROUP: _group,
    Type.OWNER: _owner,
    Type.MODE: _mode,
    Type.VARIABLE: _variable,
}
