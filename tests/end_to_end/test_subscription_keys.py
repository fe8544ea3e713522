"""Keys that stand for more than themselves: wildcards, mount points, the fallback key; and who may announce where."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import Node, Servers, announce, answer, fetch, free_udp_port, get, local, wait_until

DEADLINE = 15.0


def udp() -> str:
    return f"127.0.0.1:{free_udp_port()}"


class House:
    """A router, and a node for each key that announces it."""

    def __init__(self, servers: Servers, *arguments: str, real: bool = False) -> None:
        self.servers = servers
        start = servers.fastrouter if real else servers.router
        self.router = start("--fastrouter", local(), "--fastrouter-subscription-server", udp(), *arguments)
        self.nodes: dict[str, Node] = {}

    def take(self, *keys: str) -> House:
        """Announce them, and wait until they are known."""
        for key in keys:
            self.nodes[key] = self.servers.node(answer(key.encode()))
            announce(self.router.server, key, self.nodes[key].address)
        for key in keys:
            self.router.wait_for_log(f"{key} => new node", DEADLINE)
        return self

    def answers(self, key: str, path: str = "/") -> str:
        """Whose node answers; nothing when none does."""
        client = self.servers.client(self.router.address)
        client.send_packet(get(key, path))
        data, _ = client.read_all()
        head, _, body = data.partition(b"\r\n\r\n")
        return body.decode() if b" 200 " in head else ""


HOSTS = (
    *("example.com", "www.example.com", "a.b.example.com", "other.example.com", "other.org", "x.other.org"),
    *(".example.com", "WWW.example.com", "a..org", "1.2.3.4.5", "1.2.3.4.5.6", ".", "..", "org"),
)


def test_dotsplit_is_the_real_ones(servers: Servers) -> None:
    """But for the case of letters, which the real one does not see over."""
    keys = (".example.com", "www.example.com", ".org", ".5", ".6", "..org")
    found = {}
    for real in (True, False):
        house = House(servers, "--subscription-dotsplit", real=real).take(*keys)
        found[real] = {host: house.answers(host) for host in HOSTS}
    assert found[True].pop("WWW.example.com") == ".example.com"
    assert found[False].pop("WWW.example.com") == "www.example.com"
    assert found[False] == found[True]
    assert found[True]["a.b.example.com"] == ".example.com", "there is something to compare"


def test_a_wildcard_stands_in_for_a_host_whose_node_died(servers: Servers) -> None:
    house = House(servers, "--subscription-dotsplit").take(".example.com", "www.example.com")
    assert house.answers("www.example.com") == "www.example.com"
    house.nodes["www.example.com"].refuse()
    assert house.answers("www.example.com") == ".example.com", "the very request that finds out"


def test_the_fallback_key_by_its_short_name(servers: Servers) -> None:
    house = House(servers, "--subscription-fallback-key", "spare").take("spare", "a.example")
    assert [house.answers(key) for key in ("a.example", "b.example")] == ["a.example", "spare"]


def test_mount_points(servers: Servers) -> None:
    house = House(servers, "--subscription-mountpoints", "2").take("a.example", "a.example/one", "a.example/one/two")
    paths = {
        "/": "a.example",
        "/other": "a.example",
        "/oneself": "a.example",
        "/one": "a.example/one",
        "/one/?x=/two": "a.example/one",
        "/one/three": "a.example/one",
        "/one/two/three": "a.example/one/two",
        "//one/./two": "a.example/one/two",
        "/x/../one": "a.example/one",
    }
    assert {path: house.answers("a.example", path) for path in paths} == paths
    assert house.answers("b.example", "/one") == ""


def test_a_vassal_that_nobody_speaks_of_is_forgotten(servers: Servers) -> None:
    house = House(servers, "--subscription-tolerance-inactive", "1")
    announce(house.router.server, "a.example", "", extra={"vassal": "one.ini", "inactive": 1})
    house.router.wait_for_log("a.example => new vassal node: one.ini", DEADLINE)
    house.router.wait_for_log("a.example => removing vassal node: one.ini", DEADLINE)


def test_a_vassal_may_be_required(servers: Servers) -> None:
    house = House(servers, "--subscription-vassal-required")
    node = servers.node(answer(b"vassal"))
    announce(house.router.server, "a.example", node.address)
    house.router.wait_for_log("names no vassal", DEADLINE)
    announce(house.router.server, "a.example", node.address, extra={"vassal": "one.ini"})
    house.router.wait_for_log("a.example => new node", DEADLINE)
    wait_until(lambda: house.answers("a.example") == "vassal", DEADLINE, "the worker knows it")


# -- the subscription server's socket --------------------------------------------------------------------------------


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_mode_and_owner_of_the_subscription_servers_socket(servers: Servers) -> None:
    """Those of the listeners unless it has its own; a reload changes them, and does not put them back."""
    listener, server, other = (servers.path(name) for name in ("listener", "server", "other"))
    config = f"[uwsgirouter]\nfastrouter = {listener}\nchmod-socket = 666\nfastrouter-subscription-server = {server}\n"
    router = servers.router(config=config)
    assert (mode(listener), mode(server)) == (0o666, 0o666)
    owner = f"fastrouter-subscription-chown = {os.getuid()}:{os.getgid()}\nfastrouter-subscription-server = {other}\n"
    router.rewrite(f"{config}fastrouter-subscription-chmod = 620\n{owner}")
    router.hup()
    router.wait_for_log("old workers drain")
    assert (mode(listener), mode(server), mode(other)) == (0o666, 0o620, 0o620)
    announce(server, "a.example", servers.node(answer(b"yes")).address)
    wait_until(lambda: fetch(listener, "a.example").status == 200, DEADLINE, "an announcement through it")


def test_the_socket_can_be_given_to_somebody_else(servers: Servers) -> None:
    """To whom else, only root can say; others can name themselves."""
    path = servers.path("server")
    given = (12345, 54321) if os.getuid() == 0 else (os.getuid(), os.getgid())
    arguments = ["--fastrouter-subscription-chown", "{}:{}".format(*given), "--fastrouter-subscription-chmod", "600"]
    servers.router("--fastrouter", local(), "--fastrouter-subscription-server", path, *arguments)
    assert (os.stat(path).st_uid, os.stat(path).st_gid, mode(path)) == (*given, 0o600)


@pytest.mark.parametrize("check", [True, False])
def test_a_server_that_is_open_to_everybody_is_named(servers: Servers, tmp_path: Path, check: bool) -> None:
    """In the real start, and by --check."""
    server = f"0.0.0.0:{free_udp_port()}"
    config = f"[uwsgirouter]\nfastrouter = {local()}\nfastrouter-subscription-server = {server}\n"
    warning = f"whoever can send a datagram to {server} can take over any key"
    if check:
        file = tmp_path / "router.conf"
        file.write_text(config)
        command = [sys.executable, "-m", "uwsgirouter", "--check", "-c", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        assert "router.conf:3: " + warning in done.stdout + done.stderr
        return
    router = servers.router(config=config)
    assert warning in router.wait_for_log(warning, DEADLINE)
    router.rewrite(config + "subscription-allow = 127.0.0.0/8\n")
    router.hup()
    router.wait_for_log("old workers drain")
    assert router.log().count(warning) == 1


# -- IPv6 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wildcard", [":{}", "0.0.0.0:{}", "[::]:{}"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_node_without_a_host_is_where_its_datagram_comes_from(servers: Servers, host: str, wildcard: str) -> None:
    node = servers.node(answer(b"here"), f"{host}:0")
    server = f"{host}:{free_udp_port()}"
    router = servers.router("--fastrouter", local(), "--fastrouter-subscription-server", server)
    port = node.address.rpartition(":")[2]
    announce(server, "a.example", wildcard.format(port))
    router.wait_for_log(f"a.example => new node: {host}:{port}", DEADLINE)
    assert fetch(router.address, "a.example").body == b"here"
