"""Reading wrk; its scripts; the packet; the application that it all ends at."""

from __future__ import annotations

import pytest

from scripts.bench import app
from scripts.bench.clients import packet
from scripts.bench.processes import BenchError
from scripts.bench.wrk import many_hosts, parse_wrk, posts
from uwsgirouter.protocol.packet import HEADER_SIZE, decode_header, decode_vars

GOOD = """\
Running 4s test @ http://127.0.0.1:8080/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     4.14ms    1.02ms  21.67ms   90.55%
    Req/Sec     7.79k   412.20     8.41k    85.00%
  Latency Distribution
     50%    3.88ms
     75%    4.10ms
     90%    4.90ms
     99%    9.25ms
  31012 requests in 4.00s, 5.06MB read
Requests/sec:   7745.21
Transfer/sec:      1.26MB
"""

BAD = """\
Running 1m test @ http://127.0.0.1:8080/
  120 requests in 1.50m, 10.00KB read
  Socket errors: connect 3, read 0, write 0, timeout 2
  Non-2xx or 3xx responses: 7
Requests/sec:      1.33
"""


def test_wrk_totals_without_failures() -> None:
    result = parse_wrk(GOOD)
    assert (result.requests, result.seconds, result.failures) == (31012, 4.0, {})
    assert result.slowest == pytest.approx(0.00925)


def test_wrk_failures_are_counted_by_kind() -> None:
    result = parse_wrk(BAD)
    assert result.requests == 120
    assert result.seconds == 90.0
    assert result.failures == {"connect": 3, "timeout": 2, "status": 7}
    assert result.slowest is None


@pytest.mark.parametrize("text", ["", "unable to connect to 127.0.0.1:1 Connection refused\n", GOOD[:200]])
def test_wrk_without_totals_is_an_error(text: str) -> None:
    with pytest.raises(BenchError, match="no totals"):
        parse_wrk(text)


def test_scripts_name_every_host_and_the_size() -> None:
    script = many_hosts(["a.example", "b.example"])
    assert 'local hosts = {"a.example", "b.example"}' in script
    assert 'string.rep("x", 65536)' in posts(65536)


def test_the_packet_is_one() -> None:
    data = packet()
    assert decode_header(data[:HEADER_SIZE]) == (0, len(data) - HEADER_SIZE, 0)
    variables = dict(decode_vars(data))
    assert variables[b"REQUEST_METHOD"] == b"GET"
    assert variables[b"HTTP_HOST"] == b"bench.example"
    assert b"SERVER_PROTOCOL" in variables


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (3 << 20) + 5])
def test_the_application_sends_the_length_it_says(size: int) -> None:
    answers: list[tuple[str, list[tuple[str, str]]]] = []
    body = app.application(
        {"PATH_INFO": f"/bytes/{size}", "REQUEST_METHOD": "GET"},
        lambda status, headers: answers.append((status, headers)),
    )
    assert sum(map(len, body)) == size
    assert answers == [("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(size))])]
