"""Visits at a steady rate, each in a thread of its own, while traffic is on."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from itertools import cycle
from types import TracebackType

from scripts.soak.diary import Diary
from scripts.soak.visits import KINDS, Client, Trouble


class Traffic:
    """``rate`` visits a second at ``addresses`` in turn; ``longest`` is what a slow one takes at most, in seconds."""

    def __init__(self, diary: Diary, addresses: Sequence[str], rate: float, longest: float, seed: int) -> None:
        self._diary = diary
        self._addresses = cycle(addresses)
        self._rate = rate
        self._longest = longest
        self._random = random.Random(seed)
        self._on = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._kinds = list(KINDS)
        self._weights = [weight for weight, _, _ in KINDS.values()]

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._on.set()
        self._thread.join()

    def begin(self) -> None:
        """Visits begin."""
        self._on.set()

    def pause(self) -> None:
        """No more begin; those under way go on."""
        self._on.clear()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._on.wait()
            (kind,) = self._random.choices(self._kinds, self._weights)
            client_random = random.Random(self._random.random())
            arguments = (kind, next(self._addresses), client_random)
            threading.Thread(target=self._visit, args=arguments, name=kind, daemon=True).start()
            time.sleep(self._random.expovariate(self._rate))

    def _visit(self, kind: str, address: str, random_: random.Random) -> None:
        _, key, act = KINDS[kind]
        visit = self._diary.begin(kind, key)
        trouble = ""
        try:
            act(Client(address, visit, random_, self._longest))
        except Trouble as error:
            trouble = str(error)
        except Exception as error:  # noqa: BLE001 (a mistake of this script is a finding too, not a silent thread)
            trouble = f"{type(error).__name__}: {error}"
        self._diary.end(visit, trouble)
