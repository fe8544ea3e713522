"""What happens to bodies."""

from __future__ import annotations

from tests.rules.differential.case import ask, case

LENGTH = [["Content-Type", "text/plain"], ["Content-Length", "5"]]
BODIES = (
    ask(),
    ask(headers=LENGTH),
    ask(chunks=[]),
    ask(chunks=["a", "", "bc"]),
    ask(chunks=["x"], times=100000),
    ask(method="HEAD"),
    ask(status="404 Not Found"),
    ask(status="304 Not Modified", headers=[], chunks=[]),
    ask(chunks=["w1", "w2"], writes=True),
)
for name in ("gzip", "chunked", "flush", "fixcl", "forcecl"):
    case(f"t-{name}", f"route-run = {name}:", *BODIES, framing=True)
    case(f"t-{name}-response", f"response-route-run = {name}:", *BODIES[:4], framing=True)
case("t-gzip-chunked", "route-run = gzip:\nroute-run = chunked:", *BODIES, framing=True)
case("t-gzip-fixcl", "route-run = gzip:\nroute-run = fixcl:", *BODIES, framing=True)
case("t-gzip-forcecl", "route-run = gzip:\nroute-run = forcecl:", *BODIES[:4], framing=True)
case("t-del-gzip-fixcl", "route-run = delheader:Content-Length\nroute-run = gzip:\nroute-run = fixcl:", *BODIES[:4], framing=True)
case("t-del-gzip-forcecl", "route-run = delheader:Content-Length\nroute-run = gzip:\nroute-run = forcecl:", *BODIES[:4], framing=True)
case("t-chunked-gzip", "route-run = chunked:\nroute-run = gzip:", *BODIES[:4], framing=True)
case("t-chunked-fixcl", "route-run = chunked:\nroute-run = fixcl:", *BODIES[:4], framing=True)
case("t-chunked-http10", "route-run = chunked:", ask(v={"SERVER_PROTOCOL": "HTTP/1.0"}), framing=True)
case("t-flush-chunked", "route-run = flush:\nroute-run = chunked:", *BODIES[:4], framing=True)
case("t-gzip-flush", "route-run = gzip:\nroute-run = flush:", *BODIES[:4], framing=True)
case("t-flush-fixcl", "route-run = flush:\nroute-run = fixcl:", *BODIES[:4], framing=True)
case("t-gzip-return", "route-run = gzip:\nroute-run = return:404", framing=True)
case("t-gzip-redirect", "route-run = gzip:\nroute-run = redirect:/x", framing=True)
case("t-gzip-static", "route-run = gzip:\nroute-run = static:{root}/a.txt", framing=True)
case("t-gzip-file", "route-run = gzip:\nroute-run = file:filename={root}/a.txt", framing=True)
case("t-gzip-sendfile", "route-run = gzip:\nroute-run = sendfile:filename={root}/a.txt", framing=True)
case("t-chunked-file", "route-run = chunked:\nroute-run = file:filename={root}/a.txt", framing=True)
case("t-gzip-send", "route-run = gzip:\nroute-run = clearheaders:200 OK\nroute-run = send:one\nroute-run = send:two\nroute-run = break:", framing=True)
case("t-fixcl-send", "route-run = fixcl:\nroute-run = clearheaders:200 OK\nroute-run = send:one\nroute-run = send:two\nroute-run = break:")
case("t-fixcl-break", "route-run = fixcl:\nroute-run = break:404 Not Found")
case("t-app-file", "route-run = chunked:", ask(file="{root}/a.txt"))
case("t-tofile", "route-run = tofile:filename={own}/stored-${HTTP_X}\nfinal-route-if = exists:{own}/stored-${HTTP_X} log:{log}stored",
     ask(v={"HTTP_X": "1"}, chunks=["a", "b"]), ask(v={"HTTP_X": "2"}, status="404 Not Found"), ask(v={"HTTP_X": "3"}, chunks=[]),
     ask(v={"HTTP_X": "4"}, method="POST", body=b"x"), ask(v={"HTTP_X": "5"}, chunks=["x"], times=100000))
case("t-tofile-read", "route = ^/store tofile:filename={own}/read\nroute = ^/read file:filename={own}/read", ask("/store", chunks=["a", "b"]), ask("/read"),
     ask("/store", chunks=["other"]), ask("/read"))
case("t-tofile-nowhere", "route-run = tofile:filename={own}/no/where", ask())
case("t-template", "route = ^/(.*) template:", ask("/x", chunks=["<${PATH_INFO}> $1 ", "${uwsgi[status]} ${NOPE}."]), ask("/x", chunks=[]),
     ask("/x", chunks=["${PATH", "_INFO}"]), ask("/x", chunks=["no variables"]))
case("t-template-length", "route-run = template:", ask(headers=LENGTH, chunks=["${PATH_INFO}"]))
case("t-template-fixcl", "route-run = template:\nroute-run = fixcl:", ask(chunks=["${PATH_INFO}"]))
case("t-offload", "route-run = offload:", ask(), ask(chunks=[]))
case("t-collected-gzip", "response-route-if = equal:${COLLECTED};text/html gzip:", ask(headers=[["Content-Type", "text/html"]]), ask())
case("t-cachestore-gzip", "route-run = cachestore:key=tcg-plain\nroute-run = gzip:\nroute-run = cachestore:key=tcg-gz\n"
     "final-route-if = incache:key=tcg-plain log:{log}plain\nfinal-route-if = incache:key=tcg-gz log:{log}gz", ask(chunks=["a", "b"]))
case("t-cachestore-read", "route = ^/store cachestore:key=tcr\nroute = ^/store gzip:\nroute = ^/store cachestore:key=tcr.gz\n"
     "route = ^/plain cache:key=tcr\nroute = ^/gz cache:key=tcr.gz", ask("/store", chunks=["a" * 50, "b" * 50]), ask("/plain"), ask("/gz"))
case("t-uwsgi", "route-run = gzip:\nroute-run = chunked:\nroute-run = uwsgi:{upstream},0,0", ask(), ask(chunks=[]), framing=True)
case("t-proxyuwsgi", "route-run = chunked:\nroute-run = proxyuwsgi:{upstream},0,0", ask(), framing=True)
case("t-http", "route-run = chunked:\nroute-run = http:{web}", ask("/a"), framing=True)
case("t-error-chain", "error-route-status = 404 chunked:", ask(status="404 Not Found"), ask(), framing=True)
