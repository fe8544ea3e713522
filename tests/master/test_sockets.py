"""Every way to get a socket: bound, shared, inherited; and what becomes of socket files."""

from __future__ import annotations

import os
import pwd
import socket
import stat
from pathlib import Path

import pytest

from tests.master.watching import Daemon, run_to_end, wait_for_serving
from tests.servers import (
    Router,
    Servers,
    announce,
    answer,
    fetch,
    free_port,
    get,
    is_listening,
    local,
    packet,
    wait_until,
)

INHERIT = """
import fcntl, os, socket
stream, datagram = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for sock, path in ((stream, {stream!r}), (datagram, {datagram!r})):
    sock.bind(path)
stream.listen()
high = [fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, 20) for sock in (stream, datagram)]
for place, descriptor in enumerate(high, 3):
    os.dup2(descriptor, place, inheritable=True)
"""
SYSTEMD = "os.environ |= {'LISTEN_FDS': '2', 'LISTEN_PID': str(os.getpid())}"


@pytest.fixture(scope="module")
def node(started: Servers) -> str:
    """The address of a node that answers."""
    return started.node(answer(b"served")).address


def v6() -> str:
    """A free address of ::1."""
    return f"[::1]:{free_port()}"


def test_many_listeners_at_once(started: Servers, node: str) -> None:
    """IPv4, IPv6, a unix path and an abstract name, all of one router."""
    addresses = [local(), local(), v6(), started.path("many.sock"), f"@uwsgirouter-{os.getpid()}"]
    lines = ["[uwsgirouter]", *(f"fastrouter = {address}" for address in addresses), f"fastrouter-to = {node}", ""]
    router = started.router(config="\n".join(lines))
    assert {fetch(address).body for address in addresses} == {b"served"}
    for address in addresses:
        assert f"uwsgirouter bound to {address} fd " in router.log()
    router.hup()
    router.wait_for_log("] reloaded in ")
    assert {fetch(address).body for address in addresses} == {b"served"}


def test_an_abstract_name_has_one_nul_behind_it(started: Servers) -> None:
    """As uWSGI binds it; a node behind such a name is reached in the same form."""
    name = f"uwsgirouter-form-{os.getpid()}"
    node = started.node(answer(b"served"), f"@{name}-node")
    started.router("--fastrouter", f"@{name}", "--fastrouter-to", f"@{name}-node")
    with socket.socket(socket.AF_UNIX) as bare, pytest.raises(ConnectionRefusedError):
        bare.connect(b"\0" + name.encode())
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(b"\0" + name.encode() + b"\0")
        client.sendall(packet(get()))
        client.settimeout(5)
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    assert len(node.connections) == 1


def test_an_empty_host_is_every_interface(started: Servers, node: str) -> None:
    port = free_port()
    started.router("--fastrouter", f":{port}", "--fastrouter-to", node)
    assert fetch(f"127.0.0.1:{port}").body == b"served"
    assert fetch(f"127.0.0.2:{port}").body == b"served"


def test_a_shared_socket_by_its_number(started: Servers, node: str) -> None:
    one, two = local(), started.path("shared.sock")
    lines = [f"shared-socket = {one}", f"shared-socket = {two}", "fastrouter = =1", "fastrouter = =0"]
    router = started.router(config="\n".join(["[uwsgirouter]", *lines, f"fastrouter-to = {node}", ""]))
    assert {fetch(address).body for address in (one, two)} == {b"served"}
    router.hup()
    router.wait_for_log("] reloaded in ")
    assert {fetch(address).body for address in (one, two)} == {b"served"}


class Activated(Router):
    """A router that is started with descriptors 3 (a stream socket) and 4 (a datagram socket)."""

    name = "activated"
    code = ""

    def command(self) -> list[str]:
        return Daemon.wrapped(self.code)


def activated(started: Servers, name: str, *lines: str, environment: str = "") -> tuple[Router, str, str]:
    """The router, the path that it listens at, and the path of its datagrams."""
    stream, datagram = started.path(f"{name}.stream"), started.path(f"{name}.datagram")

    class This(Activated):
        code = INHERIT.format(stream=stream, datagram=datagram) + environment

    config = "\n".join(["[uwsgirouter]", *lines, ""])
    return started._started(This(started.directory, config=config, ready=False)), stream, datagram


def test_socket_activation(started: Servers, node: str) -> None:
    """systemd's sockets: the stream one is listened on, the datagram one hears announcements; over a reload, too."""
    router, stream, datagram = activated(started, "systemd", "vacuum = true", environment=SYSTEMD)
    wait_for_serving(router, 1)
    announce(datagram, "a.example", node)
    wait_until(lambda: fetch(stream).body == b"served", 5, "the announcement is heard")
    router.hup()
    router.wait_for_log("] reloaded in ")
    announce(datagram, "b.example", node)
    wait_until(lambda: fetch(stream, "b.example").body == b"served", 5, "it is heard after the reload")
    assert router.stop() == 0
    assert os.path.exists(stream), "it was not ours to remove"
    assert os.path.exists(datagram)


def test_socket_activation_for_another_process_is_not_ours(started: Servers) -> None:
    router, _, _ = activated(started, "other", environment="os.environ |= {'LISTEN_FDS': '2', 'LISTEN_PID': '1'}")
    assert router.wait(10) == 1
    assert "nothing to listen on" in router.log()


def test_inherited_descriptors_by_number(started: Servers, node: str) -> None:
    router, stream, _ = activated(started, "fd", "fastrouter = fd://3", f"fastrouter-to = {node}", "vacuum = true")
    wait_for_serving(router, 1)
    assert fetch(stream).body == b"served"
    router.hup()
    router.wait_for_log("] reloaded in ")
    assert fetch(stream).body == b"served"
    assert router.stop() == 0
    assert os.path.exists(stream)


@pytest.mark.parametrize("descriptor", [4, 7])
def test_a_descriptor_that_is_no_listener(started: Servers, descriptor: int) -> None:
    router, _, _ = activated(started, f"no-{descriptor}", f"fastrouter = fd://{descriptor}")
    assert router.wait(10) == 1
    assert f".conf:2: cannot listen on fd://{descriptor}: " in router.log()


def test_a_stale_unix_socket_is_replaced(started: Servers, node: str) -> None:
    path = started.path("stale.sock")
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_UNIX, kind) as left:
            left.bind(path if kind == socket.SOCK_STREAM else path + ".dgram")
    arguments = ["--fastrouter", path, "--fastrouter-subscription-server", path + ".dgram"]
    started.router(*arguments)
    announce(path + ".dgram", "a.example", node)
    wait_until(lambda: fetch(path).body == b"served", 5, "both are served")


def test_a_socket_that_somebody_serves_is_refused(started: Servers, node: str) -> None:
    path = started.path("served.sock")
    router = started.router("--fastrouter", path, "--fastrouter-to", node)
    code, log = run_to_end(started, "--fastrouter", path)
    assert code == 1
    assert f"command line: cannot listen on {path}: address in use (another process serves it)" in log
    assert fetch(router.address).body == b"served"


def test_a_file_that_is_no_socket_is_not_touched(started: Servers) -> None:
    path = started.path("precious")
    Path(path).write_text("data")
    code, log = run_to_end(started, "--fastrouter", path)
    assert code == 1
    assert "is not a socket" in log
    assert Path(path).read_text() == "data"


def test_nothing_is_left_of_a_start_that_failed(started: Servers) -> None:
    path, taken = started.path("half.sock"), started.router("--fastrouter", local()).address
    code, _ = run_to_end(started, "--fastrouter", path, "--fastrouter", taken)
    assert code == 1
    assert not os.path.exists(path)


@pytest.mark.parametrize(("arguments", "mode"), [(["--chmod-socket=660"], 0o660), (["--chmod-socket"], 0o666)])
def test_chmod_socket(started: Servers, arguments: list[str], mode: int) -> None:
    path = started.path(f"chmod-{mode:o}.sock")
    started.router("--fastrouter", path, "--fastrouter-subscription-server", path + ".dgram", *arguments)
    for name in (path, path + ".dgram"):
        assert stat.S_IMODE(os.stat(name).st_mode) == mode


def test_chown_socket(started: Servers) -> None:
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    for owner in (user.pw_name, f"{user.pw_name}:{user.pw_gid}"):
        path = started.path(f"chown-{len(owner)}.sock")
        started.router("--fastrouter", path, "--chown-socket", owner)
        found = os.stat(path)
        assert found.st_uid == user.pw_uid
        assert found.st_gid == (user.pw_gid if ":" in owner else os.getegid())


def test_a_long_queue_is_clipped_with_a_line(started: Servers) -> None:
    allowed = int(Path("/proc/sys/net/core/somaxconn").read_text())
    router = started.router("--fastrouter", local(), "--listen", "65535")
    if allowed < 65535:
        router.wait_for_log("listen = 65535 is clipped to", 10)
    else:
        assert "is clipped to" not in router.log()
    assert is_listening(router.address)
