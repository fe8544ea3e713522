"""Five thousand faults of every kind through a mapper, buffers, fallbacks and adopters leave nothing behind.

test_clients.py does the same for a router without these.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.servers import (
    Client,
    Connection,
    End,
    Servers,
    answer,
    get,
    hang,
    local,
    packet,
    post,
    reset_after_packet,
    wait_until,
)
from tests.worker.scarcity import with_short_files, without_descriptors
from tests.worker.site import KINDS, links
from tests.worker.test_clients import half_answered, until_the_end
from tests.worker.test_failures import close_after_packet, stuffed
from tests.worker.test_faults_mapping import Asking

COUNT = 5000
SHORT, LONG, BUFFERED = 5_000, 20_000, 400_000
"""Bodies: in memory, in a file written at the end, in one written meanwhile."""
DISK_THREADS = 3
"""Threads that write to the disk start when they are needed, and each has a greenlet."""
EPOLLS = 1
"""Made with the first adoption that lasts long enough to be waited for."""
MEMORY_LIMIT, LARGEST = 10_000, 1_000_000

COUNTING = """
import gc
import greenlet

without_counting = get
def get(key):
    if key == "counts.example":
        gc.collect()
        alive = [one for one in gc.get_objects() if issubclass(type(one), greenlet.greenlet) and not one.dead]
        with open(__file__ + ".count", "w") as file:
            file.write(str(len(alive)))
        return None
    if key.startswith("slow."):
        time.sleep(0.02)
    return without_counting(key)
"""


def adopt(connection: Connection) -> None:
    """Answer on the client's own connection where it was passed."""
    _, descriptors, _, _ = socket.recv_fds(connection.socket, 65536, 1)
    if not descriptors:
        connection.answer()
        return
    with socket.socket(fileno=descriptors[0]) as client:
        connection.half_close()
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def adopt_and_die(connection: Connection) -> None:
    """Take the client over, and leave with the request's last byte unread."""
    header, descriptors, _, _ = socket.recv_fds(connection.socket, 4, 1)
    connection.read(int.from_bytes(header[1:3], "little") - 1)
    connection.half_close()
    for descriptor in descriptors:
        os.close(descriptor)


def cut(connection: Connection) -> None:
    """Reset in the middle of the answer."""
    connection.read_packet()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
    connection.reset()


class Faults:
    """The router, its nodes, and all that can go wrong as functions to be called."""

    def __init__(self, servers: Servers) -> None:
        self.spool = Path(servers.path("spool"))
        self.spool.mkdir()
        self.fallback = servers.node(answer(b"fallback"))
        self.site = Asking(
            servers,
            f"fastrouter-post-buffering = {MEMORY_LIMIT}",
            f"fastrouter-post-buffering-dir = {self.spool}",
            f"fastrouter-fallback = {self.fallback.address}",
            f"limit-post = {LARGEST}",
            "fastrouter-gracetime = 1",
            *(f"fastrouter-{name}-timeout = 1" for name in ("connect", "first-byte", "idle")),
            more=COUNTING,
        )
        site = self.site
        handlers = {
            "thinking": (until_the_end, "tcp"),
            "sending": (half_answered, "tcp"),
            "silent": (hang, "tcp"),
            "resetting": (reset_after_packet, "tcp"),
            "closing": (close_after_packet, "unix"),
            "cutting": (cut, "tcp"),
            "answering": (answer(), "v6"),
            "adopting": (adopt, "unix"),
            "dying": (adopt_and_die, "unix"),
        }
        self.nodes = {name: site.node(handler, kind) for name, (handler, kind) in handlers.items()}
        self.keys = {name: site.to(node) for name, node in self.nodes.items()}
        self.keys |= {name: f"{name}.example" for name in ("raises", "nobody", "number", "timeout", "exits")}
        self.keys["dead"] = site.to(local())
        self.keys["missing"] = site.to(servers.path("nobody-is-here"))
        self.keys["turns"] = site.to(local(), self.nodes["answering"])
        self.keys["late"] = site.to(self.nodes["thinking"], what="slow")

    def whole(self, data: bytes, kind: str) -> Callable[[], None]:
        """Send, and read to the end, whatever that is."""

        def run() -> None:
            with Client(self.site.address(kind)) as client, contextlib.suppress(OSError):
                client.send(data)
                assert client.read_all()[1] is not End.SILENT

        return run

    def left(self, data: bytes, kind: str, leave: Callable[[Client], None], response: int = 0) -> Callable[[], None]:
        """Send, read so much, and go."""

        def run() -> None:
            with Client(self.site.address(kind)) as client, contextlib.suppress(OSError, AssertionError):
                client.send(data)
                client.read(response)
                leave(client)

        return run

    def all(self) -> list[Callable[[], None]]:
        """Some two hundred faults, none of which waits long."""
        made: list[Callable[[], None]] = []
        keys = self.keys
        ends = [key for name, key in keys.items() if name not in ("thinking", "sending", "silent", "late")]
        for kind in KINDS:
            for key in ends:
                made.append(self.whole(packet(get(key)), kind))
                if key != keys["cutting"]:  # a reset may be slow to come to one that has sent a body
                    made.append(self.whole(packet(post(key, SHORT)) + bytes(SHORT), kind))
                    made.append(self.whole(packet(put(key, LONG)) + bytes(LONG), kind))
            made.append(self.whole(packet(post(keys["answering"], LARGEST + 1)) + bytes(1000), kind))
            made.append(self.whole(b"\x00\x04\x00\x00\xff\xff\xff\xff", kind))
            for leave in (Client.close, Client.reset):
                for key in (keys["thinking"], keys["late"]):
                    made.append(self.left(packet(get(key)), kind, leave))
                    made += [
                        self.left(packet(post(key, size)) + bytes(size - 1), kind, leave)
                        for size in (SHORT, LONG, BUFFERED)
                    ]
                    made.append(self.left(packet(post(key, BUFFERED)) + bytes(BUFFERED), kind, leave))
                made.append(self.left(packet(get(keys["thinking"]))[:-5], kind, leave))
                made.append(self.left(packet(get(keys["sending"])), kind, leave, 100_000))
        return made

    def slow(self, hanging: str) -> list[Callable[[], None]]:
        """Those that end by a timeout."""
        keys = [self.keys["silent"], self.site.to("127.0.0.1:1", what="waits"), self.site.to(hanging)]
        return [self.whole(packet(post(key, LONG)) + bytes(LONG), kind) for key in keys for kind in KINDS]

    def files(self) -> list[str]:
        """Temporary files that are open."""
        return [
            link
            for link in links(self.site.worker)
            if link.startswith(str(self.spool)) or ("deleted" in link and not link.startswith("/memfd:uwsgirouter"))
        ]

    def greenlets(self) -> int:
        """How many live in the worker, as its mapper sees them."""
        self.site.fetch("counts.example")
        return int(Path(self.site.servers.path("mapper.py.count")).read_text())

    def is_quiet(self) -> bool:
        """No session is left."""
        return self.site.stats().numbers["sessions"] == 0


def put(key: str, size: int) -> list[tuple[bytes, bytes]]:
    """A request that may be repeated."""
    return [(name, b"PUT" if value == b"POST" else value) for name, value in post(key, size)]


def test_five_thousand_faults_leave_nothing_behind(started: Servers) -> None:
    faults = Faults(started)
    site = faults.site
    made = itertools.cycle(faults.all())

    def run(count: int) -> None:
        for done in pool.map(lambda fault: fault(), itertools.islice(made, count)):
            assert done is None

    with ThreadPoolExecutor(4) as pool, ThreadPoolExecutor(9) as waiting, stuffed("127.0.0.1:0") as hanging:
        run(1000)  # what is made once is made now: threads, an epoll, pipes
        wait_until(faults.is_quiet, 10, "no session is left")
        descriptors, greenlets, memory = site.descriptors(), faults.greenlets(), site.memory()
        for _ in range(2):
            slow = [waiting.submit(fault) for fault in faults.slow(hanging)]
            run(1800)
            for fault in slow:
                fault.result()
        with with_short_files(site, 0):
            run(300)
        with without_descriptors(site, 20):
            run(100)

    for node in faults.nodes.values():
        node.expect_errors()
    begin = time.monotonic()
    assert site.fetch(faults.keys["answering"], body=bytes(LONG)).status == 200
    assert time.monotonic() - begin < 1.0
    wait_until(faults.is_quiet, 10, "no session is left")
    most = descriptors + EPOLLS
    wait_until(lambda: site.descriptors() <= most, 5, f"{most} descriptors, as before: {links(site.worker)}")
    wait_until(lambda: faults.files() == [], 5, "no temporary file is open")
    assert os.listdir(faults.spool) == []
    assert faults.greenlets() <= greenlets + DISK_THREADS
    assert site.memory() - memory < 3 << 20
    assert site.router.workers() == [site.worker]
    # The number of sessions is written once a second only, so the last of them may just be ending.
    wait_until(lambda: site.stats().numbers["in flight"] == 0, 5, "no request is counted as under way")
    counted = site.stats()
    assert counted.numbers["requests"] > 4000
    seen = {
        *("node-reset", "node-closed", "mapper-failed", "mapper-timeout", "no-node", "too-large", "bad-packet"),
        *("first-byte-timeout", "body-cut", "storage"),
    }
    assert seen <= counted.causes.keys()
    for node in faults.nodes.values():
        node.expect_errors()
