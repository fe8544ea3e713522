"""gunicorn with ``from uwsgirouter.announce.gunicorn import *``: what it announces, and when."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from tests.servers import Client, Gunicorn, Servers, get, is_listening, local, unpack, wait_until
from tests.servers.tap import Tap
from uwsgirouter.announce.environment import PREFIX

KEY = "foo.com"
APP = """
import os, time

while os.path.exists("gate"):
    time.sleep(0.01)


def application(environ, start_response):
    while os.path.exists("busy"):
        time.sleep(0.01)
    start_response("200 OK", [("Content-Length", "6")])
    return [b"served"]
"""


@pytest.fixture
def tap() -> Iterator[Tap]:
    with Tap() as tap:
        yield tap


class Site:
    """A directory with an application and a gunicorn.conf.py, and gunicorns of it that announce to ``tap``."""

    def __init__(self, servers: Servers, tap: Tap) -> None:
        self.servers = servers
        self.tap = tap
        self.directory = servers.directory / "site"
        self.directory.mkdir()
        (self.directory / "app.py").write_text(APP)
        self.configure("")

    def configure(self, text: str) -> None:
        (self.directory / "gunicorn.conf.py").write_text(f"from uwsgirouter.announce.gunicorn import *\n{text}\n")

    def start(self, *args: str, address: str = "", **settings: str) -> Gunicorn:
        variables = {"SERVER": self.tap.address, "KEY": KEY, "EVERY": "0.2", "DRAIN": "0.1", **settings}
        env = {PREFIX + name: value for name, value in variables.items()}
        arguments = ("-c", str(self.directory / "gunicorn.conf.py"), *args)
        return self.servers.gunicorn("app:application", self.directory, *arguments, address=address, env=env)

    @property
    def last(self) -> Mapping[bytes, bytes]:
        """What was said last of the key."""
        return dict(unpack(self.tap.of(KEY)[-1][4:]))

    @property
    def commands(self) -> list[int]:
        """Here (0) and gone (1), in order."""
        return [datagram[3] for datagram in self.tap.of(KEY)]


@pytest.fixture
def site(servers: Servers, tap: Tap) -> Site:
    return Site(servers, tap)


def test_it_is_announced_when_the_application_is_loaded_and_leaves_before_it_stops(site: Site) -> None:
    gate = site.directory / "gate"
    gate.touch()
    gunicorn = site.start("--workers", "2", "--threads", "3", WEIGHT="4", BACKUP="1", ALGO="lrc")
    assert is_listening(gunicorn.address)
    assert site.commands == [], "the application is not loaded yet"
    gate.unlink()
    site.tap.wait_for(KEY, 3)
    assert site.last[b"address"].decode() == gunicorn.address
    said = {name: site.last[name] for name in (b"weight", b"cores", b"load", b"backup", b"algo")}
    assert said == {b"weight": b"4", b"cores": b"6", b"load": b"0", b"backup": b"1", b"algo": b"lrc"}
    gunicorn.signal(signal.SIGTERM)
    site.tap.wait_for(KEY, 1, command=1)
    assert gunicorn.wait() == 0
    assert site.commands == sorted(site.commands), "nothing is announced after the unsubscription"
    assert site.commands.count(1) == 1, "and no worker unsubscribes once more"
    log = gunicorn.log()
    assert log.index("uwsgirouter: unsubscribed") < log.index("Worker exiting"), log


def test_a_quick_stop_leaves_and_does_not_wait(site: Site) -> None:
    gunicorn = site.start(DRAIN="600")
    site.tap.wait_for(KEY)
    assert gunicorn.stop(signal.SIGQUIT) == 0
    site.tap.wait_for(KEY, 1, command=1)


def test_a_second_signal_ends_the_drain(site: Site) -> None:
    gunicorn = site.start(DRAIN="600")
    site.tap.wait_for(KEY)
    gunicorn.signal(signal.SIGTERM)
    site.tap.wait_for(KEY, 1, command=1)
    assert gunicorn.stop(signal.SIGINT) == 0


def test_connections_that_wait_are_served_before_it_stops(site: Site) -> None:
    """One worker that is busy, and three more requests in the listener's queue when it is told to stop."""
    (site.directory / "busy").touch()
    gunicorn = site.start(DRAIN="0")
    site.tap.wait_for(KEY)
    clients = [site.servers.client(gunicorn.address) for _ in range(4)]
    for client in clients:
        client.send_packet(get(KEY))
    wait_until(lambda: site.last[b"load"] == b"1", 15.0, "the load tells the request that is under way")
    gunicorn.signal(signal.SIGTERM)
    site.tap.wait_for(KEY, 1, command=1)
    (site.directory / "busy").unlink()
    for client in clients:
        assert client.reply().body == b"served"
        client.close()  # until then gunicorn's worker lingers
    assert gunicorn.wait() == 0


def test_more_workers_more_cores(site: Site) -> None:
    gunicorn = site.start(EVERY="600")
    site.tap.wait_for(KEY)
    for number, cores in ((signal.SIGTTIN, b"2"), (signal.SIGTTIN, b"3"), (signal.SIGTTOU, b"2")):
        gunicorn.signal(number)
        wait_until(lambda cores=cores: site.last[b"cores"] == cores, 15.0, f"{cores!r} cores are announced at once")


def test_a_killed_worker_takes_nobody_out(site: Site) -> None:
    gunicorn = site.start()
    site.tap.wait_for(KEY)
    (worker,) = gunicorn.children()
    worker.kill()
    gunicorn.wait_for_log("Booting worker", 15.0, count=2)
    site.tap.wait_for(KEY, len(site.commands) + 2)
    assert set(site.commands) == {0}


def test_a_reload_keeps_it_announced_and_reads_the_environment_again(site: Site) -> None:
    """gunicorn's raw_env is in the environment that is read again; another key is another node."""
    site.configure("raw_env = ['UWSGIROUTER_WEIGHT=2']")
    gunicorn = site.start()
    wait_until(lambda: site.tap.of(KEY) and site.last[b"weight"] == b"2", 15.0, "the first configuration")
    site.configure("raw_env = ['UWSGIROUTER_WEIGHT=7']\nworkers = 2")
    gunicorn.signal(signal.SIGHUP)
    wait_until(lambda: (site.last[b"weight"], site.last[b"cores"]) == (b"7", b"2"), 15.0, "the second one")
    assert set(site.commands) == {0}
    site.configure("raw_env = ['UWSGIROUTER_WEIGHT=many']")
    gunicorn.signal(signal.SIGHUP)
    gunicorn.wait_for_log("the node stays announced as it was: UWSGIROUTER_WEIGHT=many: expected a whole number", 15.0)
    site.configure("raw_env = ['UWSGIROUTER_KEY=bar.com']")
    gunicorn.signal(signal.SIGHUP)
    site.tap.wait_for("bar.com")
    site.tap.wait_for(KEY, 1, command=1)
    assert site.commands[-1] == 1
    assert gunicorn.stop() == 0
    site.tap.wait_for("bar.com", 1, command=1)


def test_an_upgrade_never_takes_the_shared_socket_out(site: Site) -> None:
    """USR2: the new arbiter stays when the old one quits; and the other way about."""
    pidfile = site.directory / "pid"
    gunicorn = site.start("--pid", str(pidfile))
    site.tap.wait_for(KEY)

    def upgrade() -> int:
        count = gunicorn.log().count("Booting worker")
        gunicorn.signal(signal.SIGUSR2)
        gunicorn.wait_for_log("Booting worker", 15.0, count=count + 1)
        return int(Path(f"{pidfile}.2").read_text())

    backed_out = psutil.Process(upgrade())
    backed_out.terminate()
    wait_until(lambda: not backed_out.is_running(), 15.0, "the old one has seen that the new one is gone")
    assert gunicorn.log().count("another gunicorn serves at the address") == 1
    new = psutil.Process(upgrade())
    gunicorn.signal(signal.SIGQUIT)
    assert gunicorn.wait() == 0
    gunicorn.wait_for_log("another gunicorn serves at the address", 15.0, count=2)
    site.tap.wait_for(KEY, len(site.commands) + 3)
    assert set(site.commands) == {0}
    new.terminate()
    site.tap.wait_for(KEY, 1, command=1)
    wait_until(lambda: not new.is_running(), 15.0, "the new one is gone, too")


def test_hooks_of_the_file_are_called_as_well(site: Site) -> None:
    names = {"post_worker_init": "worker", "pre_request": "worker, request", "post_request": "worker, request"}
    names |= {"when_ready": "server", "nworkers_changed": "server, new, old", "worker_exit": "server, worker"}
    hooks = "".join(f"def {name}({given}):\n    open('{name}', 'w')\n" for name, given in names.items())
    site.configure(hooks)
    gunicorn = site.start()
    site.tap.wait_for(KEY)
    with Client(gunicorn.address) as client:
        client.send_packet(get(KEY))
        assert client.reply().body == b"served"
    assert gunicorn.stop() == 0
    assert {name for name in names if (site.directory / name).exists()} == set(names)
    site.tap.wait_for(KEY, 1, command=1)


@pytest.mark.parametrize(
    ("bind", "announced"),
    [("0.0.0.0:{port}", ":{port}"), ("[::1]:{port}", "[::1]:{port}"), ("{directory}/s", "{directory}/s")],
)
def test_what_it_binds_is_what_is_announced(site: Site, bind: str, announced: str) -> None:
    names = {"port": local().rpartition(":")[2], "directory": str(site.directory)}
    site.start(address=bind.format_map(names))
    site.tap.wait_for(KEY)
    assert site.last[b"address"].decode() == announced.format_map(names)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"KEY": ""}, "UWSGIROUTER_KEY is not set"),
        ({"WEIGHT": "0"}, "weight = 0: expected a whole number from 1 to 1000000"),
        ({"SIGN": "SHA256:/nowhere/at.all"}, "UWSGIROUTER_SIGN: private key /nowhere/at.all: No such file"),
        ({"ADDRESS": "nowhere:0"}, "address 'nowhere:0': a port is a number from 1 to 65535"),
    ],
)
def test_settings_that_cannot_be_used_end_it_with_a_word(site: Site, settings: dict[str, str], message: str) -> None:
    with pytest.raises(AssertionError, match="ended with 1") as ended:
        site.start(**settings)
    assert f"uwsgirouter: cannot announce this server: {message}" in str(ended.value)


def test_without_a_server_it_runs_as_it_would_without_us(site: Site) -> None:
    gunicorn = site.start(SERVER="", KEYS="x")
    gunicorn.wait_for_log("uwsgirouter: UWSGIROUTER_SERVER is not set: not announced", 15.0)
    gunicorn.wait_for_log("UWSGIROUTER_KEYS is not a setting", 15.0)
    assert gunicorn.stop() == 0
    assert "unsubscribed" not in gunicorn.log()
