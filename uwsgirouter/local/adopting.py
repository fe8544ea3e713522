"""gunicorn workers that answer the web server themselves when the router passes its connection.

    gunicorn --protocol uwsgi -k uwsgirouter.local.adopting.SyncWorker --bind unix:/run/app.sock app:application

One idea: gunicorn's own workers, given an :class:`AdoptingSocket` in the place of each connection from a unix socket,
and told when a response is complete, which they do not say by closing. Everything else is gunicorn's: parsing, time
limits, logs, reload. Requests that come without a descriptor are served as gunicorn serves them.
Invariant: a response that an exception broke off is never finished. The gevent worker is in ``adopting_gevent``.
"""

from __future__ import annotations

import socket
from typing import Any

from gunicorn.workers import gthread, sync

from uwsgirouter.local.adoption import AdoptingSocket

__all__ = ["Adopting", "SyncWorker", "ThreadWorker", "finish"]


class Adopting:
    """What the workers have in common; stands before one of gunicorn's workers in the list of bases."""

    cfg: Any
    log: Any

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Called by gunicorn's master at start."""
        if cfg.protocol != "uwsgi":
            log.warning("%s adopts connections over the uwsgi protocol only: give --protocol uwsgi", cls.__name__)
        inherited = getattr(super(), "check_config", None)
        if inherited is not None:
            inherited(cfg, log)

    def adopting(self, connection: Any) -> Any:
        """The connection, wrapped if a descriptor can come through it and it is not yet."""
        if self.cfg.protocol != "uwsgi" or self.cfg.is_ssl or isinstance(connection, AdoptingSocket):
            return connection
        if connection.family != socket.AF_UNIX:
            return connection
        return AdoptingSocket(connection, self.cfg.timeout or None, self.log.warning)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """gunicorn's error page, unless a response was begun: nothing that follows could make that one whole."""
        if isinstance(client, AdoptingSocket) and client.begun:
            client.fail()
        super().handle_error(req, client, addr, exc)  # type: ignore[misc]  # of the gunicorn worker behind this class
        finish(client)


class SyncWorker(Adopting, sync.SyncWorker):  # type: ignore[misc]
    """One request at a time. (With ``threads`` above 1 gunicorn puts its own ThreadWorker in the place of this one.)"""

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """A connection was accepted."""
        super().handle(listener, self.adopting(client), addr)

    def handle_request(self, listener: Any, req: Any, client: Any, addr: Any) -> None:
        """Returns when the response is complete, raises when it is not."""
        super().handle_request(listener, req, visible(client), addr)
        finish(client)


class ThreadWorker(Adopting, gthread.ThreadWorker):  # type: ignore[misc]
    """A pool of threads."""

    def handle(self, conn: Any) -> Any:
        """A connection was accepted, or has something to say; in a thread of the pool."""
        conn.sock = self.adopting(conn.sock)
        return super().handle(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Returns when the response is complete, raises when it is not."""
        close_after(req, self.cfg)
        connection = conn.sock
        conn.sock = visible(connection)
        keep = super().handle_request(req, conn)
        finish(connection)
        return keep


def close_after(req: Any, cfg: Any) -> None:
    """The uwsgi protocol has one request for each connection, whatever gunicorn's ``keepalive`` says.

    The router knows the end of a response by the end of the connection.
    """
    if cfg.protocol == "uwsgi":
        req.force_close()


def visible(connection: Any) -> Any:
    """What the application may see as ``gunicorn.socket``: the plain socket where nothing was adopted."""
    plain = connection.plain if isinstance(connection, AdoptingSocket) else None
    return connection if plain is None else plain


def finish(connection: Any) -> None:
    """The response is complete."""
    if isinstance(connection, AdoptingSocket):
        connection.finish()
