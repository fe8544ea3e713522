"""The announcer: its rounds, its thread, forks, and the end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import free_udp_port, unpack, wait_until
from tests.servers.programs import PROJECT, environment
from tests.servers.tap import Tap
from uwsgirouter.announce import Announcer, ConfigError, Presence
from uwsgirouter.announce.servers import Stage


@pytest.fixture
def tap() -> Iterator[Tap]:
    with Tap() as tap:
        yield tap


def commands(tap: Tap, key: str = "foo.com") -> list[int]:
    """Here (0) and gone (1), in order."""
    return [datagram[3] for datagram in tap.of(key)]


def last(tap: Tap, key: str = "foo.com") -> dict[bytes, bytes]:
    return dict(unpack(tap.of(key)[-1][4:]))


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("uwsgirouter")]


def test_a_round_each_without_a_thread(tap: Tap) -> None:
    with Tap() as other:
        announcer = Announcer((tap.address, other.address), ("a.com", "b.com"), "127.0.0.1:3031", weight=2, cores=4)
        assert announcer.announce() == []
        assert announcer.leave() == []
        assert threads() == [name for name in threads() if not name.startswith("uwsgirouter announcer")]
        for server in (tap, other):
            for key in ("a.com", "b.com"):
                server.wait_for(key, 2)
                assert commands(server, key) == [0, 1]
                said = last(server, key)
                assert (said[b"address"], said[b"weight"], said[b"cores"]) == (b"127.0.0.1:3031", b"2", b"4")
    assert announcer.name == "a.com, b.com => 127.0.0.1:3031"


def test_every_field(tap: Tap) -> None:
    fields: dict[str, Any] = {"modifier1": 5, "modifier2": 6, "backup": 2, "algo": "lrc", "vassal": "one.ini"}
    announcer = Announcer(tap.address, "foo.com", "/run/app.sock", load=lambda: 7, notify="/run/told", **fields)
    announcer.announce()
    tap.wait_for("foo.com")
    said = {name.decode(): value.decode() for name, value in last(tap).items()}
    fixed = {"key": "foo.com", "address": "/run/app.sock", "weight": "1", "cores": "1", "load": "7"}
    assert said == fixed | {name: str(value) for name, value in fields.items()} | {"notify": "/run/told"}


def test_in_a_thread_until_the_end_of_the_block(tap: Tap) -> None:
    with Announcer(tap.address, "foo.com", "127.0.0.1:3031", every=0.02) as announcer:
        tap.wait_for("foo.com", 3)
        assert announcer.is_announced
    tap.wait_for("foo.com", 1, command=1)
    assert "uwsgirouter announcer" not in threads()
    assert announcer.announce() == []
    tap.wait_for("foo.com", len(commands(tap)))
    assert commands(tap) == sorted(commands(tap)), "nothing is announced after it stopped"
    with announcer:
        tap.wait_for("foo.com", len(commands(tap)) + 2)
    tap.wait_for("foo.com", 2, command=1)
    assert commands(tap)[-1] == 1


def test_stopped_in_silence(tap: Tap) -> None:
    announcer = Announcer(tap.address, "foo.com", "127.0.0.1:3031").start()
    tap.wait_for("foo.com")
    announcer.stop(leave=False)
    announcer.stop()
    announcer.leave()
    tap.wait_for("foo.com", 2, command=1)
    assert commands(tap) == [0, 1, 1], "one from the second stop, which was asked to leave, and one asked for"


def test_one_that_never_announced_does_not_unsubscribe(tap: Tap) -> None:
    with Announcer(tap.address, "foo.com", "127.0.0.1:3031", presence=lambda: Presence.SILENT, every=0.01):
        wait_until(lambda: "uwsgirouter announcer" in threads(), 5.0)
    Announcer(tap.address, "bar.com", "127.0.0.1:3031").announce()
    tap.wait_for("bar.com")
    assert commands(tap) == []


def test_presence_decides(tap: Tap) -> None:
    presence = Presence.HERE
    with Announcer(tap.address, "foo.com", "127.0.0.1:3031", presence=lambda: presence, every=0.02) as announcer:
        tap.wait_for("foo.com", 2)
        presence = Presence.GONE
        tap.wait_for("foo.com", 1, command=1)
        assert not announcer.is_announced
        count = len(commands(tap))
        announcer.wake()
        presence = Presence.HERE
        tap.wait_for("foo.com", count + 1)
        assert commands(tap)[count:].count(1) == 0, "it takes leave once"


def test_something_that_changed_is_announced_at_once(tap: Tap) -> None:
    cores = 1
    with Announcer(tap.address, "foo.com", "127.0.0.1:3031", cores=lambda: cores, every=600) as announcer:
        tap.wait_for("foo.com")
        cores = 9
        announcer.wake()
        tap.wait_for("foo.com", 2)
    assert last(tap)[b"cores"] == b"9"


def test_callables_that_fail_are_told_of_once_and_take_nobody_out(tap: Tap) -> None:
    said: list[str] = []

    def broken() -> Any:
        raise ValueError("no idea")

    fields = {"load": broken, "presence": broken, "weight": lambda: -5, "cores": lambda: 10**9}
    with Announcer(tap.address, "foo.com", "127.0.0.1:3031", every=0.02, say=said.append, **fields):
        tap.wait_for("foo.com", 4)
    assert {name: last(tap)[name] for name in (b"load", b"weight", b"cores")} == {
        b"load": b"0",
        b"weight": b"1",
        b"cores": b"1000000",
    }
    assert said.count("load: ValueError: no idea; 0 is announced") == 1
    assert said.count("presence: ValueError: no idea") == 1


def test_a_server_that_is_away_is_told_of_once_and_holds_up_no_other(tap: Tap) -> None:
    said: list[str] = []
    away = f"127.0.0.1:{free_udp_port()}"
    with Announcer((away, tap.address), "foo.com", "127.0.0.1:3031", every=0.02, say=said.append):
        tap.wait_for("foo.com", 5)
        assert said == [f"cannot announce to {away}: Connection refused"]
        with Tap(away) as back:
            back.wait_for("foo.com", 2)
            wait_until(lambda: len(said) == 2, 15.0, "that it works is told")
    assert said[1] == f"announcing to {away} works again"
    tap.wait_for("foo.com", 1, command=1)


def test_what_went_wrong_is_returned_as_well() -> None:
    said: list[str] = []
    (away,) = Announcer("/nowhere/at.all", "foo.com", "127.0.0.1:1", say=said.append).announce()
    assert (away.stage, str(away)) == (Stage.CONNECT, "cannot connect to /nowhere/at.all: No such file or directory")
    assert said == [str(away)]


def test_a_forked_child_neither_announces_nor_unsubscribes(tap: Tap) -> None:
    with Announcer(tap.address, "foo.com", "127.0.0.1:3031", every=600) as announcer:
        tap.wait_for("foo.com")
        child = os.fork()
        if child == 0:
            announcer.announce()
            announcer.leave()
            announcer.stop()
            announcer.__exit__()
            announcer.wake()  # this one is for the parent
            os._exit(0)
        os.waitpid(child, 0)
        tap.wait_for("foo.com", 2)
        assert commands(tap) == [0, 0]
        child = os.fork()
        if child == 0:
            with announcer:  # now it has asked for it
                wait_until(lambda: announcer.is_announced, 15.0)
            os._exit(0)
        os.waitpid(child, 0)
        tap.wait_for("foo.com", 1, command=1)
        assert announcer.is_announced
    tap.wait_for("foo.com", 2, command=1)


PROGRAM = """
import os, sys, time
from uwsgirouter.announce import Announcer

announcer = Announcer(sys.argv[1], "foo.com", "127.0.0.1:3031", every=600).start()
while not announcer.is_announced:
    time.sleep(0.01)
if os.fork() == 0:
    sys.exit(0)  # runs what is registered for the end
os.wait()
open("/dev/stdout", "w").write("parent\\n")
"""


def test_a_program_that_ends_unsubscribes_and_its_children_do_not(tap: Tap) -> None:
    env = {**os.environ, **environment(None)}
    done = subprocess.run([sys.executable, "-c", PROGRAM, tap.address], env=env, timeout=30, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"parent\n", b"")
    tap.wait_for("foo.com", 2)
    assert commands(tap) == [0, 1]


def test_forks_while_it_announces_leave_no_socket_behind(tap: Tap) -> None:
    """A child has the sockets that were open at its birth, unless it is seen to."""
    before = sockets()
    with Announcer(tap.address, [f"{number}.com" for number in range(50)], "127.0.0.1:3031", every=0.001):
        tap.wait_for("49.com", 2)
        for _ in range(20):
            child = os.fork()
            if child == 0:
                os._exit(len(sockets() - before))
            held = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert held == 2, "the ends of the bell, and no more"


def sockets() -> set[str]:
    """The sockets of this process."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return {name for name in found if name.startswith("socket:")}


@pytest.mark.parametrize(
    ("servers", "keys", "fields", "message"),
    [
        ([], "a", {}, "no server"),
        ("127.0.0.1:1", [], {}, "no key"),
        ("127.0.0.1:1", "a", {"address": ""}, "no address"),
        (":1", "a", {}, "server ':1': which machine"),
        ("127.0.0.1:0", "a", {}, "a port is a number from 1 to 65535"),
        ("127.0.0.1:1", "k" * 256, {}, "key too long: 256 bytes"),
        ("127.0.0.1:1", "a", {"weight": 0}, "weight = 0: expected a whole number from 1 to 1000000"),
        ("127.0.0.1:1", "a", {"cores": -1}, "cores = -1"),
        ("127.0.0.1:1", "a", {"modifier1": 256}, "bad modifier1"),
        ("127.0.0.1:1", "a", {"algo": "no such thing"}, "bad algo"),
        ("127.0.0.1:1", "a", {"every": 0}, "every = 0: expected seconds, over 0"),
        ("127.0.0.1:1", "a", {"inactive": True}, "no vassal"),
        ("127.0.0.1:1", "a", {"sign": ("SHA256", "/nowhere/at.all")}, "private key /nowhere/at.all: No such file"),
        ("127.0.0.1:1", "a", {"sign": ("MD5", "/nowhere/at.all")}, "unknown digest 'MD5'"),
    ],
)
def test_what_no_router_would_take(servers: Any, keys: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", ".")):
        Announcer(servers, keys, **{"address": "127.0.0.1:3031", **fields})


def test_importing_it_is_cheap_and_starts_nothing() -> None:
    """Not even what a signature needs; and nothing that must be installed."""
    program = (
        f"import sys, threading; sys.path.insert(0, {str(PROJECT)!r}); before = set(sys.modules)\n"
        "import uwsgirouter.announce.gunicorn\n"
        "roots = {name.partition('.')[0] for name in set(sys.modules) - before} - {'uwsgirouter'}\n"
        "print(sorted(roots - sys.stdlib_module_names), threading.active_count())"
    )
    env = {"UWSGIROUTER_PURE": "1"}  # a compiled module brings modules of Cython's along
    done = subprocess.run([sys.executable, "-I", "-c", program], timeout=30, capture_output=True, text=True, env=env)
    assert done.stdout.strip() == "[] 1", done.stdout + done.stderr


def test_a_stop_does_not_wait_for_the_next_round(tap: Tap) -> None:
    announcer = Announcer(tap.address, "foo.com", "127.0.0.1:3031", every=600).start()
    tap.wait_for("foo.com")
    begin = time.monotonic()
    announcer.stop()
    assert time.monotonic() - begin < 60
