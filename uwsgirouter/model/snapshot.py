"""The snapshot: the announced nodes as one file's bytes, for the time in which there is no router.

One idea: a node is kept as the announcement that it would send, so that whoever can read announcements can read a
snapshot, and a field that is new there is kept here without a change. JSON lines: a head with the version, a line for
each node, each name that nodes announced, each word of an operator, each clock of signed announcements (replay.py), and
a last line with their number and a checksum, without which the rest does not count. Pure: bytes in, values out. Times
are wall-clock seconds: they outlive the machine's monotonic clock.

Invariant: :func:`decode_snapshot` gives back what :func:`encode_snapshot` was given, or raises :class:`BadSnapshot`;
it accepts no node that could not have been announced.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from uwsgirouter.errors import ConfigError, ProtocolError, RouterError
from uwsgirouter.model.node import Order, State
from uwsgirouter.model.orders import Word
from uwsgirouter.protocol.subscription import WEIGHT_MAX, Announce, decode_announce, encode_announce
from uwsgirouter.settings.address import Kind, parse_peer

VERSION = 1
_MAGIC = "uwsgirouter snapshot"


class BadSnapshot(RouterError):
    """The bytes are no snapshot of a version that is understood."""


@dataclass(frozen=True)
class SavedNode:
    """``announce`` as the node would send it, and what is known beside it.

    ``heard``: its last word; ``since``: when its state became what it is; ``wished``: since when it wishes its
    algorithm; ``standing``: when somebody said last that its vassal can be started (0: nobody does).
    """

    announce: Announce
    state: State
    heard: float
    since: float
    wished: float = 0.0
    standing: float = 0.0


@dataclass(frozen=True)
class SavedLease:
    """An announcement of a host name, heard of last at ``heard``, and the addresses that are its nodes."""

    announce: Announce
    heard: float
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """All of it. ``words``: what operators said (``since`` in wall-clock seconds, too); ``clocks``: key, address and
    newest clock of nodes that sign (see ``Replays.rows``)."""

    written: float
    nodes: tuple[SavedNode, ...] = ()
    leases: tuple[SavedLease, ...] = ()
    words: tuple[Word, ...] = ()
    clocks: tuple[tuple[bytes, str, int], ...] = ()


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The file's bytes."""
    rows = [_line(row) for row in _rows(snapshot)]
    body = b"".join(rows)
    return body + _line({"rows": len(rows) - 1, "crc32": zlib.crc32(body)})


def _rows(snapshot: Snapshot) -> Iterator[dict[str, object]]:
    yield {"what": _MAGIC, "version": VERSION, "written": snapshot.written}
    for node in snapshot.nodes:
        row: dict[str, object] = {"n": _announced(node.announce), "state": node.state.value}
        row |= {"heard": node.heard, "since": node.since}
        if node.wished:
            row["wished"] = node.wished
        if node.standing:
            row["standing"] = node.standing
        yield row
    for lease in snapshot.leases:
        yield {"name": _announced(lease.announce), "heard": lease.heard, "hosts": lease.hosts}
    for word in snapshot.words:
        yield {
            "o": _text(word.key),
            "a": word.address.text,
            "order": word.order.value,
            "weight": word.weight,
            "who": word.who,
            "since": word.since,
        }
    for key, address, unix in snapshot.clocks:
        yield {"k": _text(key), "a": address, "unix": unix}


def decode_snapshot(data: bytes) -> Snapshot:
    """The inverse. Raises :class:`BadSnapshot` that says in one sentence what is wrong."""
    head, *rows = _checked_rows(data)
    if head.get("what") != _MAGIC:
        raise BadSnapshot("it is no snapshot of uwsgirouter")
    if head.get("version") != VERSION:
        raise BadSnapshot(f"it has version {head.get('version')!r}, and only {VERSION} is understood")
    try:
        return Snapshot(
            _number(head["written"]),
            tuple(_node(row) for row in rows if "n" in row),
            tuple(_lease(row) for row in rows if "name" in row),
            tuple(_word(row) for row in rows if "o" in row),
            tuple(_clock(row) for row in rows if "k" in row),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadSnapshot(f"a line of it cannot be read: {error!r}") from None
    except (ProtocolError, ConfigError) as error:
        raise BadSnapshot(f"a node in it could not have been announced: {error}") from None


def _checked_rows(data: bytes) -> list[dict[str, object]]:
    """The rows without the last one, which must vouch for them."""
    if not data.endswith(b"\n"):
        raise BadSnapshot("it is empty or cut off")
    body, _, tail = data[:-1].rpartition(b"\n")
    body += b"\n"
    last = _row(tail)
    if last.get("crc32") != zlib.crc32(body):
        raise BadSnapshot("its checksum is wrong: it was cut off or changed")
    rows = [_row(line) for line in body.split(b"\n")[:-1]]
    if last.get("rows") != len(rows) - 1:
        raise BadSnapshot("its number of lines is wrong")
    return rows


def _row(line: bytes) -> dict[str, object]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise BadSnapshot("it is not made of lines of JSON") from None
    if not isinstance(row, dict):
        raise BadSnapshot("a line of it is no JSON object")
    return row


def _line(row: dict[str, object]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def _node(row: dict[str, object]) -> SavedNode:
    announce = decode_announce(_bytes(row["n"]))
    if announce.address.kind is Kind.NAME or announce.leaving:
        raise TypeError("no node")
    times = (_number(row.get(name, 0.0)) for name in ("heard", "since", "wished", "standing"))
    return SavedNode(announce, State(row["state"]), *times)


def _lease(row: dict[str, object]) -> SavedLease:
    announce, hosts = decode_announce(_bytes(row["name"])), row["hosts"]
    if announce.address.kind is not Kind.NAME or announce.leaving:
        raise TypeError("no name")
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise TypeError("addresses")
    for host in hosts:
        ipaddress.ip_address(host)  # it raises ValueError
    return SavedLease(announce, _number(row["heard"]), tuple(hosts))


def _word(row: dict[str, object]) -> Word:
    address, weight, who = row["a"], row["weight"], row["who"]
    if not isinstance(address, str) or not isinstance(who, str) or not (weight is None or type(weight) is int):
        raise TypeError("a word")
    if weight is not None and not 1 <= weight <= WEIGHT_MAX:
        raise ValueError(f"weight {weight}")
    return Word(_bytes(row["o"]), parse_peer(address), Order(row["order"]), weight, who, _number(row["since"]))


def _clock(row: dict[str, object]) -> tuple[bytes, str, int]:
    address, unix = row["a"], row["unix"]
    if not isinstance(address, str) or type(unix) is not int:
        raise TypeError("a clock")
    return _bytes(row["k"]), address, unix


def _announced(announce: Announce) -> str:
    return _text(encode_announce(announce))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError("no text")
    return base64.b64decode(text, validate=True)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError("no number")
    return float(value)
