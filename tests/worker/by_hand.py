"""A loop whose watchers do nothing: the test calls the handlers itself."""

from __future__ import annotations

from typing import Any


class Watcher:
    """Never calls anybody."""

    def start(self, handler: Any) -> None: ...

    def stop(self) -> None: ...


class Loop:
    """As much of the loop as a pump needs."""

    def io(self, descriptor: int, events: int) -> Watcher:
        return Watcher()
