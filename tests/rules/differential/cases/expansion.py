"""$1, ${VAR} and the variable functions."""

from __future__ import annotations

from tests.rules.differential.case import Differs, ask, case
from tests.rules.differential.differences import IN_LOG, goes_on, logged

case(
    "groups",
    """
    route = ^/(.)(.)(.)(.)(.)(.)(.)(.)(.)(.*) log:{log}0=$0 1=$1 2=$2 3=$3 9=$9 10=$10
    route = ^/(a)?(b)? log:{log}[$1][$2][$3]
    route-run = log:{log}run[$1]
    """,
    ask("/abcdefghijk"),
    ask("/b"),
    ask("/"),
)
case(
    "dollars",
    """
    route = ^/(.*) log:{log}$x $$1 $$ ${} ${ $1$1 $-1 \\$1 end$
    route-run = log:{log}$x $$1 $$ ${} $1 \\$1 end$
    route-run = log:{log}open ${PATH_INFO
    route-run = log:{log}$
    route-run = log:{log}${PATH_INFO}${PATH_INFO}$PATH_INFO{PATH_INFO}
    route-run = log:{log}${path_info}|${ PATH_INFO }|${UNKNOWN}
    route-run = log:{log}${${PATH_INFO}}
    route-run = log:{log}a$${PATH_INFO}b
    """,
    ask("/me"),
)
case("captured-variable", "route-qs = ^x=(.*) log:{log}<$1>", ask("/?x=plain"))
case("variable-with-group", "route-run = log:{log}<${HTTP_X}>", ask(v={"HTTP_X": "$1 ${PATH_INFO} $0"}))
case(
    "variables",
    "route-run = log:{log}${REQUEST_METHOD} ${REQUEST_URI} ${PATH_INFO} ${QUERY_STRING} ${SERVER_NAME} ${SERVER_PORT} "
    "${HTTP_HOST} ${REMOTE_ADDR} ${REMOTE_USER} ${SCRIPT_NAME} ${CONTENT_LENGTH} ${DOCUMENT_ROOT} ${SERVER_PROTOCOL} "
    "${HTTPS} ${UWSGI_SCHEME} ${CONTENT_TYPE}",
    ask("/a/b?c=d", method="POST", body=b"12345"),
    ask("/a", v={"HTTPS": "on", "REMOTE_USER": "me", "SCRIPT_NAME": "/s", "CONTENT_TYPE": "text/x"}),
)
case("repeated-variable", "route-run = log:{log}${HTTP_X}", ask(more=[(b"HTTP_X", b"one"), (b"HTTP_X", b"two")]))
case(
    "repeated-known",
    "route-run = log:{log}${PATH_INFO} ${REMOTE_ADDR} ${HTTP_HOST}\nroute = ^/one log:{log}path one\n"
    "route = ^/two log:{log}path two\nroute-remote-addr = ^1 log:{log}addr 1\nroute-remote-addr = ^2 log:{log}addr 2\n"
    "route-host = ^1 log:{log}host 1\nroute-host = ^2 log:{log}host 2",
    ask(
        without=[b"PATH_INFO", b"REMOTE_ADDR", b"HTTP_HOST"],
        more=[
            (b"PATH_INFO", b"/one"),
            (b"PATH_INFO", b"/two"),
            (b"REMOTE_ADDR", b"1.1.1.1"),
            (b"REMOTE_ADDR", b"2.2.2.2"),
            (b"HTTP_HOST", b"1.example"),
            (b"HTTP_HOST", b"2.example"),
        ],
    ),
)
case(
    "bytes",
    "route = ^/(.*)$ log:{log}<$1>\nroute = ^/.$ log:{log}one byte\nroute = ^/..$ log:{log}two bytes",
    ask("/\xc3\xa9"),
    ask("/\xe9"),
    ask("/\t"),
    differs={1: logged(IN_LOG, "<\\xe9>", "one byte"), 2: logged(IN_LOG, "<\\t>", "one byte")},
)
case(
    "newline-in-value",
    "route = ^/a.b$ log:{log}dot\nroute = ^/a[^x]b$ log:{log}set\nroute = ^/a$ log:{log}dollar",
    ask("/a\nb"),
    ask("/a\n"),
)
case(
    "cookies",
    """
    route-run = log:{log}a=[${cookie[a]}] b=[${cookie[b]}] A=[${cookie[A]}] none=[${cookie[]}] x=[${cookie[x]}]
    """,
    ask(v={"HTTP_COOKIE": "a=1; b=2"}),
    ask(v={"HTTP_COOKIE": "b=2;a=1"}),
    ask(v={"HTTP_COOKIE": "a=; a=3; b = 4 ; x"}),
    ask(v={"HTTP_COOKIE": 'a=%41+b; b="q; r"; x=y=z'}),
    ask(v={"HTTP_COOKIE": "xa=1; aa=2, a=3"}),
    ask(v={"HTTP_COOKIE": ""}),
    ask(),
)
case(
    "qs",
    "route-run = log:{log}a=[${qs[a]}] b=[${qs[b]}] A=[${qs[A]}] none=[${qs[]}]",
    ask("/?a=1&b=2"),
    ask("/?b=2&a=1&a=3"),
    ask("/?a=&a=3&b"),
    ask("/?a=%41+b&b=c=d"),
    ask("/?xa=1;a=2&&b=&"),
    ask("/?a"),
    ask("/"),
)
case(
    "mime",
    "route-run = log:{log}[${mime[PATH_INFO]}] [${mime[REQUEST_URI]}] [${mime[NOPE]}] [${mime[]}]",
    ask("/a.png"),
    ask("/a.PNG"),
    ask("/a.png?y"),
    ask("/a.html"),
    ask("/a.tar.gz"),
    ask("/a"),
    ask("/a.unheard"),
    ask("/.css"),
    ask("/a.js"),
    ask("/dir.png/file"),
    ask("/a."),
)
case(
    "base64",
    "route-run = log:{log}[${base64[PATH_INFO]}] [${base64[NOPE]}] [${base64[HTTP_X]}]",
    ask("/a"),
    ask("/ab", v={"HTTP_X": b"\0\xff\xfe"}),
    ask("/abc", v={"HTTP_X": "x" * 80}),
    ask(v={"HTTP_X": ""}),
)
case(
    "hex",
    "route-run = log:{log}[${hex[PATH_INFO]}] [${hex[NOPE]}] [${hex[HTTP_X]}]",
    ask("/a"),
    ask("/jkl", v={"HTTP_X": b"\0\xff\xfe"}),
)
case(
    "uwsgi-variables",
    """
    route-run = log:{log}status ${uwsgi[status]} rsize ${uwsgi[rsize]} nope [${uwsgi[nope]}]
    route-if = regexp:${uwsgi[wid]};^[0-9]+$ log:{log}wid is a number
    route-if = regexp:${uwsgi[pid]};^[1-9][0-9]+$ log:{log}pid is a number
    route-if = regexp:${uwsgi[uuid]};^[0-9a-f]{8}-[0-9a-f-]+$ log:{log}uuid
    response-route-run = log:{log}response status ${uwsgi[status]} rsize ${uwsgi[rsize]}
    final-route-run = log:{log}final status ${uwsgi[status]} rsize ${uwsgi[rsize]}
    """,
    ask(),
    ask(status="404 Not Found", chunks=["ab", "cde"]),
    ask(chunks=[]),
)
case(
    "time",
    """
    route-if = regexp:${time[unix]};^[1-9][0-9]{9}$ log:{log}seconds
    route-if = regexp:${time[micros]};^[1-9][0-9]{15}$ log:{log}microseconds
    route-run = log:{log}[${time[nope]}][${time[]}]
    """,
)
case(
    "httptime",
    "route-run = addheader:X-Now: ${httptime[]}\nroute-run = addheader:X-Then: ${httptime[3600]}",
    dates=True,
)
case("function-case", "route-run = log:{log}[${qs[a]}] [${qs[A]}] [${qs[a]x}] [${qs[a}]", ask("/a.png?a=1"))
case("qs-nested", "route-run = log:{log}[${qs[${HTTP_X}]}]", ask("/?a=1", v={"HTTP_X": "a"}))
case(
    "metric-variable",
    "route-run = log:{log}[${metric[nothing]}][${metric[oracle.read]}]",
)
case(
    "documented-functions",
    "route-run = log:{log}[${upper[HTTP_X]}][${lower[HTTP_X]}][${math[2*21]}]",
    ask(v={"HTTP_X": "aB\xe9"}),
    differs=logged("upper[], lower[] and math[] work (empty)", "[AB\\xe9][ab\\xe9][42]"),
)
CAPTURED = "what $1 captured is not expanded again"
case(
    "captured-hole",
    "route-qs = ^x=(.*) log:{log}<$1>",
    ask("/?x=${HTTP_SECRET}", v={"HTTP_SECRET": "secret"}),
    differs=logged(CAPTURED, "<${HTTP_SECRET}>"),
)
case(
    "captured-hole-redirect",
    "route = ^/(.*) redirect:/to/$1",
    ask("/${HTTP_SECRET}", v={"HTTP_SECRET": "secret"}),
    differs=Differs(CAPTURED, answer=lambda real: real.answer.replace(b"secret", b"${HTTP_SECRET}")),
)
case(
    "whole-match",
    "route = ^/x log:{log}<$0>",
    ask("/xy"),
    differs=goes_on("$0 is the whole match (without a group the worker dies)", "</x>"),
)
