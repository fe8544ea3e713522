"""Files, other servers, signals, metrics, alarms."""

from __future__ import annotations

from tests.rules.differential.case import Differs, ask, case
from tests.rules.differential.differences import NO_DOTS, NO_HTTP, NOT_ASKED, goes_on

SINCE = {"HTTP_IF_MODIFIED_SINCE": "Tue, 14 Nov 2023 22:13:20 GMT"}
EARLIER = {"HTTP_IF_MODIFIED_SINCE": "Mon, 13 Nov 2023 22:13:20 GMT"}
LATER = {"HTTP_IF_MODIFIED_SINCE": "Wed, 15 Nov 2023 22:13:20 GMT"}

HEAD_OF_FILE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\n"
NEXT = {
    **dict.fromkeys((0, 1, 2, 3, 4, 5, 9, 17, 18, 19, 20, 21, 24), NOT_ASKED),
    14: Differs("static-next answers HEAD as GET, without the body", answer=HEAD_OF_FILE, asked=False),
}
"""By the number of the request: those that are answered with the file."""
for name in ("static", "static-next"):
    case(
        name,
        f"route = ^/s/(.*) {name}:{{root}}/$1\nroute-run = log:{{log}}after",
        ask("/s/a.txt"),
        ask("/s/b.html"),
        ask("/s/noext"),
        ask("/s/empty.txt"),
        ask("/s/big.bin"),
        ask("/s/c.TXT"),
        ask("/s/nowhere"),
        ask("/s/dir"),
        ask("/s/dir/"),
        ask("/s/dir/in.txt"),
        ask("/s/link.txt"),
        ask("/s/../root/a.txt"),
        ask("/s/dir/../a.txt"),
        ask("/s/"),
        ask("/s/a.txt", method="HEAD"),
        ask("/s/a.txt", method="POST", body=b"x"),
        ask("/s/a.txt", method="OPTIONS"),
        ask("/s/a.txt", v=SINCE),
        ask("/s/a.txt", v=EARLIER),
        ask("/s/a.txt", v=LATER),
        ask("/s/a.txt", v={"HTTP_IF_MODIFIED_SINCE": "junk"}),
        ask("/s/a.txt", v={"HTTP_RANGE": "bytes=0-3"}),
        ask("/other"),
        ask("/s/dirlink/in.txt"),
        ask("/s/program"),
        differs=NEXT if name == "static-next" else None,
    )
case(
    "static-headers",
    "route-run = addheader:X-A: 1\nroute-run = delheader:last-modified\nroute-run = static:{root}/a.txt",
)
case(
    "static-chains",
    "route-run = static:{root}/a.txt\nresponse-route-run = addheader:X-R: ${uwsgi[status]}",
    ask(),
    ask(v=SINCE),
)
case("static-empty", "route-run = static:\nroute-run = log:{log}after")

for name in ("file", "sendfile", "fastfile"):
    for suffix in ("", "-next"):
        case(
            f"{name}{suffix}",
            f"route = ^/s/(.*) {name}{suffix}:filename={{root}}/$1\nroute-run = log:{{log}}after",
            ask("/s/a.txt"),
            ask("/s/b.html"),
            ask("/s/empty.txt"),
            ask("/s/nowhere"),
            ask("/s/dir"),
            ask("/s/link.txt"),
            ask("/s/dir/../a.txt"),
            ask("/s/a.txt", method="HEAD"),
            ask("/s/a.txt", method="POST", body=b"x"),
            ask("/s/a.txt", v=SINCE),
            ask("/s/a.txt", v={"HTTP_RANGE": "bytes=0-3"}),
            ask("/s/big.bin"),
            differs={
                number: goes_on(NO_DOTS, "after") if suffix else Differs(NO_DOTS, cause="no-file") for number in (4, 6)
            },
        )
    case(
        f"{name}-arguments",
        f"route = ^/1 {name}:filename={{root}}/a.txt,content_type=text/odd\nroute = ^/2 {name}:filename={{root}}/a.txt,mime=1\n"
        f"route = ^/3 {name}:filename={{root}}/a.txt,status=404 Not Found\nroute = ^/4 {name}:filename={{root}}/a.txt,no_cl=1\n"
        f"route = ^/5 {name}:filename={{root}}/a.txt,nocl=1\nroute = ^/6 {name}:filename={{root}}/a.txt,no_content_length=1\n"
        f"route = ^/7 {name}:filename={{root}}/a.txt,no_headers=1\nroute = ^/8 {name}:filename={{root}}/a.txt,code=201,status=202\n"
        f"route = ^/9 {name}:filename={{root}}/noext,mime=1\nroute = ^/a {name}:filename={{root}}/a.txt,unknown=1",
        *(ask(f"/{n}") for n in "123456789a"),
    )
case("file-headers", "route-run = addheader:X-A: 1\nroute-run = file:filename={root}/a.txt")

case(
    "metrics",
    "route = ^/inc metricinc:oracle.m\nroute = ^/inc metricinc:oracle.m,5\nroute = ^/dec metricdec:oracle.m,2\nroute = ^/mul metricmul:oracle.m,3\n"
    "route = ^/div metricdiv:oracle.m,2\nroute = ^/set metricset:oracle.m,100\nroute = ^/var metricset:oracle.m,${HTTP_X}\n"
    "route-run = log:{log}${metric[oracle.m]}",
    ask("/get"),
    ask("/inc"),
    ask("/dec"),
    ask("/mul"),
    ask("/div"),
    ask("/set"),
    ask("/get"),
    ask("/var", v={"HTTP_X": "7"}),
    ask("/inc"),
    ask("/var", v={"HTTP_X": "abc"}),
)
case("metric-unknown", "route-run = metricinc:oracle.none\nroute-run = log:{log}after ${metric[oracle.none]}")
case("metric-div-0", "route-run = metricset:oracle.d,10\nroute-run = metricdiv:oracle.d,0\nroute-run = log:{log}after")
case("alarm", "route-run = alarm:tell something about ${PATH_INFO}\nroute-run = log:{log}after")
case("alarm-unknown", "route-run = alarm:nobody something\nroute-run = log:{log}after")
case("signal", "route-run = signal:17\nroute-run = log:{log}after")

for name in ("uwsgi", "proxyuwsgi"):
    case(
        f"{name}-to",
        f"route = ^/(.*) {name}:{{upstream}},0,0",
        ask("/a?b=c"),
        ask("/p", method="POST", body=b"payload" * 2000),
        ask("/h", method="HEAD"),
        ask("/404", status="404 Not Found", headers=[["X-App", "1"], ["X-Twice", "a"], ["X-Twice", "b"]]),
        ask("/none", chunks=[]),
        ask("/big", chunks=["x"], times=300000),
        ask("/slow", chunks=["a", "b", "c"], pause=0.02),
    )
    case(
        f"{name}-chains",
        f"route-run = addheader:X-A: 1\nroute-run = delheader:X-Twice\nroute-run = {name}:{{upstream}},0,0\n"
        "error-route-run = log:{log}error ${uwsgi[status]}\nresponse-route-run = addheader:X-R: ${uwsgi[status]}\nfinal-route-run = log:{log}final ${uwsgi[status]}",
        ask(),
        ask(status="404 Not Found", headers=[["X-Twice", "a"], ["X-App", "1"]]),
    )
    case(f"{name}-appid", f"route-run = {name}:{{upstream}},0,0,fooapp")
    case(f"{name}-dead", f"route-run = {name}:{{dead}},0,0\nroute-run = log:{{log}}after")
    case(f"{name}-modifiers", f"route-run = {name}:{{upstream}},100,0")
    case(
        f"{name}-vars",
        f"route-run = addvar:ADDED=1\nroute-run = rewrite:/new?x=1\nroute-run = {name}:{{upstream}},0,0",
        ask("/old?y"),
    )
case("uwsgi-local", "route-run = uwsgi:,0,0\nroute-run = log:{log}after")
case("uwsgi-local-modifiers", "route-run = uwsgi:,100,0", differs=Differs(NO_HTTP, cause="bad-answer"))
case("uwsgi-local-appid", "route-run = uwsgi:,0,0,fooapp", ask())
case("uwsgi-variable", "route-run = uwsgi:${HTTP_X},0,0", ask(v={"HTTP_X": "{upstream}"}))
case("uwsgi-if", "route = ^/psgi uwsgi:{upstream},0,0\nroute-run = log:{log}here", ask("/psgi"), ask("/own"))

WITH_HOST = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 108\r\n\r\n"
    b"GET /url/x HTTP/1.0\r\nHost: a.example\r\nX: x\r\nConnection: close\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n0 bytes of body"
)
for name in ("http", "proxyhttp"):
    case(
        f"{name}-to",
        f"route-run = {name}:{{web}}",
        ask("/a?b=c"),
        ask("/p", method="POST", body=b"payload" * 2000),
        ask("/h", method="HEAD"),
        ask("/status/404"),
        ask("/empty"),
        ask("/twice"),
        ask("/big"),
        ask("/none"),
        ask("/http10"),
        ask("/chunked"),
        ask("/x", v={"HTTP_X_FORWARDED_FOR": "1.2.3.4", "HTTP_COOKIE": "a=b", "CONTENT_TYPE": "text/x"}),
        ask(
            "/x",
            v={
                "HTTP_CONNECTION": "upgrade",
                "HTTP_KEEP_ALIVE": "5",
                "HTTP_TE": "trailers",
                "HTTP_TRAILER": "x",
                "HTTP_X_Y_Z": "1",
            },
        ),
    )
    case(f"{name}-host", f"route-run = {name}:{{web}},other.example", ask("/a"))
    case(f"{name}-host-variable", f"route-run = {name}:{{web}},${{HTTP_X}}", ask("/a", v={"HTTP_X": "x"}))
    case(
        f"{name}-url",
        f"route-run = {name}:{{web}},,/url/${{HTTP_X}}",
        ask("/a?q", v={"HTTP_X": "x"}),
        differs=Differs("an empty host argument is none: Host is the client's", answer=WITH_HOST),
    )
    case(f"{name}-host-url", f"route-run = {name}:{{web}},h.example,/url", ask("/a?q"))
    case(f"{name}-rewrite", f"route-run = rewrite:/new?x\nroute-run = {name}:{{web}}", ask("/old?y"))
    case(f"{name}-dead", f"route-run = {name}:{{dead}}\nroute-run = log:{{log}}after")
    case(
        f"{name}-junk",
        f"route-run = {name}:{{web}}",
        ask("/junk"),
        ask("/close"),
        differs={0: Differs(NO_HTTP, cause="bad-answer")},
    )
    case(
        f"{name}-chains",
        f"route-run = addheader:X-A: 1\nroute-run = delheader:X-Twice\nroute-run = {name}:{{web}}\n"
        "error-route-run = log:{log}error ${uwsgi[status]}\nresponse-route-run = addheader:X-R: ${uwsgi[status]}\nfinal-route-run = log:{log}final ${uwsgi[status]}",
        ask("/twice"),
        ask("/status/404"),
        ask("/empty"),
    )
case("httpdumb", "route-run = httpdumb:{web}", ask("/a?b"), ask("/p", method="POST", body=b"payload"))
