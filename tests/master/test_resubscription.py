"""Who is told, from which socket, and at which address: real sockets, no router."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.wire import unpack
from uwsgirouter.log import Log
from uwsgirouter.master.resubscription import Resubscription
from uwsgirouter.master.sockets import Bound, Endpoints
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import NOWHERE, Address, Kind, parse_peer

PASSED = Announce(b"foo.com", NOWHERE, route=(b"0123456789abcdef",))


class Site:
    """Sockets as the master has them, bound in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.endpoints = Endpoints()
        self.told = Resubscription(Log("test"))
        self._open: list[socket.socket] = []

    def bound(self, address: str, kind: socket.SocketKind = socket.SOCK_DGRAM) -> Bound:
        """A socket at ``host:port`` (0: any) or ``NAME``, a file in the directory."""
        where = parse_peer(address, port_zero=True) if ":" in address else parse_peer(f"{self.directory}/{address}")
        sock = socket.socket(where.family, kind)
        self._open.append(sock)
        sock.bind(where.sockaddr)
        sock.settimeout(10)
        name = sock.getsockname()
        text = name if isinstance(name, str) else "[{}]:{}".format(*name) if ":" in name[0] else "{}:{}".format(*name)
        return Bound((kind, Kind.FD, text, 0), sock, text)

    def tell(self, *receivers: Bound | str, sender: object = None) -> None:
        self.told.adopt([_at(receiver) for receiver in receivers], self.endpoints)
        self.told.send(PASSED, sender, time.monotonic())

    def close(self) -> None:
        self.told.stop()
        for sock in self._open:
            sock.close()


def _at(receiver: Bound | str) -> Address:
    return parse_peer(receiver if isinstance(receiver, str) else receiver.name)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def read(receiver: Bound) -> tuple[bytes, object]:
    """The announced address, and who sent it."""
    datagram, sender = receiver.sock.recvfrom(4096)
    return dict(unpack(datagram[4:]))[b"address"], sender


def test_each_is_told_what_it_reaches(site: Site) -> None:
    site.endpoints.listeners = [
        site.bound("stream", socket.SOCK_STREAM),
        site.bound("[::]:0", socket.SOCK_STREAM),
    ]
    path, four, six = site.bound("receiver"), site.bound("127.0.0.1:0"), site.bound("[::1]:0")
    site.tell(path, four, six)
    assert [read(receiver)[0].decode() for receiver in (path, four, six)] == [site.endpoints.listeners[0].name] * 3
    site.endpoints.listeners.reverse()
    site.tell(path, four, six)
    stream, wildcard = site.endpoints.listeners[1].name, site.endpoints.listeners[0].name
    assert [read(receiver)[0].decode() for receiver in (path, four, six)] == [wildcard, stream, wildcard]


def test_it_is_sent_from_the_subscription_server_so_that_it_does_not_come_back(site: Site) -> None:
    site.endpoints.listeners = [site.bound("127.0.0.1:0", socket.SOCK_STREAM)]
    site.endpoints.servers = [site.bound("server"), site.bound("127.0.0.1:0")]
    path, four = site.bound("receiver"), site.bound("127.0.0.1:0")
    site.tell(path, four)
    assert read(path)[1] == site.endpoints.servers[0].name
    assert read(four)[1] == site.endpoints.servers[1].sock.getsockname()
    site.tell(path, four, sender=path.name)
    assert read(four)
    site.tell(path, four, sender=four.sock.getsockname())
    assert read(path)
    for receiver in (path, four):
        receiver.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            receiver.sock.recv(1)
    assert (site.told.sent, site.told.lost) == (4, 0)


def test_what_was_bound_for_it_goes_before_the_server(site: Site) -> None:
    site.endpoints.listeners = [site.bound("127.0.0.1:0", socket.SOCK_STREAM)]
    site.endpoints.servers = [site.bound("127.0.0.1:0")]
    site.endpoints.resubscription = [site.bound("127.0.0.1:0")]
    four = site.bound("127.0.0.1:0")
    site.tell(four)
    assert read(four)[1] == site.endpoints.resubscription[0].sock.getsockname()


def test_it_does_not_tell_itself(site: Site) -> None:
    site.endpoints.listeners = [site.bound("127.0.0.1:0", socket.SOCK_STREAM)]
    site.endpoints.servers = [site.bound("server"), site.bound("127.0.0.1:0")]
    site.tell(*site.endpoints.servers)
    assert not site.told.is_wanted


def test_a_socket_on_loopback_does_not_send_into_the_network(site: Site) -> None:
    """The kernel would refuse that; another one is made."""
    site.endpoints.listeners = [site.bound("127.0.0.1:0", socket.SOCK_STREAM)]
    site.endpoints.servers = [site.bound("127.0.0.1:0")]
    receiver = parse_peer("192.0.2.1:2626")
    assert site.told._sender(receiver, site.endpoints) is not site.endpoints.servers[0].sock
    site.endpoints.servers = [site.bound("0.0.0.0:0")]
    assert site.told._sender(receiver, site.endpoints) is site.endpoints.servers[0].sock


def test_a_full_or_absent_receiver_costs_a_count_and_a_line(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    site.endpoints.listeners = [site.bound("127.0.0.1:0", socket.SOCK_STREAM)]
    full = site.bound("full")
    for _ in range(1000):
        site.tell(full, f"{site.directory}/nobody")
    assert site.told.sent + site.told.lost == 2000
    assert site.told.sent < 1000, "the kernel holds some"
    lines = [line for line in capfd.readouterr().err.splitlines() if "cannot pass announcements on to" in line]
    assert 1 <= len(lines) < 20, "one a second"


def test_when_nobody_is_told_any_more_its_sockets_are_closed(site: Site) -> None:
    site.endpoints.listeners = [site.bound("127.0.0.1:0", socket.SOCK_STREAM)]
    four = site.bound("127.0.0.1:0")
    site.tell(four)
    assert read(four)
    assert site.told._sockets
    site.tell()
    assert (site.told.is_wanted, site.told._sockets) == (False, {})
    site.tell(four)
    assert read(four)
