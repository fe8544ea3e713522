"""Whose fault it is: a client that goes away, or keeps its body to itself, has no node ejected."""

from __future__ import annotations

import pytest

from tests.servers import Connection, Handler, Servers, answer, get, post
from tests.servers.wire import Variables
from tests.worker.site import Site

FAULTS = 3
"""So many faults, and a node is left alone."""


@pytest.fixture(scope="module")
def hasty(started: Servers) -> Site:
    return Site(started, "fastrouter-timeout = 1", "no-fd-passing = true", "fastrouter-max-retries = 0")


def gives_up(connection: Connection) -> None:
    """Reads as long as something comes, and closes without an answer when nothing more does."""
    connection.read_packet()
    connection.read_until_eof()


def waits(connection: Connection) -> None:
    connection.read_packet()
    connection.wait()


def early(connection: Connection) -> None:
    """Answers without having read the body, which makes its close a reset."""
    connection.read_packet()
    connection.answer(b"too large", "413 Content Too Large")


def assert_not_ejected(site: Site, *keys: str) -> None:
    """An ejection that comes later than theirs would have come is in the log, and theirs are not."""
    faulty, good = site.node(waits), site.node(answer(b"good"))
    other = site.announce(site.key(), faulty.address, good.address)
    clients = [site.servers.client(site.tcp) for _ in range(2 * FAULTS)]
    for client in clients:
        client.send_packet(get(other))
    site.router.wait_for_log(f"{other} => leaving {faulty.address} alone", 15)
    assert not [key for key in keys if f"{key} => leaving" in site.router.log()]


def two(site: Site, handler: Handler) -> str:
    """A key with two nodes, either of which could be left alone."""
    nodes = [site.node(handler) for _ in range(2)]
    return site.announce(site.key(), *(node.address for node in nodes))


def without_length(key: str) -> Variables:
    return [(name, value) for name, value in post(key, 1) if name != b"CONTENT_LENGTH"]


def test_clients_have_no_node_ejected(hasty: Site) -> None:
    left, stalled, unread = two(hasty, gives_up), two(hasty, waits), two(hasty, early)
    closed = hasty.stats().causes.get("node-closed", 0)
    for _ in range(2 * FAULTS):
        for variables, body in ((post(left, 1000), b"x"), (get(left), b"")):
            client = hasty.servers.client(hasty.tcp)
            client.send_packet(variables, body)
            client.half_close()
            client.read_all()
    assert hasty.stats().causes.get("node-closed", 0) == closed + 4 * FAULTS
    clients = [hasty.servers.client(hasty.tcp) for _ in range(4 * FAULTS)]
    for client in clients[::2]:
        client.send_packet(without_length(stalled), b"a part of it")
    for client in clients[1::2]:
        client.send_packet(post(unread, 300_000), b"x" * 300_000)
    assert {client.read_all()[0][:13] for client in clients[1::2]} == {b"HTTP/1.1 413 "}
    assert {client.read_all()[0][:13] for client in clients[::2]} == {b"HTTP/1.1 504 "}
    assert_not_ejected(hasty, left, stalled, unread)
