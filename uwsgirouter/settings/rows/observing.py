"""Options of what is seen of the router: statistics, logs, request ids."""

from __future__ import annotations

from uwsgirouter.settings.option import Option, Type

ROWS = (
    Option(
        "fastrouter-stats",
        "observing",
        Type.LISTEN,
        "whoever connects to this address is sent the statistics of all workers and nodes as JSON: what the FastRouter "
        "of uWSGI writes, and more",
        aliases=("fastrouter-stats-server", "fastrouter-ss"),
        repeatable=True,
    ),
    Option(
        "stats",
        "observing",
        Type.LISTEN,
        "the same statistics on one more address (uWSGI shows its own workers there)",
        aliases=("stats-server",),
        repeatable=True,
    ),
    Option(
        "stats-http",
        "observing",
        Type.BOOL,
        "put a HTTP header before the statistics, for browsers and curl",
        default="false",
    ),
    Option(
        "stats-minified",
        "observing",
        Type.BOOL,
        "write the statistics without line ends and spaces",
        default="false",
    ),
    Option(
        "stats-no-metrics",
        "observing",
        Type.BOOL,
        "leave the numbers that rules change (metric) out of the statistics",
        default="false",
    ),
    Option(
        "metrics",
        "observing",
        Type.LISTEN,
        "serve metrics for Prometheus at /metrics of this address (HTTP)",
        repeatable=True,
    ),
    Option(
        "metrics-keys",
        "observing",
        Type.INT,
        "so many keys, those with the most requests, have metrics of their own; the rest is called other",
        low=0,
        high=2047,
        default="100",
    ),
    Option(
        "request-id",
        "observing",
        Type.BOOL,
        "give each request that brings no X-Request-ID header one (its node sees HTTP_X_REQUEST_ID)",
        default="false",
    ),
)
