"""``uwsgirouterctl``: the command line of the control commands.

One idea: the table of commands makes the parser. It knows no command's options; it turns what a command
returns or raises into an exit code and a line on standard error, and nothing else of the package exits.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import uwsgirouter
from uwsgirouter.control import (
    cache,
    down,
    drain,
    events,
    nodes,
    ready,
    request,
    status,
    subscribe,
    top,
    trace,
    wait,
    weight,
)
from uwsgirouter.control.base import Command, Exit, Failure, shown
from uwsgirouter.errors import ConfigError

COMMANDS: tuple[Command, ...] = (
    request.COMMAND,
    subscribe.COMMAND,
    status.COMMAND,
    top.COMMAND,
    nodes.COMMAND,
    events.COMMAND,
    trace.COMMAND,
    drain.COMMAND,
    ready.COMMAND,
    down.COMMAND,
    weight.COMMAND,
    wait.COMMAND,
    cache.COMMAND,
)
"""Every command, in the order in which ``--help`` lists them."""


def parser() -> argparse.ArgumentParser:
    """The parser made from :data:`COMMANDS`."""
    top = argparse.ArgumentParser(
        prog="uwsgirouterctl",
        description="Commands to try, feed and watch a uwsgirouter.",
        epilog="uwsgirouterctl COMMAND --help tells the options of one command.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"uwsgirouterctl {uwsgirouter.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        own = commands.add_parser(
            command.name,
            help=command.help,
            description=command.description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.arguments(own)
        own.set_defaults(run=command.run)
    return top


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    sys.exit(run(argv))


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its code; wrong usage exits with 2, as argparse does."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = parser().parse_args(arguments, argparse.Namespace(argv=arguments))
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except Failure as failure:
        return _say(options.command, str(failure), failure.code)
    except ConfigError as error:
        return _say(options.command, str(error), Exit.USAGE)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.NOT_WRITTEN
    return code


def _say(command: str, message: str, code: Exit) -> Exit:
    # What a router says has names in it that somebody announced.
    lines = "\n".join(map(shown, message.split("\n")))
    print(f"uwsgirouterctl {command}: {lines}", file=sys.stderr)
    return code
