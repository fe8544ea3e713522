"""What the master waits for: everything, or everything but its ears while these rest.

One idea: an announcement that says nothing new costs some microseconds to read and several times that to wake up for.
So while many come and none says anything new, the ears are not waited for but looked at after a short rest, and those
that came meanwhile share one wake-up; and the rest of the master's loop does not hear of them at all. Whatever else
happens is seen at once. How long a rest may last is the ears' to say. It must not know what anybody says.
Invariants: nobody rests who has just heard something new, or left something unread; what is ready besides the ears is
never waited with; both are given their turn when both are ready; whatever is said, the moment to do something else is
not missed.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable

Call = Callable[[], object]


class Attention:
    """``listen()`` reads what waits at the ears: the seconds that they may rest now (0: they may not), or None when the
    loop must have its turn first. The ears register with ``ears``, everything else with ``others``; whatever is ready
    there is given back as the data of its registration, a callable."""

    def __init__(self, listen: Callable[[], float | None]) -> None:
        self.others = selectors.EpollSelector()
        self.ears = selectors.EpollSelector()
        self.ears.register(self.others.fileno(), selectors.EVENT_READ)
        self._listen = listen
        self._rest_until = 0.0

    def wait(self, until: float) -> list[Call]:
        """What is to be called now; nothing when ``until`` (monotonic seconds) has come or something new was heard."""
        while True:
            now = time.monotonic()
            rest = self._rest_until - now
            if rest > 0.0:
                calls = self._ready(max(0.0, min(rest, until - now)))
                if calls or until <= self._rest_until:
                    return calls
                # What came in the rest is read without asking whether anything did: that would be one call more.
            else:
                ready = self.ears.select(max(0.0, until - now))
                if not ready:
                    return []
                if any(key.data is None for key, _ in ready):
                    return [*self._ready(0.0), *([self._hear] if len(ready) > 1 else [])]
            if self._hear() or time.monotonic() >= until:
                return []

    def _ready(self, timeout: float) -> list[Call]:
        return [key.data for key, _ in self.others.select(timeout)]

    def _hear(self) -> bool:
        """Whether the loop must have its turn."""
        rest = self._listen()
        self._rest_until = time.monotonic() + rest if rest else 0.0
        return rest is None

    def close(self) -> None:
        """Wait for nothing any more."""
        self.ears.close()
        self.others.close()
