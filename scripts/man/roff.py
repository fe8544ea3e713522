"""Text as the man macros want it: escaped, one request a line. Knows nothing of what the pages say."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

WIDTH = 78
_LONG_WORD = re.compile(r"\S{50,}")
"""Such a word gets places where it may be broken."""


def escaped(text: str) -> str:
    """Text that is printed as it stands: no escape, no typographic hyphen or quote in the place of what is typed."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = text.replace("^", "\\(ha").replace("~", "\\(ti").replace('"', "\\(dq")
    return re.sub(r"^\.", r"\\&.", text)


def marked(text: str) -> str:
    """A line of Markdown: code becomes bold, a link its text."""
    text = re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", text)
    parts = text.replace(r"\|", "|").split("`")
    return "".join(bold(part) if number % 2 else escaped(part) for number, part in enumerate(parts))


def bold(text: str) -> str:
    """The text in bold."""
    return rf"\fB{escaped(text)}\fR" if text else ""


def italic(text: str) -> str:
    """What stands for a value."""
    return rf"\fI{escaped(text)}\fR" if text else ""


def heading(title: str, date: str, version: str, section: int, manual: str) -> list[str]:
    """The first lines of a page."""
    made = [r".\" Made by `make docs`: do not edit."]
    # Ragged on the right and without hyphens: long words (addresses, names of options) are many.
    return [*made, f'.TH {title.upper()} {section} {date} "uwsgirouter {version}" "{manual}"', ".ad l", ".nh"]


def section(name: str) -> list[str]:
    """The start of a section."""
    return [f".SH {name.upper()}" if " " not in name else f'.SH "{name.upper()}"']


def subsection(name: str) -> list[str]:
    """The start of a part of one."""
    return [f'.SS "{escaped(name)}"']


def paragraph(text: str) -> list[str]:
    """Running text that was escaped (or marked) before, in lines of moderate length, first a request for a space."""
    return [".PP", *filled(text)]


def filled(text: str) -> list[str]:
    """Running text in lines; none may look like a request."""
    text = _LONG_WORD.sub(lambda word: word[0].replace(",", r",\:").replace("[", r"\:["), text)
    lines = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    return [rf"\&{line}" if line.startswith((".", "'")) else line for line in lines]


def item(tag: str, text: Iterable[str]) -> list[str]:
    """A tag and what is said of it; both are escaped already."""
    return [".TP", tag, *text]


def verbatim(lines: Iterable[str]) -> list[str]:
    """Lines that stay as they are, indented."""
    shown = [rf"\&{escaped(line)}" if line.startswith((".", "'")) else escaped(line) for line in lines]
    return [".PP", ".RS 4", ".nf", *shown, ".fi", ".RE"]


def prose(text: str) -> list[str]:
    """Plain text of several paragraphs, as commands describe themselves: indented blocks stay as they are."""
    lines: list[str] = []
    for block in re.split(r"\n\s*\n", textwrap.dedent(text).strip("\n")):
        whole = block.split("\n")
        if all(line.startswith("  ") for line in whole):
            lines += verbatim(textwrap.dedent(block).split("\n"))
        else:
            lines += paragraph(escaped(" ".join(line.strip() for line in whole)))
    return lines
