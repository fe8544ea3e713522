"""Options that steer the reading of the configuration, and the commands."""

from __future__ import annotations

from uwsgirouter.settings.option import Option, Type

_FILES = (
    Option(
        "ini",
        "configuration",
        Type.FILE,
        "read this ini file here, in its place among the other options; - is standard input",
        aliases=("config", "-c"),
        repeatable=True,
    ),
    Option(
        "include",
        "configuration",
        Type.FILE,
        "like ini, but the upper-case magic variables keep pointing at the including file",
        repeatable=True,
    ),
    Option(
        "set-placeholder",
        "configuration",
        Type.PLACEHOLDER,
        "define a placeholder",
        aliases=("set-ph",),
        repeatable=True,
    ),
    Option(
        "set",
        "configuration",
        Type.PLACEHOLDER,
        "give an option, or define a placeholder when no option has that name",
        repeatable=True,
    ),
    Option(
        "strict",
        "configuration",
        Type.BOOL,
        "what would be a warning about a name in a file is an error",
        default="false",
    ),
)


def _logic(name: str, text: str, *aliases: str) -> Option:
    return Option(name, "configuration", Type.LOGIC, text, aliases=aliases, repeatable=True)


_LOGIC = (
    _logic(
        "if-env",
        "the lines up to endif count when the environment variable is set; NAME=value compares",
        "ifenv",
    ),
    _logic("if-not-env", "... when it is not set, or has another value"),
    _logic("if-file", "... when the path is a regular file"),
    _logic("if-not-file", "... when it is not"),
    _logic("if-dir", "... when the path is a directory", "if-directory", "ifdir"),
    _logic("if-not-dir", "... when it is not"),
    _logic("if-exists", "... when the path exists and can be read", "ifexists"),
    _logic("if-not-exists", "... when it does not"),
    _logic("if-opt", "... when the option or placeholder was given above; name=value compares"),
    _logic("if-not-opt", "... when it was not given, or has another value"),
    _logic("if-hostname", "... on the machine of this name"),
    _logic("if-not-hostname", "... on every other machine"),
    _logic("if-hostname-match", "... when the regular expression is found in the machine's name"),
    _logic("if-not-hostname-match", "... when it is not"),
    _logic(
        "if-plugin",
        "... when this is one of the plugins whose work the router does: fastrouter, corerouter",
        "ifplugin",
    ),
    _logic("if-not-plugin", "... when it is another one"),
    _logic("if-reload", "... when the configuration is read again for a reload"),
    _logic("if-not-reload", "... when the router starts"),
    _logic("else", "the lines up to endif count when the condition above did not hold"),
    _logic("endif", "end of an if block", "end-if", "end"),
    _logic("for", "repeat each line up to endfor for each of these words; %(_) is the word"),
    _logic("for-glob", "... for each file that matches the pattern"),
    _logic("for-readline", "... for each line of the file"),
    _logic("for-times", "... for the numbers from 1 to this one"),
    _logic("endfor", "end of a for block", "end-for"),
)


def _command(name: str, text: str, *aliases: str) -> Option:
    return Option(name, "configuration", Type.COMMAND, text, aliases=aliases)


_COMMANDS = (
    _command("check", "read and validate everything, say what the router would do, and exit with 0 or 1", "-t"),
    _command("show-config", "print the effective configuration as an ini file and exit"),
    _command("help", "print this list and exit", "-h"),
    _command("version", "print the version and exit", "-V"),
)

ROWS = _FILES + _LOGIC + _COMMANDS
