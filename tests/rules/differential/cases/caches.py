"""The cache's actions."""

from __future__ import annotations

from tests.rules.differential.case import ask, case
from tests.rules.differential.differences import NOT_ASKED

case(
    "cacheset",
    "route = ^/set cacheset:key=cs-${HTTP_X},value=<${PATH_INFO}>\nroute-run = cachevar:key=cs-${HTTP_X},var=GOT\nroute-run = log:{log}[${GOT}]",
    ask("/get", v={"HTTP_X": "1"}),
    ask("/set", v={"HTTP_X": "1"}),
    ask("/get", v={"HTTP_X": "1"}),
    ask("/set", v={"HTTP_X": "1"}),
    ask("/get", v={"HTTP_X": "2"}),
)
case("cacheset-empty", "route-run = cacheset:key=cse,value=${NOPE}\nroute-run = log:{log}after")
case(
    "cacheset-name",
    "route-run = cacheset:key=csn,value=v,name=other\nroute-run = cachevar:key=csn,var=A,name=other\n"
    "route-run = cachevar:key=csn,var=B\nroute-run = log:{log}[${A}][${B}]",
)
case("cacheset-unknown", "route-run = cacheset:key=a,value=b,name=nocache\nroute-run = log:{log}after")
case(
    "cacheset-expires",
    "route-run = cacheset:key=csx,value=v,expires=100\nroute-run = cachevar:key=csx,var=A\nroute-run = log:{log}[${A}]",
)
case("cachevar-unknown", "route-run = cachevar:key=a,var=A,name=nocache\nroute-run = log:{log}[${A}]")
case(
    "cachevar-number",
    "route-run = cacheinc:key=cvn\nroute-run = cachevar:key=cvn,var=A\nroute-run = log:{log}${hex[A]}",
)
case(
    "cachevar-as-num",
    "route-run = cacheset:key=cvt,value=12\nroute-run = cachevar:key=cvt,var=A\nroute-run = log:{log}[${A}]",
)
case(
    "cacheinc",
    "route-run = {x}cacheinc:key=ci\nroute-run = cachevar:key=ci,var=A\nroute-run = log:{log}${hex[A]}".replace(
        "{x}", ""
    ),
    ask(),
    ask(),
    ask(),
)
case(
    "cachemath",
    "route = ^/inc cacheinc:key=cm,value=10\nroute = ^/dec cachedec:key=cm,value=3\nroute = ^/mul cachemul:key=cm,value=4\nroute = ^/div cachediv:key=cm,value=2\n"
    "route = ^/var cacheinc:key=cm,value=${HTTP_X}\nroute = ^/zero cachediv:key=cm,value=0\nroute-run = cachevar:key=cm,var=A\nroute-run = log:{log}${hex[A]}",
    ask("/inc"),
    ask("/dec"),
    ask("/mul"),
    ask("/div"),
    ask("/var", v={"HTTP_X": "5"}),
    ask("/zero"),
    ask("/dec"),
)
case(
    "cachedec-new",
    "route-run = cachedec:key=cdn,value=3\nroute-run = cachevar:key=cdn,var=A\nroute-run = log:{log}${hex[A]}",
)
case(
    "cachemul-new",
    "route-run = cachemul:key=cmn,value=3\nroute-run = cachevar:key=cmn,var=A\nroute-run = log:{log}${hex[A]}",
)
case("cacheinc-unknown", "route-run = cacheinc:key=a,name=nocache\nroute-run = log:{log}after")
case(
    "incache",
    "route-run = cacheset:key=ic,value=v\nroute-if = incache:key=ic log:{log}in\nroute-if = incache:key=no log:{log}never\n"
    "route-if-not = incache:key=no log:{log}not in\nroute-if = incache:key=ic,name=other log:{log}never\nroute-if = incache:key=${PATH_INFO} log:{log}never",
)

case(
    "cachestore",
    "route-run = cache:key=st-${PATH_INFO}\nroute-run = cachestore:key=st-${PATH_INFO}",
    ask("/1", chunks=["one"]),
    ask("/1", chunks=["other"]),
    ask("/2", chunks=["a", "b", "c"], headers=[["X-App", "1"]]),
    ask("/2"),
    ask("/3", status="404 Not Found"),
    ask("/3", chunks=["again"]),
    ask("/4", chunks=[]),
    ask("/4", chunks=["now"]),
    ask("/5", method="POST", body=b"x"),
    ask("/5", chunks=["other"]),
    ask("/6", chunks=["x"], times=70000),
    ask("/6", chunks=["small"]),
    ask("/1", method="HEAD"),
    ask("/1", method="POST", body=b"abc"),
)
case("cache-store", "route-run = cache-store:key=st2\nfinal-route-if = incache:key=st2 log:{log}stored", ask())
case(
    "cachestore-name",
    "route-run = cache:key=stn,name=other\nroute-run = cachestore:key=stn,name=other",
    ask(chunks=["one"]),
    ask(chunks=["two"]),
)
case("cachestore-unknown", "route-run = cachestore:key=a,name=nocache\nroute-run = log:{log}after")
case(
    "cachestore-expires",
    "route-run = cache:key=ste\nroute-run = cachestore:key=ste,expires=1000",
    ask(chunks=["one"]),
    ask(chunks=["two"]),
    dates=True,
)
case(
    "cache-arguments",
    "route = ^/store cachestore:key=ca\nroute = ^/ct cache:key=ca,content_type=text/odd\nroute = ^/mime cache:key=ca,mime=1\nroute = ^/nocl cache:key=ca,no_content_length=1\n"
    "route = ^/noncl cache:key=ca,nocl=1\nroute = ^/nohead cache:key=ca,no_headers=1\nroute = ^/none cache:key=nope\nroute = ^/name cache:key=ca,name=nocache\n"
    "route-run = log:{log}after",
    ask("/store", chunks=["stored"]),
    ask("/ct"),
    ask("/mime"),
    ask("/nocl"),
    ask("/noncl"),
    ask("/nohead"),
    ask("/none"),
    ask("/name"),
    ask("/ct", method="HEAD"),
)
case(
    "cache-mime",
    "route = \\.html$ cachestore:key=cmi-${PATH_INFO}\nroute-run = cache:key=cmi-${HTTP_X},mime=1",
    ask("/a.html"),
    ask("/b", v={"HTTP_X": "/a.html"}),
)
case(
    "cache-continue",
    "route = ^/store cachestore:key=cc\nroute = ^/get cache-continue:key=cc\nroute-run = log:{log}after",
    ask("/store", chunks=["stored"]),
    ask("/get"),
    ask("/other"),
    differs={1: NOT_ASKED},
)
case(
    "cache-expires-header",
    "route-run = cacheset:key=ceh,value=v,expires=1000\nroute-run = cache:key=ceh",
    ask(),
    dates=True,
)
case(
    "cache-headers",
    "route = ^/store cachestore:key=chd\nroute-run = addheader:X-A: 1\nroute = ^/get cache:key=chd\nresponse-route-run = addheader:X-R: ${uwsgi[status]}",
    ask("/store", chunks=["stored"]),
    ask("/get"),
)
case(
    "cache-group",
    "route-uri = ^/foo/(.*)\\.jpg$ cache:key=$1.jpg\nroute-uri = ^/foo/(.*)\\.jpg$ cachestore:key=$1.jpg",
    ask("/foo/a.jpg", chunks=["pic"]),
    ask("/foo/a.jpg"),
)
case(
    "cache-comma",
    "route-run = cacheset:key=a\\,b,value=c\\,d\nroute-run = cachevar:key=a\\,b,var=A\nroute-run = log:{log}[${A}]",
)
case(
    "cache-final",
    "final-route-run = cacheset:key=cf-${PATH_INFO},value=late\nroute-run = cachevar:key=cf-${PATH_INFO},var=A\nroute-run = log:{log}[${A}]",
    ask("/x"),
    ask("/x"),
)
case(
    "cache-response",
    "response-route-run = cachestore:key=cr\nroute = ^/get cache:key=cr",
    ask("/a", chunks=["stored"]),
    ask("/get"),
)
