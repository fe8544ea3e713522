"""A request's body on its way to a server that speaks HTTP: as many bytes as the request says, and not one more.

One idea: a uwsgi node is told one request and closes, so what follows a body harms nobody; an HTTP server would take it
for another request, which nobody has looked at. To the session it is a pump. Invariant: what is behind the body is read
and thrown away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uwsgirouter.worker.flow import Flow
from uwsgirouter.worker.relay import Pump

if TYPE_CHECKING:
    from uwsgirouter.worker.session import Session
    from uwsgirouter.worker.streams import Stream

_DONTWAIT = 0x40


class Measured(Pump):
    """From the client of ``session`` to ``sink``. ``session.left`` says how many bytes are to come."""

    def __init__(self, session: Session, sink: Stream) -> None:
        router = session.router
        super().__init__(router.loop, router.relay, session, session.client, sink)
        self._session = session
        self._room = router.relay

    def on_readable(self) -> None:
        """The client has something to say."""
        left = self._session.left
        if self.flow is not Flow.OPEN or left >= len(self._room):
            super().on_readable()
        elif left <= 0:
            self.discard()
        else:
            self._read_rest(left)

    def _read_rest(self, left: int) -> None:
        try:
            count = self.source.recv_into(self._room, left, _DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            self.session.source_failed(self, error)
            return
        if not count:
            super().on_readable()  # which meets the end, too
            return
        self.session.silence = 0
        self.session.moved(self, count)
        self.stop()
        self.start(self._room[:count].tobytes())
