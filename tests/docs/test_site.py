"""The site is built without a warning, fetches nothing, and has every page of docs/ in its menu."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
"""Tag to the attribute whose address a browser fetches by itself; of <link> only some do, by their rel."""
LINKS_FETCHED = {"stylesheet", "icon", "preconnect", "preload", "prefetch", "dns-prefetch", "manifest"}


def build(source: Path, site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``mkdocs build --strict``, as make docs does it, but into a directory of the test.

    (Not with --quiet: then warnings are no errors.)
    """
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site), *arguments]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=source, env=env, capture_output=True, text=True, check=False, timeout=100)


@pytest.fixture(scope="module")
def site(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    where = tmp_path_factory.mktemp("site")
    done = build(project, where)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stdout + done.stderr
    return where


def pages(project: Path) -> list[str]:
    docs = project / "docs"
    return sorted(str(path.relative_to(docs)) for path in docs.rglob("*.md"))


def test_every_page_is_built_and_in_the_menu_once(project: Path, site: Path) -> None:
    menu = re.findall(r"^ +- [^:]+: (\S+\.md)$", (project / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(menu) == pages(project), "mkdocs.yml: nav has one line for each page"
    missing = [name for name in menu if not (site / name.replace(".md", ".html")).exists()]
    assert not missing


class Fetched(HTMLParser):
    """The addresses that a browser fetches to show a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "link" and LINKS_FETCHED & set(attributes.get("rel", "").split()):
            self.found.append(attributes.get("href", ""))
        elif tag in FETCHED:
            self.found.append(attributes.get(FETCHED[tag], ""))


def fetched(site: Path) -> Iterator[tuple[Path, str]]:
    for path in site.rglob("*.html"):
        for address in Fetched(path.read_text()).found:
            yield path, address
    for path in site.rglob("*.css"):
        for address in re.findall(r"url\(['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", path.read_text()):
            yield path, "".join(address)


def test_a_reader_fetches_nothing_from_elsewhere(site: Path) -> None:
    found = list(fetched(site))
    assert len(found) > 100, "the parser sees stylesheets and scripts"
    abroad = [(path.name, address) for path, address in found if re.match(r"(https?:)?//", address)]
    assert not abroad
    near = [address for _, address in found if address and not address.startswith(("data:", "#"))]
    assert near
    for path, address in found:
        if path.suffix == ".html" and path.name != "404.html" and not address.startswith("data:") and address:
            assert (path.parent / address.partition("?")[0]).exists(), f"{path.name} fetches {address}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[gone](gone.md)", "gone.md"),
        ("[part](options.md#no-such-part)", "no-such-part"),
        ("[away](/absolute.md)", "absolute"),
    ],
)
def test_a_broken_link_is_an_error(project: Path, tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Top\n\n{text}\n")
    (tmp_path / "docs" / "options.md").write_text("# Options\n")
    (tmp_path / "scripts").symlink_to(project / "scripts")
    config = (project / "mkdocs.yml").read_text()
    nav = "nav:\n  - index.md\n  - options.md\n\n"
    (tmp_path / "mkdocs.yml").write_text(re.sub(r"^nav:\n(?: .*\n|\n)+", nav, config, flags=re.MULTILINE))
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    assert complaint in done.stderr


def test_a_bar_in_a_table_is_a_bar(site: Path) -> None:
    assert "<code>a|b</code>" in (site / "differences.html").read_text()


def test_what_pages_name_exists(project: Path) -> None:
    """Files of conf/ and scripts/, targets of make."""
    makefile = (project / "Makefile").read_text()
    for name in pages(project):
        text = (project / "docs" / name).read_text()
        for path in re.findall(r"`((?:conf|docs|scripts|tests|man)/[\w./-]*)`", text):
            assert (project / path).exists(), f"docs/{name} names {path}, which does not exist"
        for target in re.findall(r"`make ([\w-]+)", text):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"docs/{name} names make {target}"
