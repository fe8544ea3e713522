"""Pages that a real router makes: programs, stylesheets and includes, what each end of them means to a client, and that
nothing of them is left.
"""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.servers import Servers, answer, get, local, wait_until
from tests.servers.client import End
from tests.servers.wire import Reply, Variables, post
from tests.worker.site import Site

RULES = """\
cgi-timeout = 6
cgi-output = 2000000
cgi-processes = 4
service-timeout = 0.5
service-connections = 2
route = ^/zip gzip:
route = ^/(?:zip/)?cgi/([^/]+) cgi:{directory}/$1
route = ^/help/([^/]+) cgihelper:sh {directory}/$1
route = ^/endless xslt:doc={directory}/d.xml,stylesheet={directory}/endless.xsl
route = ^/style/(.*) xslt:doc={directory}/$1,stylesheet={directory}/a.xsl
route = ^/feed toxslt:stylesheet={directory}/a.xsl
route = ^/quick return:204
error-route-status = 502 addheader:X-Seen: yes
"""
SHEET = """\
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:output method="text"/>
<xsl:template match="/">styled <xsl:value-of select="//t"/></xsl:template></xsl:stylesheet>
"""
ENDLESS = """\
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
<xsl:template match="/"><xsl:for-each select="//t"><xsl:for-each select="//t"><xsl:for-each select="//t">
<xsl:for-each select="//t"><xsl:if test="count(//t[. = 'x']) = 1">x</xsl:if></xsl:for-each>
</xsl:for-each></xsl:for-each></xsl:for-each></xsl:template></xsl:stylesheet>
"""
"""Some hours of work for the document of this test."""
PROGRAMS = {
    "echo": "printf 'Status: 201\\nContent-Type: text/x\\nConnection: x\\n\\n'\n"
    "echo $REQUEST_METHOD $CONTENT_LENGTH\nexec cat",
    "fail": "echo on purpose >&2; exit 3",
    "half": "printf 'A: b\\n\\nhalf'; kill -9 $$",
    "forever": "echo $$ >pid.forever; printf 'A: b\\n\\nx'; exec sleep 600",
    "silent": "echo $$ >pid.silent; exec sleep 600",
    "flood": "printf 'A: b\\n\\n'; exec cat /dev/zero",
    "large": "printf 'Content-Length: 1500000\\n\\n'; exec head -c 1500000 /dev/zero",
    "moved": "echo Location: /else; echo",
    "zipped": "printf 'Content-Type: text/plain\\n\\nto be compressed'",
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages")
    for name, script in PROGRAMS.items():
        (path / name).write_text(f"#!/bin/sh\n{script}\n")
        (path / name).chmod(0o644 if name == "moved" else 0o755)
    (path / "a.xsl").write_text(SHEET)
    (path / "endless.xsl").write_text(ENDLESS)
    (path / "d.xml").write_text("<r>" + "<t>a</t>" * 3000 + "</r>")
    (path / "small.xml").write_text("<r><t>small</t></r>")
    return path


@pytest.fixture(scope="module")
def site(started: Servers, directory: Path) -> Site:
    rules = RULES.format(directory=directory).splitlines()
    return Site(started, "fastrouter-timeout = 30", "no-fd-passing = true", *rules)


@pytest.fixture(autouse=True)
def nothing_left(site: Site) -> Iterator[None]:
    before = set(_programs(site))
    yield
    wait_until(lambda: set(_programs(site)) <= before, 20, "its programs are gone")


def _programs(site: Site) -> list[int]:
    return [child.pid for child in psutil.Process(site.worker).children(recursive=True)]


def ask(site: Site, path: str, method: str = "GET", body: bytes = b"", key: str = "any.example") -> Reply:
    variables: Variables = post(key, len(body), path) if body else get(key, path, method)
    with site.servers.client(site.tcp) as client:
        client.send_packet(variables, body)
        return client.reply()


def cut(site: Site, path: str) -> tuple[bytes, End]:
    with site.servers.client(site.tcp) as client:
        client.send_packet(get("any.example", path))
        return client.read_all(20)


def cause(reply: Reply) -> tuple[int, str | None]:
    return reply.status, reply.header("x-uwsgirouter-cause")


def test_a_program_answers(site: Site) -> None:
    reply = ask(site, "/cgi/echo")
    assert (reply.status, reply.body) == (201, b"GET\n")
    assert reply.header("content-type") == "text/x"
    assert reply.header("transfer-encoding") is None and reply.header("connection") is None
    assert ask(site, "/help/moved").header("location") == "/else"
    assert ask(site, "/cgi/moved").status == 403
    assert ask(site, "/cgi/none").status == 404


def test_it_gets_the_body(site: Site) -> None:
    body = os.urandom(1_000_000)
    assert ask(site, "/cgi/echo", body=body).body == b"POST 1000000\n" + body


def test_its_answer_is_transformed(site: Site) -> None:
    reply = ask(site, "/zip/cgi/zipped")
    assert gzip.decompress(reply.body) == b"to be compressed"


def test_a_large_answer(site: Site) -> None:
    assert len(ask(site, "/cgi/large").body) == 1_500_000
    assert ask(site, "/cgi/zipped", method="HEAD").body == b""


def test_one_that_fails(site: Site) -> None:
    reply = ask(site, "/cgi/fail")
    assert cause(reply) == (502, "cgi-failed")
    assert reply.header("x-seen") == "yes"
    wait_until(lambda: "fail: on purpose" in site.router.log(), 10, "its error is logged")
    assert "it ended with status 3 without an answer" in site.router.log()


def test_half_an_answer_is_cut(site: Site) -> None:
    assert cut(site, "/cgi/half")[1] is End.RESET
    wait_until(lambda: "it was killed by signal 9 in the middle" in site.router.log(), 10, "it is logged")
    data, end = cut(site, "/cgi/flood")
    assert end is End.RESET and len(data) < 2_100_000


def test_time_is_bounded(site: Site) -> None:
    with ThreadPoolExecutor(2) as pool:
        silent, forever = pool.submit(ask, site, "/cgi/silent"), pool.submit(cut, site, "/cgi/forever")
        assert ask(site, "/quick").status == 204
        assert cause(silent.result()) == (504, "cgi-timeout")
        assert forever.result()[1] is End.RESET


def test_clients_that_go_end_it(site: Site, directory: Path) -> None:
    """They close their connections, as web servers do; to TCP that is only the end of their direction."""
    pids = [directory / f"pid.{name}" for name in ("silent", "forever")]
    began = time.monotonic()
    for pid in pids:
        pid.unlink(missing_ok=True)
        with site.servers.client(site.tcp) as client:
            client.send_packet(get("any.example", f"/cgi/{pid.suffix[1:]}"))
            wait_until(lambda pid=pid: pid.exists() and pid.read_text().endswith("\n"), 20, "it runs")  # type: ignore[misc]
    wait_until(lambda: not any(psutil.pid_exists(int(pid.read_text())) for pid in pids), 20, "they are gone")
    assert time.monotonic() - began < 20
    wait_until(lambda: "its client has ended" in site.router.log(), 20, "it is logged")


def test_more_than_may_run_wait_for_their_turn(site: Site) -> None:
    with ThreadPoolExecutor(12) as pool:
        assert {reply.status for reply in pool.map(lambda _: ask(site, "/cgi/echo"), range(24))} == {201}


def test_nothing_is_left(site: Site) -> None:
    paths = ["/cgi/echo", "/cgi/fail", "/cgi/zipped", "/style/small.xml"]
    for path in paths:
        ask(site, path)
    wait_until(lambda: not _programs(site), 20, "all programs are gone")
    before = site.descriptors()
    for turn in range(80):
        ask(site, paths[turn % 4])
    wait_until(lambda: not _programs(site) and site.descriptors() <= before, 20, "all of them are closed")


def test_a_stylesheet(site: Site) -> None:
    assert ask(site, "/style/small.xml").body == b"styled small"
    key, _ = site.serve(answer(b"<r><t>app</t></r>"))
    reply = ask(site, "/feed", key=key)
    assert (reply.status, reply.body, reply.header("content-type")) == (200, b"styled app", "text/html")


def test_a_stylesheet_without_an_end_holds_up_nobody(site: Site) -> None:
    """Last of all: its threads go on."""
    with ThreadPoolExecutor(3) as pool:
        endless = [pool.submit(ask, site, "/endless") for _ in range(3)]
        for _ in range(10):
            assert ask(site, "/quick").status == 204
            assert ask(site, "/style/small.xml").status == 200
        causes = {cause(one.result()) for one in endless}
    assert causes <= {(502, "service-failed"), (503, "service-busy")} and (502, "service-failed") in causes


def test_the_file_of_the_docs(started: Servers, project: Path) -> None:
    """conf/routing/pages.ini, as it is but for its addresses and directory."""
    node = started.node(answer((project / "conf" / "routing" / "pages" / "news.xml").read_bytes()))
    config = (project / "conf" / "routing" / "pages.ini").read_text()
    router = local()
    config = config.replace("127.0.0.1:3017", router).replace("127.0.0.1:3031", node.address)
    config = config.replace("pages/", f"{project}/conf/routing/pages/")
    started.router(config=config)

    def body(path: str) -> bytes:
        with started.client(router) as client:
            client.send_packet(get("any.example", path))
            reply = client.reply()
        assert reply.status in (200, 302), reply
        return reply.body

    assert b"<title>Today</title>" in body("/news")
    assert b"<title>News</title>" in body("/feed")
    assert b"<p>from this machine</p>" in body("/") and b"<footer>the end</footer>" in body("/")
    assert body("/cgi-bin/hello.cgi/x") == b"hello from /cgi-bin/hello.cgi, path /x\n"
    assert body("/moved") == b""
