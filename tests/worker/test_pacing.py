"""Connections over loopback ask for a congestion control without timers, where the system's has them; others do not."""

from __future__ import annotations

import socket

import pytest

from uwsgirouter.worker import pacing


def of(sock: socket.socket) -> bytes:
    """The congestion control of a socket."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "paces", lambda: True)


@pytest.mark.usefixtures("paced")
def test_what_a_listener_of_loopback_accepts_is_not_paced() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pacing.unpaced(listener, listener.getsockname())
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert of(accepted) == b"reno"


@pytest.mark.usefixtures("paced")
@pytest.mark.parametrize(
    ("address", "near"),
    [
        (("127.0.0.1", 80), True),
        (("127.1.2.3", 80), True),
        (("::1", 80, 0, 0), True),
        (("0.0.0.0", 80), False),
        (("192.0.2.1", 80), False),
        (("::", 80, 0, 0), False),
        ("/run/127.0.0.1", False),
        (b"\0127.0.0.1", False),
    ],
)
def test_only_loopback_is_changed(address: object, near: bool) -> None:
    with socket.socket() as sock:
        before = of(sock)
        pacing.unpaced(sock, address)
        assert of(sock) == (b"reno" if near else before)


def test_a_choice_that_does_not_pace_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "paces", lambda: False)
    with socket.socket() as sock:
        before = of(sock)
        pacing.unpaced(sock, ("127.0.0.1", 80))
        assert of(sock) == before


def test_a_unix_socket_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "paces", lambda: True)
    with socket.socket(socket.AF_UNIX) as sock:
        pacing.unpaced(sock, ("127.0.0.1", 80))  # it is refused, and that is all
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def test_it_is_read_from_a_socket_of_this_process() -> None:
    pacing.paces.cache_clear()
    with socket.socket() as sock:
        assert pacing.paces() == of(sock).startswith(b"bbr")
