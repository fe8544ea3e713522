"""The life of a process that shows statistics: what each of its sockets shows.

One idea: both texts are made of the same picture, which is as old as the process; what workers count is as old as the
text. Invariant: metrics are loaded only when somebody asks for them.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import replace

from uwsgirouter.settings.settings import Settings
from uwsgirouter.stats.document import HEAD, document
from uwsgirouter.stats.figures import Figures
from uwsgirouter.stats.picture import Naming, Picture
from uwsgirouter.stats.serving import Pieces, Serving


class Show:
    """``picture`` as ``settings`` want it shown."""

    def __init__(self, picture: Picture, settings: Settings) -> None:
        self._picture = picture
        self._http = settings.flag("stats-http")
        self._minified = settings.flag("stats-minified")
        self._with_metrics = not settings.flag("stats-no-metrics")

    @property
    def naming(self) -> Naming:
        """Which keys have names now."""
        return self._picture.naming

    def serve(
        self, stats: Sequence[socket.socket], metrics: Sequence[socket.socket], closed: Callable[[Naming], None]
    ) -> None:
        """Serve at these sockets; ``closed`` is called when no more is accepted."""
        json, text = self._stats, self._metrics
        listeners = {**dict.fromkeys(stats, (json, False)), **dict.fromkeys(metrics, (text, True))}
        Serving(listeners).run(lambda: closed(self._picture.naming))

    def _figures(self) -> Figures:
        figures = Figures(self._picture)
        self._picture = replace(self._picture, naming=figures.named.naming)
        return figures

    def _stats(self, accept: str) -> tuple[str, Pieces]:
        pieces = document(self._figures(), self._minified, self._with_metrics)
        return "application/json", [HEAD, *pieces] if self._http else pieces

    def _metrics(self, accept: str) -> tuple[str, Pieces]:
        from uwsgirouter.stats.exposition import exposition

        kind, text = exposition(self._figures(), accept)
        return kind, [text]
