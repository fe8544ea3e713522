"""The metrics for Prometheus and whoever reads OpenMetrics.

One idea: each family of metrics is a row or a few lines here, and prometheus-client writes them down; which text a
client wants, it says itself. docs/monitoring.md has the list for people, and the dashboard of conf/grafana asks for
these names. It computes nothing that figures.py does not.
Invariant: what is called a counter never goes down as long as the master lives.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from uwsgirouter.model import measures
from uwsgirouter.model.counters import UNNUMBERED, Counter
from uwsgirouter.model.measures import BUCKETS, CLASSES, CONNECT_BOUNDS, LATENCY_BOUNDS
from uwsgirouter.model.table import CONFIGURED_KEYS
from uwsgirouter.stats.figures import Figures, Process

COUNTERS = (
    ("requests", Counter.REQUESTS, "Requests whose packet was read whole."),
    ("answered", Counter.ANSWERED, "Requests that a node began to answer."),
    ("to_nodes_bytes", Counter.RX, "Bytes sent to nodes, packets included."),
    ("from_nodes_bytes", Counter.TX, "Bytes that came from nodes."),
    ("retries", Counter.RETRIES, "Attempts of requests on another node."),
    ("failed_connects", Counter.NODE_FAILURES, "Connections that nodes did not accept."),
    ("clients_gone", Counter.CLIENT_GONE, "Clients that went away before the end."),
    ("cut_responses", Counter.ABORTED, "Responses cut off after their first byte."),
    ("adopted_clients", Counter.ADOPTED, "Clients that a node took over (descriptor passing)."),
    ("accept_errors", Counter.ACCEPT_ERRORS, "Connections that could not be accepted."),
)
"""Name, cell, help."""

HISTOGRAMS = (
    ("connect_seconds", measures.CONNECT, CONNECT_BOUNDS, "Time until a node accepted, by key."),
    ("first_byte_seconds", measures.FIRST_BYTE, LATENCY_BOUNDS, "Time from there to the node's first byte, by key."),
    ("request_seconds", measures.TOTAL, LATENCY_BOUNDS, "Time from the packet to the end of the request, by key."),
)
WORKER_STATES = ("starting", "serving", "cheap", "draining", "stopping")

_PREFIX = "uwsgirouter_"


class Exposition:
    """The families of ``figures``, as prometheus-client asks for them."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        figures = self._figures
        yield from _router(figures)
        yield from _requests(figures)
        yield from _keys(figures)
        yield from _nodes(figures)
        yield from _workers(figures)
        yield from _announcements(figures)
        yield from _caches_and_rules(figures)


def exposition(figures: Figures, accept: str) -> tuple[str, bytes]:
    """The type and the text that a client with this Accept header gets."""
    try:
        encode, kind = choose_encoder(accept)
        return kind, encode(Exposition(figures))
    except (ValueError, TypeError):  # versions and escapings that nobody has
        encode, kind = choose_encoder("")
        return kind, encode(Exposition(figures))


Labels = dict[str, str]


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[Labels, float]]) -> Metric:
    metric = Metric(_PREFIX + name, text, kind)
    suffix = {"counter": "_total", "info": "_info"}.get(kind, "")
    for labels, value in samples:
        metric.add_sample(_PREFIX + name + suffix, labels, value)
    return metric


def _router(figures: Figures) -> Iterator[Metric]:
    picture = figures.picture
    labels = {"version": picture.version, "compiled": picture.compiled, "python": platform.python_version()}
    yield _family("build", "info", "Which router this is.", [(labels, 1)])
    started = figures.wall - figures.now + picture.began
    yield _family("start_time_seconds", "gauge", "When the master started, since 1970.", [({}, round(started, 3))])
    yield _family(
        "generation", "gauge", "How many configurations were in use, this one included.", [({}, picture.generation)]
    )
    yield _family(
        "cheap", "gauge", "1 while nothing is accepted, since no node is there.", [({}, int(figures.is_cheap))]
    )
    master = Process.of(picture.pid)
    yield _family("master_resident_bytes", "gauge", "Memory of the master.", [({}, master.resident)])
    yield _family("master_cpu_seconds", "counter", "Processor time of the master.", [({}, master.cpu)])
    yield _family(
        "log_lines_dropped", "counter", "Lines of the master that its log did not take.", [({}, picture.lines_dropped)]
    )


def _requests(figures: Figures) -> Iterator[Metric]:
    for name, counter, text in COUNTERS:
        yield _family(name, "counter", text, [({}, figures.total(counter))])
    yield _family(
        "failures",
        "counter",
        "Requests that failed, by cause.",
        [({"cause": cause}, count) for cause, count in figures.failures().items()],
    )
    yield _family("sessions", "gauge", "Connections of clients under way.", [({}, figures.present(Counter.SESSIONS))])
    yield _family("in_flight_requests", "gauge", "Requests that nodes have under way.", [({}, figures.in_flight())])


def _keys(figures: Figures) -> Iterator[Metric]:
    rows = list(figures.by_key())
    yield _family(
        "responses",
        "counter",
        "Requests that are over, by key and class of status.",
        [
            ({"key": key, "class": name}, row[measures.STATUS + index])
            for key, row in rows
            for index, name in enumerate(CLASSES)
        ],
    )
    yield _family(
        "key_failures",
        "counter",
        "Requests that failed, by key and cause, as far as there are any.",
        [
            ({"key": key, "cause": cause}, count)
            for key, row in rows
            for cause, count in zip(measures.CAUSES, row[measures.FAILED :], strict=False)
            if count
        ],
    )
    yield _family(
        "key_to_nodes_bytes",
        "counter",
        "Bytes sent to nodes, by key.",
        [({"key": key}, row[measures.RX]) for key, row in rows],
    )
    yield _family(
        "key_from_nodes_bytes",
        "counter",
        "Bytes that came from nodes, by key.",
        [({"key": key}, row[measures.TX]) for key, row in rows],
    )
    for name, place, bounds, text in HISTOGRAMS:
        metric = Metric(_PREFIX + name, text, "histogram")
        for key, row in rows:
            count = 0
            for bound, cell in zip((*bounds, None), row[place : place + BUCKETS], strict=True):
                count += cell
                le = "+Inf" if bound is None else repr(bound / 1e6)
                metric.add_sample(f"{_PREFIX}{name}_bucket", {"key": key, "le": le}, count)
            metric.add_sample(f"{_PREFIX}{name}_count", {"key": key}, count)
            metric.add_sample(f"{_PREFIX}{name}_sum", {"key": key}, row[place + measures.SUM] / 1e6)
        yield metric


def _nodes(figures: Figures) -> Iterator[Metric]:
    table = figures.picture.registry.table
    yield _family(
        "nodes", "gauge", "Nodes by state.", [({"state": state}, count) for state, count in figures.states().items()]
    )
    yield _family(
        "keys",
        "gauge",
        "Keys under which nodes are announced.",
        [({}, sum(key not in CONFIGURED_KEYS for key in table.slots))],
    )
    yield _family(
        "node_numbers_used",
        "gauge",
        "Numbers that nodes were ever given at once, at most.",
        [({}, figures.picture.registry.numbers)],
    )
    yield _family("node_numbers", "gauge", "Numbers that there are for nodes.", [({}, UNNUMBERED)])


def _workers(figures: Figures) -> Iterator[Metric]:
    workers = [
        ({"worker": str(worker.number), "generation": str(worker.generation), "pid": str(worker.pid)}, worker)
        for worker in figures.picture.workers
    ]
    states = [figures.worker_state(worker) for _, worker in workers]
    yield _family(
        "workers", "gauge", "Workers by state.", [({"state": state}, states.count(state)) for state in WORKER_STATES]
    )
    processes = [(labels, Process.of(worker.pid)) for labels, worker in workers]
    yield _family(
        "worker_resident_bytes",
        "gauge",
        "Memory of a worker.",
        [(labels, process.resident) for labels, process in processes],
    )
    yield _family(
        "worker_cpu_seconds",
        "counter",
        "Processor time of a worker.",
        [(labels, process.cpu) for labels, process in processes],
    )
    for name, counter, text in (
        ("worker_sessions", Counter.SESSIONS, "Connections of clients that a worker has."),
        ("worker_loop_lag_seconds", Counter.LAG, "How late a worker's clock of one second was the last time."),
    ):
        scale = 1e-6 if counter == Counter.LAG else 1
        yield _family(
            name, "gauge", text, [(labels, figures.of_worker(worker, counter) * scale) for labels, worker in workers]
        )
    yield _family(
        "loop_lag_seconds",
        "counter",
        "How late the clocks of all workers were, added up.",
        [({}, figures.total(Counter.LAG_TOTAL) / 1e6)],
    )


def _announcements(figures: Figures) -> Iterator[Metric]:
    datagrams = figures.picture.datagrams
    yield _family("datagrams_accepted", "counter", "Announcements that were taken.", [({}, datagrams.accepted)])
    yield _family(
        "datagrams_rejected",
        "counter",
        "Announcements that were refused, by reason.",
        [({"reason": reason}, count) for reason, count in sorted(datagrams.rejected.items())],
    )
    yield _family("datagrams_lost", "counter", "Announcements that the kernel had no room for.", [({}, datagrams.lost)])


def _caches_and_rules(figures: Figures) -> Iterator[Metric]:
    caches = [({"cache": str(cache["name"])}, cache) for cache in figures.picture.caches()]
    for name, field, kind, text in (
        ("cache_hits", "hits", "counter", "Look-ups that found something."),
        ("cache_misses", "miss", "counter", "Look-ups that found nothing."),
        ("cache_full", "full", "counter", "Items that there was no room for."),
        ("cache_items", "items", "gauge", "Items in a cache."),
    ):
        if caches:
            yield _family(name, kind, text, [(labels, float(str(cache[field]))) for labels, cache in caches])
    metrics = figures.picture.metrics
    if metrics is not None:
        yield _family(
            "rule_metric",
            "gauge",
            "The numbers that rules change (metric).",
            [({"name": name.decode("utf-8", "backslashreplace")}, metrics.get(name)) for name in metrics.names],
        )
