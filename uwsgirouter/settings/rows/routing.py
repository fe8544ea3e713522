"""Options of internal routing: rules, labels, and response headers that become variables.

The rules of one chain are one sequence over all these names (:meth:`Settings.sequence`), in the order in which they
were given.
"""

from __future__ import annotations

from uwsgirouter.settings.option import Option, Type

CHAINS = {
    "": "before a node is chosen",
    "error": "for each status that is made, before its headers exist",
    "response": "when all headers of the response are there, before the body",
    "final": "when the response is out",
}
"""Prefix to when the chain runs."""

SUBJECTS = {
    "": "PATH_INFO",
    "host": "HTTP_HOST (SERVER_NAME when there is none)",
    "uri": "REQUEST_URI",
    "qs": "QUERY_STRING",
    "remote-addr": "REMOTE_ADDR",
    "remote-user": "REMOTE_USER",
    "referer": "HTTP_REFERER",
    "user-agent": "HTTP_USER_AGENT",
}
"""What stands behind ``route-`` in the options that take a regular expression, and the variable it is held against."""

_OTHERS = {
    "status": "a rule (STATUS ACTION:ARGUMENT) for responses of this status",
    "if": "a rule that runs when the condition holds: CONDITION:ARGUMENT ACTION:ARGUMENT",
    "if-not": "a rule that runs when the condition does not hold: CONDITION:ARGUMENT ACTION:ARGUMENT",
    "run": "a rule that always runs: ACTION:ARGUMENT",
    "label": "a mark that goto finds",
}

KINDS = (*SUBJECTS, *_OTHERS)
"""Every ending that an option with a rule (or a label) may have."""


def name_of(chain: str, kind: str) -> str:
    """The option for rules of that sort: ``error-route-if``."""
    return "-".join(part for part in (chain, "route", kind) if part)


def _help(chain: str, kind: str) -> str:
    does = _OTHERS.get(kind) or f"a rule (REGEXP ACTION:ARGUMENT) held against {SUBJECTS[kind]}"
    return f"{does}; {CHAINS[chain]}" + (" (docs/routing.md)" if not chain else "")


RULES = {name_of(chain, kind): (chain, kind) for chain in CHAINS for kind in KINDS}
"""Option to chain and kind, all of them."""

ROWS = (
    *(Option(name, "routing", Type.TEXT, _help(*found), repeatable=True) for name, found in RULES.items()),
    Option(
        "collect-header",
        "routing",
        Type.TEXT,
        "keep this header of each response as a variable, for the rules of the chains response and final and for error "
        "rules that run later: HEADER VARIABLE",
        aliases=("response-header-collect",),
        repeatable=True,
    ),
    Option(
        "transformation-buffer",
        "routing",
        Type.INT,
        "most bytes of one body that a transformation holds (fixcl, forcecl, template); a larger one passes as it is, "
        "or is answered with 502 where it cannot",
        unit="bytes",
        low=4096,
        high=1 << 30,
        default="8388608",
    ),
    Option(
        "pull-header",
        "routing",
        Type.TEXT,
        "as collect-header, and the header is taken out of the response: HEADER VARIABLE",
        repeatable=True,
    ),
    Option(
        "geoip-city",
        "routing",
        Type.PATH,
        "a database of cities in MaxMind's format (.mmdb) for ${geoip[...]} in rules; needs the extra geoip",
    ),
    Option(
        "geoip-country",
        "routing",
        Type.PATH,
        "a database of countries in MaxMind's format (.mmdb) for ${geoip[...]}, asked when cities do not know",
    ),
)
