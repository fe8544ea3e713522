"""What is done to the router and its nodes during visits: one thing at a time, each with the failures it may cause.

A trouble that names no consequence must have none: a reload, a drained worker, a node that takes leave.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
from collections.abc import Callable
from types import TracebackType

import psutil

from scripts.bench.processes import BenchError, split_address
from scripts.soak.diary import BROKEN_OFF, NODE_DIED, Diary
from scripts.soak.site import NodeProcess, Site, wait_until
from scripts.soak.visits import PLAIN

CONFIGURATIONS = (
    (),
    ("fastrouter-post-buffering = 20000",),
    ("subscription-algo = lrc", "fastrouter-buffer-size = 32768"),
    ("fastrouter-post-buffering = 1", "subscription-algo = p2c"),
)
AWAY = 60.0
"""Seconds that a node may take to leave: it serves what is under way."""


class Troubles:
    """A thread that makes trouble, with ``pause`` seconds between two on average, while it is on."""

    def __init__(self, site: Site, diary: Diary, pause: float, seed: int) -> None:
        self._site = site
        self._diary = diary
        self._pause = pause
        self._random = random.Random(seed)
        self._on = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="troubles", daemon=True)
        self._bag: list[Callable[[], None]] = []

    def __enter__(self) -> Troubles:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._on.set()
        self._thread.join()

    def begin(self) -> None:
        """From now on."""
        self._on.set()

    def pause(self) -> None:
        """No more; returns when the last one is over."""
        self._on.clear()
        self._idle.wait()

    def _run(self) -> None:
        while True:
            self._on.wait()
            if self._ended.wait(self._random.uniform(0.5, 1.5) * self._pause):
                return
            self._idle.clear()
            try:
                if self._on.is_set():
                    self._next()()
            except (BenchError, OSError, psutil.Error) as error:
                self._diary.found(f"trouble did not go as it should: {error}")
            finally:
                self._idle.set()

    def _next(self) -> Callable[[], None]:
        """All kinds in a new order, again and again: a short soak has each of them too."""
        if not self._bag:
            self._bag = [
                self.node_is_killed, self.node_leaves, self.uwsgi_stops, self.hup, self.other_configuration,
                self.bad_configuration, self.worker_is_killed, self.worker_is_drained, self.bad_datagrams,
                self.operator_drains,
            ]  # fmt: skip
            self._random.shuffle(self._bag)
        return self._bag.pop()

    # -- nodes --------------------------------------------------------------------------------------------------------

    def node_is_killed(self) -> None:
        """It is away for a while, and comes back at the same address."""
        node = self._random.choice((self._site.one, self._site.two))
        with self._diary.fault("a node was killed", node.keys, NODE_DIED):
            node.kill()
        self._back(node)

    def node_leaves(self) -> None:
        """It takes leave, serves what is under way, ends, and comes back."""
        self._diary.did("a node left")
        node = self._random.choice((self._site.one, self._site.two))
        node.stop(signal.SIGTERM, AWAY)
        self._back(node)

    def uwsgi_stops(self) -> None:
        """The real one unsubscribes, but does not finish what it has under way."""
        node = self._site.uwsgi
        with self._diary.fault("uWSGI was stopped", frozenset({PLAIN}), NODE_DIED):
            node.stop(signal.SIGINT, AWAY)
        self._back(node)

    def _back(self, node: NodeProcess) -> None:
        self._ended.wait(self._random.uniform(0.0, 3.0))
        node.start()

    def operator_drains(self) -> None:
        """One is drained by an operator, and made ready again."""
        self._diary.did("an operator drained a node")
        node = self._random.choice((self._site.one, self._site.two, self._site.uwsgi))
        for command in ("drain", "ready"):
            self._site.ask(command=command, key=PLAIN, node=node.address)
            self._ended.wait(self._random.uniform(0.2, 1.5))

    def bad_datagrams(self) -> None:
        """Junk, cut announcements, lies about lengths."""
        self._diary.did("bad datagrams")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(50):
                junk = self._random.randbytes(self._random.randrange(1, 600))
                head = b"\xe0" + len(junk).to_bytes(2, "little") + b"\x00"
                sender.sendto(self._random.choice((junk, head + junk, head)), split_address(self._site.server))

    # -- the router ---------------------------------------------------------------------------------------------------

    def hup(self) -> None:
        """The same configuration again."""
        self._diary.did("reload")
        self._site.reload()

    def other_configuration(self) -> None:
        """Bodies are gathered or not, another algorithm, another buffer."""
        self._diary.did("another configuration")
        self._site.configure(*self._random.choice(CONFIGURATIONS))
        self._site.reload()

    def bad_configuration(self) -> None:
        """One that is wrong, or asks for what cannot be had, changes nothing."""
        self._diary.did("a bad configuration")
        text = self._site.config.read_text()
        wrong = self._random.choice(("fastrouter-timeout = soon", "fastrouter = /nowhere/at/all.sock"))
        self._site.configure(wrong)
        try:
            self._site.reload("the old configuration stays in use")
        finally:
            self._site.config.write_text(text)

    def worker_is_killed(self) -> None:
        """What it had under way is lost, and nothing else; another one comes."""
        with self._diary.fault("a worker was killed", frozenset(), BROKEN_OFF):
            self._end_worker(signal.SIGKILL)

    def worker_is_drained(self) -> None:
        """By TERM: it finishes what it has, and another one comes."""
        self._diary.did("a worker was drained")
        self._end_worker(signal.SIGTERM)

    def _end_worker(self, number: int) -> None:
        workers = self._site.workers()
        if not workers:
            raise BenchError("there is no worker")
        chosen = self._random.choice(workers)
        os.kill(chosen.pid, number)
        if not wait_until(lambda: chosen not in self._site.workers(), 40):
            raise BenchError(f"worker {chosen.pid} goes on after signal {number}")
