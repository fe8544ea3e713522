"""Caches in a running router: filled by a script, changed while it runs, and what reloads and deaths do to them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.servers import Node, Router, Servers, SteadyLoad, answer, fetch, free_port, is_listening, wait_until
from tests.servers.process import Process
from uwsgirouter.cache.place import running

SCRIPT = "import uwsgi\nuwsgi.cache_set('{key}', '{address}')\n"


class House:
    """A router whose script names a node, and the ways to look at it from outside."""

    def __init__(self, servers: Servers, *lines: str, caches: str = "cache = 100") -> None:
        self.servers = servers
        self.node: Node = servers.node(answer(b"node"))
        self.script(SCRIPT.format(key="foo.com", address=self.node.address))
        self.config = "\n".join(
            [
                "[uwsgi]",
                f"fastrouter = 127.0.0.1:{free_port()}",
                "fastrouter-use-cache",
                "file = script.py",
                *lines,
            ]
        )
        self.router: Router = servers.router(config=f"{self.config}\n{caches}\n")
        self.router.wait_for_workers(1)

    def script(self, text: str) -> None:
        (self.servers.directory / "script.py").write_text(text)

    def ask(self, key: str = "foo.com") -> int:
        return fetch(self.router.address, key).status

    def ctl(self, *arguments: str) -> Process:
        """uwsgirouterctl cache on this router; it has ended."""
        argv = [sys.executable, "-m", "uwsgirouter.control", "cache", "--router", str(self.router.pid), *arguments]
        process = self.servers.process(*argv)
        process.wait()
        return process

    def hup(self, log: str = "] reloaded in ") -> None:
        count = self.router.log().count(log)
        self.router.hup()
        self.router.wait_for_log(log, count=count + 1)

    def reload(self) -> None:
        """A HUP, until the old worker is gone: it may answer for a moment more."""
        old = self.router.workers()
        self.hup()
        wait_until(lambda: self.router.workers() and not set(old) & set(self.router.workers()), 5, "new workers alone")

    def place(self) -> str:
        """Its directory in the memory file system."""
        (found,) = [router for router in running() if router.pid == self.router.pid]
        return found.path


@pytest.fixture
def house(servers: Servers) -> House:
    return House(servers)


def test_reloads_lose_no_request_and_the_script_counts_as_it_is_now(house: House) -> None:
    second = house.servers.node(answer(b"second"))
    with SteadyLoad(lambda: fetch(house.router.address, "foo.com")) as load:
        for _ in range(2):
            house.hup()
        house.script(SCRIPT.format(key="foo.com", address=second.address))
        house.hup()
        wait_until(lambda: load.share()[b"second"] > 20, 5, "the new address is used")
    assert not load.failures
    assert fetch(house.router.address, "foo.com").body == b"second"


def test_a_key_that_left_the_script_is_gone_and_one_set_at_run_time_is_not(house: House) -> None:
    assert house.ask("bar.com") == 503
    assert house.ctl("set", "bar.com", house.node.address).returncode == 0
    assert house.ask("bar.com") == 200, "for the next request"
    house.script("")
    house.reload()
    wait_until(lambda: house.ask("foo.com") == 503, 5, "the key is gone")
    assert house.ask("bar.com") == 200
    assert house.ctl("del", "bar.com").returncode == 0
    assert house.ask("bar.com") == 503


def test_a_script_that_fails_changes_nothing(house: House) -> None:
    workers = house.router.workers()
    house.script("import uwsgi\nuwsgi.cache_clear()\nuwsgi.cache_set('foo.com', '127.0.0.1:1')\n1 / 0\n")
    house.hup("the old configuration stays in use")
    log = house.router.wait_for_log("ZeroDivisionError: division by zero")
    assert 'File "script.py", line 4, in <module>' in log
    assert house.router.workers() == workers
    assert house.ask() == 200
    house.script(SCRIPT.format(key="foo.com", address=house.node.address))
    house.hup()
    assert house.ask() == 200


def test_a_reload_that_fails_after_the_scripts_is_undone(house: House) -> None:
    """The scripts were run and are fine, but the workers cannot start: the items are those of before."""
    house.script(SCRIPT.format(key="foo.com", address="127.0.0.1:1"))
    mapper = "fastrouter-use-code-string = 0:nowhere.py:get"
    house.router.rewrite(f"{house.config.replace('fastrouter-use-cache', mapper)}\ncache = 100\n")
    house.hup("the old configuration stays in use")
    house.router.wait_for_log("what a failed reload had set is undone")
    assert house.ask() == 200


def test_a_script_that_fails_at_the_start_ends_it(servers: Servers) -> None:
    (servers.directory / "script.py").write_text("import nothing_at_all\n")
    router = servers.router(
        config=f"[uwsgi]\nfastrouter = 127.0.0.1:{free_port()}\nfile = script.py\ncache = 1\n", ready=False
    )
    assert router.wait() == 1
    assert "file = script.py: ModuleNotFoundError: No module named 'nothing_at_all'" in router.log()
    assert not [found for found in running() if found.pid == router.pid]


def test_other_sizes_start_an_empty_cache_and_the_old_file_goes(house: House) -> None:
    house.ctl("set", "bar.com", house.node.address)
    house.router.rewrite(f"{house.config}\ncache = 200\n")
    house.reload()
    assert house.ask("foo.com") == 200, "the script filled it"
    assert house.ask("bar.com") == 503
    caches = Path(house.place()) / "caches"
    wait_until(lambda: len(list(caches.iterdir())) == 3, 5, "one cache has three files")


def test_a_store_lasts_over_the_router_s_end(servers: Servers) -> None:
    house = House(servers, caches="cache2 = name=kept,items=10,store=kept.db")
    house.ctl("set", "bar.com", house.node.address)
    house.script("")
    assert house.router.stop() == 0
    again = servers.router("-c", str(house.router.config_file))
    again.wait_for_workers(1)
    wait_until(lambda: is_listening(house.router.address), 5, "it listens")
    assert house.ask("bar.com") == 200
    assert house.ask("foo.com") == 503, "the script does not set it any more"


def test_a_damaged_store_is_told_of_and_the_router_does_not_start(servers: Servers) -> None:
    (servers.directory / "kept.db").write_text("no database\n" * 1000)
    (servers.directory / "script.py").touch()
    config = f"[uwsgi]\nfastrouter = 127.0.0.1:{free_port()}\ncache2 = name=kept,items=10,store=kept.db\n"
    router = servers.router(config=config, ready=False)
    assert router.wait() == 1
    assert "cache kept: " in router.log() and "kept.db is no store or damaged" in router.log()


def test_killed_processes_leave_a_cache_that_works(house: House) -> None:
    for _ in range(3):
        (worker,) = house.router.wait_for_workers(1)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda worker=worker: worker not in house.router.workers() and house.router.workers(), 5)
    wait_until(lambda: house.ask() == 200, 5, "the worker is back")
    (scripts,) = [child for child in house.router.children() if "scripts" in " ".join(child.cmdline())]
    scripts.kill()
    wait_until(
        lambda: any(
            "scripts" in " ".join(child.cmdline()) and child.pid != scripts.pid for child in house.router.children()
        ),
        5,
        "the scripts' process is back",
    )
    assert house.ask() == 200
    assert house.ctl("set", "bar.com", house.node.address).returncode == 0
    assert house.ask("bar.com") == 200


def test_a_killed_router_s_caches_go_when_another_one_starts(house: House) -> None:
    place = house.place()
    house.router.kill()
    assert os.path.isdir(place)
    other = House(house.servers)
    assert not os.path.isdir(place)
    path = other.place()
    assert other.router.stop() == 0
    assert not os.path.isdir(path)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_leaves_nothing(house: House, signal_number: int) -> None:
    place = house.place()
    assert house.router.stop(signal_number) == 0
    assert not os.path.exists(place)
