"""Texts of rules with $0 to $9 and ${...} in them, made into functions once.

One idea: a text is cut into pieces when the table is built, so what a request brings is only ever put in and never
looked at again: a client's ``${REMOTE_ADDR}`` stays those letters. The cutting is uWSGI's, in one pass where uWSGI
takes two: a group inside the braces names the variable (``${cookie[$1]}``), it cannot close them. It knows no variable
by name.

Odd forms stay what they are there: ``$x`` and ``$$1`` are themselves, a $ at the end disappears, an unclosed ``${X``
stays, ``${}`` is empty. Invariant: a text without $ costs a request nothing but a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uwsgirouter.rules.base import Expand, Found

if TYPE_CHECKING:
    from uwsgirouter.rules.exchange import Exchange


@dataclass(frozen=True)
class Group:
    """``$1``."""

    number: int


@dataclass(frozen=True)
class Braces:
    """``${...}``; ``inside`` is what stands between the braces, in pieces (text and groups)."""

    inside: tuple[bytes | Group, ...]


Piece = bytes | Group | Braces


def cut(text: bytes, groups: bool = True) -> tuple[Piece, ...]:
    """The pieces of ``text``. Without ``groups`` a $1 is no group and stays, as does a $ at the end (in conditions)."""
    return tuple(_merged(_pieces(text, groups)))


def _pieces(text: bytes, groups: bool) -> Iterator[Piece]:
    position = 0
    while (dollar := text.find(b"$", position)) >= 0:
        yield text[position:dollar]
        sign = text[dollar + 1 : dollar + 2]
        position = dollar + 2
        if sign == b"{":
            end = text.find(b"}", position)
            if end < 0:
                yield b"${"
                yield from _plain(text[position:], groups, at_end=groups)
                return
            yield Braces(tuple(_merged(_plain(text[position:end], groups, at_end=False))))
            position = end + 1
        elif groups and sign.isdigit():
            yield Group(int(sign))
        elif sign or not groups:
            yield b"$" + sign
    yield text[position:]


def _plain(text: bytes, groups: bool, at_end: bool) -> Iterator[bytes | Group]:
    """The pieces of a text in which only groups count. ``at_end``: a $ at its end disappears."""
    position = 0
    while (dollar := text.find(b"$", position)) >= 0:
        yield text[position:dollar]
        sign = text[dollar + 1 : dollar + 2]
        position = dollar + 2
        if groups and sign.isdigit():
            yield Group(int(sign))
        elif sign or not at_end:
            yield b"$" + sign
    yield text[position:]


def _merged(pieces: Iterator[Any]) -> Iterator[Any]:
    """Texts beside each other as one, empty ones left out."""
    texts: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            texts.append(piece)
            continue
        if text := b"".join(texts):
            yield text
        texts.clear()
        yield piece
    if text := b"".join(texts):
        yield text


def group(number: int) -> Expand:
    """``$number``: empty when the rule has no such group, or it took no part in the match."""

    def expand(exchange: Exchange, found: Found) -> bytes:
        if found is None or number > found.re.groups:
            return b""
        return found[number] or b""

    return expand


def constant(text: bytes) -> Expand:
    """Always ``text``."""

    def expand(exchange: Exchange, found: Found) -> bytes:
        return text

    return expand


def joined(parts: Sequence[bytes | Expand]) -> Expand:
    """All parts, one behind the other."""
    if not parts:
        return constant(b"")
    if len(parts) == 1:
        return constant(parts[0]) if isinstance(parts[0], bytes) else parts[0]
    makers = tuple(constant(part) if isinstance(part, bytes) else part for part in parts)
    if len(makers) == 2:
        first, second = makers
        return lambda exchange, found: first(exchange, found) + second(exchange, found)
    return lambda exchange, found: b"".join([make(exchange, found) for make in makers])


def of_pieces(pieces: Sequence[Piece], braces: Callable[[Braces], Expand]) -> Expand:
    """What fills the pieces in; ``braces`` makes the functions of the ${...} among them."""
    return joined([_made(piece, braces) for piece in pieces])


def _made(piece: Piece, braces: Callable[[Braces], Expand]) -> bytes | Expand:
    if isinstance(piece, bytes):
        return piece
    return group(piece.number) if isinstance(piece, Group) else braces(piece)
