"""A steady load: so many requests each second, whatever the answers do, each with its outcome.

Requests are due at fixed moments; a slow answer delays no other request as long as a thread is free, so a
gap in service shows as failures or latencies, not as fewer requests.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

from tests.servers.client import Client
from tests.servers.wire import Reply, get

Ask = Callable[[], Reply]


class Outcome(NamedTuple):
    """One request: when it was sent (monotonic), how long it took in seconds, and what came."""

    at: float
    latency: float
    status: int
    body: bytes
    error: str

    @property
    def failed(self) -> bool:
        """No complete 200."""
        return self.status != 200


def http_get(port: int, host: str, path: str = "/", timeout: float = 10.0) -> Ask:
    """A GET over plain HTTP to 127.0.0.1, a connection for each."""

    def ask() -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"Host": host, "Connection": "close"})
            response = connection.getresponse()
            return Reply(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    return ask


def uwsgi_get(address: str, key: str, path: str = "/", timeout: float = 10.0) -> Ask:
    """A GET over the uwsgi protocol."""

    def ask() -> Reply:
        with Client(address, timeout) as client:
            client.send_packet(get(key, path))
            return client.reply()

    return ask


class SteadyLoad:
    """Ask ``rate`` times a second from entering to leaving the ``with`` block, ``limit`` seconds at most."""

    def __init__(self, ask: Ask, rate: float = 100.0, threads: int = 16, limit: float = 60.0) -> None:
        self.results: list[Outcome] = []
        self._ask = ask
        self._rate = rate
        self._limit = limit
        self._turn = threading.Lock()
        self._number = 0
        self._stopping = threading.Event()
        self._start = 0.0
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]

    def __enter__(self) -> SteadyLoad:
        self._start = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    def stop(self) -> list[Outcome]:
        """Send no more, wait for the answers under way; all outcomes."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a request of the steady load does not end"
        return self.results

    def _work(self) -> None:
        while not self._stopping.is_set():
            with self._turn:
                due = self._start + self._number / self._rate
                self._number += 1
            if due - self._start > self._limit or self._stopping.wait(max(0.0, due - time.monotonic())):
                return
            self.results.append(self._one())

    def _one(self) -> Outcome:
        begin = time.monotonic()
        try:
            reply = self._ask()
        except (OSError, http.client.HTTPException, AssertionError) as error:
            return Outcome(begin, time.monotonic() - begin, 0, b"", f"{type(error).__name__}: {error}")
        return Outcome(begin, time.monotonic() - begin, reply.status, reply.body, "")

    @property
    def failures(self) -> list[Outcome]:
        """Every request that did not get a complete 200."""
        return [result for result in self.results if result.failed]

    def since(self, moment: float) -> list[Outcome]:
        """The requests sent after a moment of the monotonic clock."""
        return [result for result in self.results if result.at >= moment]

    def share(self, since: float = 0.0) -> Counter[bytes]:
        """How many answers each body had: who served them, when the nodes say their names."""
        return Counter(result.body for result in self.since(since) if not result.failed)

    def achieved(self) -> float:
        """Requests a second that were really sent."""
        last = max(result.at for result in self.results)
        return len(self.results) / max(last - self._start, 0.001)
