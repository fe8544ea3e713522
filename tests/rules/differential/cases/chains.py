"""The error, response and final chains, and what they know."""

from __future__ import annotations

from tests.rules.differential.case import Differs, ask, case
from tests.rules.differential.differences import DISABLED, FAILS_ALOUD, LATE, NO_HEAD, failed

MORE = [["Content-Type", "text/html"], ["X-App", "yes"], ["X-Twice", "1"], ["X-Twice", "2"]]

case(
    "all-chains",
    """
    route-run = log:{log}request ${uwsgi[status]}
    error-route-run = log:{log}error ${uwsgi[status]}
    response-route-run = log:{log}response ${uwsgi[status]}
    final-route-run = log:{log}final ${uwsgi[status]}
    """,
    ask(),
    ask(status="404 Not Found"),
    ask(chunks=[]),
    ask(method="HEAD"),
    ask(status="500 Internal Server Error", headers=[], chunks=["x"]),
)
LOGS = """
    error-route-run = log:{log}error ${uwsgi[status]}
    response-route-run = log:{log}response ${uwsgi[status]}
    final-route-run = log:{log}final ${uwsgi[status]} ${uwsgi[rsize]}
"""
OTHERWISE = {
    "break": failed("rule-break", ["error 403", "response 403", "final 403 164"]),
    "goto": failed("rule-failed", ["error 500", "response 500", "final 500 192"]),
    "disable": Differs(DISABLED, answer=b"hello", log=["final 500 5"]),
}
for name, action in {
    "break": "break:",
    "break-404": "break:404 Not Found",
    "return": "return:403",
    "redirect": "redirect:/x",
    "send": "send:raw",
    "send-break": "send:raw\nroute-run = break:",
    "basicauth": "basicauth:R,a:b",
    "clear": "clearheaders:410 Gone",
    "clear-break": "clearheaders:410 Gone\nroute-run = break:",
    "clear-send": "clearheaders:410 Gone\nroute-run = send:x\nroute-run = break:",
    "goto": "goto:nowhere",
    "disable": "disableheaders:",
    "static": "static:{root}/a.txt",
    "file": "file:filename={root}/a.txt",
}.items():
    case(f"chains-{name}", f"route-run = {action}\n{LOGS}", differs=OTHERWISE.get(name))
case(
    "response-addheader",
    "response-route-run = addheader:X-R: ${uwsgi[status]} ${PATH_INFO}",
    ask("/x"),
    ask(status="404 Not Found"),
    ask(chunks=[]),
    ask(headers=MORE),
)
case(
    "response-order",
    "route-run = addheader:X-1: request\nerror-route-run = addheader:X-2: error\nresponse-route-run = addheader:X-3: response",
)
case("response-delheader", "response-route-run = delheader:X-App", ask(headers=MORE))
case("error-delheader", "error-route-run = delheader:X-App", ask(headers=MORE))
case("error-addheader", "error-route-run = addheader:X-E: ${uwsgi[status]}", ask(), ask(status="404 Not Found"))
case(
    "response-status",
    "response-route-status = 404 addheader:X-Missing: yes\nresponse-route-status = 200 addheader:X-Found: yes",
    ask(),
    ask(status="404 Not Found"),
)
case(
    "error-status",
    "error-route-status = 404 log:{log}missing\nerror-route-status = 500 log:{log}broken",
    ask(),
    ask(status="404 Not Found"),
    ask(status="500 Oops"),
)
case(
    "final-status",
    "final-route-status = 404 log:{log}missing\nfinal-route-status = 200 log:{log}fine",
    ask(),
    ask(status="404 Not Found"),
)
case("request-status", "route-status = 500 log:{log}500\nroute-status = 200 log:{log}200")
case(
    "response-clear",
    "response-route-run = clearheaders:404 Not Found\nresponse-route-run = addheader:Content-Type: text/html",
    ask(headers=MORE),
    ask(chunks=[], headers=MORE),
)
case(
    "response-manual",
    "response-route = ^/foo goto:foobar\nresponse-route-run = last:\nresponse-route-label = foobar\n"
    "response-route-run = clearheaders:404 Not Found\nresponse-route-run = addheader:Content-Type: text/html",
    ask("/foo"),
    ask("/bar"),
)
case(
    "response-break",
    "response-route-run = break:",
    ask(),
    ask(chunks=[]),
    ask(chunks=["a", "b"]),
    differs={1: Differs(FAILS_ALOUD, answer=b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")},
)
case("response-break-code", "response-route-run = break:404 Not Found", ask(), ask(chunks=[]))
case("response-return", "response-route-run = return:404", ask(), ask(chunks=[]))
case("response-redirect", "response-route-status = 404 redirect:/home", ask(status="404 Not Found"), ask())
case("response-last", "response-route-run = last:\nresponse-route-run = addheader:X-Never: 1")
case(
    "response-goto",
    "response-route = ^/a goto:resp-a\nresponse-route-run = addheader:X-Not: a\nresponse-route-run = last:\n"
    "response-route-label = resp-a\nresponse-route-run = addheader:X-Is: a",
    ask("/a"),
    ask("/b"),
)
case(
    "response-goto-unknown",
    "response-route-run = goto:nowhere",
    ask(),
    ask(chunks=[]),
    differs={0: failed("rule-failed")},
)
case(
    "response-subjects",
    "response-route = ^/(x) addheader:X-P: $1\nresponse-route-host = (.*) addheader:X-H: $1\n"
    "response-route-qs = (.*) addheader:X-Q: $1\nresponse-route-uri = (.*) addheader:X-U: $1\nresponse-route-remote-addr = (.*) addheader:X-A: $1\n"
    "response-route-if = equal:${REQUEST_METHOD};GET addheader:X-Get: 1\nresponse-route-if-not = equal:${REQUEST_METHOD};GET addheader:X-Other: 1",
    ask("/x?y"),
    ask("/z", method="HEAD"),
)
case(
    "response-rewritten",
    "route-run = rewrite:/new?a=1\nresponse-route = (.*) addheader:X-P: $1\nresponse-route-run = addheader:X-V: ${PATH_INFO} ${QUERY_STRING}",
    ask("/old?b"),
)
case("response-addvar", "response-route-run = addvar:LATE=1\nfinal-route-run = log:{log}late ${LATE}")
case(
    "request-addvar-final",
    "route-run = addvar:EARLY=1\nresponse-route-run = addheader:X-Early: ${EARLY}\nfinal-route-run = log:{log}early ${EARLY}",
)
case(
    "response-log",
    "response-route-run = log:{log}${uwsgi[status]}",
    ask(status="302 Found", headers=[["Location", "/x"]]),
)
case("error-log", "error-route-run = log:{log}${uwsgi[status]}", ask(status="302 Found", headers=[["Location", "/x"]]))
case("error-redirect", "error-route-status = 404 redirect:/home", ask(status="404 Not Found"), ask())
case(
    "error-break",
    "error-route-status = 404 break:",
    ask(status="404 Not Found", headers=MORE),
    ask(),
    differs={0: Differs(NO_HEAD, answer=b"HTTP/1.1 404 Not Found\r\n\r\n")},
)
case("error-break-code", "error-route-status = 404 break:500 Mine", ask(status="404 Not Found", headers=MORE), ask())
case("error-return", "error-route-status = 404 return:503", ask(status="404 Not Found", headers=MORE), ask())
case(
    "error-send",
    "error-route-status = 404 send:raw",
    ask(status="404 Not Found"),
    differs=Differs(NO_HEAD, answer=b"HTTP/1.1 404 Not Found\r\n\r\nraw"),
)
case(
    "error-file",
    "error-route-status = 404 file:filename={root}/b.html,status=404 Not Found",
    ask(status="404 Not Found", headers=MORE),
    ask(),
)
case("error-static", "error-route-status = 404 static:{root}/b.html", ask(status="404 Not Found", headers=MORE))
case("error-of-request", "route-run = break:404 Not Found\nerror-route-status = 404 redirect:/home")
case("error-of-return", "route-run = return:404\nerror-route-status = 404 redirect:/home")
case("error-of-redirect", "route-run = redirect:/a\nerror-route-status = 302 redirect:/b")
case("error-last", "error-route-run = last:\nerror-route-run = log:{log}never")
case(
    "error-goto",
    "error-route-status = 404 goto:err-404\nerror-route-run = last:\nerror-route-label = err-404\n"
    "error-route-run = log:{log}missing",
    ask(status="404 Not Found"),
    ask(),
)
case(
    "error-clear-ok",
    "error-route-run = log:{log}${uwsgi[status]}\nerror-route-run = addheader:X-E: 1\nresponse-route-run = addheader:X-R: 1",
    ask(status="500 Oops"),
)
case(
    "final-log",
    "final-route-run = log:{log}final ${PATH_INFO} ${uwsgi[status]} ${uwsgi[rsize]}",
    ask("/x"),
    ask(chunks=["a" * 100, "b" * 50]),
    ask(method="HEAD"),
)
case("final-break", "final-route-run = break:404 Not Found\nfinal-route-run = log:{log}never")
case("final-break-bare", "final-route-run = break:\nfinal-route-run = log:{log}never")
case("final-addheader", "final-route-run = addheader:X-F: 1")
case(
    "final-send",
    "final-route-run = send:more",
    ask(),
    ask(headers=[["Content-Length", "5"]]),
    differs=Differs(LATE, answer=lambda real: real.answer.removesuffix(b"more")),
)
case("final-redirect", "final-route-run = redirect:/x\nfinal-route-run = log:{log}never")
case("final-addvar", "final-route-run = addvar:F=1\nfinal-route-run = log:{log}[${F}]")
case(
    "final-goto",
    "final-route = ^/a goto:fin-a\nfinal-route-run = last:\nfinal-route-label = fin-a\nfinal-route-run = log:{log}a",
    ask("/a"),
    ask("/b"),
)
case(
    "final-subjects",
    "final-route-host = (.*) log:{log}$1\nfinal-route-uri = (.*) log:{log}$1\nfinal-route-if = equal:a;a log:{log}if\nfinal-route-if-not = equal:a;a log:{log}never",
    ask("/x?y"),
)
case(
    "no-status-app",
    "response-route-run = log:{log}response ${uwsgi[status]}\nerror-route-run = log:{log}error ${uwsgi[status]}",
    ask(raises=True),
    differs=failed("node-closed", ["error 502", "response 502"]),
)
KINDS = {
    "": "(.*)",
    "-host": "(.*)",
    "-uri": "(.*)",
    "-qs": "(.*)",
    "-remote-addr": "(.*)",
    "-remote-user": "(.*)",
    "-referer": "(.*)",
    "-user-agent": "(.*)",
    "-if": "contains:${PATH_INFO};a",
    "-if-not": "contains:${PATH_INFO};a",
}
for chain in ("", "error-", "response-", "final-"):
    lines = [
        f"{chain}route{kind} = {pattern} log:{{log}}{kind} $1" for kind, pattern in KINDS.items() if "if" not in kind
    ]
    lines += [f"{chain}route{kind} = {pattern} log:{{log}}{kind}" for kind, pattern in KINDS.items() if "if" in kind]
    lines += [f"{chain}route-status = {status} log:{{log}}{status}" for status in ("200", "404")]
    lines += [f"{chain}route-run = goto:every-{chain}end", f"{chain}route-run = log:{{log}}never"]
    lines += [f"{chain}route-label = every-{chain}end", f"{chain}route-run = log:{{log}}end"]
    full = {"REMOTE_USER": "me", "HTTP_REFERER": "from", "HTTP_USER_AGENT": "curl"}
    case(
        f"every-option-{chain or 'request'}".rstrip("-"),
        "\n".join(lines),
        ask("/a?b=c", v=full),
        ask("/x", v=full, status="404 Not Found"),
        ask("/a", v=full, method="HEAD", chunks=[]),
    )
case(
    "response-after-error",
    "error-route-status = 404 redirect:/x\nresponse-route-run = addheader:X-R: ${uwsgi[status]}",
    ask(status="404 Not Found"),
    differs=Differs(
        "labels are those of the chain that runs, also after an answer of the error chain",
        answer=b"HTTP/1.1 302 Found\r\nLocation: /x\r\nX-R: 302\r\n\r\nMoved",
    ),
)
