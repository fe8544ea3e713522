"""Options of the subscription server: how long an announcement holds, who may announce."""

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
