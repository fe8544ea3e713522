"""Options of the sockets that are bound."""

from __future__ import annotations

from uwsgirouter.settings.option import Option, Type

ROWS = (
    Option(
        "shared-socket",
        "sockets",
        Type.LISTEN,
        "bind this address early; other options name the sockets by number: =0 is the first one in the files",
        repeatable=True,
    ),
    Option(
        "listen",
        "sockets",
        Type.INT,
        "length of the queue of connections that wait to be accepted; the kernel may allow less",
        aliases=("-l",),
        low=1,
        high=65535,
        default="1024",
    ),
    Option(
        "chmod-socket",
        "sockets",
        Type.MODE,
        "mode of the unix sockets that are bound; the name alone means 666",
        aliases=("chmod", "-C"),
    ),
    Option(
        "chown-socket",
        "sockets",
        Type.OWNER,
        "owner of the unix sockets that are bound",
    ),
    Option(
        "control-socket",
        "sockets",
        Type.PATH,
        "take the orders of uwsgirouterctl (nodes, drain, ready, down, weight, wait) at this unix socket; only root "
        "and the router's own user may give them",
    ),
)
