"""uwsgirouter.8: the options of the table, signals and exit codes of docs/signals.md."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.man import roff
from uwsgirouter import __version__
from uwsgirouter.settings import report
from uwsgirouter.settings.table import OPTIONS, SECTIONS, WITHOUT_VALUE, Option, Type

SIGNALS = Path(__file__).resolve().parents[2] / "docs" / "signals.md"

_INTRODUCTION = (
    "A router for applications that speak the uwsgi protocol. It stands between a web server (nginx, Apache httpd, "
    "lighttpd) and application servers (uWSGI, gunicorn), which announce themselves as nodes for a key, such as a host "
    "name. Each request goes to a node of its key. It takes the place of uWSGI's FastRouter, with the same options and "
    "the same announcements.",
    "Every option can stand on the command line and, without its dashes, in an ini file. They count in the order in "
    "which they are given; of an option that is not repeatable the last one counts.",
)
_FILES = (
    (
        "FILE.ini",
        "The sections `[uwsgirouter]` and `[uwsgi]` hold lines `name = value`. A name alone is a yes. `%(name)` is the "
        "value of another line, `$(NAME)` a variable of the environment; a percent sign is written `%%`. The page "
        "options.md tells the rest.",
    ),
)
_ENVIRONMENT = (
    ("UWSGIROUTER_PURE", "1: run the Python source of the modules that are compiled."),
    (
        "LISTEN_FDS, LISTEN_PID",
        "sockets that systemd passes; those with an address of the configuration are that socket.",
    ),
)
_EXAMPLE = (
    ("Say whether a file is right, then run it:", ("uwsgirouter --check -c router.conf", "uwsgirouter -c router.conf")),
    (
        "A router on port 3017 for nodes that announce themselves to port 2626:",
        ("uwsgirouter --fastrouter 127.0.0.1:3017 --fastrouter-subscription-server 127.0.0.1:2626",),
    ),
    (
        "A node for it, by uWSGI:",
        ("uwsgi --master --socket 127.0.0.1:0 --wsgi-file app.py --subscribe-to 127.0.0.1:2626:foo.com",),
    ),
)


def page(date: str) -> str:
    """The whole text."""
    lines = roff.heading("uwsgirouter", date, __version__, 8, "System administration")
    lines += [*roff.section("name"), r"uwsgirouter \- router for uwsgi nodes that announce themselves"]
    lines += [
        *roff.section("synopsis"),
        rf"{roff.bold('uwsgirouter')} [{roff.italic('option')} ...] [{roff.italic('FILE.ini')} ...]",
    ]
    lines += roff.section("description")
    lines += [line for text in _INTRODUCTION for line in roff.paragraph(roff.escaped(text))][1:]
    lines += roff.section("options")
    for name, title in SECTIONS.items():
        lines += roff.subsection(title)
        lines += [line for option in OPTIONS if option.section == name for line in _option(option)]
    lines += roff.section("configuration files") + _items(_FILES)
    lines += roff.section("signals") + _items(table("signal"))
    lines += roff.section("exit status") + _items(table("exit status"))
    lines += roff.section("environment") + _items(_ENVIRONMENT)
    lines += roff.section("examples")
    lines += [line for text, example in _EXAMPLE for line in (*roff.paragraph(text), *roff.verbatim(example))][1:]
    lines += [*roff.section("see also"), ".BR uwsgirouterctl (1),", ".BR uwsgi (1),", ".BR nginx (8)"]
    return "\n".join(lines) + "\n"


def _option(option: Option) -> list[str]:
    spellings = [_spelling(option, name) for name in option.spellings]
    facts = [option.help]
    if option.is_value and option.type is not Type.BOOL:
        facts.append(f"({report.facts_of(option)})")
    elif option.default == "true":
        facts.append("(default true)")
    return roff.item(", ".join(spellings), roff.filled(roff.marked(" ".join(facts))))


def _spelling(option: Option, name: str) -> str:
    if option.type in (Type.BOOL, Type.COMMAND) or option.name in WITHOUT_VALUE:
        return roff.bold(name)
    value = roff.italic(report.placeholder(option))
    return f"{roff.bold(name)} [{value}]" if option.bare is not None else f"{roff.bold(name)} {value}"


def _items(rows: tuple[tuple[str, str], ...]) -> list[str]:
    return [line for tag, text in rows for line in roff.item(roff.bold(tag), roff.filled(roff.marked(text)))]


def table(head: str) -> tuple[tuple[str, str], ...]:
    """The rows of the table in docs/signals.md whose first column is called so: its first cell and its last one."""
    found = re.search(rf"^\| {head} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", SIGNALS.read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"{SIGNALS} has no table that begins with a column {head!r}")
    rows = [re.split(r"(?<!\\)\|", line.strip("|")) for line in found[1].splitlines()]
    return tuple(
        (row[0].strip().strip("`"), ". ".join(cell.strip() for cell in row[1:] if cell.strip())) for row in rows
    )
