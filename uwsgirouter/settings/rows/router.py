"""Options of the router itself: listening, nodes, limits."""

from __future__ import annotations

from uwsgirouter.settings.option import Option, Type

ROWS = (
    Option(
        "fastrouter",
        "router",
        Type.LISTEN,
        "listen for requests of the web server (uwsgi protocol) on this address; the name alone, without an "
        "address, only says that the router is wanted",
        repeatable=True,
    ),
    Option(
        "fastrouter-processes",
        "router",
        Type.INT,
        "number of router workers; all of them know the same nodes",
        aliases=("fastrouter-workers",),
        low=1,
        high=256,
        default="1",
    ),
    Option(
        "fastrouter-to",
        "router",
        Type.PEER,
        "a static node that takes requests whatever their key; several take turns; a host name means all of its "
        "addresses, and is looked up again when its time to live is over",
        repeatable=True,
    ),
    Option(
        "fastrouter-gracetime",
        "router",
        Type.SECONDS,
        "a node that could not be reached (and does not announce itself) is left alone for this long, unless no other "
        "one is left",
        unit="seconds",
        low=0,
        default="30",
    ),
    Option(
        "fastrouter-timeout",
        "router",
        Type.INT,
        "longest silence of a peer: while connecting, before the first byte of the answer, and between bytes",
        unit="seconds",
        low=1,
        default="60",
    ),
    Option(
        "fastrouter-max-retries",
        "router",
        Type.INT,
        "how many other nodes are tried when one cannot be reached",
        low=0,
        high=100,
        default="3",
    ),
    Option(
        "fastrouter-strip-port",
        "router",
        Type.BOOL,
        "a key with a port that nobody announced, or that is not in the cache, is tried again without the port; a base "
        "or a pattern gets the key without it in any case",
        default="false",
    ),
    Option(
        "fastrouter-keep-modifiers",
        "router",
        Type.BOOL,
        "let the modifiers of the web server's packet pass when the node announced none, instead of 0,0",
        default="false",
    ),
    Option(
        "fastrouter-error-pages",
        "router",
        Type.BOOL,
        "answer failures with a status and a short page; false closes without a word, as uWSGI does",
        default="true",
    ),
    Option(
        "fastrouter-cheap",
        "router",
        Type.BOOL,
        "accept no connections while no node is known; they wait in the kernel's queue",
        default="false",
    ),
    Option(
        "fastrouter-subscription-server",
        "router",
        Type.DATAGRAM,
        "receive the announcements of nodes here: UDP over IPv4 or IPv6, or a unix datagram socket",
        repeatable=True,
    ),
    Option(
        "fastrouter-uid",
        "router",
        Type.USER,
        "the workers run as this user",
    ),
    Option(
        "fastrouter-gid",
        "router",
        Type.GROUP,
        "the workers run as this group",
    ),
    Option(
        "fastrouter-harakiri",
        "router",
        Type.SECONDS,
        "a worker that gives no sign of life for this long is killed and replaced",
        unit="seconds",
        low=2,
        default="60",
    ),
    Option(
        "fastrouter-events",
        "router",
        Type.INT,
        "most connections that a worker accepts in one go",
        low=1,
        high=4096,
        default="64",
    ),
    Option(
        "fastrouter-buffer-size",
        "router",
        Type.INT,
        "most bytes of a session that are held in memory in each direction",
        unit="bytes",
        low=4096,
        high=16 << 20,
        default="1048576",
    ),
    Option(
        "fastrouter-quiet",
        "router",
        Type.BOOL,
        "no log line for a failed connection to a node",
        default="false",
    ),
)
