"""What only Debian's uWSGI has: xattr, toupper, {SHA} passwords."""

from __future__ import annotations

import base64

from tests.rules.differential.case import Differs, ask, case
from tests.rules.differential.differences import FLUSH, HTPASSWD, goes_on, logged

case(
    "xattr",
    "route-run = addvar:FILE={root}/a.txt\nroute-run = addvar:ATTR=user.oracle\nroute-run = log:{log}[${xattr[{root}/a.txt:user.oracle]}][${xattr[{root}/a.txt:ATTR]}]\n"
    "route-run = log:{log}[${xattr2[FILE:ATTR]}]\nroute-run = log:{log}[${xattr[{root}/a.txt:NOPE]}][${xattr[{root}/nowhere:ATTR]}][${xattr2[NOPE:ATTR]}]",
    group="system",
    differs=logged("xattr[FILE:VARIABLE] works", "[][attribute]", "[attribute]", "[][][]"),
)
BODIES = (
    ask(),
    ask(chunks=[]),
    ask(chunks=["aB", "c\xe9"]),
    ask(headers=[["Content-Length", "5"]]),
    ask(method="HEAD"),
)
case("t-toupper", "route-run = toupper:", *BODIES, group="system")
case("t-toupper-chunked", "route-run = toupper:\nroute-run = chunked:", *BODIES[:3], group="system", framing=True)
case("t-toupper-gzip", "route-run = toupper:\nroute-run = gzip:", *BODIES[:3], group="system", framing=True)
case(
    "t-manual-flush",
    "route-run = toupper:\nroute-run = flush:\nroute-run = tofile:filename={own}/mycache",
    ask(chunks=["a", "b"]),
    ask(chunks=[]),
    group="system",
    differs={0: Differs(FLUSH, answer=lambda real: real.answer.removesuffix(b"AB"))},
)
case(
    "t-toupper-tofile",
    "route = ^/s toupper:\nroute = ^/s tofile:filename={own}/upper\nroute = ^/r file:filename={own}/upper",
    ask("/s", chunks=["a", "b"]),
    ask("/r"),
    group="system",
)


def basic(text: str) -> dict[str, str | bytes]:
    """The Authorization header."""
    return {"HTTP_AUTHORIZATION": "Basic " + base64.b64encode(text.encode()).decode()}


case(
    "basicauth-sha",
    "route-run = basicauth:File Realm,{root}/htpasswd\nroute-run = log:{log}in as ${REMOTE_USER}",
    *(
        ask(v=basic(text))
        for text in (
            "des:secret",
            "des:wrong",
            "sha:secret",
            "sha:wrong",
            "nobody:x",
            "last:secret",
            "des:",
            "md5:secret",
            "bcrypt:secret",
        )
    ),
    group="system",
    differs={5: goes_on(HTPASSWD, "in as last")},
)
case(
    "basicauth-sha-cut",
    "route-run = basicauth:R,{root}/htpasswd-cut\nroute-run = log:{log}in",
    *(ask(v=basic(text)) for text in ("one:secret", "two:secret")),
    group="system",
    differs={1: goes_on(HTPASSWD, "in")},
)
