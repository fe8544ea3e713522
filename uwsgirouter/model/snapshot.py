"""The snapshot: the announced nodes as one file's bytes, for the time in which there is no router.

One idea: a node is kept as the announcement that it would send, so that whoever can read announcements can read a
snapshot, and a field that is new there is kept here without a change. JSON lines: a head with the version, a line for
each node, a line for each clock of signed announcements (protocol/replay.py), and a last line with their number and a
checksum, without which the rest does not count. Pure: bytes in, values out. Times are wall-clock seconds: they outlive
the machine's monotonic clock.

Invariant: :func:`decode_snapshot` gives back what :func:`encode_snapshot` was given, or raises :class:`BadSnapshot`;
it accepts no node that could not have been announced.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass

from uwsgirouter.errors import ProtocolError, RouterError
from uwsgirouter.protocol.subscription import Announce, decode_announce, encode_announce

VERSION = 1
_MAGIC = "uwsgirouter snapshot"


class BadSnapshot(RouterError):
    """The bytes are no snapshot of a version that is understood."""


@dataclass(frozen=True)
class SavedNode:
    """``announce`` as the node would send it, heard of last at ``heard``; ``draining``: it said that it goes."""

    announce: Announce
    heard: float
    draining: bool = False


@dataclass(frozen=True)
class Snapshot:
    """All of it. ``clocks``: key, address and newest clock of nodes that sign (see ``Replays.rows``)."""

    written: float
    nodes: tuple[SavedNode, ...] = ()
    clocks: tuple[tuple[bytes, str, int], ...] = ()


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The file's bytes."""
    head = {"what": _MAGIC, "version": VERSION, "written": snapshot.written}
    nodes = [
        {
            "n": _text(encode_announce(node.announce)),
            "heard": node.heard,
            **({"draining": True} if node.draining else {}),
        }
        for node in snapshot.nodes
    ]
    clocks = [{"k": _text(key), "a": address, "unix": unix} for key, address, unix in snapshot.clocks]
    rows: list[dict[str, object]] = [head, *nodes, *clocks]
    body = b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)
    last = {"rows": len(rows) - 1, "crc32": zlib.crc32(body)}
    return body + json.dumps(last, separators=(",", ":")).encode() + b"\n"


def decode_snapshot(data: bytes) -> Snapshot:
    """The inverse. Raises :class:`BadSnapshot` that says in one sentence what is wrong."""
    rows = _checked_rows(data)
    head = rows[0]
    if head.get("what") != _MAGIC:
        raise BadSnapshot("it is no snapshot of uwsgirouter")
    if head.get("version") != VERSION:
        raise BadSnapshot(f"it has version {head.get('version')!r}, and only {VERSION} is understood")
    try:
        nodes = tuple(_node(row) for row in rows[1:] if "n" in row)
        clocks = tuple(_clock(row) for row in rows[1:] if "k" in row)
        return Snapshot(_number(head["written"]), nodes, clocks)
    except (KeyError, TypeError, ValueError) as error:
        raise BadSnapshot(f"a line of it cannot be read: {error!r}") from None
    except ProtocolError as error:
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


def _node(row: dict[str, object]) -> SavedNode:
    return SavedNode(decode_announce(_bytes(row["n"])), _number(row["heard"]), row.get("draining") is True)


def _clock(row: dict[str, object]) -> tuple[bytes, str, int]:
    address, unix = row["a"], row["unix"]
    if not isinstance(address, str) or type(unix) is not int:
        raise TypeError("a clock")
    return _bytes(row["k"]), address, unix


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError("no text")
    return base64.b64decode(text, validate=True)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise TypeError("no number")
    return float(value)
