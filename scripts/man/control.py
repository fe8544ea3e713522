"""uwsgirouterctl.1: every command with its options, from the very parser that reads them."""

from __future__ import annotations

import argparse

from scripts.man import roff
from uwsgirouter import __version__
from uwsgirouter.control.base import Exit
from uwsgirouter.control.main import COMMANDS, Command

_INTRODUCTION = (
    "Commands to try a uwsgirouter, to announce nodes to one, and to look at and order the nodes of a running one. "
    "The latter speak to its control socket (option control-socket): --control names it, or -c the router's "
    "configuration file."
)
MEANINGS = {
    Exit.OK: "done",
    Exit.TROUBLE: "status --check: something needs an operator.",
    Exit.USAGE: "the command line is wrong, or what it names is not allowed",
    Exit.NO_ADDRESS: "a host name has no address",
    Exit.NO_CONNECTION: "nobody there takes a connection",
    Exit.BAD_HEAD: "what answers does not speak the protocol",
    Exit.DENIED: "not allowed",
    Exit.CUT: "the answer ended before it was complete",
    Exit.HTTP_ERROR: "with --fail: the answer has a status of 400 or more",
    Exit.NOT_WRITTEN: "the output could not be written",
    Exit.TIMEOUT: "it took too long",
    Exit.NOT_SENT: "not all could be sent",
    Exit.EMPTY: "the connection was closed without an answer",
    Exit.RESET: "the connection was reset",
    Exit.NO_ROOM: "the router has too many connections or cannot hold more",
    Exit.NOT_FOUND: "there is no such thing: key, node, cache, item, or control socket in the configuration",
    Exit.NOT_RUN: "the command to run cannot be run",
    Exit.NO_COMMAND: "the command to run does not exist",
    Exit.INTERRUPTED: "interrupted by Ctrl-C",
}
"""What each exit code says, in a few words; a code without its words is an error of the build."""


def page(date: str) -> str:
    """The whole text."""
    lines = roff.heading("uwsgirouterctl", date, __version__, 1, "User commands")
    lines += [*roff.section("name"), r"uwsgirouterctl \- try, feed and watch a uwsgirouter"]
    lines += roff.section("synopsis")
    lines.append(rf"{roff.bold('uwsgirouterctl')} {roff.italic('command')} [{roff.italic('argument')} ...]")
    lines += [*roff.section("description"), *roff.paragraph(roff.escaped(_INTRODUCTION))[1:]]
    lines += roff.section("commands")
    for command in COMMANDS:
        lines += _command(command)
    lines += [*roff.section("exit status"), *roff.paragraph("Those from 6 on mean what they mean in curl.")[1:]]
    for code in Exit:
        lines += roff.item(roff.bold(str(int(code))), roff.filled(roff.escaped(MEANINGS[code])))
    lines += [*roff.section("see also"), ".BR uwsgirouter (8),", ".BR curl (1)"]
    return "\n".join(lines) + "\n"


def _command(command: Command) -> list[str]:
    parser = argparse.ArgumentParser(prog=f"uwsgirouterctl {command.name}", add_help=False, allow_abbrev=False)
    command.arguments(parser)
    actions = [action for action in parser._actions if action.help is not argparse.SUPPRESS]
    lines = roff.subsection(command.name) + [_synopsis(command, actions)]
    lines += roff.prose(command.description)
    return lines + [line for action in actions for line in _argument(parser, action)]


def _argument(parser: argparse.ArgumentParser, action: argparse.Action) -> list[str]:
    """An option or a positional argument; of an argument that is a command of its own, each one with its arguments."""
    if not isinstance(action, argparse._SubParsersAction):
        return roff.item(_tag(action), roff.filled(roff.escaped(_help(parser, action))) or [r"\&"])
    helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
    lines = []
    for name, own in action.choices.items():
        arguments = [one for one in own._actions if one.dest != "help"]
        words = [roff.italic(_metavar(one)) for one in arguments if not one.option_strings]
        lines += roff.item(" ".join([roff.bold(name), *words]), roff.filled(roff.escaped(helps[name])))
        explained = [one for one in arguments if one.help]
        if explained:
            lines += [".RS", *(line for one in explained for line in _argument(own, one)), ".RE"]
    return lines


def _synopsis(command: Command, actions: list[argparse.Action]) -> str:
    """Commands with commands of their own (cache) say in their own words which there are."""
    parts = [roff.bold(f"uwsgirouterctl {command.name}")]
    if any(action.option_strings for action in actions):
        parts.append(f"[{roff.italic('option')} ...]")
    for action in actions:
        if not action.option_strings:
            shown = roff.italic(_metavar(action))
            parts.append(f"[{shown}]" if action.nargs in ("?", "*") else shown)
    return " ".join(parts)


def _metavar(action: argparse.Action) -> str:
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    return action.metavar or action.dest.upper()


def _tag(action: argparse.Action) -> str:
    if not action.option_strings:
        return roff.italic(_metavar(action))
    names = ", ".join(map(roff.bold, action.option_strings))
    return names if action.nargs == 0 else f"{names} {roff.italic(_metavar(action))}"


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    return formatter._expand_help(action) if action.help else ""
