"""Whole routers with ``subscription-snapshot``: what they know survives whatever ends them."""

from __future__ import annotations

import os
import pwd
import signal
import zlib
from pathlib import Path

import psutil
import pytest

from tests.servers import Router, Servers, announce, answer, fetch, free_udp_port, local, wait_until
from tests.servers.node import Node
from tests.servers.wire import UNSUBSCRIBE
from uwsgirouter.master import snapshot_file

ROOT = os.geteuid() == 0


class Site:
    """A router's addresses, which it keeps over its lives, and its file."""

    def __init__(self, servers: Servers, *lines: str) -> None:
        self.servers = servers
        self.listen, self.hears = local(), f"127.0.0.1:{free_udp_port()}"
        self.file = servers.directory / "nodes"
        self.lines = lines

    def config(self, *lines: str) -> str:
        fixed = [
            f"fastrouter = {self.listen}",
            f"fastrouter-subscription-server = {self.hears}",
            "subscription-tolerance = 60",
        ]
        return "\n".join(["[uwsgirouter]", *fixed, *self.lines, *lines, ""])

    def snapshot(self) -> str:
        return f"subscription-snapshot = {self.file}"

    def router(self, *lines: str) -> Router:
        return self.servers.router(config=self.config(*(lines or (self.snapshot(),))))

    def known(self, path: Path | None = None) -> list[tuple[bytes, str]]:
        """Keys and addresses in the file."""
        snapshot = snapshot_file.load(str(path or self.file), lambda text: None)
        nodes = snapshot.nodes if snapshot is not None else ()
        return sorted((node.announce.key, node.announce.address.text) for node in nodes)

    def wait_for_file(self, *nodes: tuple[bytes, Node], path: Path | None = None) -> None:
        wanted = sorted((key, node.address) for key, node in nodes)
        wait_until(lambda: self.known(path) == wanted, 20, f"the file has {wanted}")

    def announced(self, router: Router, key: str, node: Node) -> Node:
        announce(self.hears, key, node.address)
        router.wait_for_log(f"{key} => new node: {node.address}", 15)
        return node


@pytest.fixture
def site(servers: Servers) -> Site:
    return Site(servers)


def test_a_router_that_is_killed_serves_at_once_when_it_is_started_again(servers: Servers, site: Site) -> None:
    """Nobody announces anything after the kill."""
    router = site.router()
    first, second = (servers.node(answer(body)) for body in (b"first", b"second"))
    site.announced(router, "a.example", first)
    site.announced(router, "b.example", second)
    site.wait_for_file((b"a.example", first), (b"b.example", second))
    router.kill()
    second.stop()
    router = site.router()
    assert fetch(site.listen, "a.example").body == b"first"
    assert "2 nodes, written" in router.log()
    assert fetch(site.listen, "b.example").status == 502, "it is known, and gone"
    router.wait_for_log("b.example => marking", 15)
    assert "new node" not in router.log(), "they are none"


def test_a_router_that_is_stopped_keeps_what_it_heard_last(servers: Servers, site: Site) -> None:
    router = site.router()
    node, gone = servers.node(answer(b"served")), servers.node(answer(b"gone"))
    site.announced(router, "a.example", node)
    site.announced(router, "a.example", gone)
    announce(site.hears, "a.example", gone.address, UNSUBSCRIBE)
    router.wait_for_log("removing node", 15)
    for number in (signal.SIGTERM, signal.SIGINT):
        assert router.stop(number) == 0
        assert site.known() == [(b"a.example", node.address)]
        router = site.router()
        assert [fetch(site.listen, "a.example").body for _ in range(4)] == [b"served"] * 4


def test_it_announces_itself_and_goes_on_as_before(servers: Servers, site: Site) -> None:
    router = site.router()
    node = site.announced(router, "a.example", servers.node(answer(b"served")))
    site.wait_for_file((b"a.example", node))
    router.kill()
    router = site.router()
    assert fetch(site.listen, "a.example").body == b"served"
    announce(site.hears, "a.example", node.address)
    announce(site.hears, "b.example", node.address)
    router.wait_for_log("b.example => new node", 15)
    announce(site.hears, "a.example", node.address, UNSUBSCRIBE)
    router.wait_for_log("a.example => removing node", 15)
    assert "a.example => new node" not in router.log()
    site.wait_for_file((b"b.example", node))


@pytest.mark.parametrize("damage", ["cut", "foreign", "newer", "directory"])
def test_a_file_that_cannot_be_used_does_not_keep_it_from_starting(servers: Servers, site: Site, damage: str) -> None:
    said = {
        "cut": "cut off",
        "foreign": "not made of lines of JSON",
        "newer": "it has version 99, and only 1 is understood",
        "directory": "Is a directory",
    }
    newer = b'{"what":"uwsgirouter snapshot","version":99}\n'
    newer += b'{"rows":0,"crc32":%d}\n' % zlib.crc32(newer)
    bytes_of = {
        "cut": b'{"what":"uwsgirouter snapshot"',
        "foreign": b"root:x:0:0\n",
        "newer": newer,
    }
    if damage == "directory":
        site.file.mkdir()
    else:
        site.file.write_bytes(bytes_of[damage])
    router = site.router()
    assert said[damage] in router.wait_for_log(f"subscription-snapshot = {site.file}: starting without nodes", 15)
    node = site.announced(router, "a.example", servers.node(answer(b"served")))
    assert fetch(site.listen, "a.example").body == b"served"
    if damage == "directory":
        router.wait_for_log("not written: Is a directory", 15)
    else:
        site.wait_for_file((b"a.example", node))
        assert (site.file.parent / "nodes.bad").exists()


def test_what_was_announced_outlasts_reloads_and_so_does_the_file(servers: Servers, site: Site) -> None:
    """Turned on, to another file, and off by HUP; other options change with it."""
    router = site.router("fastrouter-timeout = 31")
    node = site.announced(router, "a.example", servers.node(answer(b"served")))
    other = site.file.with_name("other")

    def reloaded(count: int, *lines: str) -> None:
        router.rewrite(site.config(*lines))
        router.hup()
        router.wait_for_log("] reloaded in ", 20, count)
        assert fetch(site.listen, "a.example").body == b"served"

    assert not site.file.exists()
    reloaded(1, site.snapshot(), "subscription-tolerance = 50", "fastrouter-processes = 2")
    site.wait_for_file((b"a.example", node))
    reloaded(2, f"subscription-snapshot = {other}")
    site.wait_for_file((b"a.example", node), path=other)
    reloaded(3)
    site.announced(router, "b.example", node)
    assert router.stop() == 0
    assert site.known(other) == [(b"a.example", node.address)]
    assert router.log().count("a.example => new node") == 1


def test_a_reload_that_fails_keeps_the_old_file(servers: Servers, site: Site) -> None:
    router = site.router()
    node = site.announced(router, "a.example", servers.node(answer(b"served")))
    taken = servers.node(answer())
    router.rewrite(site.config(f"subscription-snapshot = {site.file}2", f"fastrouter = {taken.address}"))
    router.hup()
    router.wait_for_log("the old configuration stays in use", 20)
    site.announced(router, "b.example", node)
    site.wait_for_file((b"a.example", node), (b"b.example", node))
    assert not site.file.with_name("nodes2").exists()


def test_two_routers_do_not_write_one_file(servers: Servers, site: Site) -> None:
    router = site.router()
    node = site.announced(router, "a.example", servers.node(answer(b"served")))
    site.wait_for_file((b"a.example", node))
    beside = Site(servers)
    second = beside.router()
    second.wait_for_log(f"not written: another router (process {router.pid}) writes this file", 15)
    beside.announced(second, "b.example", node)
    assert fetch(beside.listen, "b.example").body == b"served"
    assert second.stop() == 0
    assert site.known() == [(b"a.example", node.address)]


def test_workers_of_a_dead_master_do_not_keep_the_next_one_from_writing(servers: Servers, site: Site) -> None:
    router = site.router("reload-mercy = 60", site.snapshot())
    hanging = servers.node(lambda connection: connection.read_until_eof())
    node = servers.node(answer(b"served"))
    site.announced(router, "slow.example", hanging)
    site.announced(router, "a.example", node)
    site.wait_for_file((b"slow.example", hanging), (b"a.example", node))
    with servers.client(site.listen) as client:
        client.send_packet([(b"HTTP_HOST", b"slow.example")])
        hanging.wait_for(1)
        workers = router.workers()
        router.signal(signal.SIGKILL)
        router.wait()
        second = site.router()
        assert fetch(site.listen, "a.example").body == b"served"
        assert all(map(psutil.pid_exists, workers)), "they drain"
        site.announced(second, "b.example", node)
        site.wait_for_file((b"slow.example", hanging), (b"a.example", node), (b"b.example", node))
        client.reset()
    router.kill()


def test_the_file_belongs_to_the_user_that_the_master_becomes(servers: Servers, site: Site) -> None:
    """Read and written with the same rights: a router that could write its file can read it."""
    user = pwd.getpwnam("nobody") if ROOT else pwd.getpwuid(os.geteuid())
    directory = servers.directory / "state"
    directory.mkdir()
    os.chown(directory, user.pw_uid, user.pw_gid)
    site.file = directory / "nodes"
    lines = (site.snapshot(), f"uid = {user.pw_name}", f"gid = {user.pw_gid}")
    router = site.router(*lines)
    node = site.announced(router, "a.example", servers.node(answer(b"served")))
    site.wait_for_file((b"a.example", node))
    assert (site.file.stat().st_uid, site.file.stat().st_mode & 0o777) == (user.pw_uid, 0o600)
    router.kill()
    router = site.router(*lines)
    assert fetch(site.listen, "a.example").body == b"served"
    assert "not written" not in router.log()


def test_a_check_does_not_look_at_it(servers: Servers, site: Site) -> None:
    site.file.write_bytes(b"junk\n")
    config = servers.directory / "checked.conf"
    config.write_text(site.config(site.snapshot()))
    check = servers.router("--check", "-c", str(config), ready=False)
    assert check.wait(20) == 0
    assert "nodes:" not in check.log()
    assert [path.name for path in servers.directory.glob("nodes*")] == ["nodes"]
