"""Server-side includes: each command, what a page may reach, and its bounds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.rules.made import Playground, PlayHost, Reply


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "outside").write_text("secret")
    return tmp_path / "root"


def ask(root: Path, page: str, path: str = "/", name: str = "p.shtml", options: str = "", **variables: str) -> Reply:
    (root / name).write_text(page)
    os.utime(root / name, (1_700_000_000, 1_700_000_000))
    made = Playground(f"{options}\nroute-run = ssi:{root}/{name}", PlayHost())
    return made.get(path, DOCUMENT_ROOT=str(root), **variables)


def filled(root: Path, page: str, path: str = "/", **variables: str) -> str:
    reply = ask(root, page, path, **variables)
    assert reply.status == 200
    assert reply.header("Content-Length") == str(len(reply.body))
    return reply.body.decode()


ERROR = "[an error occurred while processing this directive]"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("plain <!-- comment --> &", "plain <!-- comment --> &"),
        ('<!--#echo var="REQUEST_METHOD" -->', "GET"),
        ('<!--#echo var="REQUEST_METHOD"-->', "GET"),
        ("<!--#echo var=REQUEST_METHOD -->", "GET"),
        ("<!--#echo var='REQUEST_METHOD' var=\"QUERY_STRING\" -->", "GETq=&lt;&amp;"),
        ('<!--#echo encoding="none" var="QUERY_STRING" -->', "q=<&"),
        ('<!--#echo encoding="url" var="QUERY_STRING" -->', "q%3D%3C%26"),
        ('<!--#echo encoding="base64" var="REQUEST_METHOD" -->', "R0VU"),
        ('<!--#echo var="NOPE" -->', "(none)"),
        ('<!--#echo var="NOPE" default="-" -->', "-"),
        ('<!--#config echomsg="?" --><!--#echo var="NOPE" -->', "?"),
        (
            '<!--#set var="a" value="b${REQUEST_METHOD}$QUERY_STRING\\$x" --><!--#echo var="a" encoding="none" -->',
            "bGETq=<&$x",
        ),
        ('<!--#set var="a" value="say \\"x\\"" --><!--#echo var="a" encoding="none" -->', 'say "x"'),
        ('<!--#config timefmt="%Y" --><!--#echo var="DATE_GMT" -->', "2023"),
        ('<!--#config timefmt="%Y" --><!--#echo var="LAST_MODIFIED" -->', "2023"),
        ('<!--#echo var="DOCUMENT_NAME" -->', "p.shtml"),
        ("<!--#bogus -->", ERROR),
        ('<!--#config errmsg="oops" --><!--#bogus -->', "oops"),
        ('<!--#exec cmd="id" -->', ERROR),
        ('<!--#echo var="x -->', ERROR),
        ("<!--#-->", ERROR),
        ('<!--#set value="x" -->', ERROR),
        ('<!--#cache key="k" -->', ""),
    ],
)
def test_commands(root: Path, page: str, expected: str) -> None:
    assert filled(root, page, "/?q=<&") == expected


def test_what_is_put_in_is_not_looked_at_again(root: Path) -> None:
    page = '<!--#echo encoding="none" var="QUERY_STRING" -->'
    assert filled(root, page, "/?<!--#include file='x'-->") == "<!--#include file='x'-->"


@pytest.mark.parametrize(
    ("test", "holds"),
    [
        ("$REQUEST_METHOD", True),
        ("$NOPE", False),
        ("!$NOPE", True),
        ("$REQUEST_METHOD = GET", True),
        ("$REQUEST_METHOD == 'GET'", True),
        ("$REQUEST_METHOD != GET", False),
        ("$REQUEST_METHOD = /^G.T$/", True),
        ("$REQUEST_METHOD != /^P/", True),
        ("a < b", True),
        ("b <= a", False),
        ("a b = 'a b'", True),
        ("$NOPE || $REQUEST_METHOD = GET", True),
        ("$NOPE && $REQUEST_METHOD = GET", False),
        ("($NOPE || a) && !($NOPE)", True),
        ("$QUERY_STRING = '$REQUEST_METHOD'", False),
        ("$QUERY_STRING = 'a&b'", True),
    ],
)
def test_tests(root: Path, test: str, holds: bool) -> None:
    page = f'<!--#if expr="{test}" -->yes<!--#else -->no<!--#endif -->'
    assert filled(root, page, "/?a&b") == ("yes" if holds else "no")


def test_a_value_is_no_part_of_a_test(root: Path) -> None:
    page = "<!--#if expr=\"$QUERY_STRING = 'x'\" -->yes<!--#else -->no<!--#endif -->"
    assert filled(root, page, "/?y'||'x") == "no"


@pytest.mark.parametrize(
    "test", ["", "a =", "= a", "(a", "a)", "a = /(/", "'", "!" * 30 + "a", "a = /" + "x" * 300 + "/"]
)
def test_bad_tests(root: Path, test: str) -> None:
    assert filled(root, f'<!--#if expr="{test}" -->yes<!--#endif -->') == ERROR


def test_branches(root: Path) -> None:
    page = """<!--#if expr="$a" -->1<!--#elif expr="$b" -->2<!--#elif expr="$c" -->3<!--#else -->4<!--#endif -->"""
    one = '<!--#set var="%s" value="x" -->'
    assert filled(root, page) == "4"
    assert [filled(root, one % name + page) for name in "abc"] == ["1", "2", "3"]
    assert filled(root, one % "b" + one % "c" + page) == "2"
    inner = '<!--#if expr="" --><!--#endif -->'
    assert filled(root, f'<!--#if expr="$no" -->x{inner}<!--#bogus -->{page}<!--#endif -->y') == "y"
    assert filled(root, "<!--#else -->") == ERROR
    assert filled(root, "<!--#endif -->") == ERROR
    assert filled(root, '<!--#if expr="a" -->x') == "x" + ERROR


def test_includes(root: Path) -> None:
    (root / "sub" / "a.html").write_text('[<!--#include file="b.html" --><!--#echo var="v" -->]')
    (root / "sub" / "b.html").write_text('b<!--#set var="v" value="set" -->')
    page = '<!--#include virtual="/sub/a.html?x=y" --><!--#include file="sub/b.html" --><!--#echo var="v" -->'
    assert filled(root, page) == "[bset]bset"
    assert (
        filled(root, '<!--#set var="n" value="b" --><!--#include virtual="sub/%62.html" file="sub/$n.html" -->') == "bb"
    )
    (root / "size").write_bytes(b"x" * 2500)
    os.utime(root / "size", (0, 0))
    sizes = '<!--#fsize file="size" --> <!--#config sizefmt="bytes" --><!--#fsize virtual="/size" -->'
    assert filled(root, sizes) == "2.4K 2500"
    assert filled(root, '<!--#config timefmt="%Y" --><!--#flastmod file="size" -->') == "1970"


@pytest.mark.parametrize(
    "name",
    [
        'file="../outside"',
        'virtual="/../outside"',
        'virtual="/%2e%2e/outside"',
        'file="/etc/hostname"',
        'file="link"',
        'virtual="/linked/outside"',
        'file="sub"',
        'file=""',
        'file="none"',
        'file="a\\0b"',
        'virtual="/a%00b"',
        'file="pipe"',
        'file="$QUERY_STRING"',
    ],
)
@pytest.mark.parametrize("command", ["include", "fsize", "flastmod"])
def test_nothing_outside_of_the_root(root: Path, name: str, command: str) -> None:
    (root / "link").symlink_to(root.parent / "outside")
    (root / "linked").symlink_to(root.parent)
    os.mkfifo(root / "pipe")
    assert filled(root, f"<!--#{command} {name} -->", "/?../outside") == ERROR


def test_a_link_within_the_root(root: Path) -> None:
    (root / "file").write_text("x")
    (root / "link").symlink_to("file")
    assert filled(root, '<!--#include file="link" -->') == "x"


def test_a_page_outside_of_the_document_root_has_its_own_directory(root: Path) -> None:
    (root / "p.shtml").write_text('<!--#include virtual="/other" --><!--#include file="../outside" -->')
    (root / "other").write_text("other")
    made = Playground(f"route-run = ssi:{root}/p.shtml")
    for variables in ({"DOCUMENT_ROOT": "/usr/share"}, {"DOCUMENT_ROOT": ""}):
        assert made.get("/", **variables).body.decode() == "other" + ERROR


def test_pages_that_include_themselves(root: Path) -> None:
    assert filled(root, 'x<!--#include file="p.shtml" -->') == "x" * 8 + ERROR
    assert filled(root, '<!--#include file="p.shtml" --><!--#include file="p.shtml" -->').count(ERROR) > 100


def test_a_page_is_bounded(root: Path) -> None:
    (root / "long").write_text("x" * 3000)
    reply = ask(root, '<!--#include file="long" -->' * 2, options="transformation-buffer = 4096")
    assert reply.status == 502 and any("transformation-buffer = 4096" in line for line in reply.log)
    assert ask(root, "<!--#x-->" * 10_001).status == 502
    assert ask(root, "x" * 5000, options="transformation-buffer = 4096").status == 502
    double = '<!--#set var="a" value="$a$a" -->' * 20
    assert ask(root, '<!--#set var="a" value="xx" -->' + double).status == 502


def test_what_is_not_there(root: Path) -> None:
    made = Playground(f"route = ^/(.*) ssi:{root}/$1")
    assert made.get("/none").status == 404
    assert made.get("/../outside").status == 404
    assert made.get("/sub").status == 404


def test_head(root: Path) -> None:
    reply = ask(root, "x", REQUEST_METHOD="HEAD")
    assert (reply.status, reply.body, reply.header("Content-Length")) == (200, b"", "1")


def test_printenv(root: Path) -> None:
    assert "QUERY_STRING=&lt;\n" in filled(root, "<!--#printenv -->", "/?<")
