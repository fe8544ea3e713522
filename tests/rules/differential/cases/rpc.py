"""Functions."""

from __future__ import annotations

from tests.rules.differential.case import ask, case
from tests.rules.differential.differences import NOT_ASKED

case("rpc", "route = ^/(.*) rpc:hello $1 ${HTTP_HOST}\nroute-run = log:{log}never", ask("/a"), ask("/a", method="HEAD"))
case(
    "rpc-header",
    "route = ^/foo addheader:Content-Type: text/html\nroute = ^/foo rpc:hello ${REQUEST_URI} ${HTTP_USER_AGENT}",
    ask("/foo?x", v={"HTTP_USER_AGENT": "a b"}),
    ask("/foo"),
)
case("rpc-none", "route-run = rpc:hello")
case("rpc-spaces", "route-run = rpc:hello  a   b ")
case("rpc-unknown", "route-run = rpc:nofunction a\nroute-run = log:{log}never")
case("rpc-empty", "route-run = rpc:nothing\nroute-run = log:{log}never")
case("rpc-raises", "route-run = rpc:breaks\nroute-run = log:{log}never")
case("call", "route-run = call:hello a\nroute-run = log:{log}never")
for name in ("rpcnext", "rpcblob", "rpcraw"):
    case(
        name,
        f"route-run = {name}:hello a\nroute-run = log:{{log}}after",
        ask(),
        ask(chunks=[]),
        differs=None if name == "rpcraw" else NOT_ASKED,
    )
    case(f"{name}-empty", f"route-run = {name}:nothing\nroute-run = log:{{log}}after")
    case(f"{name}-unknown", f"route-run = {name}:nofunction\nroute-run = log:{{log}}after")
    case(f"{name}-break", f"route-run = {name}:hello a\nroute-run = break:")
case("rpcvar", "route-run = rpcvar:GOT hello ${PATH_INFO} b\nroute-run = log:{log}[${GOT}]", ask("/x"))
case("rpcvar-empty", "route-run = rpcvar:GOT nothing\nroute-run = log:{log}[${GOT}]")
case("rpcvar-unknown", "route-run = rpcvar:GOT nofunction\nroute-run = log:{log}[${GOT}]")
for text in (
    "next",
    "continue",
    "break",
    "break 404 Not Found",
    "goto rpc-there",
    "goto nowhere",
    "other",
    "NEXT",
    "",
    "break 4",
    "goto",
):
    name = "rpcret-" + (text.replace(" ", "-") or "empty")
    case(
        name,
        f"route-run = rpcret:verdict {text}\nroute-run = log:{{log}}after\nroute-run = last:\nroute-label = {name}-x\n"
        "route-label = rpc-there\nroute-run = log:{log}there"
        if text != "goto rpc-there"
        else "route-run = rpcret:verdict goto rpcret-place\nroute-run = log:{log}after\nroute-run = last:\nroute-label = rpcret-place\nroute-run = log:{log}there",
    )
case("rpcret-unknown", "route-run = rpcret:nofunction\nroute-run = log:{log}after")
case("rpc-remote", "route-run = rpc:hello@{upstream} a ${PATH_INFO}", ask("/x"))
case("rpc-remote-dead", "route-run = rpc:hello@{dead} a")
case("rpcvar-remote", "route-run = rpcvar:GOT hello@{upstream} a\nroute-run = log:{log}[${GOT}]")
