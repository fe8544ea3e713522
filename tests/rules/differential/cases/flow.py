"""What a rule may say: go on, stop, jump, answer, log."""

from __future__ import annotations

from tests.rules.differential.case import Differs, ask, case
from tests.rules.differential.differences import STATUS

case("no-rule-matches", "route = ^/never log:{log}never", ask(), ask("/x?y=1"), ask(method="HEAD"))
case("post", "route = ^/never log:{log}never", ask("/up?a=b", method="POST", body=b"abc" * 1000))
case("put", "route = ^/never log:{log}never", ask("/up", method="PUT", body=b"\0\xff\r\n"))
case("log", "route-run = log:{log}hello ${PATH_INFO}")
case("log-empty", "route-run = log:{log}\nroute-run = log:")
case(
    "order",
    """
    route = ^/a log:{log}one
    route-uri = x=1 log:{log}two
    route-run = log:{log}three
    route-if = equal:${PATH_INFO};/a log:{log}four
    route-if-not = equal:${PATH_INFO};/a log:{log}five
    """,
    ask("/a?x=1"),
    ask("/b?x=1"),
    ask("/a"),
)
case("last", "route-run = log:{log}before\nroute-run = last:\nroute-run = log:{log}never")
case("continue", "route-run = continue:\nroute-run = log:{log}never")
case("continue-argument", "route-run = continue:whatever it says\nroute-run = log:{log}never")
case("last-matching", "route = ^/l last:\nroute-run = log:{log}not for l", ask("/l"), ask("/m"))

case("break", "route-run = break:404 Not Found\nroute-run = log:{log}never", ask(), ask(method="HEAD"))
case("break-code", "route-run = break:403")
case("break-unknown", "route-run = break:799")
case("break-unknown-text", "route-run = break:799 Odd one")
case("break-own-text", "route-run = break:404 No such thing")
case("break-space", "route-run = break:404 ")
case("break-letters", "route-run = break:abc def", differs=Differs(STATUS, cause="rule-failed"))
case("break-short", "route-run = break:40")
case("break-nothing", "route-run = break:\nroute-run = log:{log}never")
case("break-variable", "route = ^/(.*) break:403 Not for ${REMOTE_ADDR} $1", ask("/me"))
case("break-100", "route-run = break:100 Continue")
case("break-204", "route-run = break:204 No Content")
case("break-304", "route-run = break:304")
case("break-http10", "route-run = break:500", ask(v={"SERVER_PROTOCOL": "HTTP/1.0"}))
case("break-http2", "route-run = break:500", ask(v={"SERVER_PROTOCOL": "HTTP/2.0"}))
case("break-no-protocol", "route-run = break:500", ask(without=[b"SERVER_PROTOCOL"]))
case("break-headers", "route-run = addheader:X-One: 1\nroute-run = break:410 Gone")
case("break-delheader", "route-run = delheader:Content-Type\nroute-run = break:410 Gone")
case("break-post", "route-run = break:413", ask(method="POST", body=b"x" * 5000))

for code in (200, 201, 204, 206, 301, 302, 304, 400, 401, 403, 404, 405, 409, 410, 413, 429, 500, 501, 502, 503, 504):
    case(f"return-{code}", f"route-run = return:{code}")
case("return-head", "route-run = return:404", ask(method="HEAD"))
case("return-text", "route-run = return:404 Text")
case("return-own-text", "route-run = return:404 Not Here")
case("return-variable", "route-run = return:404 ${PATH_INFO}", ask("/x"))
case("return-headers", "route-run = addheader:X-One: 1\nroute-run = return:403")
case("return-delheader", "route-run = delheader:content-length\nroute-run = return:403")
case("break-with-status", "route-run = break-with-status:404")
case("break-with-status-500", "route-run = break-with-status:500 Sorry")

case(
    "goto",
    """
    route = ^/a goto:goto-a
    route-run = log:{log}not a
    route-run = last:
    route-label = goto-a
    route-run = log:{log}at a
    """,
    ask("/a"),
    ask("/b"),
)
case(
    "goto-group",
    """
    route = ^/(.+) goto:goto-$1
    route-label = goto-one
    route-run = log:{log}one
    route-label = goto-two
    route-run = log:{log}two
    """,
    ask("/one"),
    ask("/two"),
    ask("/three"),
    ask("/"),
)
case(
    "goto-variable",
    "route-run = goto:gotov-${HTTP_X}\nroute-label = gotov-x\nroute-run = log:{log}x\nroute-run = last:\n"
    "route-label = gotov-\nroute-run = log:{log}empty",
    ask(v={"HTTP_X": "x"}),
    ask(v={"HTTP_X": ""}),
    ask(),
    ask(v={"HTTP_X": "nowhere"}),
)
case(
    "goto-twice",
    "route-run = goto:twice-1\nroute-run = log:{log}never\nroute-label = twice-1\nroute-run = goto:twice-2\n"
    "route-run = log:{log}never\nroute-label = twice-2\nroute-run = log:{log}end",
)
case(
    "goto-equal-labels",
    "route-run = goto:same-label\nroute-label = same-label\nroute-run = log:{log}first\n"
    "route-label = same-label\nroute-run = log:{log}second",
)
case("goto-unknown", "route-run = log:{log}before\nroute-run = goto:nowhere-at-all\nroute-run = log:{log}never")
case(
    "goto-above", "route-label = above\nroute-run = log:{log}above\nroute-run = goto:above\nroute-run = log:{log}never"
)
case("goto-empty", "route-run = goto:\nroute-run = log:{log}never")
case("goto-beyond", "route-run = goto:99999\nroute-run = log:{log}never")
case("goto-beyond-text", "route-run = goto:99999 and text\nroute-run = log:{log}never")
case("goto-negative", "route-run = goto:-1\nroute-run = log:{log}never")
case(
    "goto-response-label",
    "route-run = goto:only-response\nresponse-route-label = only-response\nresponse-route-run = addheader:X-There: 1",
)
case(
    "goto-case",
    "route-run = goto:Case-Label\nroute-label = case-label\nroute-run = log:{log}lower\n"
    "route-label = Case-Label\nroute-run = log:{log}upper",
)
case("label-falls-through", "route-run = log:{log}1\nroute-label = through\nroute-run = log:{log}2")
case(
    "goto-space",
    "route-run = goto:label with space\nroute-run = log:{log}never\nroute-label = label with space\n"
    "route-run = log:{log}there",
)

case("donotlog", "route-run = donotlog:\nroute-run = log:{log}still")
case("donotoffload", "route-run = donotoffload:\nroute-run = log:{log}still")
case("harakiri", "route-run = harakiri:30\nroute-run = log:{log}still")
case("harakiri-0", "route-run = harakiri:0\nroute-run = log:{log}still")
case("harakiri-text", "route-run = harakiri:soon\nroute-run = log:{log}still")
case("logvar", "route = ^/(.*) logvar:item=<$1>\nroute-run = log:{log}still", ask("/me"))
case("setprocname", "route-run = setprocname:another name ${PATH_INFO}\nroute-run = log:{log}still")
