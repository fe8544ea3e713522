"""What single pages promise: figures and lists that would otherwise drift away from the code."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from uwsgirouter.control.base import Exit
from uwsgirouter.control.main import COMMANDS, parser
from uwsgirouter.master.control_socket import CONNECTIONS_MOST
from uwsgirouter.master.conversation import LINE_MAX
from uwsgirouter.protocol.packet import BLOCK_MAX, KEY_MAX
from uwsgirouter.protocol.subscription import DATAGRAM_MAX, VARIABLES_MAX
from uwsgirouter.settings.table import BY_NAME


def page(project: Path, name: str) -> str:
    return (project / "docs" / f"{name}.md").read_text()


def rows(text: str) -> list[list[str]]:
    """The cells of every table."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not re.fullmatch(r"[|\- ]+", line)]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_every_failure_says_what_to_do(project: Path) -> None:
    found = [row for row in rows(page(project, "failures")) if len(row) == 4]
    assert len(found) > 30
    assert [row[1] for row in found if not all(row)] == []


def test_the_limits_are_those_of_the_code(project: Path) -> None:
    limits = {row[0]: row[1] for row in rows(page(project, "security")) if len(row) == 2}
    assert limits["a request's variables"] == f"{BLOCK_MAX:,} bytes"
    assert limits["a key"] == f"{KEY_MAX} bytes"
    assert limits["a datagram"] == f"{DATAGRAM_MAX:,} bytes, {VARIABLES_MAX} variables"
    assert limits["connections to the control socket"] == f"{CONNECTIONS_MOST}; {LINE_MAX:,} bytes a request"


def shown(project: Path) -> Iterator[tuple[str, str]]:
    """Page and line of everything that a page shows as code, with continued lines as one."""
    for path in sorted((project / "docs").rglob("*.md")):
        fenced = False
        text = re.sub(r" *\\\n\s+", " ", path.read_text())
        for line in text.splitlines():
            if line.startswith("```"):
                fenced = not fenced
            elif fenced or line.startswith("    "):
                yield path.name, line.strip()


def test_every_option_of_the_router_that_pages_show_exists(project: Path) -> None:
    """In code, ``name = value``; in the text, the names of its own families."""
    lines = [(page, found[1]) for page, line in shown(project) if (found := re.match(rf"({FAMILY}) = ", line))]
    assert len(lines) > 20
    assert [one for one in lines if one[1] not in BY_NAME] == []
    for name in ("get-started", "fronts", "moving", "sizing", "security", "failures"):
        named = re.findall(rf"`({FAMILY})`", page(project, name))
        assert [option for option in named if option not in BY_NAME] == [], name


FAMILY = r"(?:fastrouter|subscriptions?|control|max|limit|reload)-[a-z-]+|listen|uid|gid|ch(?:mod|own)-socket"


def test_every_command_that_pages_show_is_understood(project: Path) -> None:
    """``uwsgirouterctl ...``: by the parser; ``uwsgirouter ...``: its options exist."""
    tried = 0
    for name, line in shown(project):
        if not (found := re.match(r"(?:[A-Z_]+=\S+ )?(?:\S*/)?(uwsgirouter(?:ctl)?) (?![0-9])", line)):
            continue
        text = re.split(r" (?:\|\|?|&&|;|&|#|>) ?", line[found.end() :])[0]
        words = shlex.split(text)
        if found[1] == "uwsgirouterctl" and words[0] in {command.name for command in COMMANDS}:
            tried += 1
            try:
                parser().parse_args(words, argparse.Namespace(argv=words))
            except SystemExit as error:
                raise AssertionError(f"docs/{name}: {line}") from error
        elif found[1] == "uwsgirouter" and words[0].startswith("-"):
            tried += 1
            options = [word.lstrip("-").partition("=")[0] for word in words if word.startswith("--")]
            assert [option for option in options if option not in BY_NAME] == [], f"docs/{name}: {line}"
    assert tried > 15


def test_the_glossary_is_in_order_and_says_each_word_once(project: Path) -> None:
    words = re.findall(r"^\| \*\*([^*]+)\*\*", page(project, "glossary"), re.MULTILINE)
    assert len(words) > 40
    assert words == sorted(set(words), key=str.lower)


def test_the_sizing_page_uses_the_figures_of_the_benchmarks(project: Path) -> None:
    """Within a quarter: both were measured, on other days."""
    drawn = page(project, "benchmarks").partition("<!-- results")[2].partition("<!-- end of")[0]
    table = {row[0]: row[2] for row in rows(drawn) if len(row) > 5}

    def measured(name: str) -> float:
        return float(table[name].split()[0])

    text = page(project, "sizing")
    low, high = map(float, re.search(r"small request, TCP \| (\d+) to (\d+) us", text).groups())  # type: ignore[union-attr]
    assert 0.75 * low <= measured("CPU per small request, static node") <= 1.25 * high
    unix = float(re.search(r"unix sockets on both sides \| (\d+) us", text)[1])  # type: ignore[index]
    assert 0.75 <= unix / measured("the same, unix sockets on both sides") <= 1.25
    waits = float(re.search(r"session that waits \| (\d+) KB", text)[1])  # type: ignore[index]
    assert 0.75 <= waits / measured("memory per waiting session, 10000 sessions") <= 1.25


def test_control_codes_on_the_page_exist(project: Path) -> None:
    codes = page(project, "control-socket").partition("## Exit codes")[2].partition("\n## ")[0]
    numbers = {int(number) for row in rows(codes) for number in re.findall(r"\d+", row[0])}
    assert numbers and numbers <= {int(code) for code in Exit}
    commands = {command.name for command in COMMANDS}
    named = set(re.findall(r"uwsgirouterctl ([a-z]+)", "".join(page(project, name) for name in ("fronts", "failures"))))
    assert named <= commands
