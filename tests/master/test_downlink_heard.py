"""What the master knows of what its workers know."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.model.made import put, table
from uwsgirouter.master.downlink import Downlink

KERNEL = 1 << 20


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    upper, lower = socket.socketpair()
    with upper, lower:
        yield upper, lower


def write(downlink: Downlink) -> None:
    """All that there is."""
    while downlink.waiting:
        downlink.write()


def test_a_worker_has_heard_what_it_has_read(ends: tuple[socket.socket, socket.socket]) -> None:
    upper, lower = ends
    downlink = Downlink(upper, table(put(1)))
    assert not downlink.heard, "nothing is written yet"
    write(downlink)
    assert not downlink.heard, "it waits in the kernel"
    assert lower.recv(1)
    assert not downlink.heard, "a part of it does"
    assert lower.recv(KERNEL)
    assert downlink.heard
    downlink.node_changed(1)
    assert not downlink.heard
    write(downlink)
    assert lower.recv(KERNEL)
    assert downlink.heard
    downlink.node_changed(1)
    downlink.close()
    assert downlink.heard, "who is gone chooses no node"
