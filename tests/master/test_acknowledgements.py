"""Acknowledgements reach unix and UDP sockets of every sort, and nobody who does not read holds up the master."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from uwsgirouter.master import acknowledgements as acknowledgements_module
from uwsgirouter.master.acknowledgements import Acknowledgements
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import parse_peer

NODE = Announce(b"foo.com", parse_peer("127.0.0.1:3031"))
TEXT = b"[subscription ack] foo.com => new node: 127.0.0.1:3031"


@pytest.fixture
def acknowledgements() -> Iterator[Acknowledgements]:
    made = Acknowledgements()
    yield made
    made.close()


def asking(text: str) -> Announce:
    return NODE._replace(notify=parse_peer(text))


@pytest.mark.parametrize("kind", ["v4", "v6", "unix", "abstract"])
def test_it_arrives(acknowledgements: Acknowledgements, tmp_path: Path, kind: str) -> None:
    family = {"v4": socket.AF_INET, "v6": socket.AF_INET6}.get(kind, socket.AF_UNIX)
    with socket.socket(family, socket.SOCK_DGRAM) as receiver:
        if family == socket.AF_UNIX:
            text = f"{tmp_path}/told" if kind == "unix" else f"@{tmp_path.name}-told"
            receiver.bind(parse_peer(text).sockaddr)
        else:
            receiver.bind(("::1" if kind == "v6" else "127.0.0.1", 0))
            text = f"{'[::1]' if kind == 'v6' else '127.0.0.1'}:{receiver.getsockname()[1]}"
        receiver.settimeout(5)
        for _ in range(2):
            acknowledgements.send(asking(text))
            assert receiver.recv(1000) == TEXT
    assert (acknowledgements.sent, acknowledgements.lost) == (2, 0)


def test_nobody_asked(acknowledgements: Acknowledgements) -> None:
    acknowledgements.send(NODE)
    assert (acknowledgements.sent, acknowledgements.lost) == (0, 0)


def test_nobody_there(acknowledgements: Acknowledgements, tmp_path: Path) -> None:
    for text in (f"{tmp_path}/none", "@nobody-has-this-name", "127.0.0.1:1", "127.0.0.1:1"):
        acknowledgements.send(asking(text))
    assert acknowledgements.sent + acknowledgements.lost == 4
    assert acknowledgements.lost >= 2


def test_nobody_reads(acknowledgements: Acknowledgements, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"{tmp_path}/told")
        began = time.monotonic()
        for _ in range(5000):
            acknowledgements.send(asking(f"{tmp_path}/told"))
        assert time.monotonic() - began < 5
    assert acknowledgements.lost > 0
    assert acknowledgements.sent + acknowledgements.lost == 5000


def test_after_it_was_closed_it_opens_anew(acknowledgements: Acknowledgements, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"{tmp_path}/told")
        for _ in range(2):
            acknowledgements.send(asking(f"{tmp_path}/told"))
            acknowledgements.close()
    assert acknowledgements.sent == 2


def test_only_so_many_in_a_second(
    acknowledgements: Acknowledgements, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has nodes come and go names where they are told so, too."""
    monkeypatch.setattr(acknowledgements_module, "PER_SECOND", 3)
    now = [5.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"{tmp_path}/told")
        for _ in range(5):
            acknowledgements.send(asking(f"{tmp_path}/told"))
        assert (acknowledgements.sent, acknowledgements.lost) == (3, 2)
        now[0] = 6.0
        acknowledgements.send(asking(f"{tmp_path}/told"))
    assert (acknowledgements.sent, acknowledgements.lost) == (4, 2)
