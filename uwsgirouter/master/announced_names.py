"""Announced names: joins the leases, the registry and the resolver.

One idea: nobody pays for names who does not use them. The first announcement of a name gives the running generation a
resolver, if its configuration has none; from then on that process is told which names to look up, and what it tells
becomes announcements that the registry takes. It decides nothing about names (model/leases.py does) and owns no
process. Invariant: the resolver of the adopted generation knows each name of the leases, or will when it is started.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from uwsgirouter.errors import ProtocolError
from uwsgirouter.log import Log, Throttle
from uwsgirouter.master.duty import Duty
from uwsgirouter.master.generation import Generation
from uwsgirouter.master.names import hosts_in
from uwsgirouter.master.resolver import resolver_duty
from uwsgirouter.model.hearing import Hearing
from uwsgirouter.model.leases import Leases
from uwsgirouter.protocol.messages import Message
from uwsgirouter.protocol.subscription import Announce

LINES = 5
"""Lines a second about what announced names mean."""


class AnnouncedNames:
    """``take`` gets the announcements of single nodes, ``accepted`` each announcement of a name that made some.

    ``renamed(generation, name)`` is called when a name of a configuration means something else.
    """

    def __init__(
        self,
        log: Log,
        take: Callable[[Announce, float], object],
        accepted: Callable[[Announce], None],
        renamed: Callable[[Generation, str], None],
    ) -> None:
        self.leases = Leases()
        self._take = take
        self._accepted = accepted
        self._renamed = renamed
        self._say = Throttle(log.say, LINES)
        self._generation: Generation | None = None
        self._allowed = True

    def adopt(self, generation: Generation) -> None:
        """Work by the settings of ``generation``, and with its resolver."""
        self._generation = generation
        self._allowed = generation.settings.flag("subscription-resolve")
        self.leases.news()
        for name in self.leases.names:
            self._want(name, time.monotonic())

    def duty(self, generation: Generation) -> Duty | None:
        """The resolver that ``generation`` needs, None while it needs none."""
        return self._duty(generation) if generation.names.hosts or self.leases.names else None

    def hear(self, announce: Announce, now: float) -> None:
        """An announcement of a name. Raises :class:`ProtocolError`."""
        if not self._allowed:
            raise ProtocolError("bad address", f"{announce.address.text!r} is a name (subscription-resolve = false)")
        self._act(self.leases.hear(announce, now), now)

    def tick(self, now: float, tolerance: float, hearing: Hearing) -> None:
        """Once a second."""
        self._act(self.leases.expire(now, tolerance, hearing), now)
        self._say.flush(now)

    def _act(self, announces: Iterable[Announce], now: float) -> None:
        """Whatever the leases want to be done, after each of their methods."""
        for announce in announces:
            self._take(announce, now)
        for announce in self.leases.accepted():
            self._accepted(announce)
        for name, wanted in self.leases.news():
            if wanted:
                self._want(name, now)
            elif (duty := self._resolver()) is not None:
                duty.words.append(["forget", name])

    def _duty(self, generation: Generation) -> Duty:
        settings = generation.settings
        return resolver_duty(
            generation.names,
            lambda: self.leases.names,
            lambda message: self._learn(generation, message),
            settings.optional_number("fastrouter-uid"),
            settings.optional_number("fastrouter-gid"),
        )

    def _want(self, name: str, now: float) -> None:
        """Have ``name`` looked up; one that the configuration has too is known already."""
        generation, duty = self._generation, self._resolver()
        assert generation is not None
        if generation.names.hosts.get(name):
            self._act(self.leases.learn(name, generation.names.hosts[name], now), now)
        elif duty is not None:
            duty.words.append(["ask", name])
        else:
            # It is started in the next pass of the master's loop, and sees all names that are there by then.
            generation.duties.append(self._duty(generation))

    def _resolver(self) -> Duty | None:
        duties = self._generation.duties if self._generation is not None else []
        return next((duty for duty in duties if duty.name == "resolver"), None)

    def _learn(self, generation: Generation, message: Message) -> None:
        """What the resolver of ``generation`` told."""
        if len(message) != 3 or not isinstance(message[1], str):
            return
        what, name, said = message if len(message) == 3 else ("", "", "")
        if not isinstance(name, str):
            return
        if what == "hosts" and generation.names.learn(name, said):
            self._renamed(generation, name)
        if generation is not self._generation:
            return
        now = time.monotonic()
        if what == "unresolved":
            self.leases.fail(name, str(said)[:200])
        elif what == "hosts" and (hosts := hosts_in(said)):
            before = self.leases.meaning(name)
            self._act(self.leases.learn(name, hosts, now), now)
            if before and hosts != before and name not in generation.names.hosts:
                self._say(f"{name} is now {', '.join(hosts)}", now)
