"""gridfs on pymongo and a server that speaks MongoDB's protocol (not MongoDB itself, which no registry carries)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import gridfs
import pymongo
import pytest

from tests.rules.made import Playground
from tests.servers import Servers, free_port
from tests.servers.services import Nx27017
from uwsgirouter.rules.actions import gridfs as module

BIG = bytes(range(256)) * 10_000


@pytest.fixture(scope="module")
def server() -> Iterator[Nx27017]:
    servers = Servers()
    try:
        daemon = servers.daemon(Nx27017)
        client: Any = pymongo.MongoClient(daemon.address, directConnection=True)
        with client:
            files = gridfs.GridFS(client["site"])
            files.put(b"old", filename="a.txt")
            files.put(b"<p>new</p>", filename="a.txt")
            files.put(BIG, filename="big.bin")
            files.put(b"", filename="/empty")
            gridfs.GridFS(client["site"], "other").put(b"other", filename='x"y.css')
        yield daemon
    finally:
        servers.close()


def play(server: Nx27017, more: str = "", item: str = "$1") -> Playground:
    return Playground(f"route = ^/(.*)$ gridfs:server={server.address},db=site,itemname={item}{more}")


def test_the_newest_file_of_a_name(server: Nx27017) -> None:
    reply = play(server).get("/a.txt")
    assert (reply.status, reply.body, reply.asked) == (200, b"<p>new</p>", False)
    assert (reply.header("Content-Type"), reply.header("Content-Length")) == ("text/plain", "10")


def test_a_large_one(server: Nx27017) -> None:
    reply = play(server).get("/big.bin")
    assert reply.body == BIG and reply.header("Content-Length") == str(len(BIG))


def test_an_empty_one_and_head(server: Nx27017) -> None:
    reply = play(server, item="/$1").get("/empty")
    assert (reply.status, reply.body, reply.header("Content-Length")) == (200, b"", "0")
    reply = play(server).get("/a.txt", REQUEST_METHOD="HEAD")
    assert (reply.status, reply.body, reply.header("Content-Length")) == (200, b"", "10")


@pytest.mark.parametrize("path", ["/none", "/", "/%ff"])
def test_what_is_not_there(server: Nx27017, path: str) -> None:
    assert play(server).get(path, PATH_INFO="/\xff" if "ff" in path else path).status == 404


def test_arguments(server: Nx27017) -> None:
    reply = play(server, ",bucket=other,no_mime=1,orig_filename=1,etag=1").get('/x"y.css')
    assert reply.header("Content-Type") is None
    assert reply.header("Content-Disposition") == 'inline; filename="x\\"y.css"'
    tag = reply.header("ETag")
    assert tag and len(tag) > 10
    again = play(server, ",bucket=other,etag=1").get('/x"y.css', {"If-None-Match": tag})
    assert (again.status, again.body) == (304, b"")
    assert play(server, ",skip_slash=1,prefix=a", item="/.txt").get("/").body == b"<p>new</p>"


def test_a_server_that_is_not_there() -> None:
    made = Playground(f"route-run = gridfs:server=127.0.0.1:{free_port()},db=site,itemname=a")
    reply = made.get("/")
    assert (reply.status, reply.header("X-Uwsgirouter-Cause")) == (502, "service-failed")


@pytest.mark.parametrize("argument", ["itemname=a", "db=d", "db=d,itemname=a,server=a:b:c", ""])
def test_arguments_that_refuse_the_start(argument: str) -> None:
    with pytest.raises(Exception, match="gridfs"):
        Playground(f"route-run = gridfs:{argument}")


def test_what_mongodb_tells_of_a_file(monkeypatch: pytest.MonkeyPatch, server: Nx27017) -> None:
    """The server of these tests tells no date and no digest."""

    class Grown(gridfs.GridOut):
        upload_date = datetime(2023, 11, 14, 22, 13, 20)  # type: ignore[assignment]

    get = gridfs.GridFS.get_last_version

    def grown(self: gridfs.GridFS, name: str) -> Any:
        found = get(self, name)
        found.__class__ = Grown
        return found

    monkeypatch.setattr(gridfs.GridFS, "get_last_version", grown)
    monkeypatch.setattr(module._Store, "_digest", lambda *arguments: "5d41402abc4b2a76b9719d911017c592")
    reply = play(server, ",md5=1,etag=1").get("/a.txt")
    assert reply.header("Last-Modified") == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert reply.header("Content-MD5") == "XUFAKrxLKna5cZ2REBfFkg=="
    assert reply.header("ETag") == '"5d41402abc4b2a76b9719d911017c592"'


def test_a_file_that_goes_while_it_is_read(monkeypatch: pytest.MonkeyPatch, server: Nx27017) -> None:
    monkeypatch.setattr(module._Store, "read", lambda *arguments: b"")
    reply = play(server).get("/big.bin")
    assert reply.status == 502 and any("ended early" in line for line in reply.log)


def test_pymongo_is_imported_when_a_rule_names_it() -> None:
    code = "import sys; from uwsgirouter.rules import parts; parts.load(); print('pymongo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


def test_without_the_extra_the_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymongo", None)
    with pytest.raises(Exception, match=r"pip install 'uwsgirouter\[gridfs\]'"):
        Playground("route-run = gridfs:db=d,itemname=a")
