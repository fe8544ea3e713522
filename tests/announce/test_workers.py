"""What an arbiter can know of its workers and its sockets."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from uwsgirouter.announce import ConfigError
from uwsgirouter.announce.gauge import CELLS, Gauge
from uwsgirouter.announce.listening import address_of, are_waiting


def test_a_child_tells_its_parent_that_it_serves_and_how_busy_it_is() -> None:
    gauge = Gauge()
    assert not gauge.has_served
    child = os.fork()
    if child == 0:
        gauge.serve(7)
        for _ in range(3):
            gauge.begin(7)
        gauge.end(7)
        os._exit(0)
    os.waitpid(child, 0)
    assert gauge.has_served
    assert (gauge.busy([7]), gauge.busy([7, 8]), gauge.busy([8]), gauge.busy([])) == (2, 2, 0, 0)
    gauge.serve(7 + CELLS)
    assert gauge.busy([7 + CELLS]) == 0, "its cell was another one's before"


def test_an_end_too_many_is_no_negative_number() -> None:
    gauge = Gauge()
    gauge.end(1)
    assert gauge.busy([1]) == 0


def test_many_threads_of_a_worker() -> None:
    gauge = Gauge()

    def work() -> None:
        for _ in range(2000):
            gauge.begin(1)
            gauge.end(1)
        gauge.begin(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gauge.busy([1]) == 8


@pytest.mark.parametrize(
    ("bound", "address"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("0.0.0.0", 80), ":80"),
        (("", 80), ":80"),
        (("::1", 80, 0, 0), "[::1]:80"),
        (("::", 80, 0, 0), "[::]:80"),
        (("fe80::1%lo", 80, 0, 1), "[fe80::1]:80"),
        ("/run/app.sock", "/run/app.sock"),
        (b"\0app\0", "@app"),
    ],
)
def test_how_a_router_reaches_it(bound: object, address: str) -> None:
    assert address_of(bound) == address


def test_a_path_is_told_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert address_of("app.sock") == str(tmp_path / "app.sock")


@pytest.mark.parametrize("bound", [b"\0app", "", None, 3])
def test_what_cannot_be_reached(bound: object) -> None:
    with pytest.raises(ConfigError):
        address_of(bound)


def test_connections_that_wait(tmp_path: Path) -> None:
    for listener in (socket.create_server(("127.0.0.1", 0)), _unix(str(tmp_path / "s"))):
        assert not are_waiting([listener])
        with socket.socket(listener.family) as client:
            client.connect(listener.getsockname())
            deadline = time.monotonic() + 10
            while not are_waiting([listener]):
                assert time.monotonic() < deadline
            listener.accept()[0].close()
            assert not are_waiting([listener])
        listener.close()
        assert not are_waiting([listener])


def _unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    return listener
