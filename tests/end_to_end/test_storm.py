"""The storm: a HUP every second and a USR2 every ten, at once, under sixteen connections; no request fails.

``STORM_SECONDS=60 pytest tests/end_to_end/test_storm.py`` is the long form; the suite runs a short one.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import psutil

from tests.master.watching import assert_no_failure, load, wait_for_serving, workers
from tests.servers import Connection, Router, Servers, announce, answer, free_udp_port, local, wait_until

SECONDS = float(os.environ.get("STORM_SECONDS", "12"))
HUP_EVERY, USR2_EVERY = 1.0, 10.0
FIRST_USR2 = 1.5
DEADLINE = 60.0


def slowly(connection: Connection) -> None:
    """An answer that outlasts a reload, in two halves."""
    connection.read_packet()
    connection.send(b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
    time.sleep(1.3)
    connection.send(b"half")


def holdings(pid: int) -> Counter[str]:
    """What a process has open and mapped, by kind."""
    found: Counter[str] = Counter()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[os.readlink(f"/proc/{pid}/fd/{name}").split("[")[0].split(":")[0]] += 1
        except FileNotFoundError:
            continue  # the directory's own descriptor
    found["shared maps"] = Path(f"/proc/{pid}/maps").read_text().count("/memfd:")
    return found


def zombies(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children() if child.status() == psutil.STATUS_ZOMBIE]


def settled(router: Router) -> list[int]:
    """Wait until nothing goes on: no reload, no trial, two workers; their pids."""

    def calm() -> bool:
        log = router.log()
        asked = log.count("SIGUSR2: trying") + log.count("trying it again")
        return asked == log.count("goes on where") + log.count("upgrade failed: version")

    wait_until(calm, DEADLINE, "no trial")
    last = time.monotonic()
    size = len(router.log())

    def quiet() -> bool:
        nonlocal last, size
        if len(router.log()) != size:
            last, size = time.monotonic(), len(router.log())
        return time.monotonic() - last > 1.5

    wait_until(quiet, DEADLINE, "nothing is said any more")
    return wait_for_serving(router, 2, DEADLINE)


def storm(router: Router, seconds: float) -> tuple[int, int]:
    """How many HUPs and USR2s were sent."""
    begin = time.monotonic()
    hups = upgrades = 0
    while (now := time.monotonic() - begin) < seconds:
        if now >= FIRST_USR2 + upgrades * USR2_EVERY:
            router.signal(signal.SIGUSR2)
            upgrades += 1
        if now >= hups * HUP_EVERY:
            router.hup()
            hups += 1
        time.sleep(0.02)
    return hups, upgrades


def test_no_request_fails_in_a_storm_of_reloads_and_upgrades(servers: Servers) -> None:
    address, server, path = local(), f"127.0.0.1:{free_udp_port()}", servers.path("storm.sock")
    config = [
        "[uwsgirouter]",
        f"fastrouter = {address}",
        f"fastrouter = {path}",
        f"fastrouter-subscription-server = {server}",
        "fastrouter-processes = 2",
        "subscription-tolerance = 600",
        "cache2 = name=things,items=10",
    ]
    router = servers.router(config="\n".join([*config, ""]))
    fast, slow = servers.node(answer(b"ok" * 500)), servers.node(slowly)
    for key, node in (("a.example", fast), ("slow.example", slow)):
        announce(server, key, node.address)
        router.wait_for_log(f"{key} => new node: {node.address}", DEADLINE)
    router.hup()
    router.wait_for_log("] reloaded in ", DEADLINE)
    settled(router)
    before, places = holdings(router.pid), sorted(os.listdir("/dev/shm"))
    worker_before = [holdings(pid) for pid in workers(router)]
    reloads = router.log().count("] reloaded in ")
    with (
        load(address, rate=500, threads=8) as one,
        load(path, rate=300, threads=4) as two,
        load(path, "slow.example", rate=50, threads=4) as three,
    ):
        hups, upgrades = storm(router, SECONDS)
    pids = settled(router)
    for asked in (one, two, three):
        assert_no_failure(asked.results)
    assert hups >= 10
    log = router.log()
    done = log.count("] upgraded from version")
    assert 1 <= done <= upgrades
    assert log.count("] reloaded in ") - reloads > done, "HUPs reload, too; on a busy machine several are one"
    assert "are cut" not in log
    assert not zombies(router.pid)
    assert [holdings(pid) for pid in pids] == worker_before
    assert holdings(router.pid) == before
    assert [name for name in os.listdir("/dev/shm") if str(router.pid) in name] == [
        name for name in places if str(router.pid) in name
    ]
    count = sum(len(asked.results) for asked in (one, two, three))
    print(f"{count} requests, {hups} HUPs, {upgrades} USR2s, {done} upgrades: 0 failed")
