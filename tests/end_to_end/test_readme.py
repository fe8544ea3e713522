"""The README's set-up, typed in as it stands there, but on free ports."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import Process, Servers, fetch, free_port, free_udp_port, is_listening, wait_until
from tests.servers.programs import ROUTER_COMMAND, uwsgi_command

PROGRAMS = {
    "uwsgi": uwsgi_command,
    "gunicorn": lambda: [sys.executable, "-m", "gunicorn"],
    "uwsgirouter": lambda: ROUTER_COMMAND,
    "uwsgirouterctl": lambda: [sys.executable, "-m", "uwsgirouter.control"],
}
APP = """
import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ["SERVER_SAID"].encode()]
"""


class Readme:
    """The commands and files that the README shows."""

    def __init__(self, project: Path, servers: Servers) -> None:
        self.servers = servers
        text = (project / "README.md").read_text()
        ports = {"3017": free_port(), "2626": free_udp_port(), "3031": free_port()}
        for printed, mine in ports.items():
            text = text.replace(f":{printed}", f":{mine}")
        self.text = re.sub(r" \\\n +", " ", text)
        self.router = f"127.0.0.1:{ports['3017']}"
        self.gunicorn = f"127.0.0.1:{ports['3031']}"

    def block(self, first: str) -> str:
        """The indented block that starts with a line."""
        found = re.search(rf"(?:^    .*\n)*?^    {re.escape(first)}.*\n(?:^    .*\n)*", self.text, re.M)
        assert found, f"the README shows no {first}"
        return re.sub(r"^    ", "", found.group(0), flags=re.M)

    def command(self, start: str) -> list[str]:
        """The command that starts so, with the program that the tests use."""
        found = re.search(rf"^    ({re.escape(start)}.*)$|`({re.escape(start)}.*?)`", self.text, re.M)
        assert found, f"the README shows no command {start}"
        name, *arguments = shlex.split(found.group(1) or found.group(2))
        command = [*PROGRAMS[name](), *arguments]
        if "--exec" in command:
            inner = command.index("--exec") + 1
            command[inner : inner + 1] = PROGRAMS[command[inner]]()
        return command

    def run(self, start: str, said: str = "") -> Process:
        """Start the command in the test's directory."""
        return self.servers.process(*self.command(start), env={"SERVER_SAID": said})


@pytest.fixture
def readme(project: Path, servers: Servers) -> Readme:
    """The README, and the application that it speaks of."""
    (servers.directory / "app.py").write_text(APP)
    return Readme(project, servers)


def test_five_minutes(readme: Readme, servers: Servers) -> None:
    (servers.directory / "router.conf").write_text(readme.block("[uwsgirouter]"))
    checked = readme.run("uwsgirouter --check")
    assert checked.wait() == 0, checked.log()
    router = readme.run("uwsgirouter -c")
    router.wait_ready(lambda: is_listening(readme.router))
    assert fetch(readme.router, "foo.com").status == 503

    uwsgi = readme.run("uwsgi --master", said="uWSGI")
    announcer = readme.run("uwsgirouterctl subscribe --server", said="gunicorn")
    wait_until(lambda: answers(readme) == {b"uWSGI", b"gunicorn"}, 30.0, "both nodes serve")

    asked = subprocess.run(readme.command("uwsgirouterctl request"), capture_output=True, text=True, timeout=20)
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith("HTTP/1.1 200 OK")

    announcer.stop(2, 20)
    assert answers(readme) == {b"uWSGI"}, "gunicorn is out"
    uwsgi.stop(2)
    wait_until(lambda: fetch(readme.router, "foo.com").status == 503, 5.0, "uWSGI is out")


def answers(readme: Readme) -> set[bytes]:
    """Who answers, in four requests."""
    return {fetch(readme.router, "foo.com").body for _ in range(4)}


def test_what_it_names_exists(readme: Readme, project: Path) -> None:
    names = re.findall(r"`((?:conf|docs|scripts)/[\w./-]*)`", readme.text)
    assert names
    for name in names:
        assert (project / name).exists(), f"README.md names {name}, which does not exist"
    makefile = (project / "Makefile").read_text()
    for target in re.findall(r"make ([\w-]+)", readme.text):
        assert re.search(rf"^{target}:", makefile, re.M), f"README.md names make {target}"
