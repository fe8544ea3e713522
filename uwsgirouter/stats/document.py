"""The statistics as JSON: what the FastRouter of uWSGI writes, with the same names and types, and ours beside it.

One idea: a document is a list of pieces of bytes, so that fifty thousand nodes are neither one string nor one object; a
node is a line. All that anybody could have chosen (keys, addresses, names of vassals) goes through the JSON encoder. It
computes nothing that figures.py does not.
Invariant: what the pieces make is JSON whatever the keys are.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Iterator

from uwsgirouter.model import measures
from uwsgirouter.model.counters import Counter
from uwsgirouter.model.measures import CLASSES, Row, quantile, requests_of
from uwsgirouter.model.node import SERVING, Node
from uwsgirouter.model.slot import Slot
from uwsgirouter.model.table import CONFIGURED_KEYS, FALLBACK_KEY, STATIC_KEY
from uwsgirouter.rules.hashing import djb33x
from uwsgirouter.stats.figures import Figures, Process

PIECE = 1 << 16
HEAD = (
    b"HTTP/1.0 200 OK\r\nConnection: close\r\nAccess-Control-Allow-Origin: *\r\nContent-Type: application/json\r\n\r\n"
)
"""What stands before the document with ``stats-http``, as uWSGI has it."""

_HASHES = 0xFFFF
_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def document(figures: Figures, minified: bool = False, with_metrics: bool = True) -> list[bytes]:
    """The pieces of the whole."""
    return list(_pieces(_lines(figures, with_metrics), b"" if minified else b"\n"))


def _pieces(lines: Iterable[str], end: bytes) -> Iterator[bytes]:
    found: list[bytes] = []
    size = 0
    for line in lines:
        data = line.encode()
        found.append(data)
        size += len(data)
        if size >= PIECE:
            yield end.join(found) + end
            found, size = [], 0
    yield end.join(found) + end


def _lines(figures: Figures, with_metrics: bool) -> Iterator[str]:
    picture = figures.picture
    slots = picture.registry.table.slots
    yield "{"
    for key, value in (
        ("version", picture.version),
        ("pid", picture.pid),
        ("uid", picture.uid),
        ("gid", picture.gid),
        ("cwd", picture.directory),
        ("active_sessions", figures.present(Counter.SESSIONS)),
        ("fastrouter", list(picture.sockets)),
    ):
        yield f'"{key}":{_json(value)},'
    if picture.has_static:
        yield '"static_nodes":['
        yield from _listed(_static(figures, node) for node in _nodes(slots.get(STATIC_KEY)))
        yield "],"
    if picture.has_subscriptions:
        yield '"subscriptions":['
        keys = [slot for slot in slots.values() if slot.key not in CONFIGURED_KEYS]
        for index, slot in enumerate(keys):
            yield from _slot(figures, slot, "" if index == len(keys) - 1 else ",")
        yield "],"
    yield f'"cheap":{int(figures.is_cheap)},'
    yield '"uwsgirouter":{'
    yield from _own(figures, with_metrics)
    yield "}"
    yield "}"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _text(data: bytes) -> str:
    return json.dumps(data.decode("utf-8", "backslashreplace"))


def _listed(items: Iterable[str]) -> Iterator[str]:
    """With commas between them."""
    before = None
    for item in items:
        if before is not None:
            yield f"{before},"
        before = item
    if before is not None:
        yield before


def _nodes(slot: Slot | None) -> list[Node]:
    return [] if slot is None else slot.nodes


# -- as the FastRouter has it --------------------------------------------------------------------------------------


def _static(figures: Figures, node: Node) -> str:
    requests = figures.tally(node)[0]
    grace = 0 if node.state in SERVING else round(figures.wall - figures.now + node.since)
    return f'{{"name":{json.dumps(node.address.text)},"hits":{requests},"grace":{grace}}}'


def _slot(figures: Figures, slot: Slot, end: str) -> Iterator[str]:
    hits = figures.picture.past_hits.get(slot.key, 0)
    hits += sum(requests + failures for requests, _, _, failures in map(figures.tally, slot.nodes))
    algo = max(slot.nodes, key=lambda node: node.algo_since).algo or "wrr"
    yield f'{{"key":{_text(slot.key)},"hash":{_hash(slot.key)},"hits":{hits},"algo":{json.dumps(algo)},"nodes":['
    yield from _listed(_node(figures, node) for node in slot.nodes)
    yield f"]}}{end}"


def _node(figures: Figures, node: Node) -> str:
    """A node's line. What nobody here knows (who announced it, turns of a worker's own) is 0."""
    requests, rx, tx, failures = figures.tally(node)
    heard = figures.picture.registry.heard(node)
    checked = 0 if heard is None else int(figures.wall - figures.now + heard)
    return (
        f'{{"name":{json.dumps(node.address.text)},"vassal":{_text(node.vassal)},'
        f'"modifier1":{node.modifiers[0]},"modifier2":{node.modifiers[1]},"last_check":{checked},'
        f'"pid":0,"uid":0,"gid":0,'
        f'"requests":{requests},"last_requests":{figures.picture.tallies.since_announced(node.id, requests)},'
        f'"tx":{tx},"rx":{rx},"cores":{node.cores},"load":{node.load},"weight":{node.weight},"backup":{node.backup},'
        f'"proto":"uwsgi","wrr":0,"ref":{figures.inflight(node)},"failcnt":{failures},'
        f'"death_mark":{int(node.state not in SERVING)}}}'
    )


def _hash(key: bytes) -> int:
    """The number of uWSGI's hash bucket."""
    if not key.isascii():
        return djb33x(key) % _HASHES
    value = 5381
    for byte in key:
        value = value * 33 & 0xFFFFFFFF ^ byte
    return value % _HASHES


# -- ours ----------------------------------------------------------------------------------------------------------


def _own(figures: Figures, with_metrics: bool) -> Iterator[str]:
    picture = figures.picture
    total = figures.total
    table = picture.registry.table
    master = Process.of(picture.pid)
    datagrams = picture.datagrams
    rows: dict[str, object] = {
        "version": picture.version,
        "compiled": picture.compiled,
        "python": platform.python_version(),
        "uptime": round(figures.now - picture.began, 3),
        "generation": picture.generation,
        "sessions": figures.present(Counter.SESSIONS),
        "in_flight": figures.in_flight(),
        "requests": total(Counter.REQUESTS),
        "answered": total(Counter.ANSWERED),
        "rx": total(Counter.RX),
        "tx": total(Counter.TX),
        "retries": total(Counter.RETRIES),
        "failed_connects": total(Counter.NODE_FAILURES),
        "clients_gone": total(Counter.CLIENT_GONE),
        "cut_off": total(Counter.ABORTED),
        "adopted": total(Counter.ADOPTED),
        "accept_errors": total(Counter.ACCEPT_ERRORS),
        "failures": {cause: count for cause, count in figures.failures().items() if count},
        "datagrams": {"accepted": datagrams.accepted, "rejected": dict(datagrams.rejected), "lost": datagrams.lost},
        "nodes": {"total": len(table.nodes), **figures.states()},
        "pools": sum(key not in CONFIGURED_KEYS for key in table.slots),
        "fallback_nodes": [json.loads(_static(figures, node)) for node in _nodes(table.slots.get(FALLBACK_KEY))],
        "master": {"rss": master.resident, "cpu": round(master.cpu, 2)},
        "log_lines_dropped": picture.lines_dropped,
        "caches": picture.caches(),
    }
    if with_metrics and picture.metrics is not None:
        named = picture.metrics
        rows["metrics"] = {name.decode("utf-8", "backslashreplace"): named.get(name) for name in named.names}
    for name, value in rows.items():
        yield f'"{name}":{_json(value)},'
    yield '"workers":['
    yield from _listed(_workers(figures))
    yield "],"
    yield '"keys":['
    yield from _listed(_json(_key(text, row)) for text, row in figures.by_key())
    yield "]"


def _workers(figures: Figures) -> Iterator[str]:
    for worker in figures.picture.workers:
        process = Process.of(worker.pid)
        yield _json(
            {
                "id": worker.number,
                "pid": worker.pid,
                "generation": worker.generation,
                "state": figures.worker_state(worker),
                "rss": process.resident,
                "cpu": round(process.cpu, 2),
                "sessions": figures.of_worker(worker, Counter.SESSIONS),
                "requests": figures.of_worker(worker, Counter.REQUESTS),
                "loop_lag_ms": figures.of_worker(worker, Counter.LAG) / 1000,
            }
        )


def _key(text: str, row: Row) -> dict[str, object]:
    causes = zip(measures.CAUSES, row[measures.FAILED :], strict=False)
    return {
        "key": text,
        "requests": requests_of(row),
        "rx": row[measures.RX],
        "tx": row[measures.TX],
        "responses": dict(zip(CLASSES, row[measures.STATUS :], strict=False)),
        "failures": {cause: count for cause, count in causes if count},
        "connect_ms": _quantiles(row, measures.CONNECT),
        "first_byte_ms": _quantiles(row, measures.FIRST_BYTE),
        "total_ms": _quantiles(row, measures.TOTAL),
    }


def _quantiles(row: Row, histogram: int) -> dict[str, float | None]:
    found = {name: quantile(row, histogram, share) for name, share in _SHARES.items()}
    return {name: None if seconds is None else round(seconds * 1000, 3) for name, seconds in found.items()}
