"""The examples of uWSGI's FastRouter manual, each from its file in conf/manual, through nginx to uWSGI.

The files are run as they are (command lines by ``sh``), but for the addresses. What the manual prints stands here once
more, so that no file can drift from it.
"""

from __future__ import annotations

import http.client
import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.servers import (
    Client,
    Connection,
    Process,
    Servers,
    UwsgiApp,
    fetch,
    free_port,
    free_udp_port,
    hang,
    is_bound_udp,
    is_listening,
    local,
    packet,
    post,
    wait_until,
)
from tests.servers.programs import ROUTER_COMMAND, uwsgi_command

MEGAMAPPER = """\
domains = {}
domains['example.com'] = {'nodes': ('127.0.0.1:3031', '192.168.0.100:3032'), 'node': 0}
domains['unbit.it'] = {'nodes': ('127.0.0.1:3035,5', '192.168.0.100:3035,5'), 'node': 0}

DEFAULT_NODE = '192.168.0.1:1717'

def get(key):
    if key not in domains:
        return DEFAULT_NODE

    # get the node to forward requests to
    nodes = domains[key]['nodes']
    current_node = domains[key]['node']
    value = nodes[current_node]

    # round robin :P
    next_node = current_node + 1
    if next_node >= len(nodes):
        next_node = 0

    domains[key]['node'] = next_node

    return value
"""
SHARED_SOCKET = """\
[uwsgi]
;create a shared socket (the webserver will connect to it)
shared-socket = 127.0.0.1:3031

; bind the fastrouter to the shared socket
fastrouter = =0
; bind an instance to the same socket
socket = =0

; having a master is always a good thing...
master = true
; our subscription server
fastrouter-subscription-server = 192.168.0.100:4040
; our app
wsgi-file = /var/www/myheavyapp.wsgi
; a bunch of processes
processes = 4
; and put the fastrouter in cheap mode
fastrouter-cheap = true
"""
FOOBAR = """\
import uwsgi
# Requests for example.com on port 8000 will go to 127.0.0.1:4040
uwsgi.cache_set("example.com:8000", "127.0.0.1:4040")
# Requests for unbit.it will go to 127.0.0.1:4040 with the modifier1 set to 5 (perl/PSGI)
uwsgi.cache_set("unbit.it", "127.0.0.1:4040,5")
"""
POST_BUFFERING = """\
[uwsgi]
fastrouter = 127.0.0.1:3031
fastrouter-to = /var/run/app.socket
fastrouter-post-buffering = 8192
"""
MANUAL = {
    "getting-started.sh": "uwsgi --fastrouter 127.0.0.1:3017 --fastrouter /tmp/uwsgi.sock --fastrouter @foobar",
    "use-base.sh": "uwsgi --fastrouter 127.0.0.1:3017 --fastrouter-use-base /tmp/sockets/",
    "use-pattern.sh": "uwsgi --fastrouter 127.0.0.1:3017 --fastrouter-use-pattern /tmp/sockets/%s/uwsgi.sock",
    "foobar.py": FOOBAR,
    "use-cache.sh": "uwsgi --fastrouter 127.0.0.1:3017 --fastrouter-use-cache --cache 100 --file foobar.py",
    "subscription-server.sh": "uwsgi --fastrouter 127.0.0.1:3017 --fastrouter-subscription-server 192.168.0.100:7000",
    "subscribe-one-key.sh": "uwsgi --socket :3031 -M --subscribe-to 192.168.0.100:7000:example.com",
    "subscribe-two-keys.sh": "uwsgi --socket :3032 -M --subscribe-to 192.168.0.100:7000:unbit.it,5 "
    "--subscribe-to 192.168.0.100:7000:uwsgi.it",
    "subscribe-any-port.sh": "uwsgi --socket 192.168.0.100:0 -M --subscribe-to 192.168.0.100:7000:example.com",
    "mappings.txt": "# mappings.txt\nunbit.it\nunbit.it:8000,5\nuwsgi.it\nprojects.unbit.it\n",
    "subscribe-mappings.sh": "uwsgi --socket :3031 -M --subscribe-to 192.168.0.100:7000:@mappings.txt",
    "mapper.py": "def get(key):\n    return '127.0.0.1:3031'\n",
    "use-code-string.sh": "uwsgi --fastrouter 127.0.0.1:3017 --fastrouter-use-code-string 0:mapper.py:get",
    "megamapper.py": MEGAMAPPER,
    "use-megamapper.sh": "uwsgi --fastrouter 127.0.0.1:3017 --fastrouter-use-code-string 0:megamapper.py:get",
    "shared-socket.ini": SHARED_SOCKET,
    "post-buffering.ini": POST_BUFFERING,
}
"""What the manual prints, by the file that holds it here."""

OURS = {"app.py", "nginx.conf", "notes.ini"}
"""Files beside the manual's: an application, a web server, and options that it names without an example."""

TCP = (
    "127.0.0.1:3017 127.0.0.1:3031 127.0.0.1:3035 127.0.0.1:4040 127.0.0.1:8080 "
    "192.168.0.100:3032 192.168.0.100:3035 192.168.0.1:1717"
)
ANY_MODIFIER = ("--remap-modifier", "0:5", "--logformat", "%(host) with modifier1 %(modifier1)")
"""Arguments of an instance whose Python serves what is meant for Perl, and whose log says so."""


def conf(project: Path) -> Path:
    """The directory of the examples."""
    return project / "conf" / "manual"


@pytest.mark.parametrize("name", MANUAL)
def test_a_file_is_what_the_manual_prints(project: Path, name: str) -> None:
    """Below a comment: a script or ini file as it is, a command line with our program's name, and open to more."""
    text = (conf(project) / name).read_text()
    block = MANUAL[name]
    if name.endswith(".sh"):
        program = "uwsgirouter" if "--fastrouter " in block else "uwsgi"
        block = f'exec {block.replace("uwsgi ", f"{program} ", 1)} "$@"\n'
    assert text.endswith(block)
    above = text[: -len(block)].splitlines()
    assert [line for line in above if line and not line.startswith(("#", ";"))] == []


def test_there_is_no_other_file(project: Path) -> None:
    assert {path.name for path in conf(project).iterdir() if path.is_file()} == OURS | MANUAL.keys()


class Manual:
    """The examples with addresses of their own; programs are found by the names that the files use."""

    def __init__(self, servers: Servers, project: Path) -> None:
        self.servers = servers
        self.directory = servers.directory
        self.addresses = {printed: local() for printed in TCP.split()}
        for printed in ("192.168.0.100:7000", "192.168.0.100:4040"):
            self.addresses[printed] = f"127.0.0.1:{free_udp_port()}"
        self.addresses |= {
            ":3031": f":{free_port()}",
            ":3032": f":{free_port()}",
            "192.168.0.100:0": "127.0.0.1:0",
            "/tmp/uwsgi.sock": servers.path("uwsgi.sock"),
            "/tmp/sockets/": servers.path("sockets") + "/",
            "/var/run/app.socket": servers.path("app.socket"),
            "/var/www/myheavyapp.wsgi": servers.path("app.py"),
            "@foobar": f"@foobar-{free_port()}",
        }
        # nginx's second port is part of keys.
        port = free_port()
        self.addresses |= {f"{host}:8000": f"{host}:{port}" for host in ("127.0.0.1", "example.com", "unbit.it")}
        self.router = self.addresses["127.0.0.1:3017"]
        self.web = {printed: self.addresses[f"127.0.0.1:{printed}"] for printed in (8080, 8000)}
        for path in conf(project).iterdir():
            if path.is_file():
                (self.directory / path.name).write_text(self.filled(path.read_text()))
        self._make_programs()

    def filled(self, text: str) -> str:
        """The text of a file with this test's addresses."""
        longest_first = sorted(self.addresses, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, longest_first)), lambda found: self.addresses[found.group()], text)

    def _make_programs(self) -> None:
        """A directory for PATH with the programs under test."""
        place = self.directory / "bin"
        place.mkdir()
        for name, command in (("uwsgirouter", ROUTER_COMMAND), ("uwsgi", uwsgi_command())):
            (place / name).write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
            (place / name).chmod(0o755)
        self.path = f"{place}:{os.environ['PATH']}"

    def run(self, name: str, *arguments: str, said: str = "") -> Process:
        """Run a file as its comment says. ``said`` is the name under which an instance answers."""
        start = ["uwsgirouter", "-c", name] if name.endswith(".ini") else ["sh", name]
        argv = [sys.executable, "-c", "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])", *start, *arguments]
        return self.servers.process(*argv, env={"PATH": self.path, "NAME": said or "app"})

    def route(self, name: str, *arguments: str, address: str = "") -> Process:
        """Run a router's file until it listens; nginx before it."""
        router = self.run(name, *arguments)
        address = address or self.router
        router.wait_ready(lambda: is_listening(address))
        if "subscription-server" in (self.directory / name).read_text():
            router.wait_ready(
                lambda: any(is_bound_udp(self.addresses[f"192.168.0.100:{port}"]) for port in (4040, 7000))
            )
        config = (
            (self.directory / "nginx.conf").read_text().replace(f"uwsgi_pass {self.router}", f"uwsgi_pass {address}")
        )
        if not is_listening(self.web[8080]):
            self.servers.nginx(config, *self.web.values())
        return router

    def announce(self, name: str, *arguments: str, said: str) -> Process:
        """Run an instance's file with the application."""
        instance = self.run(name, "--wsgi-file", "app.py", "--die-on-term", *arguments, said=said)
        instance.wait_ready(lambda: "spawned uWSGI worker 1" in instance.log())
        return instance

    def instance(self, printed: str, said: str, *arguments: str) -> UwsgiApp:
        """An application server at one of the printed addresses (or at a path)."""
        address = self.addresses.get(printed, printed)
        app = ["--wsgi-file", self.servers.path("app.py")]
        return self.servers.uwsgi("--socket", address, *app, *arguments, env={"NAME": said})

    def get(self, host: str, path: str = "/", body: bytes | None = None) -> tuple[int, str]:
        """Status and text of a request through nginx, on port 8000 when the (printed) host says so."""
        where, _, port = self.web[8000 if host.endswith(":8000") else 8080].rpartition(":")
        host = self.filled(host)
        connection = http.client.HTTPConnection(where, int(port), timeout=20)
        try:
            connection.request("GET" if body is None else "POST", path, body, {"Host": host})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def wait_for(self, host: str, *said: str) -> None:
        """Until exactly these instances answer for the host: all of them in so many requests and four more."""
        wait_until(lambda: self.answering(host, len(said) + 4) == set(said), 10.0, f"{host} is served by {said}")

    def answering(self, host: str, requests: int, path: str = "/") -> set[str]:
        """The names that answered so many requests, or their statuses."""
        answers = [self.get(host, path) for _ in range(requests)]
        return {text.split()[0] if status == 200 else str(status) for status, text in answers}


@pytest.fixture
def manual(servers: Servers, project: Path) -> Manual:
    """The examples, none of them started."""
    return Manual(servers, project)


def test_getting_started(manual: Manual) -> None:
    abstract = manual.addresses["@foobar"]
    router = manual.route("getting-started.sh", "--chmod-socket=666")
    assert [manual.get("example.com", path)[0] for path in ("/", "/unix/")] == [503, 503]
    assert fetch(abstract).status == 503
    assert router.stop() == 0

    node = manual.instance("127.0.0.1:3031", "one")
    manual.route("getting-started.sh", "--chmod-socket=666", "--fastrouter-to", node.address)
    for path in ("/", "/unix/"):
        assert manual.get("example.com", path) == (200, "one example.com 0\n")
    assert fetch(abstract, "example.com").body == b"one example.com 0\n"


def test_way_1_use_base(manual: Manual) -> None:
    (manual.directory / "sockets").mkdir()
    manual.instance(manual.addresses["/tmp/sockets/"] + "example.com", "one", "--chmod-socket=666")
    manual.route("use-base.sh")
    assert manual.get("example.com") == (200, "one example.com 0\n")
    assert manual.get("unbit.it")[0] == 502


def test_way_2_use_pattern(manual: Manual) -> None:
    (manual.directory / "sockets" / "example.com").mkdir(parents=True)
    manual.instance(manual.addresses["/tmp/sockets/"] + "example.com/uwsgi.sock", "one")
    manual.route("use-pattern.sh")
    assert manual.get("example.com") == (200, "one example.com 0\n")
    assert manual.get("unbit.it")[0] == 502


def test_way_3_use_cache(manual: Manual) -> None:
    node = manual.instance("127.0.0.1:4040", "one", *ANY_MODIFIER)
    manual.route("use-cache.sh")
    assert manual.get("example.com:8000") == (200, "one example.com 0\n")
    assert manual.get("unbit.it") == (200, "one unbit.it 0\n")
    assert manual.get("example.com")[0] == 503
    node.wait_for_log("example.com with modifier1 0")
    node.wait_for_log("unbit.it with modifier1 5")


def test_way_4_subscription_server(manual: Manual) -> None:
    manual.route("subscription-server.sh")
    assert manual.get("example.com")[0] == 503
    one = manual.announce("subscribe-one-key.sh", said="one")
    two = manual.announce("subscribe-two-keys.sh", *ANY_MODIFIER, said="two")
    manual.announce("subscribe-any-port.sh", said="three")
    manual.wait_for("example.com", "one", "three")
    manual.wait_for("uwsgi.it", "two")
    manual.wait_for("unbit.it", "two")
    two.wait_for_log("uwsgi.it with modifier1 0")
    two.wait_for_log("unbit.it with modifier1 5")
    assert manual.get("example.com:8000")[0] == 503
    # UWSGI_FASTROUTER_KEY is unbit.it there, whatever the Host.
    assert manual.answering("example.com", 4, path="/key/") == {"two"}

    one.stop()
    manual.wait_for("example.com", "three")
    two.stop()
    wait_until(lambda: manual.get("unbit.it")[0] in (502, 503), 5.0, "unbit.it has lost its node")


def test_mapping_files(manual: Manual) -> None:
    manual.route("subscription-server.sh")
    instance = manual.announce("subscribe-mappings.sh", *ANY_MODIFIER, said="four")
    for host in ("unbit.it", "uwsgi.it", "projects.unbit.it"):
        manual.wait_for(host, "four")
        instance.wait_for_log(f"\n{host} with modifier1 0\n")
    assert "with modifier1 5" not in instance.log()
    manual.wait_for("unbit.it:8000", "four")
    instance.wait_for_log("\nunbit.it with modifier1 5\n")
    assert manual.get("mappings.txt")[0] == 503


def test_way_5_use_code_string(manual: Manual) -> None:
    manual.instance("127.0.0.1:3031", "one")
    manual.route("use-code-string.sh")
    assert manual.get("example.com") == (200, "one example.com 0\n")
    assert manual.get("unbit.it:8000") == (200, "one unbit.it 0\n")


def test_way_5_the_longer_script(manual: Manual) -> None:
    manual.instance("127.0.0.1:3031", "one")
    manual.instance("192.168.0.100:3032", "two")
    five = manual.instance("127.0.0.1:3035", "five", *ANY_MODIFIER)
    manual.instance("192.168.0.100:3035", "six", *ANY_MODIFIER)
    manual.instance("192.168.0.1:1717", "default")
    manual.route("use-megamapper.sh")
    turns = [manual.get("example.com")[1].split()[0] for _ in range(6)]
    assert turns in (["one", "two"] * 3, ["two", "one"] * 3)
    assert manual.answering("unbit.it", 6) == {"five", "six"}
    five.wait_for_log("unbit.it with modifier1 5")
    assert manual.answering("nobody.example", 4) == {"default"}


def test_cheap_mode_and_shared_sockets(manual: Manual) -> None:
    """The ini runs as it is; how requests are shared while nodes come and go is in test_local_instance."""
    manual.route("shared-socket.ini", address=manual.addresses["127.0.0.1:3031"])
    assert manual.get("example.com") == (200, "app example.com 0\n")
    assert manual.get("example.com", body=b"x" * 100_000) == (200, "app example.com 100000\n")


def test_post_buffering(manual: Manual) -> None:
    """One uWSGI process: it is free for others while somebody's body is still on its way."""
    manual.instance(manual.addresses["/var/run/app.socket"], "one", "--chmod-socket=666")
    router = manual.addresses["127.0.0.1:3031"]
    manual.route("post-buffering.ini", address=router)
    for size in (0, 1, 8191, 8192, 8193, 3_000_000):
        assert manual.get("example.com", body=b"x" * size) == (200, f"one example.com {size}\n")
    with Client(router) as slow:
        slow.send(packet(post("slow.example", 20_000)) + b"x" * 10_000)
        for _ in range(3):
            assert fetch(router, "quick.example").body == b"one quick.example 0\n"
        slow.send(b"x" * 10_000)
        assert slow.reply().body == b"one slow.example 20000\n"


def test_notes_timeout(manual: Manual) -> None:
    manual.servers.node(hang, manual.addresses["/var/run/app.socket"])
    manual.route("notes.ini")
    assert manual.get("example.com")[0] == 504


@pytest.mark.parametrize("passing", [False, True])
def test_notes_descriptors(manual: Manual, passing: bool) -> None:
    """A node on a unix socket gets the client's descriptor with the packet, but not with ``no-fd-passing``."""
    ancillary: list[list[object]] = []

    def adopting(connection: Connection) -> None:
        _, passed, *_ = connection.socket.recvmsg(1 << 17, 1024)
        ancillary.append(passed)
        connection.answer(b"answered")

    manual.servers.node(adopting, manual.addresses["/var/run/app.socket"])
    if passing:
        notes = manual.directory / "notes.ini"
        notes.write_text(notes.read_text().replace("no-fd-passing = true", ""))
    manual.route("notes.ini")
    assert manual.get("example.com") == (200, "answered")
    assert [len(passed) for passed in ancillary] == [1 if passing else 0]
