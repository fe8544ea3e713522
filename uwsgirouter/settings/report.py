"""Settings as text for people: the help, the effective configuration, and what --check prints.

Pure: it returns text and prints nothing. The effective configuration can be read again and gives the same settings.
"""

from __future__ import annotations

import textwrap

from uwsgirouter.settings import application, values
from uwsgirouter.settings.address import Kind
from uwsgirouter.settings.mapping_checks import way
from uwsgirouter.settings.rows.routing import RULES
from uwsgirouter.settings.settings import Settings
from uwsgirouter.settings.table import OPTIONS, SECTIONS, WITHOUT_VALUE, Option, Type

_USAGE = """\
usage: uwsgirouter [OPTION ...] [FILE.ini ...]

A router for uwsgi-protocol applications that announce themselves. Every option can stand on the command line and
in an ini file (without the dashes); they count in the order in which they are given.
"""
_WIDTH = 100
_INDENT = 6


def help_text() -> str:
    """The text of --help: every row, by section."""
    parts = [_USAGE]
    for section, heading in SECTIONS.items():
        rows = [_help(option) for option in OPTIONS if option.section == section]
        parts.append(f"{heading}:\n" + "".join(rows))
    return "\n".join(parts)


def show_config(settings: Settings) -> str:
    """The effective configuration as an ini file: what was given, then the defaults as comments."""
    plain = [option for option in OPTIONS if option.is_value and option.name not in RULES]
    given = [(option.name, text) for option in plain for text in _texts(settings, option)]
    given += [(name, text) for name, text, _ in settings.sequence(RULES)]  # their order counts
    lines = ["[uwsgirouter]", *(f"{name} = {text.replace('%', '%%')}" for name, text in given)]
    unset = [option for option in OPTIONS if option.is_value and not settings.is_set(option.name)]
    lines += ["", "; defaults", *(f"; {option.name} = {option.default}".rstrip() for option in unset)]
    return "\n".join(lines) + "\n"


def check_text(settings: Settings, inherits_sockets: bool) -> str:
    """What the router would do: addresses, ways to find nodes, workers."""
    return "\n".join(
        [
            *_listeners(settings, inherits_sockets),
            *_ways(settings),
            *_applications(settings),
            _workers(settings),
            "configuration ok",
            "",
        ]
    )


def _texts(settings: Settings, option: Option) -> tuple[str, ...]:
    if not settings.is_set(option.name):
        return ()
    return settings.texts(option.name) if option.repeatable else (settings.text(option.name),)


def _help(option: Option) -> str:
    head = ", ".join(_spelling(option, name) for name in option.spellings)
    facts = [option.help]
    if option.is_value and option.type is not Type.BOOL:
        facts.append(f"({facts_of(option)})")
    elif option.default == "true":
        facts.append("(default true)")
    body = textwrap.fill(
        " ".join(facts), _WIDTH, initial_indent=" " * _INDENT, subsequent_indent=" " * _INDENT, break_on_hyphens=False
    )
    first = textwrap.fill(head, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    return f"{first}\n{body}\n"


def facts_of(option: Option) -> str:
    """Type, unit and range, default and repetition in one line."""
    facts = [values.allowed(option)]
    if option.default:
        facts.append(f"default {option.default}")
    if option.repeatable:
        facts.append("repeatable")
    return "; ".join(facts)


def _spelling(option: Option, name: str) -> str:
    if option.type in (Type.BOOL, Type.COMMAND) or option.name in WITHOUT_VALUE:
        return name
    value = placeholder(option)
    return f"{name} [{value}]" if option.bare is not None else f"{name} {value}"


def placeholder(option: Option) -> str:
    """What stands for a value of the option, such as ADDRESS."""
    return _VALUES.get(option.type, "VALUE")


_VALUES = {
    Type.INT: "N",
    Type.SECONDS: "SECONDS",
    Type.PATH: "PATH",
    Type.LISTEN: "ADDRESS",
    Type.PEER: "ADDRESS",
    Type.DATAGRAM: "ADDRESS",
    Type.USER: "USER",
    Type.GROUP: "GROUP",
    Type.OWNER: "USER[:GROUP]",
    Type.MODE: "MODE",
    Type.VARIABLE: "NAME=VALUE",
    Type.FILE: "FILE[:SECTION]",
    Type.PLACEHOLDER: "NAME=VALUE",
}


def _listeners(settings: Settings, inherits_sockets: bool) -> list[str]:
    lines = []
    shared = settings.addresses("shared-socket")
    for index, address in enumerate(settings.addresses("fastrouter")):
        real = shared[address.port] if address.kind is Kind.SHARED else address
        name = address.text if real is address else f"{real.text} (shared-socket {address.text})"
        lines.append(f"listens on {name}, {real.kind.value} ({settings.where('fastrouter', index)})")
    for index, path in enumerate(settings.texts("fastrouter-zerg")):
        lines.append(
            f"listens on the sockets of the zerg server at {path} ({settings.where('fastrouter-zerg', index)})"
        )
    if inherits_sockets:
        lines.append("listens on the sockets that systemd passes (LISTEN_FDS)")
    return lines


def _ways(settings: Settings) -> list[str]:
    """The one way that is used (a notice names the others), and what stands in for its nodes."""
    used = way(settings)
    if used is None:
        lines = ["no way to find nodes"]
    elif used == "fastrouter-subscription-server":
        lines = _announcements(settings)
    elif used == "fastrouter-to":
        lines = _each_node(settings, "static node", used)
    else:
        lines = [f"nodes are found by {used} = {settings.text(used)} ({settings.where(used)})"]
    return lines + _each_node(settings, "fallback node", "fastrouter-fallback")


def _each_node(settings: Settings, what: str, name: str) -> list[str]:
    addresses = enumerate(settings.addresses(name))
    return [f"{what} {address.text} ({settings.where(name, index)})" for index, address in addresses]


def _announcements(settings: Settings) -> list[str]:
    tolerance = settings.text("subscription-tolerance")
    lines = []
    for index, address in enumerate(settings.addresses("fastrouter-subscription-server")):
        where = settings.where("fastrouter-subscription-server", index)
        lines.append(
            f"nodes announce themselves on {address.text}, {'unix datagrams' if address.is_unix else 'UDP'}, "
            f"and expire {tolerance} seconds after their last announcement ({where})"
        )
    return lines


def _applications(settings: Settings) -> list[str]:
    if not application.is_served(settings):
        return []
    places = ", ".join(address.text for address in settings.addresses("socket"))
    mounts = "; ".join(f"{app.target} at {app.mount or '/'}" for app in application.apps(settings))
    count = settings.number("processes")
    return [f"runs an application on {places} in {count} process{'es' if count > 1 else ''}: {mounts}"]


def _workers(settings: Settings) -> str:
    count = settings.number("fastrouter-processes")
    return f"{count} router worker{'s' if count > 1 else ''}"
