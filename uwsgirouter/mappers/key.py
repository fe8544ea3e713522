"""The key as scripts see it, and without its port.

One idea: scripts written for the manual expect ``str``, those written for uWSGI on Python 3 got ``bytes``; a
:class:`Key` is a str that equals its bytes, hashes like them, and answers in bytes where it is asked in bytes. A str of
one-byte characters has the hash of the same bytes in CPython (a test looks), so it finds either in a dictionary.
What is made of a key is a key, so that its bytes come back unchanged whatever a script did with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsIndex

_UTF8 = ("utf-8", "utf8", "utf_8")


def without_port(key: bytes) -> bytes:
    """``host:8000`` and ``[::1]:8000`` without the port; whatever else as it is."""
    host, colon, port = key.rpartition(b":")
    if colon and host and port.isdigit() and (b":" not in host or host.endswith(b"]")):
        return host
    return key


class Key(str):
    """A key for a mapper's function: each character stands for one byte (latin-1)."""

    __slots__ = ()

    @classmethod
    def of(cls, key: bytes) -> Key:
        """The key of these bytes."""
        return cls(key.decode("latin-1"))

    def __bytes__(self) -> bytes:
        return str.encode(self, "latin-1")

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """As ``bytes.decode``."""
        return bytes(self).decode(encoding, errors)

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """As ``str.encode``; as UTF-8 a key is the bytes that it came as, which are UTF-8 where they mean anything."""
        return bytes(self) if encoding.lower() in _UTF8 else str.encode(self, encoding, errors)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (bytes, bytearray)):
            return bytes(self) == other
        return str.__eq__(self, other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __contains__(self, item: Any) -> bool:
        return item in bytes(self) if isinstance(item, (bytes, bytearray)) else str.__contains__(self, item)

    def __getitem__(self, index: SupportsIndex | slice) -> Key:
        return Key(str.__getitem__(self, index))

    def __add__(self, other: Any) -> Any:
        return bytes(self) + other if isinstance(other, (bytes, bytearray)) else _joined(self, other)

    def __radd__(self, other: Any) -> Any:
        return other + bytes(self) if isinstance(other, (bytes, bytearray)) else _joined(other, self)


def _joined(one: Any, two: Any) -> Any:
    """The text of both: a key, if what is not of a key says the same in every encoding."""
    if not isinstance(one, str) or not isinstance(two, str):
        return NotImplemented
    text = str.__add__(one, two)
    return Key(text) if all(isinstance(part, Key) or part.isascii() for part in (one, two)) else text


def _as_bytes(name: str) -> Callable[..., Any]:
    """The method of that name as bytes have it: with bytes for arguments it returns bytes, else keys."""
    of_str: Callable[..., Any] = getattr(str, name)
    of_bytes: Callable[..., Any] = getattr(bytes, name)

    def method(self: Key, *args: Any, **kwargs: Any) -> Any:
        try:
            result = of_bytes(bytes(self), *map(_to_bytes, args), **{key: _to_bytes(kwargs[key]) for key in kwargs})
        except UnicodeEncodeError:
            return of_str(self, *args, **kwargs)
        return result if any(map(_is_bytes, (*args, *kwargs.values()))) else _to_keys(result)

    method.__name__ = name
    method.__doc__ = f"As ``bytes.{name}``; what it returns are keys, unless an argument was bytes."
    return method


def _to_bytes(argument: Any) -> Any:
    if isinstance(argument, tuple):
        return tuple(map(_to_bytes, argument))
    return str.encode(argument, "latin-1") if isinstance(argument, str) else argument


def _is_bytes(argument: Any) -> bool:
    if isinstance(argument, tuple):
        return any(map(_is_bytes, argument))
    return isinstance(argument, (bytes, bytearray))


def _to_keys(result: Any) -> Any:
    if isinstance(result, (list, tuple)):
        return type(result)(map(_to_keys, result))
    return Key.of(result) if isinstance(result, bytes) else result


_METHODS = (
    *("__ge__", "__gt__", "__le__", "__lt__"),
    *("capitalize", "center", "count", "endswith", "expandtabs", "find", "index", "isalnum", "isalpha", "isdigit"),
    *("islower", "isspace", "istitle", "isupper", "ljust", "lower", "lstrip", "partition", "removeprefix"),
    *("removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines"),
    *("startswith", "strip", "swapcase", "title", "upper", "zfill"),
)
for _name in _METHODS:
    setattr(Key, _name, _as_bytes(_name))
