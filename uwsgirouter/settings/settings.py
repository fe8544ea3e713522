"""The settings: what the router was told, checked and typed. Immutable; a reload makes new ones.

The rest of the program asks for values by the option's name, with the method of the value's type; asking for
a name that is not in the table, or with the wrong method, is a programming error (KeyError, TypeError).
Nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings import values
from uwsgirouter.settings.address import Address
from uwsgirouter.settings.table import BY_NAME, OPTIONS, Option, Type

_TEXTS = frozenset({Type.TEXT, Type.PATH, Type.VARIABLE})
_ADDRESSES = frozenset({Type.LISTEN, Type.PEER, Type.DATAGRAM})
_NUMBERS = frozenset({Type.INT, Type.MODE, Type.USER, Type.GROUP})


@dataclass(frozen=True)
class Given:
    """One value of an option: parsed, as text, and where it was given."""

    value: values.Value
    text: str
    where: str
    turn: int = 0
    """Its place among all that was given, of every option."""


class Settings:
    """One checked configuration. ``source`` is the first file's base name (empty: a command line alone).

    ``written``: name and text (empty: the name alone) of all that was written, what means nothing here and placeholders
    too, in order. Scripts see it.
    """

    __slots__ = ("_given", "notices", "source", "written")

    source: str
    notices: tuple[str, ...]
    written: tuple[tuple[str, str], ...]
    _given: Mapping[str, tuple[Given, ...]]

    def __init__(
        self,
        source: str,
        given: Mapping[str, Sequence[Given]],
        notices: Iterable[str] = (),
        written: Iterable[tuple[str, str]] = (),
    ) -> None:
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "notices", tuple(notices))
        object.__setattr__(self, "written", tuple(written))
        object.__setattr__(self, "_given", MappingProxyType({name: tuple(found) for name, found in given.items()}))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings do not change: {name}")

    def flag(self, name: str) -> bool:
        """A yes-or-no option."""
        return bool(self._one(name, frozenset({Type.BOOL})))

    def number(self, name: str) -> int:
        """A whole number that is set or has a default; TypeError when it is unset."""
        value = self._one(name, _NUMBERS)
        if not isinstance(value, int):
            raise TypeError(f"{name} is unset and has no default")
        return value

    def optional_number(self, name: str) -> int | None:
        """A whole number (a mode and the ids of users and groups are numbers too), None when unset."""
        value = self._one(name, _NUMBERS)
        return value if isinstance(value, int) else None

    def numbers(self, name: str) -> tuple[int, ...]:
        """All the whole numbers of a repeatable option, in order."""
        option = _row(name)
        if not option.repeatable or option.type not in _NUMBERS:
            raise TypeError(f"{name} is no repeatable number")
        return tuple(given.value for given in self._given.get(option.name, ()) if isinstance(given.value, int))

    def seconds(self, name: str) -> float:
        """A duration in seconds."""
        option = BY_NAME[name]
        if option.unit != "seconds":
            raise TypeError(f"{name} is no duration")
        value = self._one(name, frozenset({Type.INT, Type.SECONDS}))
        if not isinstance(value, (int, float)):
            raise TypeError(f"{name} is unset and has no default")
        return float(value)

    def text(self, name: str) -> str:
        """The text of any option as it was given (of the default when it was not), empty when unset."""
        option = _row(name)
        found = self._given.get(option.name)
        return found[-1].text if found else option.default

    def texts(self, name: str) -> tuple[str, ...]:
        """All the texts of a repeatable option, in order."""
        option = _row(name)
        if not option.repeatable:
            raise TypeError(f"{name} is not repeatable")
        return tuple(given.text for given in self._given.get(option.name, ()))

    def sequence(self, names: Iterable[str]) -> tuple[tuple[str, str, str], ...]:
        """All values of these options in the order in which they were given: (name, text, where)."""
        found = [(given.turn, name, given) for name in names for given in self._given.get(_row(name).name, ())]
        found.sort(key=lambda one: one[0])
        return tuple((name, given.text, given.where) for _, name, given in found)

    def addresses(self, name: str) -> tuple[Address, ...]:
        """All the addresses of an option, in order."""
        option = _row(name)
        if option.type not in _ADDRESSES:
            raise TypeError(f"{name} holds no addresses")
        return tuple(given.value for given in self._given.get(option.name, ()) if isinstance(given.value, Address))

    def owner(self, name: str) -> tuple[int, int] | None:
        """The (uid, gid) of an owner, with -1 for a group that was not named; None when unset."""
        value = self._one(name, frozenset({Type.OWNER}))
        return value if isinstance(value, tuple) and not isinstance(value, Address) else None

    def where(self, name: str, index: int | None = None) -> str:
        """Where the index-th value (or the one that counts) was given: ``router.conf:12``, ``command line``."""
        option = _row(name)
        found = self._given.get(option.name, ())
        if not found:
            return "default"
        return found[index if index is not None else (0 if option.repeatable else -1)].where

    def is_set(self, name: str) -> bool:
        """Whether the option was given (its default does not count)."""
        return _row(name).name in self._given

    def with_notices(self, notices: Iterable[str]) -> Settings:
        """The same settings with more notices."""
        return Settings(self.source, self._given, (*self.notices, *notices), self.written)

    def rows(self) -> tuple[tuple[str, str, str], ...]:
        """All values in the order in which they were given, each as name, text and where: :meth:`listed` reads them."""
        return self.sequence(name for name in self._given)

    def differences(self, other: Settings) -> list[str]:
        """The options that differ in ``other`` although a reload cannot change them."""
        fixed = (option for option in OPTIONS if option.is_value and not option.reloadable)
        return [option.name for option in fixed if self._effective(option) != other._effective(option)]

    @classmethod
    def of(cls, **options: object) -> Settings:
        """Settings for tests: names with _ for -, each a raw text, a number, a bool, or a list of them."""
        listed = []
        for keyword, raw in options.items():
            for item in raw if isinstance(raw, (list, tuple)) else [raw]:
                name = keyword.replace("_", "-")
                listed.append((name, str(item).lower() if isinstance(item, bool) else str(item), f"test: {name}"))
        return cls.listed(listed)

    @classmethod
    def listed(
        cls,
        options: Iterable[tuple[str, str, str]],
        source: str = "",
        written_so: Iterable[tuple[str, str]] = (),
    ) -> Settings:
        """Settings of (name, text, where) in their order. Raises :class:`ConfigError`."""
        given: dict[str, list[Given]] = {}
        written = []
        for turn, (name, text, where) in enumerate(options):
            option = _row(name)
            given.setdefault(option.name, []).append(give(option, text, where, turn))
            written.append((option.name, text))
        return cls(source, given, written=tuple(written_so) or written)

    def _one(self, name: str, types: frozenset[Type]) -> values.Value | None:
        option = _row(name)
        if option.type not in types:
            raise TypeError(f"{name} is a {option.type.value}")
        found = self._given.get(option.name)
        if found:
            return found[-1].value
        return _DEFAULTS[option.name]

    def _effective(self, option: Option) -> object:
        found = [given.value for given in self._given.get(option.name, ())]
        return (found if option.repeatable else found[-1]) if found else _DEFAULTS[option.name]


def give(option: Option, text: str, where: str, turn: int = 0) -> Given:
    """One checked value; the :class:`ConfigError` names where, option, value and what is allowed."""
    try:
        return Given(values.parse(option, text), text, where, turn)
    except ConfigError as error:
        raise ConfigError(f"{option.name} = {text}: {error.message}", where) from None


def _row(name: str) -> Option:
    option = BY_NAME[name]
    if not option.is_value:
        raise KeyError(name)
    return option


_DEFAULTS: dict[str, values.Value | None] = {
    option.name: values.parse(option, option.default) if option.default else None
    for option in OPTIONS
    if option.is_value
}
