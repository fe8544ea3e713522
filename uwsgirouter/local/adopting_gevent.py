"""The gevent worker of :mod:`uwsgirouter.local.adopting`, apart from the others because it imports gevent.

    gunicorn --protocol uwsgi -k uwsgirouter.local.adopting_gevent.GeventWorker --bind unix:/run/app.sock app

Invariant: as there.
"""

from __future__ import annotations

from typing import Any

from gunicorn.workers import ggevent

from uwsgirouter.local.adopting import Adopting, close_after, finish, visible


class GeventWorker(Adopting, ggevent.GeventWorker):  # type: ignore[misc]
    """A greenlet for each connection."""

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """A connection was accepted."""
        super().handle(listener, self.adopting(client), addr)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Here a response that closes its connection ends by StopIteration, and one that failed too, after a close.

        A greenlet that is killed in mid-response returns as if nothing had happened, so returning is no sign.
        """
        close_after(req, self.cfg)
        try:
            super().handle_request(listener_name, req, visible(sock), addr)
        except StopIteration:
            finish(sock)
            raise
