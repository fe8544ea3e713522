"""docs/get-started.md, typed in as it stands there, but on free ports; and what the README promises."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import Process, Servers, fetch, free_port, free_udp_port, is_listening, wait_until
from tests.servers.programs import ROUTER_COMMAND, program, uwsgi_command

PROGRAMS = {
    "uwsgi": uwsgi_command,
    "gunicorn": lambda: [sys.executable, "-m", "gunicorn"],
    "uwsgirouter": lambda: ROUTER_COMMAND,
    "curl": lambda: [program("curl")],
    "uwsgirouterctl": lambda: [sys.executable, "-m", "uwsgirouter.control"],
}


class Page:
    """The commands and files that a page shows."""

    def __init__(self, path: Path, servers: Servers) -> None:
        self.servers = servers
        self.name = path.name
        text = path.read_text()
        ports = {"3017": free_port(), "2626": free_udp_port(), "3031": free_port()}
        for printed, mine in ports.items():
            text = text.replace(f":{printed}", f":{mine}")
        self.text = re.sub(r" \\\n +", " ", text)
        self.router = f"127.0.0.1:{ports['3017']}"
        self.gunicorn = f"127.0.0.1:{ports['3031']}"

    def block(self, first: str) -> str:
        """The indented block that starts with a line."""
        found = re.search(rf"^    {re.escape(first)}.*\n(?:^    .*\n)*", self.text, re.M)
        assert found, f"{self.name} shows no {first}"
        return re.sub(r"^    ", "", found.group(0), flags=re.M)

    def command(self, start: str) -> list[str]:
        """The command that starts so, with the program that the tests use."""
        found = re.search(rf"^    ({re.escape(start)}.*)$|`({re.escape(start)}.*?)`", self.text, re.M)
        assert found, f"{self.name} shows no command {start}"
        name, *arguments = shlex.split(found.group(1) or found.group(2))
        command = [*PROGRAMS[name](), *arguments]
        if "--exec" in command:
            inner = command.index("--exec") + 1
            command[inner : inner + 1] = PROGRAMS[command[inner]]()
        return command

    def run(self, start: str) -> Process:
        """Start the command in the test's directory."""
        return self.servers.process(*self.command(start))

    def ask(self, start: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        return subprocess.run(self.command(start), capture_output=True, text=True, timeout=30)


@pytest.fixture
def page(project: Path, servers: Servers) -> Page:
    """The page, and the application that it shows."""
    page = Page(project / "docs" / "get-started.md", servers)
    (servers.directory / "app.py").write_text(page.block("def application"))
    (servers.directory / "router.conf").write_text(page.block("[uwsgirouter]"))
    return page


def test_five_minutes(page: Page, servers: Servers) -> None:
    checked = page.run("uwsgirouter --check")
    assert checked.wait() == 0, checked.log()
    router = page.run("uwsgirouter -c")
    router.wait_ready(lambda: is_listening(page.router))
    assert fetch(page.router, "foo.com").status == 503

    uwsgi = page.run("uwsgi --master")
    announcer = page.run("uwsgirouterctl subscribe --server")
    wait_until(lambda: nodes(router.log()) == 2, 30.0, "both nodes announce themselves")

    asked = page.ask("uwsgirouterctl request http://foo.com/")
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith("HTTP/1.1 200 OK") and asked.stdout.endswith("Hello from foo.com")
    unknown = page.ask("uwsgirouterctl request http://bar.com/")
    assert unknown.stdout.startswith("HTTP/1.1 503 ") and "no-node" in unknown.stdout
    assert "bar.com" in router.log()

    announcer.stop(2, 20)
    assert fetch(page.router, "foo.com").body == b"Hello from foo.com", "gunicorn is out, uWSGI serves"
    uwsgi.stop(2)
    wait_until(lambda: fetch(page.router, "foo.com").status == 503, 10.0, "uWSGI is out")


def nodes(log: str) -> int:
    """How many announced themselves, as the log says."""
    return log.count("foo.com => new node: ")


def test_through_the_web_server(page: Page, servers: Servers) -> None:
    """nginx with the lines of the page, and its curl."""
    page.run("uwsgirouter -c").wait_ready(lambda: is_listening(page.router))
    uwsgi = page.run("uwsgi --master")
    port = free_port()
    location = page.block("location /").replace("uwsgi_params", "/etc/nginx/uwsgi_params")
    top = f"daemon off; pid nginx.pid; error_log {servers.directory}/error.log; events {{}}"
    config = f"{top}\nhttp {{ access_log off; server {{ listen 127.0.0.1:{port};\n{location}\n}} }}\n"
    servers.nginx(config, f"127.0.0.1:{port}")
    command = page.command("curl -H")
    command[-1] = command[-1].replace("127.0.0.1", f"127.0.0.1:{port}")

    def asked() -> str:
        return subprocess.run([*command, "-sS"], capture_output=True, text=True, timeout=30).stdout

    wait_until(lambda: asked() == "Hello from foo.com", 20.0, f"the page's curl works: {uwsgi.log()}")


def test_the_readme_says_the_same(project: Path) -> None:
    """Its configuration and its commands are those of the page."""
    readme, page = ((project / name).read_text() for name in ("README.md", "docs/get-started.md"))
    shown = [line for line in readme.splitlines() if re.match(r" {4}(\[|fastrouter|uwsgi |uwsgirouter)", line)]
    assert len(shown) >= 5
    assert [line for line in shown if line not in page.splitlines()] == []


def test_what_the_readme_names_exists(project: Path) -> None:
    text = (project / "README.md").read_text()
    names = re.findall(r"`((?:conf|docs|scripts|man)/[\w./-]*)`", text)
    assert names
    for name in names:
        assert (project / name).exists(), f"README.md names {name}, which does not exist"
    makefile = (project / "Makefile").read_text()
    targets = re.findall(r"make ([\w-]+)", text)
    assert {"run", "test", "docs"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), f"README.md names make {target}"
