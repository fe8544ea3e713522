"""Rules that answer with a file: which files, which part, which head; and no descriptor is left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.rules.made import Playground, PlayHost, Reply
from uwsgirouter.errors import ConfigError
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.mime import mime_types
from uwsgirouter.rules.ranges import Part, part
from uwsgirouter.settings.settings import Settings

THEN = 1_700_000_000
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    before = sorted(os.listdir("/proc/self/fd"))
    yield
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "dir").mkdir()
    (tmp_path / "a.txt").write_text("hello world\n")
    (tmp_path / "empty").write_text("")
    (tmp_path / "dir" / "b.html").write_text("<p>")
    (tmp_path / "link.txt").symlink_to("a.txt")
    (tmp_path / "linked").symlink_to("dir")
    (tmp_path / "outside").mkdir()
    (tmp_path / "secret").write_text("secret")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "types").write_text("# types\ntext/plain  txt text\ntext/html html # more\n\n")
    for path in (tmp_path / "a.txt", tmp_path / "dir" / "b.html"):
        os.utime(path, (THEN, THEN))
    return tmp_path


def static(tree: Path, path: str, *more: str, name: str = "static", **headers: str) -> Reply:
    rules = "\n".join([f"route = ^/(.*) {name}:{tree}/$1", f"mime-file = {tree}/types", *more])
    return Playground(rules).get(f"/{path}", {key.replace("_", "-"): value for key, value in headers.items()})


def file(tree: Path, arguments: str, path: str = "/a.txt", **variables: str) -> Reply:
    return Playground(f"route = ^/(.*) {arguments.replace('DIR', str(tree))}").get(path, **variables)


def test_static(tree: Path) -> None:
    reply = static(tree, "a.txt")
    assert reply.head.decode() == (
        f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\nLast-Modified: {DATE}"
    )
    assert reply.body == b"hello world\n"
    assert not reply.asked


def test_static_without_a_known_type(tree: Path) -> None:
    assert static(tree, "empty").header("Content-Type") is None
    assert static(tree, "empty").header("Content-Length") == "0"


def test_a_head_request_gets_the_head(tree: Path) -> None:
    reply = Playground(f"route-run = static:{tree}/a.txt").get("/", REQUEST_METHOD="HEAD")
    assert reply.header("Content-Length") == "12"
    assert reply.body == b""


@pytest.mark.parametrize(
    "path", ["zz", "dir", "link.txt", "linked/b.html", "dir/../a.txt", "../secret", "pipe", "", "a.txt/", "a\0.txt"]
)
def test_what_static_does_not_send(tree: Path, path: str) -> None:
    reply = static(tree, path)
    assert reply.exchange.cause is Cause.NO_FILE
    assert b"hello" not in reply.raw and b"secret" not in reply.raw
    assert not reply.asked


def test_static_is_for_get_and_head(tree: Path) -> None:
    play = Playground(f"route-run = static:{tree}/a.txt")
    assert play.get("/", REQUEST_METHOD="POST").exchange.cause is Cause.NO_FILE


def test_static_next_goes_on(tree: Path) -> None:
    missing = static(tree, "zz", name="static-next")
    assert missing.asked and missing.body == b"hello"
    there = static(tree, "a.txt", name="static-next")
    assert there.body == b"hello world\n"


@pytest.mark.parametrize(
    ("header", "status"),
    [(DATE, 304), ("Wed, 15 Nov 2023 00:00:00 GMT", 304), ("Mon, 13 Nov 2023 00:00:00 GMT", 200), ("junk", 200)],
)
def test_if_modified_since(tree: Path, header: str, status: int) -> None:
    reply = static(tree, "a.txt", If_Modified_Since=header)
    assert reply.status == status
    assert (reply.headers == []) == (status == 304)
    assert (reply.body == b"") == (status == 304)


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-3", (0, 4)),
        ("bytes=5-", (5, 12)),
        ("bytes=5-99", (5, 12)),
        ("bytes=-4", (8, 12)),
        ("bytes=-99", (0, 12)),
        ("bytes=0-11", (0, 12)),
        ("bytes=11-", (11, 12)),
        ("bytes=0-3,5-6", (0, 4)),
        ("bytes=12-", None),
        ("bytes=3-1", None),
        ("bytes=-0", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("chars=0-1", None),
        ("bytes", None),
        ("bytes=0-" + "9" * 30, None),
    ],
)
def test_ranges(tree: Path, header: str, span: tuple[int, int] | None) -> None:
    assert part(header.encode(), 12) == (None if span is None else Part(*span))
    reply = static(tree, "a.txt", "honour-range = true", Range=header)
    if span is None:
        assert (reply.status, reply.body) == (416, b"")
        assert reply.header("Content-Range") == "bytes */12"
    elif span == (0, 12):
        assert (reply.status, reply.header("Content-Range")) == (200, None)
    else:
        assert (reply.status, reply.body) == (206, b"hello world\n"[slice(*span)])
        assert reply.header("Content-Range") == f"bytes {span[0]}-{span[1] - 1}/12"
        assert reply.header("Content-Length") == str(span[1] - span[0])


def test_ranges_are_heeded_when_asked_for_only(tree: Path) -> None:
    assert static(tree, "a.txt", Range="bytes=0-3").status == 200


@pytest.mark.parametrize(("header", "status"), [(DATE, 206), ('"abc"', 200), (formatdate(THEN + 5, usegmt=True), 200)])
def test_if_range(tree: Path, header: str, status: int) -> None:
    assert static(tree, "a.txt", "honour-range = true", Range="bytes=0-3", If_Range=header).status == status


@pytest.mark.parametrize("name", ["file", "sendfile", "fastfile"])
def test_file(tree: Path, name: str) -> None:
    reply = file(tree, f"{name}:filename=DIR/$1")
    assert reply.raw == b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Type: text/html\r\n\r\nhello world\n"
    assert file(tree, f"{name}:filename=DIR/$1", "/link.txt").body == b"hello world\n"
    assert file(tree, f"{name}:filename=DIR/$1", "/empty").header("Content-Length") == "0"


@pytest.mark.parametrize("name", ["file", "sendfile", "fastfile"])
@pytest.mark.parametrize("path", ["/zz", "/dir", "/pipe", "/x/../a.txt", "/../../etc/passwd"])
def test_what_file_does_not_send(tree: Path, name: str, path: str) -> None:
    assert file(tree, f"{name}:filename=DIR/$1", path).exchange.cause is Cause.NO_FILE
    assert file(tree, f"{name}-next:filename=DIR/$1", path).body == b"hello"


def test_the_arguments_of_file(tree: Path) -> None:
    reply = file(tree, "file:filename=DIR/$1,status=503 Later,content_type=text/x\\,y,nocl=1")
    assert reply.raw == b"HTTP/1.1 503 Later\r\nContent-Type: text/x,y\r\n\r\nhello world\n"
    assert file(tree, "file:filename=DIR/$1,code=404").status == 404
    assert file(tree, "file:filename=DIR/$1,mime=1").header("Content-Type") == "text/plain"
    assert file(tree, "file:filename=DIR/$1,no_headers=1").raw == b"hello world\n"
    assert file(tree, "file:filename=DIR/$1", REQUEST_METHOD="POST").status == 200


def test_chdir_is_where_names_start(tree: Path) -> None:
    for action in ("static:a.txt", "file:filename=a.txt"):
        play = Playground(f"route-run = chdir:{tree}\nroute-run = {action}")
        assert play.get().body == b"hello world\n"


def test_a_file_goes_through_transformations_and_sendfile_does_not(tree: Path) -> None:
    rules = "route-run = chunked:\nroute-run = {}:filename={}/a.txt"
    assert Playground(rules.format("file", tree)).get().body == b"C\r\nhello world\n\r\n0\r\n\r\n"
    assert Playground(rules.format("sendfile", tree)).get().body == b"hello world\n"


def test_a_second_answer_sends_nothing_and_leaks_nothing(tree: Path) -> None:
    host = PlayHost(functions={b"f": lambda: b"first"})
    play = Playground(f"route-run = rpcnext:f\nroute-run = file:filename={tree}/a.txt", host)
    assert play.get().body == b"first"
    play = Playground(f"route-run = rpcnext:f\nroute-run = static:{tree}/a.txt", host)
    assert play.get().body == b"first"


def test_types_of_files(tree: Path) -> None:
    types = mime_types(Settings.of(mime_file=str(tree / "types")))
    for name, known in (
        (b"/x.txt", b"text/plain"),
        (b"x.TXT", b""),
        (b"a.b/txt", b""),
        (b"txt", b""),
        (b"x.txt?y", b""),
    ):
        assert types.of(name) == known
    assert mime_types(Settings.of()).of(b"x.png") == b"image/png"


def test_changed_types_are_read_again(tree: Path) -> None:
    settings = Settings.of(mime_file=str(tree / "types"))
    assert mime_types(settings).of(b"x.new") == b""
    (tree / "types").write_text("x/new new\n")
    assert mime_types(settings).of(b"x.new") == b"x/new"


def test_a_file_of_types_that_is_not_there(tree: Path) -> None:
    with pytest.raises(ConfigError, match=r"mime-file = /nowhere: cannot be read"):
        Playground("mime-file = /nowhere\nroute-run = static:/x")


def test_a_missing_filename() -> None:
    with pytest.raises(ConfigError, match="filename= is missing"):
        Playground("route-run = file:/etc/motd")
