"""route, route-host, route-uri and the others: what they look at."""

from __future__ import annotations

from dataclasses import replace

from tests.rules.differential.case import ask, case
from tests.rules.differential.differences import NO_GROUPS, logged, refused

ALL = """
    route = {p} log:{log}path $0
    route-host = {p} log:{log}host $0
    route-uri = {p} log:{log}uri $0
    route-qs = {p} log:{log}qs $0
    route-remote-addr = {p} log:{log}addr $0
    route-remote-user = {p} log:{log}user $0
    route-referer = {p} log:{log}referer $0
    route-user-agent = {p} log:{log}agent $0
"""


def every(pattern: str) -> str:
    """A rule for each subject."""
    # uWSGI's worker dies of $0 when there is no group: one case elsewhere is enough.
    return ALL.replace("{p}", pattern).replace("" if "(" in pattern.replace("(?", "") else " $0", "")


FULL = {
    "HTTP_HOST": "Host.example:81",
    "REMOTE_ADDR": "10.1.2.3",
    "REMOTE_USER": "someone",
    "HTTP_REFERER": "http://from.example/?a",
    "HTTP_USER_AGENT": "curl/8.0",
}

NAMES = ("path", "host", "uri", "qs", "addr", "user", "referer", "agent")
case(
    "subjects-all",
    every("(.*)"),
    ask("/path?q=s", v=FULL),
    ask("/"),
    ask("/?"),
    differs={
        number: logged(
            NO_GROUPS, "path /", "host a.example", f"uri {uri}", "qs ", "addr 127.0.0.1", "user ", "referer ", "agent "
        )
        for number, uri in ((1, "/"), (2, "/?"))
    },
)
case("subjects-some", every("(.+)"), ask("/path?q=s", v=FULL), ask("/"))
case("subjects-empty", every("^$"), ask("/", v=FULL), ask("/path?q=s", v=FULL))
case(
    "subjects-empty-values",
    every("^$"),
    ask("/", v={"HTTP_REFERER": "", "HTTP_USER_AGENT": "", "REMOTE_USER": "", "REMOTE_ADDR": "", "HTTP_HOST": ""}),
)
case(
    "subjects-absent",
    every("(.*)"),
    ask(without=[b"PATH_INFO", b"REQUEST_URI", b"QUERY_STRING", b"REMOTE_ADDR", b"HTTP_HOST"]),
    ask(without=[b"PATH_INFO", b"REQUEST_URI", b"QUERY_STRING", b"REMOTE_ADDR", b"HTTP_HOST", b"SERVER_NAME"]),
    differs={
        0: logged(
            NO_GROUPS,
            "path ",
            "host server.example",
            *(f"{name} " for name in ("uri", "qs", "addr", "user", "referer", "agent")),
        ),
        1: replace(refused("no-key", "a request without any key is a 400"), log=[f"{name} " for name in NAMES]),
    },
)
case("subject-case", every("EXAMPLE|PATH|CURL"), ask("/path", v=FULL))
case("subject-i", every("(?i)EXAMPLE|PATH|CURL"), ask("/path", v=FULL))
case(
    "host-port",
    "route-host = ^a\\.example$ log:{log}bare\nroute-host = :8080$ log:{log}port",
    ask(),
    ask(v={"HTTP_HOST": "a.example:8080"}),
    ask(v={"HTTP_HOST": "A.EXAMPLE"}),
)
case("manual-host", "route-host = ^localhost$ log:{log}local", ask(v={"HTTP_HOST": "localhost"}), ask())
case(
    "unanchored",
    "route = b log:{log}has b\nroute = ^b log:{log}begins\nroute = b$ log:{log}ends",
    ask("/abc"),
    ask("/ab"),
    ask("b"),
)
case("optional-space", "route =^/x log:{log}no space", ask("/x"))
case("spaces-in-pattern", "route = ^/a\\sb log:{log}blank", ask("/a b"), ask("/ab"))
case(
    "alternatives",
    "route = ^/(a|b|cd)/(\\d+)(?:/(\\w+))?$ log:{log}[$1][$2][$3]",
    ask("/a/12"),
    ask("/cd/3/x_1"),
    ask("/e/1"),
    ask("/a/12/"),
)
case("greedy", "route = ^/(.*)/(.*?)x log:{log}[$1][$2]", ask("/a/b/cxdx"))
case("lookahead", "route = ^/(?!admin)(\\w+) log:{log}[$1]", ask("/admin"), ask("/user"))
case("lookbehind", "route = (?<=/)b(?<!a)c log:{log}behind a slash", ask("/bc"), ask("/abc"))
case("backreference", "route = ^/(\\w)\\1 log:{log}twice $1", ask("/aab"), ask("/ab"))
case("classes", "route = ^/[\\w.-]+@[a-z]+$ log:{log}a class", ask("/a.b-c@de"), ask("/a@1"))
case("named-group", "route = ^/(?P<id>\\d+) log:{log}named $1", ask("/42"))
case("quantifiers", "route = ^/a{2,3}b{1}$ log:{log}yes", ask("/aab"), ask("/aaaab"))
case("hex-escape", "route = ^/\\x41\\.B log:{log}yes", ask("/A.B"), ask("/AxB"))
case("dollar-newline", "route = ^/end$ log:{log}yes", ask("/end"), ask("/ended"))
case("nul-in-path", "route = ^/a.b log:{log}nul", ask("/a\0b"))
case("long-path", "route = ^/(x+)$ log:{log}$1", ask("/" + "x" * 3000))
case("status-in-request", "route-if = equal:${uwsgi[status]};500 log:{log}500 yet")
case(
    "uri-is-raw",
    "route-uri = %%20 log:{log}escaped\nroute = %%20 log:{log}never",
    ask("/a%20b", v={"PATH_INFO": "/a b"}),
)
case(
    "remote-addr-manual",
    "route-remote-addr = ^127\\.0\\.0\\.1$ break:403 Forbidden",
    ask(),
    ask(v={"REMOTE_ADDR": "::1"}),
)
case(
    "agent-manual", "route-user-agent = .*curl.* redirect:http://uwsgi.it", ask(), ask(v={"HTTP_USER_AGENT": "curl/7"})
)
case(
    "addvar-and-subjects",
    "route-run = addvar:PATH_INFO=/changed\nroute-run = addvar:REMOTE_USER=x\nroute-run = addvar:HTTP_HOST=y\n"
    "route-run = addvar:REQUEST_URI=/uri\nroute-run = addvar:QUERY_STRING=q\nroute-run = addvar:REMOTE_ADDR=9.9.9.9\n"
    "route-run = addvar:HTTP_REFERER=ref\nroute-run = addvar:HTTP_USER_AGENT=ag\n"
    + every("(.*)")
    + "route-run = log:{log}${PATH_INFO} ${REMOTE_USER} ${HTTP_HOST}",
    ask("/was?q=1", v={"REMOTE_USER": "me", "HTTP_REFERER": "from", "HTTP_USER_AGENT": "curl"}),
)
case(
    "set-and-subjects",
    "route-run = setpathinfo:/changed\nroute-run = setuser:x\nroute-run = seturi:/uri?a\nroute-run = setremoteaddr:9.9.9.9\n"
    + every("(.*)")
    + "route-run = log:{log}${PATH_INFO} ${REMOTE_USER} ${REQUEST_URI} ${REMOTE_ADDR}",
    ask("/was?q=1", v={"HTTP_REFERER": "from", "HTTP_USER_AGENT": "curl"}),
)
case("rewrite-and-subjects", "route-run = rewrite:/new?x=1\n" + every("(.+)"), ask("/was?q=1"))
