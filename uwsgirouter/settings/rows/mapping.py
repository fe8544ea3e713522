"""Options that say how a node is found, what happens when none is, and what a worker does with a request."""

from __future__ import annotations

from uwsgirouter.settings.option import Option, Type

ROWS = (
    Option(
        "fastrouter-use-cache",
        "mapping",
        Type.TEXT,
        "look the key up in the cache of this name; the name alone means the first cache. A value is the address of a "
        "node, perhaps with a modifier (127.0.0.1:4040,5), or several with | between them that take turns",
    ),
    Option(
        "fastrouter-use-pattern",
        "mapping",
        Type.TEXT,
        "connect to the address that this pattern makes of the key: %s is the key (%%s in an ini file, where %s is the "
        "file's name), %% a percent sign; a key that would leave the place that the pattern means is refused",
    ),
    Option(
        "fastrouter-use-base",
        "mapping",
        Type.TEXT,
        "connect to the unix socket whose path is this text with the key behind it; no slash is added, and a key with "
        ".. or a colon is refused",
    ),
    Option(
        "fastrouter-use-code-string",
        "mapping",
        Type.TEXT,
        "ask a Python function for the node: 0:FILE:FUNCTION (0 is the number of the Python plugin, the only one)",
    ),
    Option(
        "fastrouter-use-socket",
        "mapping",
        Type.INT,
        "connect to the address of the socket option of this number; the name alone means the first one",
        low=0,
        high=1023,
    ),
    Option(
        "fastrouter-fallback",
        "mapping",
        Type.PEER,
        "a node to use when no other is left for a key that has nodes; several are tried in their order",
        repeatable=True,
    ),
    Option(
        "fastrouter-fallback-on-no-key",
        "mapping",
        Type.BOOL,
        "use the fallback for a key that has no node as well",
        default="false",
    ),
    Option(
        "fastrouter-subscription-fallback-key",
        "mapping",
        Type.TEXT,
        "a key that nobody announced is served by the nodes of this one",
        aliases=("subscription-fallback-key",),
    ),
    Option(
        "fastrouter-force-key",
        "mapping",
        Type.TEXT,
        "use this key for every request, whatever the request says",
    ),
    Option(
        "fastrouter-resolver",
        "mapping",
        Type.PEER,
        "ask this name server (IP address and port) for the names in fastrouter-to, fastrouter-fallback, "
        "fastrouter-emperor-socket and fastrouter-resubscribe, instead of asking the system, /etc/hosts included",
    ),
    Option(
        "fastrouter-emperor-socket",
        "mapping",
        Type.PEER,
        "have the Emperor with this emperor-command-socket (UDP or a unix datagram socket) start the vassal of a node "
        "that was announced as inactive, when it is needed",
    ),
    Option(
        "fastrouter-defer-connect-timeout",
        "mapping",
        Type.INT,
        "how long a request waits for a vassal that is being started to announce itself; 0: it gets its 503 at once, "
        "and the vassal is started for the next one",
        unit="seconds",
        low=0,
        high=3600,
        default="20",
    ),
    Option(
        "fastrouter-connect-timeout",
        "mapping",
        Type.INT,
        "how long a connect to a node may take before another node is tried; unset: 5, or fastrouter-timeout when that "
        "is less",
        unit="seconds",
        low=1,
    ),
    Option(
        "fastrouter-first-byte-timeout",
        "mapping",
        Type.INT,
        "how long a node may take to begin its answer; unset: fastrouter-timeout",
        unit="seconds",
        low=1,
    ),
    Option(
        "fastrouter-idle-timeout",
        "mapping",
        Type.INT,
        "longest silence in the middle of an answer; unset: fastrouter-timeout",
        unit="seconds",
        low=1,
    ),
    Option(
        "fastrouter-post-buffering",
        "mapping",
        Type.INT,
        "connect to a node only when the whole body is here: up to this many bytes of it are kept in memory, a longer "
        "body goes to a temporary file; 0: pass bodies on as they come",
        unit="bytes",
        low=0,
        default="0",
    ),
    Option(
        "fastrouter-post-buffering-dir",
        "mapping",
        Type.PATH,
        "directory of the temporary files; unset: $TMPDIR, or /tmp",
    ),
    Option(
        "limit-post",
        "mapping",
        Type.INT,
        "refuse a request whose body is longer with 413; 0: no limit",
        unit="bytes",
        low=0,
        default="0",
    ),
    Option(
        "no-fd-passing",
        "mapping",
        Type.BOOL,
        "do not pass the client's descriptor to nodes on unix sockets",
        default="false",
    ),
    Option(
        "fastrouter-zerg",
        "sockets",
        Type.PATH,
        "take the listening sockets from uWSGI's zerg server (or zerg pool) behind this unix socket",
        repeatable=True,
    ),
    Option(
        "fastrouter-subscription-slot",
        "subscription",
        Type.TEXT,
        "deprecated and without effect, as in uWSGI: write fastrouter-subscription-server",
    ),
)
