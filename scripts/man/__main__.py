"""Write the man pages, or say with ``--check`` whether they are up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.man import control, daemon

DATE = "2026-11-22"
"""Of both pages: when their text changed last. (Not the day of the build, which would change them every day.)"""

DIRECTORY = Path(__file__).resolve().parents[2] / "man"


def pages() -> dict[str, str]:
    """Name to text."""
    return {"uwsgirouter.8": daemon.page(DATE), "uwsgirouterctl.1": control.page(DATE)}


def main(argv: list[str], directory: Path = DIRECTORY) -> int:
    """Exit status 1 when a page is not what it should be."""
    there = {path.name: path.read_text() for path in directory.iterdir()}
    stale = {name: text for name, text in pages().items() if there.get(name) != text}
    if "--check" in argv:
        for name in stale:
            print(f"man/{name} is not what options, commands and docs/signals.md give: run make docs")
        return 1 if stale else 0
    for name, text in stale.items():
        (directory / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
