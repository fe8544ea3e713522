"""The access log beside the log of a real uWSGI that serves the same requests: what means the same is the same."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.servers import Servers, local, wait_until
from tests.servers.wire import get, post

SAME = (
    "uri method user addr host proto uagent referer status size rsize hsize headers cl vars pktsize modifier1 "
    "modifier2 var.QUERY_STRING var.NONE nobody"
)
LINE = "LINE " + "|".join(f"%({name})" for name in SAME.split()) + "|100% %%(method) (%(uri)) ()"
APP = """
def application(environ, start_response):
    body = environ["wsgi.input"].read()
    status = environ["PATH_INFO"].strip("/").replace("-", " ") or "200 OK"
    start_response(status, [("Content-Type", "text/plain"), ("X-Mark", "a"), ("X-Mark", "b")])
    return [b"hello ", body]
"""
REQUESTS = {
    "plain": (get("a.example", "/"), b""),
    "query": (get("a.example", "/?a=b&c=%20"), b""),
    "other": (get("a.example", "/404-Not-Found", "HEAD"), b""),
    "body": (post("a.example", 10, "/503-Busy"), b"0123456789"),
    "more": (
        get(
            "a.example",
            "/",
            extra=[(b"REMOTE_USER", b"me"), (b"HTTP_USER_AGENT", b"x y"), (b"HTTP_REFERER", b"http://z/")],
        ),
        b"",
    ),
    "id": (get("a.example", "/", extra=[(b"HTTP_X_REQUEST_ID", b"mine")]), b""),
    "twice": (get("a.example", "/", extra=[(b"HTTP_HOST", b"b.example"), (b"HTTP_HOST", b"")]), b""),
}


def lines(text: str) -> list[str]:
    return re.findall(r"^.*?(LINE .*)$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def started() -> Iterator[Servers]:
    """Stopped after the last test."""
    servers = Servers()
    try:
        yield servers
    finally:
        servers.close()


@pytest.fixture(scope="module")
def found(started: Servers) -> dict[str, tuple[str, str]]:
    """By request, uWSGI's line and ours."""
    app = started.directory / "logged.py"
    app.write_text(APP)
    node = started.uwsgi("--uwsgi-socket", local(), "--wsgi-file", str(app), "--logformat", LINE)
    address = local()
    to = ("--fastrouter", address, "--fastrouter-to", node.address)
    router = started.router(*to, "--req-logger", "stdio", "--logformat", LINE)
    pairs: dict[str, tuple[str, str]] = {}
    for count, (name, (variables, body)) in enumerate(REQUESTS.items(), 1):
        client = started.client(address)
        client.send_packet(variables, body)
        client.reply()
        wait_until(
            lambda count=count: min(len(lines(node.log())), len(lines(router.log()))) == count, 20.0, f"lines of {name}"
        )
        pairs[name] = lines(node.log())[-1], lines(router.log())[-1]
    return pairs


@pytest.mark.parametrize("name", REQUESTS)
def test_the_same(found: dict[str, tuple[str, str]], name: str) -> None:
    real, ours = found[name]
    assert ours == real
