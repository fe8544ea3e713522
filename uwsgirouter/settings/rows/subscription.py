"""Options of the subscription server: how long an announcement holds, who may announce, who hears of it."""

from __future__ import annotations

from uwsgirouter.settings.option import Option, Type

ROWS = (
    Option(
        "subscription-tolerance",
        "subscription",
        Type.SECONDS,
        "a node that has not announced itself for this long is dropped",
        unit="seconds",
        low=1,
        default="17",
    ),
    Option(
        "subscription-tolerance-inactive",
        "subscription",
        Type.SECONDS,
        "a vassal that does not run, and that nobody has announced as inactive for this long, is dropped",
        unit="seconds",
        low=1,
        default="7200",
    ),
    Option(
        "subscription-dotsplit",
        "subscription",
        Type.BOOL,
        "a key that nobody announced is tried without its first label, at most four times: www.foo.com, then .foo.com, "
        "then .com; so who announces .foo.com gets all hosts below foo.com",
        default="false",
    ),
    Option(
        "subscription-mountpoints",
        "subscription",
        Type.INT,
        "nodes may announce foo.com/one/two, up to this many levels deep: the request's path is compared, and the "
        "longest key that is announced counts; the name alone means 1; 0: the path does not matter",
        aliases=("subscription-mountpoint",),
        low=0,
        high=8,
        default="0",
    ),
    Option(
        "fastrouter-subscription-chmod",
        "subscription",
        Type.MODE,
        "mode of the subscription servers' unix sockets; unset: chmod-socket. Who may write to it may announce",
    ),
    Option(
        "fastrouter-subscription-chown",
        "subscription",
        Type.OWNER,
        "owner of the subscription servers' unix sockets; unset: chown-socket",
    ),
    Option(
        "fastrouter-resubscribe",
        "subscription",
        Type.PEER,
        "pass announcements on to this subscription server, with this router's own address in the place of the node's; "
        "a host name means all of its addresses",
        repeatable=True,
    ),
    Option(
        "fastrouter-resubscribe-bind",
        "subscription",
        Type.DATAGRAM,
        "send what is passed on from this address; unset: from the subscription server's, where that is possible",
    ),
    Option(
        "subscription-resolve",
        "subscription",
        Type.BOOL,
        "look up host names that nodes announce in their addresses; false refuses such announcements",
        default="true",
    ),
    Option(
        "subscription-snapshot",
        "subscription",
        Type.PATH,
        "keep the announced nodes in this file, so that a router that is started again knows them at once",
    ),
    Option(
        "subscription-allow",
        "subscription",
        Type.TEXT,
        "take announcements over UDP only from these networks, as 10.0.0.0/8,fd00::/8",
        repeatable=True,
    ),
    Option(
        "subscription-key-allow",
        "subscription",
        Type.TEXT,
        "a key that the pattern matches is announced over UDP only from these networks, as *.example.com 10.0.0.0/8; "
        "of several patterns that match, the first one counts",
        repeatable=True,
    ),
    Option(
        "subscription-vassal-required",
        "subscription",
        Type.BOOL,
        "refuse announcements that do not name a vassal",
        default="false",
    ),
    Option(
        "subscriptions-sign-check",
        "subscription",
        Type.TEXT,
        "take only signed announcements: digest and directory of the public keys, as SHA256:/etc/uwsgi/keys; the key "
        "for foo.com is in foo.com.pem there",
    ),
    Option(
        "subscriptions-sign-check-tolerance",
        "subscription",
        Type.SECONDS,
        "by how much the clock of a node that signs may differ from the router's",
        unit="seconds",
        low=1,
        high=1e8,
        default="86400",
    ),
    Option(
        "subscriptions-sign-skip-uid",
        "subscription",
        Type.USER,
        "what this user sends over a unix socket need not be signed",
        repeatable=True,
    ),
    Option(
        "subscriptions-use-credentials",
        "subscription",
        Type.BOOL,
        "ask the kernel who sends over a unix socket, for the log; the options that need it ask in any case",
        default="false",
    ),
    Option(
        "subscriptions-credentials-check",
        "subscription",
        Type.PATH,
        "a key is announced only over a unix socket, by the user and group of the file with its name in this directory "
        "(or in another one)",
        repeatable=True,
    ),
)
