"""The ini dialect against the real uWSGI: the same files, the same values.

uWSGI prints what it made of its configuration (--show-config) and then stops, because it is told to change to a
directory that is not there. What uWSGI lists and what the gathered and expanded options are must agree, name by
name; where this program differs on purpose, both answers are written down.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.servers.programs import uwsgi_command
from tests.settings.files import Files, expanded
from uwsgirouter.settings.table import BY_NAME, Type

NOWHERE = "/no/such/directory/to/stop/at"
ENVIRONMENT = {"HOME": "/home/user", "EMPTY": "", "POINTER": "%(foo)", "FILE_NAME": "value.txt", "AGAIN": "$(HOME)"}

Pairs = list[tuple[str, str]]


@pytest.fixture
def world(files: Files) -> Files:
    files.environment = dict(ENVIRONMENT)
    files.write("value.txt", "from a file\n")
    files.write("lines.txt", "one\n  two  \n\nthree")
    files.write("glob/b.x", "")
    files.write("glob/a.x", "")
    files.write("glob/dir/x", "")
    files.write(
        "conf/common.ini", "[uwsgi]\nin-common = %p %o %s %d %D %n %N %e %E %c %C %x|%X\n[extra]\nin-extra = %x %n\n"
    )
    files.write("conf/nested.ini", "[uwsgi]\nnested = 1 %N\nini = conf/common.ini\nnested = 2\n")
    return files


def of_uwsgi(files: Files, *argv: str) -> Pairs:
    """What uWSGI makes of these arguments."""
    command = [*uwsgi_command(), "--show-config", "--chdir", NOWHERE, *argv]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=files.directory, env=files.environment, timeout=30
    )
    output = done.stdout + done.stderr
    assert ";end of configuration" in output, output
    shown = output.split("[uwsgi]\n", 1)[1].split(";end of configuration")[0].strip("\n").split("\n")
    pairs = [(key, value) for key, _, value in (line.partition(" = ") for line in shown)]
    return comparable(pairs[pairs.index(("chdir", NOWHERE)) + 1 :])


def of_uwsgirouter(files: Files, *argv: str) -> Pairs:
    """What this program makes of them."""
    return comparable(expanded(files.source(*argv).gather()))


def comparable(pairs: Pairs) -> Pairs:
    """Without the logic, which uWSGI lists too."""
    logic = {name for name, option in BY_NAME.items() if option.type is Type.LOGIC}
    return [(key.strip(), value.strip()) for key, value in pairs if key not in logic]


SAME = {
    "lines": """
        a = b
        a=c
          spaced key\t=\t spaced value\t
        flag
        empty =
        equals = a = b
        ; a comment
          # another one
        quoted = 'q' "r" \"\"\"s
        inner = abc ; not a comment
        inner2 = abc # no comment either
        backslash = a\\nb\\
        x;y = 1
        colon : not a value
        tilde = ~h~t~
    """,
    "placeholders": """
        before = %(foo)
        foo = 17
        foo = 18
        after = [%(foo)%(foo)] (%(foo))
        own = %(foo)1
        unset = %(nothing) %() %(foo
        parentheses = %(foo)(bar) (x) %(foo (bar))
        set-ph=ph=value
        set-placeholder=ph2=a=b
        set=ph3=3
        usesph = %(ph)%(ph2)%(ph3)
        option = %(set-ph)
    """,
    "arithmetic": """
        foo = 17
        bar = 30
        a = %(1 + 2)
        b = %(foo + bar + 3 * 2)
        c = %(foo ++) %(foo --)
        d = %(foo bar)
        e = %(bar / 7) %(bar / 0) %(foo - bar) %(foo - bar / 4)
        f = %(nothing + 2) %( 1 + 2 ) %(foo  + 2)
        g = %(1+2) %(foo+bar)
        h = %(- 3) %(5 -- --) %(5 ++ 3)
        i = %(%k * 2)
        word = 12abc
        j = %(word + 1)
    """,
    "percent signs": """
        a = 100%% %%%% a%%n
        foo = 1
        b = %%(foo)
        c = %q|%Q|%,
    """,
    "environment": """
        foo = 7
        a = $(HOME)/x $(UNSET) [$(EMPTY)] $() $(HO
        b = $(POINTER)
        c = $(AGAIN)
        d = $HOME
    """,
    "file contents": """
        a = [@(value.txt)]
        b = @($(FILE_NAME))
        c = %(a)
        d = a@b @ (x)
    """,
    "magic variables": """
        a = %p %s %d %e %n %o %c
        b = %P %S %D %E %N %O %C
        c = [%x] [%X]
        d = %0 %1 %2 %3
        e = %v %h %k %u %g %U %G %i
        %n = key
    """,
    "conditions": """
        if-env = HOME
        a = is %(_) %(_)
        endif =
        if-env = HOME=/home/user
        b = is %(_)
        endif =
        if-env = UNSET
        c = no
        endif =
        if-not-env = UNSET
        d = yes
        endif =
        if-env = HOME=/other
        e = no
        endif =
        if-file = value.txt
        f = %(_)
        endif =
        if-file = conf
        g = no
        end-if =
        if-not-file = conf
        h = %(_)
        end =
        if-dir = conf
        i = %(_)
        endif
        if-not-dir = conf
        j = no
        endif
        if-exists = conf
        k = %(_)
        endif
        if-not-exists = nowhere
        l = %(_)
        endif
        foo = 1
        if-opt = foo=1
        m = %(_)
        endif
        if-opt = foo
        n = %(_)
        endif
        if-opt = foo=2
        o = no
        endif
        if-not-opt = bar
        p = yes
        endif
        if-not-opt = foo=1
        q = no
        endif
        if-hostname = no.such.host
        r = no
        endif
        if-not-hostname = no.such.host
        s = %(_)
        endif
        if-reload =
        t = no
        endif
        if-not-reload =
        u = yes
        endif
        after = 1
    """,
    "values of conditions are not expanded": """
        path = value.txt
        if-file = %(path)
        a = no
        endif =
        if-env = $(HOME)
        b = no
        endif =
        if-file = %d../value.txt
        c = %(_)
        endif =
        endif =
        d = 1
    """,
    "loops": """
        for = 1 2  3
        a = x%(_)
        b = %(_)%(_)
        set-ph=p%(_)=1
        plain = 1
        endfor =
        for-glob = glob/*
        c = %(_)
        endfor =
        for-glob = nothing*
        d = %(_)
        endfor =
        for-readline = lines.txt
        e = [%(_)]
        endfor =
        for-times = 3
        f = %(_)
        end-for =
        for =
        g = %(_)
        endfor =
        outside = %(_)
    """,
    "includes": """
        first = 1
        ini = conf/nested.ini
        include = conf/common.ini
        ini = conf/common.ini:extra
        ini = :uwsgi
        last = 1
        for = common nested
        ini = conf/%(_).ini
        endfor =
    """,
    "sections": """
        a = 1
        [other]
        b = no
        [uwsgi]
        c = 1
        [uwsgi:x]
        d = no
    """,
}  # fmt: skip


def text_of(lines: str) -> str:
    return "[uwsgi]\n" + "\n".join(line.removeprefix(" " * 8) for line in lines.strip("\n").split("\n"))


@pytest.mark.parametrize("lines", SAME.values(), ids=SAME)
def test_the_same_values(world: Files, lines: str) -> None:
    world.write("conf/test.ini", text_of(lines))
    real = of_uwsgi(world, "--ini", "conf/test.ini")
    assert len(real) >= 3
    assert of_uwsgirouter(world, "--ini", "conf/test.ini") == real


@pytest.mark.parametrize(
    "argv",
    [
        ["--ini", "conf/common.ini:extra"],
        ["--set-ph", "a=%n", "--ini", "conf/common.ini", "--set-ph=b=%%"],
        ["--listen=5", "--listen", "6", "--ini", "conf/nested.ini", "--listen", "7"],
        ["--for=a b", "--set-ph=x=%(_)", "--endfor", "--ini", "conf/common.ini"],
        ["--include", "conf/common.ini", "--ini", "conf/nested.ini"],
        ["--ini", "./conf/../conf/common.ini"],
        ["--ini", "conf/common.ini", "--ini", ":extra"],
    ],
    ids=" ".join,
)
def test_the_same_command_line(world: Files, argv: list[str]) -> None:
    assert of_uwsgirouter(world, *argv) == of_uwsgi(world, *argv)


def test_an_absolute_path_and_a_symbolic_link(world: Files) -> None:
    (world.directory / "link.ini").symlink_to("conf/common.ini")
    for name in (f"{world.directory}/conf/common.ini", "link.ini"):
        assert of_uwsgirouter(world, "--ini", name) == of_uwsgi(world, "--ini", name)


DIFFERENT = [
    (
        "a = %(b)\nb = %(c)\nc = end",
        [("a", "%(c)"), ("b", "end"), ("c", "end")],
        [("a", "end"), ("b", "end"), ("c", "end")],
    ),
    ("a = 50%\nb = 1", [("a", "50b = 1")], [("a", "50%"), ("b", "1")]),
    (
        "set-ph = x = 1\na = %(x)",
        [("set-ph", "x = 1"), ("x", " 1"), ("a", "%(x)")],
        [("set-ph", "x = 1"), ("x", "1"), ("a", "1")],
    ),
    (
        "set-ph = x=%(y)\ny = 1",
        [("set-ph", "x=%(y)"), ("x", "%(y)"), ("y", "1")],
        [("set-ph", "x=1"), ("x", "1"), ("y", "1")],
    ),
    ("[ uwsgi ]\na = 1", [], [("a", "1")]),
    ("if-env = UNSET\na = 1\nelse =\nb = 1\nendif =", [], [("b", "1")]),
]  # fmt: skip
"""Text, uWSGI's answer, ours: each stands in docs/options.md, or is uWSGI's loss alone."""


@pytest.mark.parametrize(("text", "real", "ours"), DIFFERENT)
def test_known_differences(world: Files, text: str, real: Pairs, ours: Pairs) -> None:
    world.write("test.ini", f"[uwsgi]\n{text}\n")
    assert of_uwsgirouter(world, "--ini", "test.ini")[1:] == ours
    assert of_uwsgi(world, "--ini", "test.ini")[1:] == comparable(real)
