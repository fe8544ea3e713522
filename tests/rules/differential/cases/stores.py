"""memcached and Redis: the same rules for both."""

from __future__ import annotations

from functools import partial

from tests.rules.differential.case import Ask, Differs, ask
from tests.rules.differential.case import case as any_case
from tests.rules.differential.differences import NOT_ASKED, STORE_AWAY

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
AWAY = Differs(STORE_AWAY, cause="service-failed", asked=False, log=[])
case = partial(any_case, group="stores")


def stored(name: str) -> None:
    """What is kept, and what is answered of it."""
    at = f"addr={{{name}}}"
    bodies: list[Ask] = [
        ask("/1", chunks=["one"]),
        ask("/2", chunks=["a", "b", "c"], headers=[["X-App", "1"]]),
        ask("/3", status="404 Not Found"),
        ask("/4", chunks=[]),
        ask("/5", method="POST", body=b"x"),
        ask("/6", chunks=["x"], times=70000),
        ask("/7", chunks=["two\r\nlines\r\nEND\r\n"]),
        ask("/8", chunks=["\x00\xff"]),
        ask("/9", status="206 Partial Content", chunks=["part"]),
        ask("/10", writes=True, chunks=["written"]),
    ]
    kept = [1, 2, 5, 6, 7, 8, 10]
    case(
        f"{name}-store",
        f"route-run = {name}:{at},key=st-${{PATH_INFO}}\nroute-run = {name}store:{at},key=st-${{PATH_INFO}}\n"
        "route-run = log:{log}after",
        *bodies,
        *(ask(f"/{number}", kept=f"{name}:st-/{number}") for number in kept),
        ask("/1", method="HEAD"),
        ask("/1", method="POST", body=b"abc"),
        *(ask(f"/{number}", chunks=["other"]) for number in (3, 4, 9)),
    )
    case(
        f"{name}-store-alias",
        f"route = ^/get {name}:{at},key=alias\nroute = ^/store {name}-store:{at},key=alias,expires=1000",
        ask("/store", chunks=["kept"]),
        ask("/get", kept=f"{name}:alias"),
    )
    case(
        f"{name}-store-late",
        f"response-route = ^/put {name}store:{at},key=late-${{PATH_INFO}}\n"
        f"route = ^/put {name}:{at},key=late-${{PATH_INFO}}",
        ask("/put/1", chunks=["stored"]),
        ask("/put/1", kept=f"{name}:late-/put/1"),
    )
    case(
        f"{name}-store-gzip",
        f"route = ^/put gzip:\nroute = ^/put {name}store:{at},key=zipped\nroute = ^/get {name}:{at},key=zipped",
        ask("/put", chunks=["stored"]),
        framing=True,
    )


def answered(name: str) -> None:
    """The forms of an answer."""
    at = f"addr={{{name}}}"
    case(
        f"{name}-arguments",
        f"route = ^/store {name}store:{at},key=args.txt\nroute = ^/ct {name}:{at},key=args.txt,content_type=text/odd\n"
        f"route = ^/empty {name}:{at},key=args.txt,content_type=\nroute = ^/off {name}:{at},key=args.txt,no_offload=1\n"
        f"route = ^/odd {name}:{at},key=args.txt,odd=1\nroute = ^/full {name}:{at},key=args.txt,type=full\n"
        f"route = ^/body {name}:{at},key=args.txt,type=body\nroute = ^/none {name}:{at},key=nope\n"
        f"route = ^/none {name}:{at},key=${{NOPE}}\nroute-run = log:{{log}}after",
        ask("/store", chunks=["stored"]),
        ask("/ct", kept=f"{name}:args.txt"),
        ask("/empty"),
        ask("/off"),
        ask("/odd"),
        ask("/full"),
        ask("/body"),
        ask("/none"),
        ask("/ct", method="HEAD"),
        differs={2: Differs("an empty content_type= is text/html", answer=HEAD + b"Content-Length: 6\r\n\r\nstored")},
    )
    ours = {
        "nocl,no_content_length=1": HEAD + b"\r\nstored",
        "status,status=404": HEAD.replace(b"200 OK", b"404 Not Found") + b"Content-Length: 6\r\n\r\nstored",
        "mime,mime=1": HEAD.replace(b"html", b"plain") + b"Content-Length: 6\r\n\r\nstored",
        "encoding,content_encoding=gzip": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 6\r\n\r\nstored",
    }
    lines = [f"route = ^/{path} {name}:{at},key=more.txt,{form}" for path, form in (way.split(",") for way in ours)]
    case(
        f"{name}-more-arguments",
        "\n".join([f"route = ^/store {name}store:{at},key=more.txt", *lines]),
        ask("/store", chunks=["stored"]),
        *(ask(f"/{way.partition(',')[0]}", kept=f"{name}:more.txt") for way in ours),
        differs={
            number: Differs("more arguments have a meaning", answer=answer)
            for number, answer in enumerate(ours.values(), 1)
        },
    )
    case(
        f"{name}-continue",
        f"route = ^/store {name}store:{at},key=cont\nroute = ^/get {name}-continue:{at},key=cont\n"
        f"route = ^/no {name}-continue:{at},key=none\nroute-run = log:{{log}}after",
        ask("/store", chunks=["stored"]),
        ask("/get", kept=f"{name}:cont"),
        ask("/no"),
        differs={1: NOT_ASKED},
    )
    case(
        f"{name}-chains",
        f"route = ^/store {name}store:{at},key=chains\nroute-run = addheader:X-A: 1\n"
        f"route = ^/get {name}:{at},key=chains\nresponse-route-run = addheader:X-R: ${{uwsgi[status]}}\n"
        f"error-route-status = 404 {name}:{at},key=chains",
        ask("/store", chunks=["stored"]),
        ask("/get", kept=f"{name}:chains"),
    )


def away(name: str, other: str) -> None:
    """Nobody is there, or somebody else."""
    case(
        f"{name}-dead",
        f"route = ^/get {name}:addr={{dead}},key=k\nroute = ^/go {name}-continue:addr={{dead}},key=k\n"
        f"route = ^/store {name}store:addr={{dead}},key=k\nroute-run = log:{{log}}after",
        ask("/store"),
        ask("/go"),
        ask("/get"),
        differs={2: AWAY},
    )
    case(
        f"{name}-other-protocol",
        f"route = ^/get {name}:addr={other},key=k\nroute = ^/go {name}-continue:addr={other},key=k\n"
        "route-run = log:{log}after",
        ask("/go"),
        ask("/get"),
        differs={1: AWAY},
    )
    case(
        f"{name}-where",
        f"route = ^/store {name}store:addr=${{HTTP_X}},key=where\nroute = ^/get {name}:addr=${{HTTP_X}},key=where\n"
        "route-run = log:{log}after",
        ask("/store", v={"HTTP_X": f"{{{name}}}"}, chunks=["kept"]),
        ask("/get", v={"HTTP_X": f"{{{name}}}"}, kept=f"{name}:where"),
        ask("/get", v={"HTTP_X": ""}),
        ask("/get", v={"HTTP_X": "{dead}"}),
        differs=dict.fromkeys((2, 3), AWAY),
    )


for kind, neighbour in (("memcached", "{redis}"), ("redis", "{memcached}")):
    stored(kind)
    answered(kind)
    away(kind, neighbour)

case(
    "redis-keys",
    "route = ^/put redisstore:addr={redis},key=${HTTP_X}\nroute = ^/get redis:addr={redis},key=${HTTP_X}",
    ask("/put", v={"HTTP_X": "with space"}, chunks=["one"]),
    ask("/get", v={"HTTP_X": "with space"}, kept="redis:with space"),
    differs={
        1: Differs(
            "a Redis key may be any bytes (uWSGI's `redis:` finds none with a space)",
            answer=HEAD + b"Content-Length: 3\r\n\r\none",
            asked=False,
            log=[],
        )
    },
)
