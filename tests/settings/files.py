"""A directory of configuration files, and the ways to read them that the tests share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from uwsgirouter.settings.expand import Entry, Expansion
from uwsgirouter.settings.gather import Gathering
from uwsgirouter.settings.load import Source
from uwsgirouter.settings.settings import Settings

LISTEN = "fastrouter = 127.0.0.1:3017\nfastrouter-to = 127.0.0.1:3031\n"
"""What every configuration needs to be without errors and notices."""


class Files:
    """Files under one directory, which is also the working directory of the readings."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment: dict[str, str] = {}

    def write(self, name: str, text: str) -> Path:
        """Write a file, making its directories."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def source(self, *argv: str, environment: Mapping[str, str] | None = None, stdin: str = "") -> Source:
        """A source with these arguments."""
        return Source(argv, self.environment if environment is None else environment, str(self.directory), stdin)

    def load(self, text: str, *argv: str) -> Settings:
        """The settings of ``text`` as router.conf, section header and necessary options included."""
        self.write("router.conf", text)
        return self.source("-c", "router.conf", *argv).load()

    def gathered(self, text: str, *argv: str) -> Gathering:
        """What ``text`` as router.conf gives before expansion; line 1 is the section header."""
        self.write("router.conf", f"[uwsgirouter]\n{text}")
        return self.source("-c", "router.conf", *argv).gather()

    def pairs(self, text: str, *argv: str) -> list[tuple[str, str]]:
        """Name and expanded text of what ``text`` as router.conf gives."""
        return expanded(self.gathered(text, *argv))


def expanded(gathering: Gathering) -> list[tuple[str, str]]:
    """Name and expanded text of all that was gathered, but for the ini option of the command line."""
    entries: list[Entry] = gathering.entries
    Expansion(entries, gathering.environment, gathering.cwd)
    return [(entry.name, entry.text) for entry in entries if (entry.name, entry.text) != ("-c", "router.conf")]
