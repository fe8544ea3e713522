"""What an option is: one row of the table of options.

One idea: a row says everything that the ini files, the command line, ``--help`` and docs/options.md need to know of an
option. It knows no option by name except those whose bare name stands for a value; the rows are in ``rows/``.
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
    "mapping": "Finding a node, and passing a request on",
    "subscription": "Subscriptions",
    "cache": "Caches and scripts",
    "routing": "Routing rules",
    "application": "A local application",
    "observing": "Statistics and logs",
    "sockets": "Sockets",
    "process": "Processes, files and users",
    "configuration": "Configuration",
}
"""Section to heading, in the order of the help and of the reference page."""


@dataclass(frozen=True)
class Option:
    """One row. ``default`` is text as a file would give it (empty: unset); no ``high`` means no upper end.

    ``choices``: the only values of a text that are allowed (empty: any).
    """

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
    choices: tuple[str, ...] = ()

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


_BARE = {
    "fastrouter": "true",
    "chmod-socket": "666",
    "fastrouter-subscription-chmod": "666",
    "fastrouter-use-cache": "default",
    "fastrouter-use-socket": "0",
    "subscription-mountpoints": "1",
    "log-format-json": "true",
    "log-date": "true",
}
_BARE_TYPES = {Type.BOOL: "true", Type.COMMAND: "true"}
