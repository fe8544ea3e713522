"""What happens to bodies."""

from __future__ import annotations

from tests.rules.differential.case import Differs, ask, case
from tests.rules.differential.differences import (
    FILES,
    FLUSH,
    HELLO,
    LENGTH,
    NAMED,
    NO_LENGTH,
    NOT_CHUNKED,
    WHOLE,
    goes_on,
    length_dropped,
    named_coding,
    once,
    without,
)

WITH_LENGTH = [["Content-Type", "text/plain"], ["Content-Length", "5"]]
BODIES = (
    ask(),
    ask(headers=WITH_LENGTH),
    ask(chunks=[]),
    ask(chunks=["a", "", "bc"]),
    ask(chunks=["x"], times=100000),
    ask(method="HEAD"),
    ask(status="404 Not Found"),
    ask(status="304 Not Modified", headers=[], chunks=[]),
    ask(chunks=["w1", "w2"], writes=True),
)
CODED = {1: length_dropped()}
COUNTED = {
    1: Differs(LENGTH, head=once),
    7: Differs(NO_LENGTH, answer=b"HTTP/1.1 304 Not Modified\r\n\r\n"),
}
LATE_COUNTED = {
    1: Differs(LENGTH, head=once),
}
NOT_GZIPPED = Differs("gzip behind chunked is left out", head=without(b"Content-Length", b"Content-Encoding"))
DIFFER = {
    "gzip": (CODED, CODED),
    "chunked": (CODED, CODED),
    "fixcl": (COUNTED, LATE_COUNTED),
    "forcecl": (COUNTED, LATE_COUNTED),
}
for name in ("gzip", "chunked", "flush", "fixcl", "forcecl"):
    early, late = DIFFER.get(name, ({}, {}))
    case(f"t-{name}", f"route-run = {name}:", *BODIES, framing=True, differs=early)
    case(f"t-{name}-response", f"response-route-run = {name}:", *BODIES[:4], framing=True, differs=late)
case("t-gzip-chunked", "route-run = gzip:\nroute-run = chunked:", *BODIES, framing=True, differs={1: length_dropped()})
case(
    "t-gzip-fixcl",
    "route-run = gzip:\nroute-run = fixcl:",
    *BODIES,
    framing=True,
    differs={1: Differs(LENGTH, head=once)},
)
case(
    "t-gzip-forcecl",
    "route-run = gzip:\nroute-run = forcecl:",
    *BODIES[:4],
    framing=True,
    differs={1: Differs(LENGTH, head=once)},
)
case(
    "t-del-gzip-fixcl",
    "route-run = delheader:Content-Length\nroute-run = gzip:\nroute-run = fixcl:",
    *BODIES[:4],
    framing=True,
)
case(
    "t-del-gzip-forcecl",
    "route-run = delheader:Content-Length\nroute-run = gzip:\nroute-run = forcecl:",
    *BODIES[:4],
    framing=True,
)
case(
    "t-chunked-gzip",
    "route-run = chunked:\nroute-run = gzip:",
    *BODIES[:4],
    differs=dict.fromkeys((0, 1, 3), NOT_GZIPPED),
)
case(
    "t-chunked-fixcl",
    "route-run = chunked:\nroute-run = fixcl:",
    *BODIES[:4],
    framing=True,
    differs={number: length_dropped() for number in (0, 1, 3)},
)
case(
    "t-chunked-http10",
    "route-run = chunked:",
    ask(v={"SERVER_PROTOCOL": "HTTP/1.0"}),
    framing=True,
    differs=Differs(NOT_CHUNKED, answer=HELLO.replace(b"HTTP/1.1", b"HTTP/1.0")),
)
case(
    "t-flush-chunked",
    "route-run = flush:\nroute-run = chunked:",
    *BODIES[:4],
    differs={
        number: Differs(FLUSH, answer=lambda real: real.answer.removesuffix(b"0\r\n\r\n")) for number in (0, 1, 3)
    },
)
case("t-gzip-flush", "route-run = gzip:\nroute-run = flush:", *BODIES[:4], framing=True, differs={1: length_dropped()})
case(
    "t-flush-fixcl",
    "route-run = flush:\nroute-run = fixcl:",
    *BODIES[:4],
    differs={
        0: Differs(FLUSH, answer=lambda real: real.answer.removesuffix(b"hello")),
        1: Differs(FLUSH, answer=lambda real: real.answer.removesuffix(b"hello")),
        3: Differs(FLUSH, answer=lambda real: real.answer.removesuffix(b"abc")),
    },
)
case("t-gzip-return", "route-run = gzip:\nroute-run = return:404", framing=True, differs=length_dropped())
case("t-gzip-redirect", "route-run = gzip:\nroute-run = redirect:/x", framing=True)
case("t-gzip-static", "route-run = gzip:\nroute-run = static:{root}/a.txt", framing=True)
case("t-gzip-file", "route-run = gzip:\nroute-run = file:filename={root}/a.txt", framing=True, differs=length_dropped())
case("t-gzip-sendfile", "route-run = gzip:\nroute-run = sendfile:filename={root}/a.txt", framing=True)
case(
    "t-chunked-file",
    "route-run = chunked:\nroute-run = file:filename={root}/a.txt",
    framing=True,
    differs=length_dropped(),
)
case(
    "t-gzip-send",
    "route-run = gzip:\nroute-run = clearheaders:200 OK\nroute-run = send:one\nroute-run = send:two\nroute-run = break:",
    framing=True,
)
case(
    "t-fixcl-send",
    "route-run = fixcl:\nroute-run = clearheaders:200 OK\nroute-run = send:one\nroute-run = send:two\nroute-run = break:",
)
case("t-fixcl-break", "route-run = fixcl:\nroute-run = break:404 Not Found")
case(
    "t-app-file",
    "route-run = chunked:",
    ask(file="{root}/a.txt"),
    differs=Differs(
        FILES,
        answer=b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\nA\r\ntext of a\n\r\n0\r\n\r\n",
    ),
)
case(
    "t-tofile",
    "route-run = tofile:filename={own}/stored-${HTTP_X}\nfinal-route-if = exists:{own}/stored-${HTTP_X} log:{log}stored",
    ask(v={"HTTP_X": "1"}, chunks=["a", "b"]),
    ask(v={"HTTP_X": "2"}, status="404 Not Found"),
    ask(v={"HTTP_X": "3"}, chunks=[]),
    ask(v={"HTTP_X": "4"}, method="POST", body=b"x"),
    ask(v={"HTTP_X": "5"}, chunks=["x"], times=100000),
)
case(
    "t-tofile-read",
    "route = ^/store tofile:filename={own}/read\nroute = ^/read file:filename={own}/read",
    ask("/store", chunks=["a", "b"]),
    ask("/read"),
    ask("/store", chunks=["other"]),
    ask("/read"),
)
case("t-tofile-nowhere", "route-run = tofile:filename={own}/no/where", ask())
case(
    "t-template",
    "route = ^/(.*) template:",
    ask("/x", chunks=["<${PATH_INFO}> $1 ", "${uwsgi[status]} ${NOPE}."]),
    ask("/x", chunks=[]),
    ask("/x", chunks=["${PATH", "_INFO}"]),
    ask("/x", chunks=["no variables"]),
)
case(
    "t-template-length",
    "route-run = template:",
    ask(headers=WITH_LENGTH, chunks=["${PATH_INFO}"]),
    differs=Differs(LENGTH, answer=b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\n/"),
)
case("t-template-fixcl", "route-run = template:\nroute-run = fixcl:", ask(chunks=["${PATH_INFO}"]))
case(
    "t-offload",
    "route-run = offload:",
    ask(),
    ask(chunks=[]),
    differs={
        0: goes_on("offload needs no offload threads"),
        1: Differs("offload needs no offload threads", answer=HELLO.removesuffix(b"hello"), asked=True),
    },
)
case(
    "t-collected-gzip",
    "response-route-if = equal:${COLLECTED};text/html gzip:",
    ask(headers=[["Content-Type", "text/html"]]),
    ask(),
)
case(
    "t-cachestore-gzip",
    "route-run = cachestore:key=tcg-plain\nroute-run = gzip:\nroute-run = cachestore:key=tcg-gz\n"
    "final-route-if = incache:key=tcg-plain log:{log}plain\nfinal-route-if = incache:key=tcg-gz log:{log}gz",
    ask(chunks=["ab"]),
)
case(
    "t-cachestore-read",
    "route = ^/store cachestore:key=tcr\nroute = ^/store gzip:\nroute = ^/store cachestore:key=tcr.gz\n"
    "route = ^/plain cache:key=tcr\nroute = ^/gz cache:key=tcr.gz",
    ask("/store", chunks=["a" * 50 + "b" * 50]),
    ask("/plain"),
    ask("/gz"),
)
case(
    "t-uwsgi",
    "route-run = gzip:\nroute-run = chunked:\nroute-run = uwsgi:{upstream},0,0",
    ask(),
    ask(chunks=[]),
    framing=True,
)
case("t-proxyuwsgi", "route-run = chunked:\nroute-run = proxyuwsgi:{upstream},0,0", ask(), framing=True)
case("t-http", "route-run = chunked:\nroute-run = http:{web}", ask("/a"), framing=True, differs=length_dropped())
case("t-error-chain", "error-route-status = 404 chunked:", ask(status="404 Not Found"), ask(), framing=True)
case(
    "t-to-file",
    "route = ^/store to-file:filename={own}/to\nroute = ^/read file:filename={own}/to",
    ask("/store", chunks=["ab"]),
    ask("/read"),
)
for name in ("fixcl", "forcecl"):
    case(
        f"t-{name}-head",
        f"route-run = {name}:",
        ask(method="HEAD", chunks=[]),
        differs=Differs(NO_LENGTH, answer=b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"),
    )
case(
    "t-chunked-answered",
    "route-run = chunked:\nresponse-route-run = redirect:/to",
    ask(),
    differs=Differs(WHOLE, answer=lambda real: real.answer + b"0\r\n\r\n"),
)
case(
    "t-template-answered",
    "route-run = template:\nerror-route-run = redirect-301:/to",
    ask(),
    differs=Differs(WHOLE, answer=lambda real: real.answer + b"Moved Permanently"),
)
case("t-chunked-empty-first", "route-run = chunked:", ask(chunks=["", "hello"]))
case(
    "t-gzip-empty-first",
    "route-run = gzip:",
    ask(chunks=["", "hello"]),
    differs=Differs(NAMED, answer=named_coding(b"Content-Encoding: gzip")),
)
case("t-forcecl-twice", "route-run = forcecl:\nroute-run = forcecl:", ask(), differs=Differs(LENGTH, head=once))
case(
    "t-forcecl-break",
    "route-run = forcecl:\nroute-run = break:",
    ask(),
    differs=Differs("a break behind fixcl or forcecl is a failure (a header without a head)", cause="rule-break"),
)
