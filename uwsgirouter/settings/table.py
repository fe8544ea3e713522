"""The table of options: one row each, and everything else derives from it.

The ini files, the command line, ``--help`` and docs/options.md all read this table; none of them knows an
option by itself. Invariant: a name (or alias) stands in one row only, and every default passes the row's own
check. An alias that starts with a dash (``-c``) exists on the command line alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Type(Enum):
    """What a value is; the text is what the reference page calls it."""

    BOOL = "yes or no"
    INT = "whole number"
    SECONDS = "number"
    TEXT = "text"
    PATH = "path"
    LISTEN = "address to listen on"
    PEER = "address of a node"
    DATAGRAM = "address for datagrams"
    USER = "user name or number"
    GROUP = "group name or number"
    OWNER = "user or user:group"
    MODE = "octal mode"
    VARIABLE = "NAME=value"
    FILE = "file or file:section"
    PLACEHOLDER = "name=value"
    LOGIC = "logic"
    COMMAND = "command"


SECTIONS = {
    "router": "The router",
    "subscription": "Subscriptions",
    "sockets": "Sockets",
    "process": "Processes, files and users",
    "configuration": "Configuration",
}
"""Section to heading, in the order of the help and of the reference page."""


@dataclass(frozen=True)
class Option:
    """One row. ``default`` is text as a file would give it (empty: unset); no ``high`` means no upper end."""

    name: str
    section: str
    type: Type
    help: str
    aliases: tuple[str, ...] = ()
    unit: str = ""
    low: float | None = None
    high: float | None = None
    repeatable: bool = False
    default: str = ""
    reloadable: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the aliases that a file may use."""
        return (self.name, *(alias for alias in self.aliases if not alias.startswith("-")))

    @property
    def spellings(self) -> tuple[str, ...]:
        """Everything that the command line takes, dashes included."""
        return tuple(name if name.startswith("-") else f"--{name}" for name in (self.name, *self.aliases))

    @property
    def is_value(self) -> bool:
        """Whether the settings hold it (the others steer the reading and are gone afterwards)."""
        return self.type not in (Type.FILE, Type.PLACEHOLDER, Type.LOGIC, Type.COMMAND)

    @property
    def bare(self) -> str | None:
        """The value that the name alone stands for; None when a value must be given."""
        return _BARE.get(self.name, _BARE_TYPES.get(self.type))


_BARE = {"fastrouter": "true", "chmod-socket": "666"}
_BARE_TYPES = {Type.BOOL: "true", Type.COMMAND: "true"}

WITHOUT_VALUE = frozenset({"if-reload", "if-not-reload", "else", "endif", "endfor"})
"""The logic rows that take no value."""

_ROUTER = (
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
        "a static node that takes requests whatever their key; several take turns",
        repeatable=True,
    ),
    Option(
        "fastrouter-gracetime",
        "router",
        Type.SECONDS,
        "a static node that could not be reached is left alone for this long",
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
        "a key with a port that no node announced is tried again without the port",
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
        default="262144",
    ),
    Option(
        "fastrouter-quiet",
        "router",
        Type.BOOL,
        "no log line for a failed connection to a node",
        default="false",
    ),
    Option(
        "subscription-tolerance",
        "subscription",
        Type.SECONDS,
        "a node that has not announced itself for this long is dropped",
        unit="seconds",
        low=1,
        default="17",
    ),
)

_SOCKETS = (
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
)

_PROCESS = (
    Option(
        "uid",
        "process",
        Type.USER,
        "run as this user once the sockets are bound",
        reloadable=False,
    ),
    Option(
        "gid",
        "process",
        Type.GROUP,
        "run as this group once the sockets are bound",
        reloadable=False,
    ),
    Option(
        "pidfile",
        "process",
        Type.PATH,
        "write the master's process id to this file",
        aliases=("safe-pidfile",),
        reloadable=False,
    ),
    Option(
        "vacuum",
        "process",
        Type.BOOL,
        "remove the unix sockets and the pidfile at the end",
        default="false",
    ),
    Option(
        "chdir",
        "process",
        Type.PATH,
        "change to this directory after the sockets are bound",
        reloadable=False,
    ),
    Option(
        "daemonize",
        "process",
        Type.PATH,
        "go to the background and log to this file",
        aliases=("-d",),
        reloadable=False,
    ),
    Option(
        "logto",
        "process",
        Type.PATH,
        "log to this file instead of standard error; USR1 opens it again",
        reloadable=False,
    ),
    Option(
        "max-fd",
        "process",
        Type.INT,
        "limit of open files of each process; it bounds the number of sessions",
        low=64,
        high=1 << 20,
        reloadable=False,
    ),
    Option(
        "touch-reload",
        "process",
        Type.PATH,
        "reload when this file changes",
        repeatable=True,
    ),
    Option(
        "reload-mercy",
        "process",
        Type.SECONDS,
        "how long sessions may go on after a reload or a graceful stop; what is left then is cut",
        unit="seconds",
        low=0,
        default="60",
    ),
    Option(
        "env",
        "process",
        Type.VARIABLE,
        "set an environment variable in the router's processes",
        repeatable=True,
        reloadable=False,
    ),
)

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

OPTIONS: tuple[Option, ...] = _ROUTER + _SOCKETS + _PROCESS + _FILES + _LOGIC + _COMMANDS

BY_NAME: dict[str, Option] = {name: option for option in OPTIONS for name in (option.name, *option.aliases)}
"""Name or alias to row; the aliases of the command line have their dash."""
