"""route-if and route-if-not."""

from __future__ import annotations

from tests.rules.differential.case import Differs, ask, case
from tests.rules.differential.differences import CONTAINS, LONG, NUL, goes_on, logged


def both(name: str, *conditions: str, differs: dict[int, Differs] | None = None) -> None:
    """Each condition under route-if and route-if-not, in one case; asked for each value of HTTP_X."""
    lines = []
    for number, condition in enumerate(conditions):
        lines.append(f"route-if = {condition} log:{{log}}{number} yes")
        lines.append(f"route-if-not = {condition} log:{{log}}{number} no")
    case(name, "\n".join(lines), *VALUES, differs=differs)


VALUES = tuple(
    ask(f"/{number}", v={"HTTP_X": value})
    for number, value in enumerate(["", "a", "aaab", "A", "12", "-3", "12abc", " 7", "9223372036854775808", "x y"])
)

both(
    "equal",
    "equal:${HTTP_X};a",
    "isequal:${HTTP_X};a",
    "eq:a;${HTTP_X}",
    "==:${HTTP_X};a",
    "equal:${HTTP_X};",
    "equal:;",
)
both("equal-odd", "equal:${HTTP_X}", "equal:${HTTP_X};a;b", "equal:;;", "equal:", "equal:${HTTP_X};${HTTP_X}")
both("startswith", "startswith:${HTTP_X};a", "startswith:${HTTP_X};", "startswith:;${HTTP_X}", "startswith:${HTTP_X}")
both("endswith", "endswith:${HTTP_X};b", "endswith:${HTTP_X};", "endswith:;${HTTP_X}", "endswith:${HTTP_X}")
both(
    "contains",
    "contains:${HTTP_X};a",
    "contain:${HTTP_X};ab",
    "contains:${HTTP_X};",
    "contains:${HTTP_X};aab",
    "contains:;${HTTP_X}",
    "contains:${HTTP_X}",
    differs={2: logged(CONTAINS, "0 yes", "1 yes", "2 no", "3 yes", "4 no", "5 no")},
)
both("regexp", "regexp:${HTTP_X};^a+b?$", "re:${HTTP_X};[0-9]", "regexp:${HTTP_X};", "regexp:${HTTP_X}", "re:;^$")
both("empty", "empty:${HTTP_X}", "empty:", "empty:x", "empty:${NOPE}${HTTP_X}")
both("higher", "ishigher:${HTTP_X};5", ">:${HTTP_X};5", "ishigher:${HTTP_X};", ">:${HTTP_X}", ">:12;${HTTP_X}")
both("lower", "islower:${HTTP_X};5", "<:${HTTP_X};5", "islower:${HTTP_X};", "<:${HTTP_X}", "<:12;${HTTP_X}")
both("higher-equal", "ishigherequal:${HTTP_X};12", ">=:${HTTP_X};12", ">=:${HTTP_X};abc", ">=:${HTTP_X}")
both("lower-equal", "islowerequal:${HTTP_X};12", "<=:${HTTP_X};12", "<=:${HTTP_X};abc", "<=:${HTTP_X}")

case(
    "regexp-groups",
    "route-if = regexp:${HTTP_X};^(a+)(b*) log:{log}[$0][$1][$2][$3] ${PATH_INFO}",
    ask(v={"HTTP_X": "aab"}),
    ask(v={"HTTP_X": "b"}),
)
case(
    "regexp-semicolon",
    "route-if = regexp:${HTTP_X};a;b log:{log}yes",
    ask(v={"HTTP_X": "a;b"}),
    ask(v={"HTTP_X": "ab"}),
)
case("regexp-variable-is-literal", "route-if = regexp:${HTTP_X};^${PATH_INFO} log:{log}yes", ask(v={"HTTP_X": "/"}))
case("semicolon-in-value", "route-if = equal:${HTTP_X};a;b log:{log}yes", ask(v={"HTTP_X": "a;b"}))
case(
    "case-sensitive",
    "route-if = equal:${HTTP_X};ABC log:{log}equal\nroute-if = contains:${HTTP_X};AB log:{log}contains",
    ask(v={"HTTP_X": "abc"}),
    ask(v={"HTTP_X": "ABC"}),
)
case(
    "bytes-length",
    "route-if = regexp:${HTTP_X};^.$ log:{log}one byte",
    ask(v={"HTTP_X": b"\xc3\xa9"}),
    ask(v={"HTTP_X": b"\xe9"}),
)

FILES = ["a.txt", "dir", "link.txt", "dirlink", "dead", "program", "nowhere", "dir/in.txt", "", "a.txt/", "empty.txt"]
case(
    "files",
    "\n".join(
        f"route-if = {name}:{{root}}${{PATH_INFO}} log:{{log}}{name} yes\n"
        f"route-if-not = {name}:{{root}}${{PATH_INFO}} log:{{log}}{name} no"
        for name in ("exists", "isfile", "isdir", "islink", "isexec")
    ),
    *(ask(f"/{name}") for name in FILES),
)
case(
    "file-empty",
    "\n".join(f"route-if = {name}: log:{{log}}{name} yes" for name in ("exists", "isfile", "isdir", "isexec")),
)
case("file-nul", "route-if = exists:{root}/${HTTP_X} log:{log}yes", ask(v={"HTTP_X": b"a.txt\0b"}), differs=logged(NUL))

ADDRESSES = [
    "127.0.0.1",
    "10.0.0.1",
    "10.255.0.1",
    "192.168.1.200",
    "0.0.0.0",
    "255.255.255.255",
    "10.0.0",
    "abc",
    "",
    "1.2.3.4.5",
    "010.0.0.1",
]
case(
    "ipv4in",
    "\n".join(
        f"route-if = ipv4in:${{REMOTE_ADDR}};{net} log:{{log}}{net} yes"
        for net in (
            "10.0.0.0/8",
            "10.0.0.1",
            "127.0.0.0/30",
            "0.0.0.0/0",
            "192.168.1.128/25",
            "0.0.0.0/32",
            "1.2.3.0/24",
            "10.0.0.1/32",
            "10.1.2.3/8",
        )
    ),
    *(ask(v={"REMOTE_ADDR": address}) for address in ADDRESSES),
)
case(
    "ipv4in-not",
    "route-if-not = ipv4in:${REMOTE_ADDR};10.0.0.0/8 log:{log}not ten",
    ask(),
    ask(v={"REMOTE_ADDR": "10.1.1.1"}),
)
case(
    "ipv4in-long",
    "route-run = log:{log}before\nroute-if = ipv4in:${REMOTE_ADDR};10.0.0.0/8 log:{log}yes\nroute-run = log:{log}after",
    ask(v={"REMOTE_ADDR": "2001:db8::1:2:3:4"}),
    ask(v={"REMOTE_ADDR": "::1"}),
    differs={0: goes_on(LONG, "before", "after")},
)
case(
    "ipv4in-long-net",
    "route-if = ipv4in:${REMOTE_ADDR};255.255.255.255/32 log:{log}yes\nroute-run = log:{log}after",
    differs=goes_on(LONG, "after"),
)
case(
    "ipv6in",
    "\n".join(
        f"route-if = ipv6in:${{REMOTE_ADDR}};{net} log:{{log}}{net} yes"
        for net in (
            "2001:db8::/32",
            "::1",
            "::/0",
            "2001:db8::/33",
            "fe80::/10",
            "2001:db8::1/128",
            "2001:db8:0:1::/64",
            "::ffff:0:0/96",
        )
    ),
    *(
        ask(v={"REMOTE_ADDR": address})
        for address in [
            "2001:db8::1",
            "2001:db8:0:1::5",
            "2001:db8:8000::1",
            "::1",
            "fe80::1",
            "10.0.0.1",
            "::ffff:10.0.0.1",
            "",
            "junk",
        ]
    ),
)
case(
    "ipv6in-long",
    "route-if = ipv6in:${HTTP_X};::/0 log:{log}yes\nroute-run = log:{log}after",
    ask(v={"HTTP_X": "f" * 40}),
    differs=goes_on(LONG, "after"),
)
case("manual-if", "route-if = equal:FOO;BAR log:{log}never here\nroute-if = regexp:FOO;^F log:{log}starts with F")
case("manual-bad", "route-if = equal:${PATH_INFO};/bad break:500 Internal Server Error", ask("/bad"), ask("/good"))
case(
    "incache-none",
    "route-if = incache:key=${HTTP_X},name=nocache log:{log}yes\nroute-if-not = incache:key=x log:{log}no x",
)
