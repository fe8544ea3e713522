"""The ways of a worker to caches on Redis servers: asked in threads of a bounded pool, so that the loop never waits.

One idea: a cache on a server is a service like those that rules ask (worker/services.py); who looks up is a greenlet
that waits for a bounded time. Invariant: caches of one URL share their connections.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from uwsgirouter.cache import link
from uwsgirouter.cache.access import CacheTrouble
from uwsgirouter.cache.link import Away, Client
from uwsgirouter.rules.service import Service, ServiceDown, Timing
from uwsgirouter.settings.caching import CacheSpec
from uwsgirouter.settings.settings import Settings
from uwsgirouter.worker.services import Services

T = TypeVar("T")


class CacheLinks:
    """Those of one worker; ``say`` gets what happens to the servers."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        seconds = settings.seconds
        timing = Timing(
            seconds("service-connect-timeout"), seconds("service-timeout"), settings.number("service-connections")
        )
        self._services = Services(timing, say)
        self._by_url: dict[str, Service[Client]] = {}

    def __call__(self, spec: CacheSpec) -> CacheLink:
        """The way to a cache."""
        service = self._by_url.get(spec.url)
        if service is None:
            service = self._by_url[spec.url] = _service(spec)
        return CacheLink(self._services, service)

    def tick(self) -> None:
        """Called every second."""
        self._services.tick()

    def close(self) -> None:
        """The worker leaves."""
        self._services.close()


def _service(spec: CacheSpec) -> Service[Client]:
    def connect(timing: Timing) -> Client:
        return link.connect(spec.url, timing.connect, timing.answer)

    return Service(f"redis {spec.server}", connect, lambda client: client.close(), link.FAILURES)


class CacheLink:
    """The way to the caches of one server."""

    def __init__(self, services: Services, service: Service[Client]) -> None:
        self._services = services
        self._service = service

    def ask(self, call: Callable[[Client], T], once: bool = False) -> T:
        """In a greenlet, which waits. Raises :class:`Away`, and CacheTrouble as ``call`` does."""
        try:
            return self._services.ask(self._service, call, once)
        except ServiceDown as error:
            raise Away(str(error)) from None

    def hand(self, call: Callable[[Client], object], complain: Callable[[str], None]) -> None:
        """The same without waiting for it."""

        def done(client: Client) -> None:
            try:
                call(client)
            except CacheTrouble as error:  # the server's word, which nobody waits for
                raise ServiceDown(str(error)) from None

        self._services.hand(self._service, done, complain)

    def close(self) -> None:
        """Its connections are the worker's, who closes all of them."""
