"""xslt and toxslt: what lxml makes of files and bodies, and all that it must not read, write or expand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.rules.made import Playground
from uwsgirouter.rules.base import ChainName

SHEET = """\
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:e="http://exslt.org/common"
    extension-element-prefixes="e">
<xsl:output method="html"/><xsl:param name="who">nobody</xsl:param>{top}
<xsl:template match="/"><p><xsl:value-of select="$who"/>: <xsl:value-of select="//t"/>{inside}</p></xsl:template>
</xsl:stylesheet>
"""
XML = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%b"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    sheet(tmp_path)
    (tmp_path / "d.xml").write_text("<r><t>text</t></r>")
    (tmp_path / "secret").write_text("<s>secret</s>")
    return tmp_path


def sheet(path: Path, top: str = "", inside: str = "", name: str = "a.xsl") -> None:
    (path / name).write_text(SHEET.format(top=top, inside=inside))


def play(files: Path, more: str = "", doc: str = "d.xml", options: str = "") -> Playground:
    return Playground(f"{options}\nroute-run = xslt:doc={files}/{doc},stylesheet={files}/a.xsl{more}")


def test_a_document_in_its_style(files: Path) -> None:
    reply = play(files).get("/")
    assert (reply.status, reply.body, reply.asked) == (200, b"<p>nobody: text</p>\n", False)
    assert (reply.header("Content-Type"), reply.header("Content-Length")) == ("text/html", "20")


def test_parameters_are_texts_whatever_is_in_them(files: Path) -> None:
    made = play(files, ",params=${QUERY_STRING},content_type=text/${REQUEST_METHOD}")
    reply = made.get("/?who=a%20b&none=x&novalue&1bad=x")
    assert reply.body == b"<p>a%20b: text</p>\n"
    assert reply.header("Content-Type") == "text/GET"
    assert made.get('/?who=");<//t').body == b'<p>");&lt;//t: text</p>\n'
    assert made.get("/?who=\x01").status == 500
    assert made.get("/?" + "a=b&" * 100).status == 500


def test_head_has_no_body(files: Path) -> None:
    reply = play(files).get("/", REQUEST_METHOD="HEAD")
    assert (reply.status, reply.body, reply.header("Content-Length")) == (200, b"", "20")


def test_what_is_not_there(files: Path) -> None:
    assert play(files, doc="none.xml").get("/").status == 404
    assert play(files, doc=f"../{files.name}/d.xml").get("/").status == 404
    (files / "a.xsl").unlink()
    assert play(files).get("/").status == 404


def test_another_stylesheet_in_the_file_counts_at_once(files: Path) -> None:
    made = play(files)
    made.get("/")
    sheet(files, inside="new")
    assert b"new" in made.get("/").body


@pytest.mark.parametrize(
    "document",
    [
        "<r>",
        "",
        "no xml",
        "<!DOCTYPE r [<!ENTITY a 'x'>]><r><t>&a;</t></r>",
        "<!DOCTYPE r [<!ENTITY a 'x'><!ENTITY b '&a;&a;'>]><r><t>&b;</t></r>",
        "<!DOCTYPE r [<!ENTITY a SYSTEM 'file://{files}/secret'>]><r><t>&a;</t></r>",
        "<!DOCTYPE r [<!ENTITY % p SYSTEM 'file://{files}/secret'>%p;]><r/>",
        "<r>" * 300 + "</r>" * 300,
    ],
)
def test_documents_that_are_refused(files: Path, document: str) -> None:
    (files / "d.xml").write_text(document.replace("{files}", str(files)))
    reply = play(files).get("/")
    assert reply.status == 500 and b"secret" not in reply.raw
    assert any("a.xsl" in line or "declares entities" in line for line in reply.log)


@pytest.mark.parametrize(
    "document", ["<!DOCTYPE r SYSTEM '{files}/secret'>", "<!DOCTYPE r PUBLIC 'x' 'http://[::1]:9/'>"]
)
def test_a_document_type_is_not_read(files: Path, document: str) -> None:
    (files / "d.xml").write_text(document.replace("{files}", str(files)) + "<r><t>text</t></r>")
    assert play(files).get("/").body == b"<p>nobody: text</p>\n"


@pytest.mark.parametrize(
    ("top", "inside"),
    [
        ('<xsl:import href="b.xsl"/>', ""),
        ('<xsl:include href="{files}/b.xsl"/>', ""),
        ('<xsl:include href="http://127.0.0.1:9/b.xsl"/>', ""),
        ("", "<xsl:copy-of select=\"document('{files}/secret')\"/>"),
        ("", "<xsl:copy-of select=\"document('http://127.0.0.1:9/')\"/>"),
        ("", '<e:document href="{files}/written"><b/></e:document>'),
        ("<xsl:nonsense/>", ""),
    ],
)
def test_a_stylesheet_reads_and_writes_nothing_else(files: Path, top: str, inside: str) -> None:
    sheet(files, name="b.xsl")
    top, inside = top.replace("{files}", str(files)), inside.replace("{files}", str(files))
    sheet(files, top="" if "import" in top else top, inside=inside)
    if "import" in top:
        (files / "a.xsl").write_text(
            f'<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">{top}</xsl:stylesheet>'
        )
    reply = play(files).get("/")
    assert reply.status == 500 and b"secret" not in reply.raw
    assert not (files / "written").exists()


def test_one_that_calls_itself_without_end(files: Path) -> None:
    sheet(files, inside='<xsl:apply-templates select="/"/>')
    assert play(files).get("/").status == 500


def test_sizes_are_bounded(files: Path) -> None:
    (files / "d.xml").write_text("<r><t>" + "x" * 5000 + "</t></r>")
    assert play(files, options="transformation-buffer = 4096").get("/").status == 502
    (files / "d.xml").write_text("<r><t>" + "x" * 3000 + "</t></r>")
    sheet(files, inside='<xsl:value-of select="//t"/><xsl:value-of select="//t"/>')
    reply = play(files, options="transformation-buffer = 4096").get("/")
    assert reply.status == 500 and any("makes more than" in line for line in reply.log)


def test_a_body_in_its_style(files: Path) -> None:
    made = Playground(f"route-run = toxslt:stylesheet={files}/a.xsl,params=who=me,content_type=text/x")
    body = b"<r><t>app</t></r>"
    reply = made.get("/", app=[XML % (len(body), body[:5]), body[5:]])
    assert (reply.status, reply.body) == (200, b"<p>me: app</p>\n")
    assert [value for name, value in reply.headers if name == "Content-Type"] == ["text/x"]
    assert reply.header("Content-Length") == "15"


def test_bodies_that_are_left_alone(files: Path) -> None:
    made = Playground(f"route-run = toxslt:stylesheet={files}/a.xsl")
    coded = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nzipped"
    assert made.get("/", app=coded).body == b"zipped"
    assert made.get("/", app=b"HTTP/1.1 204 No Content\r\n\r\n").status == 204


def test_bodies_that_cannot_be_transformed(files: Path) -> None:
    made = Playground(f"transformation-buffer = 4096\nroute-run = toxslt:stylesheet={files}/a.xsl")
    assert made.get("/", app=XML % (4, b"nope")).status == 500
    assert made.get("/", app=XML % (5000, b"x" * 5000)).status == 502
    gone = Playground(f"route-run = toxslt:stylesheet={files}/none")
    assert gone.get("/", app=XML % (4, b"<a/>")).status == 404


def test_what_makes_an_answer_may_wait(files: Path) -> None:
    table = Playground(f"route-run = toxslt:stylesheet={files}/a.xsl").table
    assert table.transforms_wait and table.waits(ChainName.REQUEST)
    assert not Playground("route-run = gzip:").table.waits(ChainName.REQUEST)


def test_lxml_is_imported_when_a_rule_names_it() -> None:
    code = "import sys; from uwsgirouter.rules import parts; parts.load(); print('lxml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


def test_without_the_extra_the_start_is_refused(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lxml.etree", None)
    with pytest.raises(Exception, match=r"pip install 'uwsgirouter\[xslt\]'"):
        play(files)
