"""Parts of files: the group has ``honour-range = true``."""

from __future__ import annotations

from tests.rules.differential.case import Differs, ask, case

RANGES = (
    "bytes=0-3",
    "bytes=4-",
    "bytes=-3",
    "bytes=0-0",
    "bytes=9-9",
    "bytes=9-",
    "bytes=10-",
    "bytes=100-200",
    "bytes=0-100",
    "bytes=5-2",
    "bytes=0-3,5-6",
    "bytes=",
    "bytes=a-b",
    "junk",
    "",
    "bytes=-0",
    "bytes=-100",
    "bytes= 0-3",
    "BYTES=0-3",
    "items=0-3",
)
WHOLE_FILE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n"
    b"Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\ntext of a\n"
)
NO_PART = b"HTTP/1.1 416 Requested Range Not Satisfiable\r\nContent-Range: bytes */%d\r\n\r\n"
case(
    "range-static",
    "route-run = static:{root}/a.txt",
    *(ask(v={"HTTP_RANGE": wanted}) for wanted in RANGES),
    ask(v={"HTTP_RANGE": "bytes=0-3"}, method="HEAD"),
    ask(v={"HTTP_RANGE": "bytes=0-3", "HTTP_IF_RANGE": "Tue, 14 Nov 2023 22:13:20 GMT"}),
    ask(v={"HTTP_RANGE": "bytes=0-3", "HTTP_IF_RANGE": "Mon, 13 Nov 2023 22:13:20 GMT"}),
    ask(v={"HTTP_RANGE": "bytes=0-3", "HTTP_IF_MODIFIED_SINCE": "Tue, 14 Nov 2023 22:13:20 GMT"}),
    ask(),
    group="range",
    differs={
        14: Differs("an empty Range is none (416)", answer=WHOLE_FILE),
        16: Differs("the last 100 bytes of 10 are all (the worker dies)", answer=WHOLE_FILE),
        17: Differs("a Range with a blank is a 416 (the worker dies)", answer=NO_PART % 10),
        22: Differs("If-Range is heeded", answer=WHOLE_FILE),
    },
)
case(
    "range-empty",
    "route-run = static:{root}/empty.txt",
    ask(v={"HTTP_RANGE": "bytes=0-3"}),
    ask(v={"HTTP_RANGE": "bytes=-1"}),
    group="range",
    differs=Differs("no part of an empty file can be had: 416", answer=NO_PART % 0),
)
case("range-file", "route-run = file:filename={root}/a.txt", ask(v={"HTTP_RANGE": "bytes=0-3"}), group="range")
case("range-big", "route-run = static:{root}/big.bin", ask(v={"HTTP_RANGE": "bytes=1000-200000"}), group="range")
