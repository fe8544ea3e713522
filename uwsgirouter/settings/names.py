"""Names that are no row of the table, and what is said about each of them.

An old file must be understood as a whole: each name that uWSGI knows is either built (the table), without
meaning in a router (``IGNORED_*``: accepted, one notice lists them), for applications (``APPLICATION``: a
warning by name), for a later version (``LATER``: an error that says so) or refused with a reason. The rest is
a placeholder or a mistake. A later version moves a name from here to the table; a name is never in two places
(a test looks).
"""

from __future__ import annotations

import difflib
import re
from enum import Enum

from uwsgirouter.settings.table import BY_NAME, OPTIONS


class Verdict(Enum):
    """What a name is."""

    OPTION = "a row of the table"
    IGNORED = "an option of uWSGI without meaning in a router"
    APPLICATION = "an option of uWSGI for applications"
    LATER = "a known option that is not built yet"
    REFUSED = "an option of uWSGI that this program cannot have"
    OWN_FAMILY = "an unknown name in a family of the router's"
    UNKNOWN = "a placeholder or a mistake"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


IGNORED_FLAGS = _words(
    """
    alarm-cheap auto-procname autoload cheap close-on-exec close-on-exec2 die-on-idle die-on-term
    metrics-no-cores
    disable-sendfile disable-write-exception drop-after-apps drop-after-init enable-metrics
    enable-threads exit-on-reload force-gateway harakiri-verbose honour-stdin ignore-sigpipe
    ignore-write-errors log-master
    log-master-req-stream log-master-stream log-micros log-sendfile log-truncate
    log-x-forwarded-for logfile-chown master memory-report need-app
    never-swap no-defer-accept no-initgroups no-orphans no-server no-site py-tracebacker reuse-port
    shutdown-sockets single-interpreter skip-atexit skip-atexit-teardown so-keepalive so-send-timeout
    pcre-jit router-list routers-list
    stats-no-cores tcp-fast-open-client tcp-nodelay
    threaded-logger thunder-lock -L -M -T -i -m -r
    """
)
"""uWSGI options that take no value; the dashed ones are its short forms."""

IGNORED_VALUES = _words(
    """
    alarm-fd alarm-segfault segfault-alarm alarm-backlog backlog-alarm lq-alarm alarm-lq alarm-listen-queue
    listen-queue-alarm log-alarm alarm-log not-log-alarm not-alarm-log metrics-dir metrics-dir-restore metric-dir
    metric-dir-restore backtrace-depth buffer-size cpu-affinity hook-as-gateway hook-as-root hook-as-user hook-asap
    hook-post-jail hook-pre-jail ksm legion limit-as limit-nproc log-drain
    log-encoder log-filter log-req-encoder log-route
    logfile-chmod logger logto2 master-fifo max-vars pidfile2 plugin plugin-dir plugins
    plugins-dir post-buffering post-buffering-bufsize procname procname-append procname-master
    procname-prefix procname-prefix-spaced safe-pidfile2 socket-rcvbuf socket-sndbuf
    socket-timeout stats-push stats-pusher-default-freq tcp-fast-open thread-stacksize umask -b -v -z
    """
)
"""uWSGI options that take a value."""

APPLICATION = _words(
    """
    add-header async attach-daemon attach-daemon2 carbon cheaper cheaper-algo cheaper-initial cheaper-overload
    cheaper-step check-static cron del-header eval exec-asap fastcgi-socket heartbeat http-socket https-socket idle
    lua max-requests-delta max-worker-lifetime min-worker-lifetime mule mules paste php-docroot protocol
    psgi pyargv pymodule-alias rack rem-header reload-on-as reload-on-rss scgi-socket smart-attach-daemon
    smart-attach-daemon2 spooler spooler-processes start-unsubscribed static-index static-map subscribe
    subscribe-freq subscribe-to subscribe2 subscription-clear-on-shutdown subscription-notify-socket
    suwsgi-socket touch-chain-reload touch-workers-reload ugreen unsubscribe-on-graceful-reload vhost
    worker-reload-mercy
    """
)
"""uWSGI options of the application server that the local instance (rows/application.py) has no counterpart for."""

_APPLICATION_FLAGS = _words(
    "start-unsubscribed subscription-clear-on-shutdown ugreen unsubscribe-on-graceful-reload vhost"
)

LATER = _words(
    """
    http http-to https rawrouter sslrouter
    """
)
"""Options of uWSGI's other routers that are not built yet; a version that builds one moves it to the table."""

_OWN = re.compile(r"fastrouter-|subscriptions?-|(error-|response-|final-)?route($|-)|https?-|rawrouter-|sslrouter-")
"""Families in which an unknown name is always a mistake."""

REFUSED = {
    "emperor": "a router does not watch files and start instances; let systemd, supervisord or uWSGI's own "
    "Emperor do that, and keep the fastrouter lines here",
    "chroot": "the router does not change its root directory; let systemd do it (RootDirectory=)",
    "inherit": "write include, which reads the file in its place",
    "xml": "only ini files are read",
    "yaml": "only ini files are read",
    "yml": "only ini files are read",
    "json": "only ini files are read",
    "vassals-include": "it belongs to the Emperor, which this program does not have",
    "vassals-inherit": "it belongs to the Emperor, which this program does not have",
    "cache-udp-server": "a cache belongs to one machine; it takes no changes from others",
    "cache-udp-node": "a cache belongs to one machine; its changes are not sent to others",
    "cache-sync": "a cache belongs to one machine; cache-store (store= in cache2) makes it last",
}

_FOUND = (
    (BY_NAME.keys(), Verdict.OPTION),
    (IGNORED_FLAGS, Verdict.IGNORED),
    (IGNORED_VALUES, Verdict.IGNORED),
    (APPLICATION, Verdict.APPLICATION),
    (LATER, Verdict.LATER),
    (REFUSED.keys(), Verdict.REFUSED),
)


def verdict(name: str) -> Verdict:
    """What ``name`` is; short forms are asked for with their dash."""
    for names, found in _FOUND:
        if name in names:
            return found
    return Verdict.OWN_FAMILY if _OWN.match(name) else Verdict.UNKNOWN


def takes_value(name: str) -> bool:
    """Whether a uWSGI name that is no row of the table takes a value on the command line."""
    return name not in IGNORED_FLAGS and name not in _APPLICATION_FLAGS


def not_available(name: str) -> str:
    """The sentence for a name whose verdict is LATER."""
    return f"{name} is a known uWSGI option, not available in this version"


def nearest(name: str) -> str:
    """``; did you mean X?`` with the most alike name of the table, or nothing when none is."""
    wanted = name.lower().replace("_", "-")
    known = [known for option in OPTIONS for known in option.names] + sorted(LATER)
    close = difflib.get_close_matches(wanted, known, 1, 0.7)
    return f"; did you mean {close[0]}?" if close else ""
