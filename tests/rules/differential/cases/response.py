"""What the client sees: headers, redirects, raw output, passwords."""

from __future__ import annotations

import base64

from tests.rules.differential.case import Differs, ask, case
from tests.rules.differential.differences import DISABLED, HELLO, LOWER, goes_on, logged, refused

PLAIN = [["Content-Type", "text/html"], ["X-App", "yes"], ["Content-Length", "5"]]
TWICE = [["Content-Type", "text/html"], ["X-Twice", "1"], ["X-Twice", "2"], ["x-lower", "3"]]

case(
    "addheader",
    "route-run = addheader:Foo: Bar",
    ask(),
    ask(headers=PLAIN),
    ask(method="HEAD"),
    ask(status="304 Not Modified", headers=[], chunks=[]),
)
case("addheader-group", "route = ^/foo/(.*) addheader:Foo: $1 ${HTTP_HOST}", ask("/foo/x"), ask("/"))
case("addheader-two", "route-run = addheader:X-B: 1\nroute-run = addheader:X-A: 2\nroute-run = addheader:X-B: 3")
case("addheader-existing", "route-run = addheader:Content-Type: text/odd", ask(headers=PLAIN))
case(
    "addheader-odd",
    "route-run = addheader:NoColon\nroute-run = addheader:Tight:x\nroute-run = addheader: Space: y\nroute-run = addheader:Wide:   z",
)
case(
    "addheader-empty",
    "route-run = addheader:",
    ask(),
    differs=Differs("an empty addheader adds nothing (it ends the head)", answer=HELLO),
)
case("addheader-empty-value", "route-run = addheader:X-Empty: ${NOPE}")
case("addheader-spaces", "route-run = addheader:Server: my uWSGI server")
case("delheader", "route-run = delheader:X-App", ask(headers=PLAIN))
case("remheader", "route-run = remheader:x-app", ask(headers=PLAIN))
case("delheader-all", "route-run = delheader:X-TWICE", ask(headers=TWICE))
case("delheader-prefix", "route-run = delheader:X-Ap\nroute-run = delheader:X-App-More", ask(headers=PLAIN))
case("delheader-length", "route-run = delheader:Content-Length", ask(headers=PLAIN))
case("delheader-variable", "route-run = delheader:X-${HTTP_X}", ask(headers=PLAIN, v={"HTTP_X": "App"}))
case(
    "delheader-added",
    "route-run = addheader:X-A: 1\nroute-run = delheader:X-A\nroute-run = addheader:X-App: 2",
    ask(headers=PLAIN),
)
case("delheader-empty", "route-run = delheader:", ask(headers=PLAIN))
case("delheader-colon", "route-run = delheader:X-App: yes", ask(headers=PLAIN))

case("clearheaders", "route-run = clearheaders:404 Not Found", ask(), ask(headers=PLAIN))
case("clearheaders-break", "route-run = clearheaders:404 Not Found\nroute-run = addheader:X-A: 1\nroute-run = break:")
case(
    "clearheaders-send",
    "route-run = clearheaders:404 Nope\nroute-run = addheader:Content-Type: text/plain\n"
    "route-run = send:not here\nroute-run = break:",
)
case(
    "clearheaders-return",
    "route-run = clearheaders:403 Forbidden\nroute-run = addheader:Content-Type: text/plain\n"
    "route-run = addheader:Content-Length: 9\nroute-run = send:Forbidden\nroute-run = break:",
)
case("clearheaders-code", "route-run = clearheaders:404\nroute-run = send:x\nroute-run = break:")
case("clearheaders-bad", "route-run = clearheaders:4\nroute-run = log:{log}after")
case("clearheaders-empty", "route-run = clearheaders:\nroute-run = log:{log}after")
case(
    "clearheaders-variable",
    "route-run = clearheaders:${HTTP_X}\nroute-run = send:x\nroute-run = break:",
    ask(v={"HTTP_X": "418 Pot"}),
    ask(),
)
case("resetheaders", "route-run = resetheaders:410 Gone\nroute-run = send:x\nroute-run = break:")
case(
    "disableheaders",
    "route-run = disableheaders:",
    ask(),
    ask(headers=PLAIN),
    ask(chunks=["a", "b"]),
    differs={
        0: Differs(DISABLED, answer=b"hello"),
        1: Differs(DISABLED, answer=b"hello"),
        2: Differs(DISABLED, answer=b"ab"),
    },
)
case(
    "disableheaders-send",
    "route-run = disableheaders:\nroute-run = send:HTTP/1.0 200 OK\nroute-run = send:raw\nroute-run = break:",
)

case("send", "route-run = send:destroy the world", ask(), ask("/x", method="HEAD"))
case("send-break", "route = ^/(.*) send:raw $1 ${HTTP_HOST}\nroute-run = break:", ask("/x"))
case("send-crnl", "route-run = send-crnl:HTTP/1.0 100 Continue\nroute-run = send-crnl:\nroute-run = break:")
case("send-crnl-app", "route-run = send-crnl:HTTP/1.0 100 Continue")
case("send-empty", "route-run = send:", ask())
case(
    "send-response",
    "response-route-run = send:first ",
    ask(),
    ask(chunks=[]),
    differs={1: Differs("the head goes out once", answer=HELLO.replace(b"hello", b"first"))},
)
case("send-break-code", "route-run = send:x\nroute-run = break:404 Not Found")

for name in ("redirect", "redirect-302", "redirect-permanent", "redirect-301"):
    case(name, f"route = ^/(.*) {name}:http://uwsgi.it/$1?${{QUERY_STRING}}", ask("/a b?c=d"), ask("/", method="HEAD"))
case("redirect-empty", "route-run = redirect:\nroute-run = log:{log}after")
case("redirect-headers", "route-run = addheader:X-A: 1\nroute-run = redirect:/x")
case("redirect-delheader", "route-run = delheader:location\nroute-run = redirect:/x")
case(
    "redirect-host",
    "route-run = redirect:https://${HTTP_HOST}${REQUEST_URI}",
    ask("/p?q=1#f"),
    ask(v={"HTTP_HOST": ""}),
)
case("redirect-bytes", "route = ^/(.*) redirect:/to/$1", ask('/\xe9 "<>'))
case("redirect-post", "route-run = redirect:/x", ask(method="POST", body=b"y" * 100))
case("redirect-http10", "route-run = redirect:/x", ask(v={"SERVER_PROTOCOL": "HTTP/1.0"}))

case("expires-value", "route-run = expires:value=60", ask(), dates=True)
case("expires-unix", "route-run = expires:unix=1700000000", ask())
case("expires-unix-var", "route-run = expires:unix=${HTTP_X}", ask(v={"HTTP_X": "1700000001"}), ask())
case("expires-file", "route-run = expires:filename={root}/a.txt", ask())
case("expires-file-value", "route-run = expires:filename={root}/a.txt,value=10", ask())
case("expires-missing", "route-run = expires:filename={root}/nowhere\nroute-run = log:{log}after", ask())
case("expires-both", "route-run = expires:value=10,unix=1700000000", ask(), dates=True)
case("expires-break", "route-run = expires:unix=1700000000\nroute-run = break:404 Not Found")
case("expires-existing", "route-run = expires:unix=1700000000", ask(headers=[["Expires", "never"]]))


def basic(text: str) -> dict[str, str | bytes]:
    """The Authorization header."""
    return {"HTTP_AUTHORIZATION": "Basic " + base64.b64encode(text.encode()).decode()}


TRIES = (
    ask(),
    ask(v=basic("foo:bar")),
    ask(v=basic("foo:no")),
    ask(v=basic("foo2:bar2")),
    ask(v=basic("foo")),
    ask(v=basic("foo:")),
    ask(v=basic("")),
    ask(v=basic("foo:bar:x")),
    ask(v={"HTTP_AUTHORIZATION": "Bearer x"}),
    ask(v={"HTTP_AUTHORIZATION": "Basic"}),
    ask(v={"HTTP_AUTHORIZATION": "Basic !!!"}),
    ask(v={"HTTP_AUTHORIZATION": ""}),
    ask(v={"REMOTE_USER": "known"}),
    ask(v=basic("foo:bar"), method="HEAD"),
    ask(v={"HTTP_AUTHORIZATION": "basic " + base64.b64encode(b"foo:bar").decode()}),
)
case(
    "basicauth",
    "route-run = basicauth:My Realm,foo:bar\nroute-run = log:{log}in as ${REMOTE_USER}",
    *TRIES,
    differs={14: goes_on(LOWER, "in as foo")},
)
case(
    "basicauth-next",
    "route-run = basicauth-next:My Realm,foo:bar\nroute-run = log:{log}first ${REMOTE_USER}\n"
    "route-run = basicauth:My Realm,foo2:bar2\nroute-run = log:{log}second ${REMOTE_USER}",
    *TRIES,
    differs={
        4: logged("basicauth-next: credentials without a colon are none, so a 401"),
        14: goes_on(LOWER, "first foo", "second foo"),
    },
)
case(
    "basicauth-user",
    "route-run = basicauth:Another Realm,kratos:\nroute-run = log:{log}in",
    ask(v=basic("kratos:")),
    ask(v=basic("kratos:x")),
    ask(v=basic("kratos")),
)
case("basicauth-401", "route-run = basicauth:Realm,", *TRIES[:3])
case("basicauth-comma", "route-run = basicauth:Re,alm,foo:bar", ask(), ask(v=basic("foo:bar")))
case("basicauth-variable", "route-run = basicauth:R ${HTTP_HOST},${HTTP_X}:b", ask(v={"HTTP_X": "a", **basic("a:b")}))
case("basicauth-colon", "route-run = basicauth:R,foo:b:c", ask(v=basic("foo:b:c")), ask(v=basic("foo:b")))
case("basicauth-headers", "route-run = addheader:X-A: 1\nroute-run = basicauth:R,foo:bar")
case(
    "basicauth-file",
    "route-run = basicauth:File Realm,{root}/htpasswd\nroute-run = log:{log}in as ${REMOTE_USER}",
    *(ask(v=basic(text)) for text in ("des:secret", "des:wrong", "nobody:x", "des:")),
)
case(
    "basicauth-no-file",
    "route-run = basicauth:R,{root}/nohtpasswd\nroute-run = log:{log}in",
    ask(),
    ask(v=basic("a:b")),
    differs={1: Differs("a password file that cannot be read is a failure (401)", cause="rule-failed")},
)
case(
    "injection-addheader",
    "route-run = addheader:X-Copy: ${HTTP_X}",
    ask(v={"HTTP_X": "a\r\nX-New: b"}),
    ask(v={"HTTP_X": "a\nb"}),
    ask(v={"HTTP_X": "a\0b"}),
    differs=refused("bad-header"),
)
case(
    "injection-redirect",
    "route = ^/(.*) redirect:/to/$1",
    ask("/", v={"PATH_INFO": "/x\r\nSet-Cookie: a=b"}),
    differs=refused("bad-header"),
)
case(
    "injection-clear",
    "route-run = clearheaders:404 ${HTTP_X}\nroute-run = send:x\nroute-run = break:",
    ask(v={"HTTP_X": "a\r\nX-New: b"}),
    differs=refused("rule-failed"),
)
