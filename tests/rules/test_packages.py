"""A package that brings parts of its own: installed (unpacked, with its dist-info) into a directory, found by its entry
point, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
from uwsgirouter.rules.base import Verdict, action, condition, transformation, variable
from uwsgirouter.rules.transform import Transform


@action("hello")
def hello(argument, place):
    text = place.template(argument)

    def act(exchange, found):
        exchange.response.add_header(b"X-Hello: " + text(exchange, found))
        return Verdict.NEXT

    return act


@condition("weekend")
def weekend(argument, place):
    return lambda exchange: int(exchange.host.now() // 86400 + 4) % 7 in (0, 6)


@variable("reversed")
def backwards(argument, place):
    place.variable(argument)
    return lambda exchange: exchange.variable(argument)[::-1]


class Shout(Transform):
    def feed(self, data):
        return data.upper()

    def end(self):
        return b"!"


@transformation("shout")
def shout(argument, place):
    return lambda exchange, found: Shout()
"""

ASK = """
import sys
from tests.rules.made import Playground, PlayHost

play = Playground('''
    route = ^/(.*) hello:$1 ${reversed[PATH_INFO]}
    route-if = weekend: addheader:X-Weekend: yes
    route-run = shout:
''', PlayHost(time=float(sys.argv[1])))
print(play.get("/abc", app=b"HTTP/1.1 200 OK\\r\\n\\r\\nhi").raw)
"""

SATURDAY, MONDAY = 1_700_265_600, 1_700_438_400


def installed(directory: Path, code: str, value: str = "hello_rules") -> Path:
    (directory / "hello_rules.py").write_text(code)
    about = directory / "hello_rules-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hello-rules\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[uwsgirouter.rules]\nhello = {value}\n")
    return directory


def ask(packages: Path, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ASK, *arguments]
    path = {"PYTHONPATH": f"{packages}:{project}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, env=path, capture_output=True, text=True, check=False, timeout=60)


def test_a_package_adds_one_of_each(tmp_path: Path, project: Path) -> None:
    packages = installed(tmp_path, CODE)
    for day, more in ((SATURDAY, r"\r\nX-Weekend: yes"), (MONDAY, "")):
        done = ask(packages, project, str(day))
        assert done.stderr == ""
        assert done.stdout == rf"b'HTTP/1.1 200 OK\r\nX-Hello: abc cba/{more}\r\n\r\nHI!'" + "\n"


def test_a_package_that_cannot_be_loaded_is_named(tmp_path: Path, project: Path) -> None:
    done = ask(installed(tmp_path, "1 / 0"), project, "0")
    said = "the entry point hello = hello_rules of the group uwsgirouter.rules cannot be loaded: ZeroDivisionError"
    assert done.returncode == 1 and said in done.stderr


def test_a_package_replaces_no_part(tmp_path: Path, project: Path) -> None:
    done = ask(installed(tmp_path, CODE.replace('action("hello")', 'action("log")')), project, "0")
    assert done.returncode == 1
    assert "log is registered twice, by uwsgirouter.rules.actions.flow and hello_rules" in done.stderr


def test_an_entry_point_may_be_a_function(tmp_path: Path, project: Path) -> None:
    code = "def register():\n" + "".join(f"    {line}\n" for line in CODE.splitlines())
    done = ask(installed(tmp_path, code, "hello_rules:register"), project, str(MONDAY))
    assert "X-Hello: abc cba/" in done.stdout, done.stderr
