"""Which router a command is for: where its control socket is.

One idea: three ways to say it, and the one that says most counts: the socket, the configuration that names it, the
environment. A configuration is read as the router reads it, so that placeholders and included files mean the same.
"""

from __future__ import annotations

import argparse
import os

from uwsgirouter.control.base import Exit, Failure
from uwsgirouter.errors import ConfigError
from uwsgirouter.settings import judge
from uwsgirouter.settings.load import Source

VARIABLE = "UWSGIROUTER_CONTROL"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the ways to say which router is meant."""
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--control", metavar="PATH", help=f"the router's control-socket (default: ${VARIABLE})")
    ways.add_argument("-c", dest="config", metavar="FILE", help="the router's configuration, which names the socket")


def control_path(options: argparse.Namespace) -> str:
    """The path of the control socket. Raises :class:`Failure` or ConfigError."""
    if options.control is not None:
        if not options.control:
            raise Failure(Exit.USAGE, "--control is empty: expected the path of the router's control-socket")
        return str(options.control)
    if options.config is not None:
        return _configured(options.config)
    path = os.environ.get(VARIABLE, "")
    if not path:
        raise Failure(Exit.USAGE, f"which router? Give --control PATH, -c router.conf, or set {VARIABLE}")
    return path


def _configured(config: str) -> str:
    """What the configuration says. Only this option is looked at: the router may live in another world than we do."""
    try:
        settings = judge.judge(Source(["-c", config]).gather(), strict=False)
    except ConfigError as error:
        raise Failure(Exit.USAGE, f"cannot read {config}: {error}") from None
    path = settings.text("control-socket")
    if not path:
        raise Failure(
            Exit.NOT_FOUND, f"{config} has no control-socket: add control-socket = PATH and reload the router"
        )
    return os.path.join(settings.text("chdir"), path)
