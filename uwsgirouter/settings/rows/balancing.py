"""Options that say which of several nodes a request is given to."""

from __future__ import annotations

from uwsgirouter.settings.algorithms import ALGORITHMS
from uwsgirouter.settings.option import Option, Type

ROWS = (
    Option(
        "subscription-algo",
        "subscription",
        Type.TEXT,
        "how the nodes of a key share its requests: wrr, weighted turns; lrc, whoever has fewest under way; wlrc, the "
        "same by weight; iphash, by the client's address; p2c, the less busy of two drawn by lot. A node may announce "
        "another one for its key; fastrouter-to nodes share in this way, too",
        choices=ALGORITHMS,
        default=ALGORITHMS[0],
    ),
    Option(
        "subscription-slow-start",
        "subscription",
        Type.SECONDS,
        "a node that is new or back begins with a tenth of its share, which grows to the whole in this time; 0: it has "
        "its whole share at once",
        unit="seconds",
        low=0,
        high=86400,
        default="0",
    ),
    Option(
        "subscription-limit-cores",
        "subscription",
        Type.BOOL,
        "give a node no more requests at once than the cores that it announces; one that announces none has no limit",
        default="false",
    ),
    Option(
        "subscription-queue-timeout",
        "subscription",
        Type.SECONDS,
        "with subscription-limit-cores: how long a request waits for a node that is not full; 0: not at all",
        unit="seconds",
        low=0,
        high=3600,
        default="5",
    ),
    Option(
        "subscription-queue-length",
        "subscription",
        Type.INT,
        "with subscription-limit-cores: how many requests of a key wait in a worker; more are answered 503 at once",
        unit="requests",
        low=1,
        high=100_000,
        default="100",
    ),
    Option(
        "fastrouter-ejection",
        "router",
        Type.BOOL,
        "leave a node alone for some seconds that took three requests within ten seconds and did not answer them",
        default="true",
    ),
    Option(
        "fastrouter-sticky",
        "router",
        Type.TEXT,
        "keep a client at its node by a cookie of this name, for as long as the node is up",
    ),
    Option(
        "fastrouter-sticky-secret",
        "router",
        Type.TEXT,
        "what sticky cookies are made with, so that they outlast the router and other routers understand them; "
        "@(/path) reads it from a file. Without it cookies hold until the router is stopped",
    ),
)
