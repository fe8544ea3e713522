"""Reading files in their place: order, sections, includes, magic variables."""

from __future__ import annotations

import pytest

from tests.settings.files import Files, expanded
from uwsgirouter.errors import ConfigError


def test_files_stand_where_they_are_named(files: Files) -> None:
    files.write("b.ini", "[uwsgi]\nb = 1\nini = c.ini\nb = 2")
    files.write("c.ini", "[uwsgi]\nc = 1")
    files.write("a.ini", "[uwsgi]\na = 1\nini = b.ini\na = 2")
    entries = files.source("--listen", "1", "a.ini", "--listen", "2", "-c", "c.ini").gather().entries
    assert [(entry.name, entry.text, entry.where) for entry in entries] == [
        ("listen", "1", "command line"),
        ("ini", "a.ini", "command line"),
        ("a", "1", "a.ini:2"),
        ("ini", "b.ini", "a.ini:3"),
        ("b", "1", "b.ini:2"),
        ("ini", "c.ini", "b.ini:3"),
        ("c", "1", "c.ini:2"),
        ("b", "2", "b.ini:4"),
        ("a", "2", "a.ini:4"),
        ("listen", "2", "command line"),
        ("-c", "c.ini", "command line"),
        ("c", "1", "c.ini:2"),
    ]


def test_both_sections_count_in_the_order_of_the_file(files: Files) -> None:
    files.write("a.ini", "[uwsgi]\na = 1\n[other]\na = 2\n[uwsgirouter]\na = 3\n[uwsgi]\na = 4")
    assert expanded(files.source("a.ini").gather())[1:] == [("a", "1"), ("a", "3"), ("a", "4")]


def test_one_section_by_name(files: Files) -> None:
    files.write("a.ini", "[uwsgi]\na = 1\n[two]\na = 2 %x\n[three]\nini = :two\nb = 3 %x")
    assert expanded(files.source("a.ini:two").gather())[1:] == [("a", "2 two")]
    assert expanded(files.source("a.ini:three").gather())[1:] == [("ini", ":two"), ("a", "2 two"), ("b", "3 three")]


def test_a_section_alone_means_the_file_read_last(files: Files) -> None:
    files.write("a.ini", "[uwsgi]\nini = b.ini\nini = :s\n[s]\nwrong = 1")
    files.write("b.ini", "[uwsgi]\nb = 1\n[s]\nright = 1")
    assert ("right", "1") in expanded(files.source("a.ini").gather())


def test_a_colon_in_a_files_name(files: Files) -> None:
    files.write("a:b.ini", "[uwsgi]\nfound = 1")
    assert ("found", "1") in expanded(files.source("a:b.ini").gather())


def test_relative_names_start_at_the_working_directory(files: Files) -> None:
    files.write("conf/a.ini", "[uwsgi]\nini = b.ini")
    files.write("conf/b.ini", "[uwsgi]\nbeside = 1")
    with pytest.raises(ConfigError, match=r"conf/a.ini:2: cannot read b.ini: .*write %db.ini for the file beside"):
        files.source("conf/a.ini").gather()
    files.write("conf/a.ini", "[uwsgi]\nini = %db.ini")
    assert ("beside", "1") in expanded(files.source("conf/a.ini").gather())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ini = gone.ini", "router.conf:2: cannot read gone.ini: No such file or directory$"),
        ("ini = %(x)/gone.ini", "placeholders are not known yet"),
        ("ini = http://x/a.ini", "only files are read"),
        ("ini = router.conf", r"router.conf:2: ini = router.conf: more than 16 files"),
        ("ini = .", "cannot read .: Is a directory"),
        ("set-ph = a", "router.conf:2: set-placeholder = a: expected name=value"),
        ("set-ph = listen=5", "listen is an option, so it cannot be a placeholder; write listen=5"),
    ],
)
def test_mistakes_have_their_place(files: Files, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        files.gathered(text)


def test_a_section_of_no_file(files: Files) -> None:
    with pytest.raises(ConfigError, match="no file was read before"):
        files.source("--ini", ":s").gather()


def test_a_binary_file_is_refused(files: Files) -> None:
    files.write("a.ini", "[uwsgi]\na = \0")
    with pytest.raises(ConfigError, match="NUL"):
        files.source("a.ini").gather()


def test_a_byte_order_mark_and_windows_line_ends(files: Files) -> None:
    (files.directory / "a.ini").write_bytes(b"\xef\xbb\xbf[uwsgi]\r\na = 1\r\nb\r\nc = %n\r\n\xe9 = \xe9")
    pairs = expanded(files.source("a.ini").gather())
    assert pairs[1:] == [("a", "1"), ("b", ""), ("c", "a"), ("\udce9", "\udce9")]


def test_what_is_not_read_is_doubted(files: Files) -> None:
    files.write("a.ini", "a = 1\n[other]\nb = 2")
    found = files.source("a.ini").gather()
    assert [str(doubt) for doubt in found.doubts] == [
        "a.ini:1: a stands before the first [section]: it is not read",
        "a.ini: no option in a section [uwsgirouter] or [uwsgi]",
    ]
    assert [str(doubt) for doubt in files.source("a.ini:gone").gather().doubts][1:] == [
        "a.ini: no option in a section [gone]"
    ]


def test_magic_variables_are_those_of_the_file_they_stand_in(files: Files) -> None:
    files.write("conf/a.ini", "[uwsgi]\na = %n %N %s %x|%X\ninclude = conf/b.ini\n%n-key = 1\nini = conf/b.ini")
    files.write("conf/b.ini", "[%n]\nno = 1\n[uwsgi]\nb = %n %N %c")
    assert expanded(files.source("-c", "conf/a.ini").gather())[1:] == [
        ("a", "a a a.ini |"),
        ("include", "conf/b.ini"),
        ("b", "b a conf"),
        ("a-key", "1"),
        ("ini", "conf/b.ini"),
        ("b", "b a conf"),
    ]


def test_upper_case_skips_the_includes(files: Files) -> None:
    files.write("base.ini", "[uwsgi]\nbase = %n|%N")
    files.write("a.ini", "[uwsgi]\na = %n|%N\ninclude = base.ini")
    pairs = expanded(files.source("--include", "base.ini", "-c", "a.ini").gather())
    assert [text for name, text in pairs if name in ("base", "a")] == ["base|", "a|a", "base|a"]


def test_the_command_line_has_no_magic_variables(files: Files) -> None:
    pairs = expanded(files.source("--set-ph", "a=%n %%", "--set", "listen=5").gather())
    assert pairs == [("set-ph", "a=%n %%"), ("a", "%n %%"), ("set", "listen=5"), ("listen", "5")]


def test_an_unknown_magic_variable_is_told(files: Files) -> None:
    found = files.gathered("log-format = 5%q of %y\n; %q\n")
    assert found.entries[1].text == "5 of "
    assert found.notices == [
        "router.conf:2: %q is no magic variable and is left out; write %% for a percent sign",
        "router.conf:2: %y is no magic variable and is left out; write %% for a percent sign",
    ]


def test_standard_input_is_read_once_and_kept(files: Files) -> None:
    calls: list[str] = []

    def read() -> str:
        calls.append("read")
        return "[uwsgi]\nfastrouter = :3017\nfastrouter-to = 127.0.0.1:1\n[s]\nlisten = 7"

    from uwsgirouter.settings.load import Source

    source = Source(["-c", "-", "--ini", "-:s"], {}, str(files.directory), read)
    assert calls == []
    assert source.load().number("listen") == 7
    assert source.load().where("listen") == "-:5"
    assert calls == ["read"]


def test_set_placeholder_takes_blanks_and_set_takes_options(files: Files) -> None:
    pairs = files.pairs("set-ph = a = 1\nset-placeholder=b=%(a)2\nset = c = 3\nset = listen = 9\nd = %(a)%(b)%(c)")
    assert pairs[-1] == ("d", "1123")
    assert ("listen", "9") in pairs
