"""Every file of conf/ is used as its comments say: here, or by the tests of the article, manual and quickstart."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import (
    Process,
    Redis,
    Servers,
    announce,
    answer,
    fetch,
    free_port,
    free_udp_port,
    is_listening,
    local,
    wait_until,
)
from tests.servers.programs import ROUTER_COMMAND, environment, program
from uwsgirouter.settings.table import OPTIONS

USED_ELSEWHERE = {
    "apache.conf.example",
    "article/app.py",
    "article/nginx.conf",
    "article/router.ini",
    "article/worker.ini",
    "cheap-shared/myheavyapp.wsgi",
    "cheap-shared/nginx.conf",
    "cheap-shared/node.ini",
    "cheap-shared/router.ini",
    "descriptor-passing/app.py",
    "descriptor-passing/router.ini",
    "emperor/app.py",
    "emperor/emperor.ini",
    "emperor/router.ini",
    "emperor/vassals/example.com.ini",
    "emperor/wait-for-command.ini",
    "gunicorn/app.py",
    "gunicorn/gunicorn.conf.py",
    "gunicorn/router.conf",
    "grafana/uwsgirouter.json",
    "lighttpd.conf.example",
    "manual/app.py",
    "manual/foobar.py",
    "manual/getting-started.sh",
    "manual/mapper.py",
    "manual/mappings.txt",
    "manual/megamapper.py",
    "manual/nginx.conf",
    "manual/notes.ini",
    "manual/post-buffering.ini",
    "manual/shared-socket.ini",
    "manual/subscribe-any-port.sh",
    "manual/subscribe-mappings.sh",
    "manual/subscribe-one-key.sh",
    "manual/subscribe-two-keys.sh",
    "manual/subscription-server.sh",
    "manual/use-base.sh",
    "manual/use-cache.sh",
    "manual/use-code-string.sh",
    "manual/use-megamapper.sh",
    "manual/use-pattern.sh",
    "monitoring/alerts.yml",
    "monitoring/prometheus.yml",
    "monitoring/router.conf",
    "moving/app.py",
    "moving/fastrouter.ini",
    "moving/nginx.conf",
    "moving/node.ini",
    "moving/uwsgirouter.ini",
    "quickstart.conf",
    "quickstart/hello.py",
    "quickstart/run.py",
    "routing/basicauth.ini",
    "routing/collect-header.ini",
    "routing/first-example.ini",
    "routing/flush.ini",
    "routing/goto-by-host.ini",
    "routing/goto.ini",
    "routing/gzip-and-cache.ini",
    "routing/gzip-and-chunked.ini",
    "routing/gzip.ini",
    "routing/limits.ini",
    "routing/manual.ini",
    "routing/pages.ini",
    "routing/pages/footer.html",
    "routing/pages/hello.cgi",
    "routing/pages/index.shtml",
    "routing/pages/moved.sh",
    "routing/pages/news.xml",
    "routing/pages/news.xsl",
    "routing/services.ini",
    "routing/stores.ini",
    "routing/transformations.ini",
    "runit/run",
    "systemd/uwsgirouter@.service",
    "systemd/uwsgirouter@.socket",
}
USED_HERE = {
    "access-log-json.ini",
    "access-log.ini",
    "nginx.conf.example",
    "router.conf",
    "shared-cache/router.ini",
    "subscriptions.conf",
    "supervisord.conf",
    "systemd/uwsgirouter.service",
    "systemd/uwsgirouter.socket",
}


class Filled:
    """The files of conf/ with free ports in the place of theirs."""

    def __init__(self, servers: Servers, project: Path) -> None:
        self.conf = project / "conf"
        self.directory = servers.directory
        self.http = free_port()
        self.router = f"127.0.0.1:{free_port()}"
        self.server = f"127.0.0.1:{free_udp_port()}"

    def text(self, name: str) -> str:
        """A file's text with this test's addresses."""
        text = (self.conf / name).read_text()
        return text.replace("127.0.0.1:3017", self.router).replace("127.0.0.1:2626", self.server)

    def router_conf(self) -> Path:
        """router.conf, written where the other files are told to find it."""
        path = self.directory / "router.conf"
        path.write_text(self.text("router.conf"))
        return path


@pytest.fixture
def filled(servers: Servers, project: Path) -> Filled:
    """conf/ with ports of its own."""
    return Filled(servers, project)


def serve_through(servers: Servers, filled: Filled) -> None:
    """A node announces itself, and a request finds it."""
    node = servers.node(answer(b"served"))
    announce(filled.server, "a.example", node.address)
    wait_until(lambda: fetch(filled.router).status == 200, 5.0, "the announced node serves")
    assert fetch(filled.router).body == b"served"


def test_every_file_is_used_by_a_test(project: Path) -> None:
    conf = project / "conf"
    present = {str(path.relative_to(conf)) for path in conf.rglob("*") if path.is_file()}
    assert {name for name in present if "__pycache__" not in name} == USED_HERE | USED_ELSEWHERE


def test_router_conf(servers: Servers, filled: Filled) -> None:
    router = servers.router(config=filled.text("router.conf"))
    assert router.address == filled.router
    serve_through(servers, filled)
    assert len(router.wait_for_workers(2)) == 2


def test_shared_cache(servers: Servers, filled: Filled) -> None:
    """Two routers; what is set in one is known to the other."""
    redis = servers.daemon(Redis)
    text = filled.text("shared-cache/router.ini").replace("127.0.0.1:6379", redis.address)
    other = local()
    one, _ = servers.router(config=text), servers.router(config=text.replace(filled.router, other))
    node = servers.node(answer(b"served"))
    command = [sys.executable, "-m", "uwsgirouter.control", "cache", "--router", str(one.pid)]
    subprocess.run([*command, "set", "a.example", node.address], check=True, timeout=60, env=environment(None))
    assert [fetch(address).body for address in (filled.router, other)] == [b"served"] * 2
    done = subprocess.run(
        [*command[:-2], "--router", str(one.pid), "--cache", "counts", "get", "a.example"],
        capture_output=True,
        timeout=60,
        env=environment(None),
        check=True,
    )
    assert done.stdout == (2).to_bytes(8, "little") + b"\n"


def test_access_log(servers: Servers, filled: Filled) -> None:
    """A line a request, in the file that it names; what stands in comments is valid, too."""
    text = filled.text("access-log.ini")
    path = filled.directory / "commented.ini"
    path.write_text(re.sub(r"^; (?=[a-z0-9-]+ = )", "", text, flags=re.M))
    assert check(path).returncode == 0
    router = servers.router(config=text)
    serve_through(servers, filled)
    router.stop()
    lines = (filled.directory / "access.log").read_text().splitlines()
    assert re.fullmatch(r'[^ ]+ - - \[.*\] "GET / .*" 200 .* key=a.example node=.* tries=1 ms=.* id=\w{32}', lines[-1])


def test_access_log_json(servers: Servers, filled: Filled) -> None:
    """The same in two places."""
    router = servers.router(config=filled.text("access-log-json.ini"))
    serve_through(servers, filled)
    router.stop()
    last = json.loads((filled.directory / "access.json").read_text().splitlines()[-1])
    assert (last["key"], last["status"], last["tries"], last["cause"]) == ("a.example", 200, 1, None)
    assert f'"id":"{last["id"]}"' in router.log()


def check(path: Path) -> subprocess.CompletedProcess[str]:
    """``uwsgirouter --check`` of a file."""
    argv = [*ROUTER_COMMAND, "--check", "-c", str(path)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=20, env={**os.environ, **environment(None)})


def test_every_option_that_router_conf_shows_is_valid(filled: Filled) -> None:
    """The ones in comments too: a reader takes the semicolon away."""
    text, count = re.subn(r"^;     (?=[a-z-]+ = )", "", filled.text("router.conf"), flags=re.M)
    assert count >= 8
    path = filled.directory / "all.conf"
    path.write_text(text)
    done = check(path)
    assert done.returncode == 0, done.stderr
    path.write_text(text + "\nfastrouter-tiemout = 3\n")
    done = check(path)
    assert done.returncode == 1
    assert "fastrouter-timeout" in done.stdout + done.stderr


def test_nginx_example(servers: Servers, filled: Filled) -> None:
    servers.router(config=filled.text("router.conf"))
    site = filled.text("nginx.conf.example").replace("listen 80;", f"listen 127.0.0.1:{filled.http};")
    site = site.replace("include uwsgi_params;", "include /etc/nginx/uwsgi_params;")
    top = f"daemon off; pid nginx.pid; error_log {filled.directory}/error.log; events {{}}"
    servers.nginx(f"{top}\nhttp {{ access_log off;\n{site}\n}}\n", f"127.0.0.1:{filled.http}")
    serve_through(servers, filled)
    url = f"http://127.0.0.1:{filled.http}/"
    done = subprocess.run(["curl", "-sS", "-H", "Host: a.example", url], capture_output=True, timeout=20, check=True)
    assert done.stdout == b"served"


def test_supervisord(servers: Servers, filled: Filled) -> None:
    """supervisord starts it, passes a HUP on, and stops it by TERM."""
    text = filled.text("supervisord.conf")
    config = str(filled.router_conf())
    text = text.replace("/etc/uwsgirouter/router.conf", config).replace(
        "uwsgirouter -c", shlex.join(ROUTER_COMMAND) + " -c"
    )
    text = text.replace("/var/log/uwsgirouter.log", str(filled.directory / "router.log"))
    main = filled.directory / "supervisor-main.conf"
    socket = filled.directory / "supervisor.sock"
    main.write_text(
        f"[supervisord]\nlogfile={filled.directory}/s.log\npidfile={filled.directory}/s.pid\n"
        f"[unix_http_server]\nfile={socket}\n[supervisorctl]\nserverurl=unix://{socket}\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n" + text
    )
    supervisor = servers.process(program("supervisord"), "-n", "-c", str(main))
    supervisor.wait_ready(lambda: is_listening(filled.router))
    serve_through(servers, filled)
    log = filled.directory / "router.log"
    before = len(log.read_text())
    control = [program("supervisorctl"), "-c", str(main)]
    subprocess.run([*control, "signal", "HUP", "uwsgirouter"], check=True, capture_output=True, timeout=20)
    wait_until(lambda: "reload" in log.read_text()[before:], 10.0, "the reload is in the log")
    serve_through(servers, filled)
    done = subprocess.run([*control, "stop", "uwsgirouter"], check=True, capture_output=True, text=True, timeout=20)
    assert "uwsgirouter: stopped" in done.stdout
    assert not is_listening(filled.router)


LAUNCHER = """
import os, socket, sys
held = []
for kind, address in (pair.split(",", 1) for pair in sys.argv[1].split()):
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "ListenStream" else socket.SOCK_DGRAM)
    host, port = address.rsplit(":", 1)
    sock.bind((host, int(port)))
    if kind == "ListenStream":
        sock.listen(128)
    held.append(sock)
copies = [os.dup2(sock.fileno(), 100 + number) for number, sock in enumerate(held)]
for number, copy in enumerate(copies):
    os.dup2(copy, 3 + number, inheritable=True)
os.environ.update(LISTEN_FDS=str(len(held)), LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""What systemd does for a service with a .socket file: bind, pass from descriptor 3 on, tell the process so."""


def unit(text: str) -> configparser.RawConfigParser:
    """A unit file; a repeated key or one outside a section is an error."""
    parser = configparser.RawConfigParser(strict=True, delimiters=("=",), comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def test_systemd_units(servers: Servers, filled: Filled) -> None:
    """Socket activation as systemd does it, then ExecReload and KillSignal."""
    sockets = unit(filled.text("systemd/uwsgirouter.socket"))
    service = unit(filled.text("systemd/uwsgirouter.service"))["Service"]
    config = str(filled.router_conf())
    command = service["ExecStart"].replace("/usr/local/bin/uwsgirouter", shlex.join(ROUTER_COMMAND))
    command = command.replace("/etc/uwsgirouter/router.conf", config)
    listen = " ".join(f"{kind},{address}" for kind, address in sockets["Socket"].items() if kind.startswith("Listen"))
    router: Process = servers.process(sys.executable, "-c", LAUNCHER, listen, *shlex.split(command))
    # The launcher's sockets cannot be bound a second time: a router that did not take them would end here.
    router.wait_ready(lambda: len(router.children()) >= 2)
    serve_through(servers, filled)
    before = len(router.log())
    reload = service["ExecReload"].replace("$MAINPID", str(router.pid))
    subprocess.run(shlex.split(reload), check=True, timeout=5)
    wait_until(lambda: "reload" in router.log()[before:], 10.0, "the reload is in the log")
    serve_through(servers, filled)
    assert service["KillSignal"] == "SIGTERM"
    assert router.stop(deadline=float(service["TimeoutStopSec"])) == 0


def test_the_files_agree_on_how_long_a_stop_may_take(filled: Filled) -> None:
    mercy = int(re.search(r"^reload-mercy = (\d+)", filled.text("router.conf"), re.M).group(1))  # type: ignore[union-attr]
    assert int(unit(filled.text("systemd/uwsgirouter.service"))["Service"]["TimeoutStopSec"]) > mercy
    stop = configparser.RawConfigParser(comment_prefixes=(";",))
    stop.read_string(filled.text("supervisord.conf"))
    assert stop.getint("program:uwsgirouter", "stopwaitsecs") > mercy


def test_the_files_agree_on_the_routers_address(filled: Filled) -> None:
    """They work together as they are."""
    names = ("router.conf", "nginx.conf.example", "systemd/uwsgirouter.socket", "quickstart.conf", "article/nginx.conf")
    for name in names:
        assert filled.router in filled.text(name), name


def test_the_subscriptions_example(servers: Servers, project: Path) -> None:
    text = (project / "conf" / "subscriptions.conf").read_text()
    listener, server = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_udp_port()}"
    text = text.replace("127.0.0.1:3017", listener).replace("127.0.0.1:2626", server)
    text = re.sub(r"/run/uwsgirouter|/var/lib/uwsgirouter", str(servers.directory), text)
    config = servers.directory / "subscriptions.conf"
    config.write_text(text)
    router = servers.process(*ROUTER_COMMAND, "-c", str(config))
    router.wait_ready(lambda: is_listening(listener))
    node = servers.node(answer(b"shop"))
    announce(servers.path("announce.sock"), ".example.com/shop", node.address)
    wait_until(lambda: fetch(listener, "www.example.com", "/shop/cart").status == 200, 10, "the node serves its path")
    reply = fetch(listener, "www.example.com", "/shop/cart")
    assert (reply.header("set-cookie") or "").startswith("ROUTE=")
    assert fetch(listener, "www.example.com", "/other").status == 503
    asked = [sys.executable, "-m", "uwsgirouter.control", "nodes", "-c", str(config)]
    listed = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout
    assert ".example.com/shop" in listed and node.address in listed
    wait_until(lambda: (servers.directory / "nodes").exists(), 15, "the snapshot is written")


def test_every_option_of_announcements_stands_in_an_example(project: Path) -> None:
    files = [path for path in (project / "conf").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    examples = "\n".join(path.read_text() for path in files)
    own = {"fastrouter-ejection", "fastrouter-sticky", "fastrouter-sticky-secret", "control-socket"}
    wanted = own | {option.name for option in OPTIONS if option.section == "subscription"}
    wanted -= {"fastrouter-subscription-slot"}  # it does nothing, and says so
    assert not [name for name in sorted(wanted) if not re.search(rf"^;?\s*{name} =", examples, re.M)]
