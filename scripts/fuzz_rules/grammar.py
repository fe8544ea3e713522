"""Tables and requests, as Hypothesis draws them.

One idea: only what is deterministic and where the router means to do as uWSGI does. What differs on purpose
(docs/differences.md) is not drawn: $N without a group, subjects that are absent, numbers that are none, gzip, a bare
break behind the request chain, ... Labels carry the mark ``{case}``, which becomes the case's name, so that many
tables can share one instance.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from hypothesis import strategies as st

from tests.rules.differential.case import Ask, ask
from uwsgirouter.rules.base import BadRule
from uwsgirouter.rules.pattern import compiled

PATTERNS = {
    "^/": 0,
    "^/(a+)": 1,
    "(.*)": 1,
    "^/([^/]*)/?(.*)$": 2,
    "b$": 0,
    "x=(\\d+)": 1,
    "(?i)EXAMPLE": 0,
    "^(10|127)\\.": 1,
    "(a|b)(c)?": 2,
    "^$": 0,
    "o": 0,
}
"""Regular expressions with the number of their groups."""
SUBJECTS = ("", "-host", "-uri", "-qs", "-remote-addr", "-remote-user", "-referer", "-user-agent")
VARIABLES = (
    "PATH_INFO",
    "REQUEST_URI",
    "QUERY_STRING",
    "REQUEST_METHOD",
    "HTTP_HOST",
    "REMOTE_ADDR",
    "HTTP_X",
    "V",
    "W",
    "NONE",
    "cookie[c]",
    "cookie[d]",
    "qs[x]",
    "qs[y]",
    "base64[V]",
    "hex[HTTP_X]",
    "mime[PATH_INFO]",
    "uwsgi[status]",
)
PATHS = ("/", "/a", "/aa/b", "/a%20b", "/x/../y", "/ab.html?x=1", "/b?y=2&x=33", "/c.png?x=", "/a/./b?x=1#f")
SEGMENTS = ("a", "b c", "..", ".", "%41", "%2e%2e", "", "x.html", "%7e", "...", "$")
LABELS = ("one", "two", "three")
TRANSFORMATIONS = ("flush:", "template:", "gzip:", "chunked:", "fixcl:", "forcecl:", "cachestore:key={case}s")
LENGTHS = ("return:", "static:", "file:", "file-next:", "break-with-status:")
"""Actions that set a Content-Length, which no transformation of the router's leaves wrong."""
END = "end"
"""The label at the end of the response chain: a jump that fails there leaves uWSGI's answer without a body."""


_ATOMS = (
    r"a b c x / = 1 . \. \d \w \W \s [ab] [^a/] [a-c-] []x] [\w-] [^]] (a|b) (?:a|bc) (a|) (b) (x+)? \b \B "
    r"^ $ \x61 \/ \1 (?=a) (?!x) (?<=a) (?i:A) \A \Z (?P<n>b) a{ {a } ] %% - ~ && [a&&b] [[] [\]] [.*]"
)
ATOMS = _ATOMS.split()
REPEATS = ("", "", "", "", "*", "+", "?", "{2}", "{1,2}", "{0,1}", "{1,}", "*?", "+?", "??", "{2}?", "++")


@lru_cache
def patterns() -> st.SearchStrategy[str]:
    """A regular expression that the router takes, as it stands in an ini file."""

    def taken(pattern: str) -> bool:
        try:
            compiled(pattern.replace("%%", "%").encode())
        except BadRule:
            return False
        return True

    pieces = st.tuples(st.sampled_from(ATOMS), st.sampled_from(REPEATS)).map("".join)
    several = st.lists(pieces, min_size=1, max_size=4).map("".join)
    either = st.lists(several, min_size=1, max_size=2).map("|".join)
    return st.one_of(st.sampled_from(sorted(PATTERNS)), either.filter(taken))


@lru_cache
def texts(groups: int) -> st.SearchStrategy[str]:
    """What is expanded: words, variables, groups."""
    pieces = [
        st.sampled_from(("a", "xy", "-", "/", "1", ";", ":", "$x", "=")),
        st.sampled_from([f"${{{name}}}" for name in VARIABLES]),
    ]
    if groups:
        pieces.append(st.integers(0, groups).map(lambda number: f"${number}"))
    return st.lists(st.one_of(pieces), max_size=4).map("".join)


@lru_cache
def _paths(groups: int) -> st.SearchStrategy[str]:
    path = st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=4).map(
        lambda parts: "/" + "/".join(parts).replace("%", "%%")
    )
    tail = st.sampled_from(("", "?", "?x=7", "?y=%%41&x", "#z", "?a?b"))
    plain = st.tuples(path, tail).map("".join)
    return plain if not groups else st.one_of(plain, st.tuples(plain, st.just("/$1")).map("".join))


def _no_status(text: str) -> str:
    """uWSGI expands a redirect's target when its status is set, the router before."""
    return text.replace("${uwsgi[status]}", "")


def _cached(parts: tuple[str, str, str]) -> str:
    """A key of the case's own, so that only its requests see it."""
    name, key, text = parts
    value = f"value=v{text.replace(',', '')}" if name == "cacheset" else "var=V"
    return f"{name}:key={{case}}{key},{value}"


@lru_cache
def _numbers() -> st.SearchStrategy[str]:
    return st.integers(0, 999).map(str)


def _common(chain: str, groups: int) -> list[st.SearchStrategy[str]]:
    jumps = st.sampled_from(LABELS) if chain != "response" else st.just(END)
    text, name = (
        texts(groups),
        st.sampled_from(("V", "W", "HTTP_X", "HTTP_NEW", "PATH_INFO", "QUERY_STRING", "REMOTE_USER")),
    )
    return [
        text.map(lambda value: "log:{log}" + value),
        st.tuples(name, text).map(lambda pair: f"addvar:{pair[0]}={pair[1]}"),
        st.tuples(st.sampled_from(("X-A", "X-B", "Content-Type")), text).map(
            lambda pair: f"addheader:{pair[0]}: v{pair[1]}"
        ),
        st.just("last:"),
        jumps.map(lambda label: f"goto:{label}-{{case}}"),
        st.just("donotlog:"),
        text.map(lambda value: f"logvar:n={value}"),
    ]


@lru_cache
def actions(chain: str, groups: int) -> st.SearchStrategy[str]:
    """What may stand in a chain."""
    text = texts(groups)
    several = _common(chain, groups)
    if chain == "final":
        return st.one_of(several)
    answers = [
        st.sampled_from(
            ("break:404 Not Found", "break:503", "break:299 Odd", "return:404", "return:403", "return:500")
        ),
        text.map(lambda value: f"redirect:/to{_no_status(value)}"),
        text.map(lambda value: f"redirect-301:http://h/{_no_status(value)}"),
    ]
    if chain in ("error", "response"):
        return st.one_of([*(several[:3] if chain == "error" else several), *answers])
    up = st.tuples(st.sampled_from("+*"), _numbers()).map(lambda pair: f"{pair[0]}:N,{pair[1]}")
    down = st.integers(0, 99).map(
        lambda number: f"-:M,{number}"
    )  # never below zero: uWSGI cannot read what it writes then
    setting = st.sampled_from(
        (
            "setmethod",
            "seturi",
            "setpathinfo",
            "setuser",
            "setscriptname",
            "setscheme",
            "setapp",
            "setremoteaddr",
            "sethome",
        )
    )
    return st.one_of(
        *several,
        *answers,
        st.just("continue:"),
        st.just("break:"),
        up,
        down,
        st.sampled_from(("delheader:X-App", "delheader:content-type", "delheader:X-A")),
        _paths(groups).map(lambda path: f"rewrite:{path}"),
        _paths(groups).map(lambda path: f"rewrite-last:{path}"),
        st.tuples(setting, text).map(lambda pair: f"{pair[0]}:{pair[1]}"),
        text.filter(lambda value: bool(value.strip())).map(
            lambda value: f"hash:key={value.replace(',', '')},var=V,items=p;q;r"
        ),
        st.just("clearheaders:410 Gone"),
        text.map(lambda value: f"basicauth:R,u:{value.replace('$', '')}"),
        st.sampled_from(("fixpathinfo:", "setmodifier2:3", "harakiri:30", *TRANSFORMATIONS)),
        st.tuples(st.sampled_from(("cacheset", "cachevar")), st.sampled_from("kl"), text).map(_cached),
        st.sampled_from(("static:{root}/a.txt", "file:filename={root}/b.html", "file-next:filename={root}/none")),
    )


@lru_cache
def conditions() -> st.SearchStrategy[str]:
    """What stands behind route-if."""
    text = texts(0).map(lambda value: value.replace(";", "").replace(" ", ""))
    two = st.sampled_from(("equal", "eq", "startswith", "endswith"))
    return st.one_of(
        st.tuples(two, text, text).map(lambda parts: f"{parts[0]}:{parts[1]};{parts[2]}"),
        st.tuples(text, st.sampled_from(("a", "/", "x=", "b"))).map(lambda parts: f"contains:{parts[0]};{parts[1]}"),
        text.map(lambda value: f"empty:{value}"),
        st.tuples(st.sampled_from((">", "<", ">=", "<=", "ishigher")), _numbers()).map(
            lambda parts: f"{parts[0]}:${{qs[x]}};{parts[1]}"
        ),
        st.sampled_from(("10.0.0.0/8", "127.0.0.1", "0.0.0.0/0")).map(lambda net: f"ipv4in:${{REMOTE_ADDR}};{net}"),
        st.sampled_from(("{root}/a.txt", "{root}${PATH_INFO}", "{root}")).flatmap(
            lambda path: st.sampled_from(("exists", "isfile", "isdir")).map(lambda name: f"{name}:{path}")
        ),
    )


@st.composite
def rules(draw: st.DrawFn, chain: str) -> str:
    """One line of a table."""
    prefix = "" if chain == "request" else f"{chain}-"
    kind = (
        "run"
        if chain == "error"
        else draw(st.sampled_from(("run", "run", "subject", "subject", "if", "re", "label", "status")))
    )
    if kind == "label":
        return f"{prefix}route-label = {draw(st.sampled_from(LABELS))}-{{case}}"
    if kind == "subject":
        pattern = draw(st.sampled_from(sorted(PATTERNS)))
        return f"{prefix}route{draw(st.sampled_from(SUBJECTS))} = {pattern} {draw(actions(chain, PATTERNS[pattern]))}"
    if kind == "re":
        pattern = draw(patterns())
        name = draw(st.sampled_from(VARIABLES))
        groups = compiled(pattern.replace("%%", "%").encode()).groups
        return f"{prefix}route-if = regexp:${{{name}}};{pattern} {draw(actions(chain, groups))}"
    if kind == "if":
        return f"{prefix}route-if{draw(st.sampled_from(('', '-not')))} = {draw(conditions())} {draw(actions(chain, 0))}"
    if kind == "status" and chain != "request":
        return f"{prefix}route-status = {draw(st.sampled_from(('200', '404')))} {draw(actions(chain, 0))}"
    return f"{prefix}route-run = {draw(actions(chain, 0))}"


@lru_cache
def requests() -> st.SearchStrategy[Ask]:
    """A request, and what the application makes of it."""

    def made(
        path: str, method: str, variables: dict[str, Any], status: str, headers: list[list[str]], chunks: list[str]
    ) -> Ask:
        body = b"body" if method == "POST" else b""
        full = {
            "HTTP_REFERER": "from",
            "HTTP_USER_AGENT": "curl",
            "REMOTE_USER": "",
            "N": "7",
            "M": "5000",
            **variables,
        }
        return ask(path, method=method, body=body, v=full, status=status, headers=headers, chunks=chunks)

    values = st.sampled_from(
        ("", "a", "ab", "10", "x y", "{a}", "b/c")
    )  # no ${...}: captured, it would be expanded there
    variables = st.fixed_dictionaries(
        {"HTTP_X": values},
        optional={
            "V": values,
            "HTTP_COOKIE": st.sampled_from(("c=1", "d=2; c=3", "")),
            "REMOTE_ADDR": st.sampled_from(("10.1.1.1", "::1", "127.0.0.1")),
            "SCRIPT_NAME": st.sampled_from(("", "/a")),
            "SERVER_PROTOCOL": st.just("HTTP/1.0"),
            "HTTP_HOST": st.sampled_from(("b.example:80", "x")),
            "HTTP_AUTHORIZATION": st.sampled_from(("Basic dTphYg==", "Basic dTo=", "Bearer x")),
        },
    )
    headers = st.lists(
        st.sampled_from((["Content-Type", "text/html"], ["X-App", "1"], ["X-App", "2"], ["X-B", "b"])), max_size=3
    )
    chunks = st.lists(st.sampled_from(("hello", "", "${PATH_INFO}", "x" * 3000)), max_size=3)
    return st.builds(
        made,
        st.sampled_from(PATHS),
        st.sampled_from(("GET", "GET", "HEAD", "POST")),
        variables,
        st.sampled_from(("200 OK", "404 Not Found", "302 Found", "500 Oops")),
        headers,
        chunks,
    )


@dataclass(frozen=True)
class Table:
    """Rules and requests; ``{case}`` is not filled in yet."""

    rules: tuple[str, ...]
    asks: tuple[Ask, ...]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """One table with its requests."""
    # A fault of uWSGI's: chains that run after the error chain has answered look for their labels in the error chain.
    some = draw(
        st.sampled_from(
            (("request", "request", "request", "response", "response", "final"), ("request", "request", "error"))
        )
    )
    chains = draw(st.lists(st.sampled_from(some), min_size=1, max_size=8))
    lines = [draw(rules(chain)) for chain in chains]
    asks = draw(st.lists(requests(), min_size=1, max_size=3))
    # uWSGI loses the body of what the error chain answers when a transformation holds it.
    lines = _without(lines, TRANSFORMATIONS) if "error" in chains else _but_first(lines)
    if _without(lines, TRANSFORMATIONS) != lines:
        # It also loses what a transformation would add to the end of an answer of the response chain.
        lines = [line for line in _without(lines, LENGTHS) if not (line.startswith("response") and _answers(line))]
        asks = [_plain(asked) for asked in asks]
    if "response" in chains:
        lines.append(f"response-route-label = {END}-{{case}}")
    return Table(tuple(lines), tuple(asks))


def _answers(line: str) -> bool:
    return any(f" {action}" in line for action in ("redirect", "return:", "break:"))


def _plain(asked: Ask) -> Ask:
    """Neither HTTP/1.0, for which nothing is chunked, nor HEAD, whose answers without a body get no length, nor an
    empty first piece, behind which uWSGI's head does not name the coding.
    """
    variables = tuple(pair for pair in asked.variables if pair[1] != b"HTTP/1.0")
    app = {**asked.app, "chunks": [chunk for chunk in asked.app["chunks"] if chunk]}
    return replace(asked, variables=variables, method=asked.method.replace("HEAD", "GET"), app=app)


def _without(lines: list[str], actions: Iterable[str]) -> list[str]:
    return [line for line in lines if not any(f" {action}" in line for action in actions)]


def _but_first(lines: list[str]) -> list[str]:
    """One transformation of a table, and no other: flush, gzip and chunked differ in company."""
    plain = _without(lines, TRANSFORMATIONS)
    first = next((line for line in lines if line not in plain), None)
    kept = [index for index, line in enumerate(lines) if line in plain]
    if first is not None:
        kept.append(lines.index(first))
    return [lines[index] for index in sorted(kept)]
