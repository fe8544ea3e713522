"""The attendant that runs the scripts and keeps the caches."""

from __future__ import annotations

import glob
import os
import pwd
import signal
from pathlib import Path

import psutil
import pytest

from tests.master.watching import title, wait_for_serving
from tests.servers import Router, Servers, answer, fetch, local, wait_until

ROOT = os.geteuid() == 0
USER = pwd.getpwnam("nobody") if ROOT else pwd.getpwuid(os.geteuid())

FILL = """
import uwsgi, threading, time
uwsgi.cache_set("a.example", {node!r})
print("the script ran", flush=True)
def monitor():
    while True:
        time.sleep(0.01)
        uwsgi.cache_update("seen", "yes")
threading.Thread(target=monitor, daemon=True).start()
"""


class House:
    """A router whose nodes come from a cache that a script fills."""

    def __init__(self, servers: Servers, *lines: str, ready: bool = True, script: str = FILL) -> None:
        self.servers = servers
        self.node = servers.node(answer(b"served"))
        self.script = servers.directory / f"fill-{local().replace(':', '-')}.py"
        self.script.write_text(script.format(node=self.node.address))
        self.script.chmod(0o644)
        self.address = local()
        head = ["[uwsgi]", f"fastrouter = {self.address}", "fastrouter-use-cache", "cache = 100"]
        config = "\n".join([*head, f"file = {self.script}", *lines, ""])
        self.router: Router = servers.router(config=config, ready=ready)
        if ready:
            self.router.wait_ready(self.router.workers)

    def pid(self) -> int:
        """The attendant's."""
        name = f"uwsgirouter: scripts [{self.script.name}]"

        def only() -> int:
            found = [child.pid for child in self.router.children() if title(child.pid) == name]
            return found[0] if len(found) == 1 else 0

        return wait_until(only, 5, name)

    def places(self) -> list[str]:
        """The directories of its caches."""
        return glob.glob(f"/dev/shm/uwsgirouter.run-{self.router.pid}-*")


def test_it_runs_before_the_workers_and_stays_for_its_threads(started: Servers) -> None:
    house = House(started, "fastrouter-processes = 2")
    wait_for_serving(house.router, 2)
    log = house.router.log()
    assert log.index("the script ran") < log.index("spawned uwsgirouter worker 1")
    assert fetch(house.address).body == b"served"
    assert psutil.Process(house.pid()).num_threads() > 1
    (place,) = house.places()
    assert os.listdir(f"{place}/caches")
    assert house.router.stop() == 0
    assert house.places() == []


def test_a_script_that_fails_ends_the_start(started: Servers) -> None:
    house = House(started, ready=False, script="def inner():\n    return missing_name\ninner()\n")
    assert house.router.wait() == 1
    log = house.router.log()
    assert f"{house.router.config_file.name}:5: file = {house.script}: NameError" in log
    assert "in inner" in log
    assert "scripts cannot start: giving up" in log
    assert "spawned uwsgirouter worker" not in log
    assert house.places() == []


def test_a_reload_runs_it_again_and_a_failing_one_changes_nothing(started: Servers) -> None:
    house = House(started)
    before, attendant = wait_for_serving(house.router, 1), house.pid()
    good = house.script.read_text()
    house.script.write_text("1/0\n")
    house.router.hup()
    house.router.wait_for_log("the old configuration stays in use")
    assert "ZeroDivisionError" in house.router.log()
    assert (wait_for_serving(house.router, 1), house.pid()) == (before, attendant)
    assert fetch(house.address).body == b"served"
    house.script.write_text(good.replace("the script ran", "it ran again"))
    house.router.hup()
    house.router.wait_for_log("] reloaded in ")
    assert "it ran again" in house.router.log()
    assert house.pid() != attendant
    assert fetch(house.address).body == b"served"


def test_one_that_dies_comes_back_and_runs_the_scripts_again(started: Servers) -> None:
    house = House(started)
    before, attendant = wait_for_serving(house.router, 1), house.pid()
    os.kill(attendant, signal.SIGKILL)
    house.router.wait_for_log("the script ran", count=2)
    assert house.pid() != attendant
    assert wait_for_serving(house.router, 1) == before
    assert fetch(house.address).body == b"served"


@pytest.mark.parametrize("option", ["uid", "fastrouter-uid"])
def test_it_runs_as_the_workers_user(started: Servers, option: str) -> None:
    house = House(started, f"{option} = {USER.pw_name}")
    pids = [house.pid(), *wait_for_serving(house.router, 1)]
    assert {uid for pid in pids for uid in psutil.Process(pid).uids()} == {USER.pw_uid}
    assert fetch(house.address).body == b"served"
    house.router.hup()
    house.router.wait_for_log("] reloaded in ")
    assert fetch(house.address).body == b"served"
    assert house.router.stop() == 0
    assert house.places() == []


def test_nothing_but_a_cache(started: Servers) -> None:
    """No script: the attendant keeps the cache, filled by the configuration."""
    node = started.node(answer(b"served"))
    address = local()
    config = f"[uwsgi]\nfastrouter = {address}\nfastrouter-use-cache = mine\ncache2 = name=mine,items=10\n"
    config += f"add-cache-item = a.example={node.address}\n"
    router = started.router(config=config)
    wait_for_serving(router, 1)
    assert fetch(address).body == b"served"
    titles = [title(child.pid) for child in router.children()]
    assert "uwsgirouter: scripts [caches]" in titles


def test_the_log_of_the_script_goes_to_the_new_file(started: Servers) -> None:
    log = Path(started.path("scripts.log"))
    text = FILL.replace("time.sleep(0.01)", "time.sleep(0.01); print('alive', flush=True)")
    house = House(started, f"logto = {log}", script=text)
    wait_until(lambda: "alive" in log.read_text(), 5, "it writes")
    log.rename(f"{log}.1")
    house.router.signal(signal.SIGUSR1)
    wait_until(lambda: log.exists() and "alive" in log.read_text(), 5, "it writes to the new file")
    assert house.router.stop() == 0
