"""A connection to a router's control socket: a question, and the nodes that are the answer.

One idea: what a router answers is rows (:class:`Row`) and an end, and every other thing that can happen (nobody there,
no right to ask, no such node, an answer that stops) is a :class:`~uwsgirouter.control.base.Failure` with its own exit
code. One connection serves any number of questions, one after the other.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from uwsgirouter.control.base import Exit, Failure, shown
from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.control import Trouble, decode_line, encode_line

PATIENCE = 30.0
"""Seconds for which a router may be silent."""
READ_SIZE = 1 << 16
LINE_MAX = 1 << 20

Row = dict[str, object]

_CODES = {
    Trouble.REQUEST: Exit.USAGE,
    Trouble.DENIED: Exit.DENIED,
    Trouble.BUSY: Exit.NO_ROOM,
    Trouble.NO_KEY: Exit.NOT_FOUND,
    Trouble.NO_NODE: Exit.NOT_FOUND,
}


class Refusal(Failure):
    """The router does not do what it was asked; ``trouble`` says why. ``settled``: all workers know so."""

    def __init__(self, trouble: Trouble, message: str, settled: bool) -> None:
        super().__init__(_CODES[trouble], message)
        self.trouble = trouble
        self.settled = settled


@dataclass(frozen=True)
class Answer:
    """All of it. ``settled``: all workers know what these rows say."""

    rows: list[Row]
    settled: bool


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return True


class Channel:
    """Connected to the router whose control socket is at ``path``. Raises :class:`Failure`."""

    def __init__(self, path: str, patience: float = PATIENCE) -> None:
        self._path = path
        self._rest = b""
        self._waiting: deque[bytes] = deque()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(patience)
        try:
            self._socket.connect(path)
        except TimeoutError:
            self._close_and_fail(Exit.TIMEOUT, "it takes no connection")
        except FileNotFoundError:
            self._close_and_fail(
                Exit.NO_CONNECTION, "no such file; does the router run, and is this its control-socket?"
            )
        except ConnectionRefusedError:
            reason = "nobody serves it; the router is not running" if _is_socket(path) else "it is not a socket"
            self._close_and_fail(Exit.NO_CONNECTION, reason)
        except PermissionError:
            self._close_and_fail(Exit.DENIED, "permission denied; only root and the router's own user may")
        except OSError as error:
            self._close_and_fail(Exit.NO_CONNECTION, error.strerror or str(error))

    def _close_and_fail(self, code: Exit, reason: str) -> NoReturn:
        self._socket.close()
        raise Failure(code, f"cannot connect to {self._path}: {reason}")

    def ask(self, command: str, **fields: object) -> Answer:
        """The nodes that are the answer. Raises :class:`Refusal`, or another :class:`Failure` when it is cut."""
        rows: list[Row] = []
        for value in self.rows(command, **fields):
            if value.get("ok") is True:
                return Answer(rows, value.get("settled") is True)
            row = value.get("node")
            if not isinstance(row, dict):
                raise self._nonsense()
            rows.append(row)
        raise self._cut()

    def rows(self, command: str, **fields: object) -> Iterator[Row]:
        """The lines of the answer as they come, the last one (with ``ok``) included. Raises as :meth:`ask`."""
        # What it says may stand there although it took nothing from us: that it is busy, or that we may not ask.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(encode_line({"command": command, **fields}) + b"\n")
        for line in self._lines():
            try:
                value = decode_line(line)
                if "error" in value:
                    raise Refusal(Trouble(value.get("trouble")), shown(value["error"]), value.get("settled") is True)
            except (ProtocolError, ValueError):
                raise self._nonsense() from None
            if value.get("alive") is True:
                continue
            yield value
            if value.get("ok") is True:
                return
        raise self._cut()

    def _cut(self) -> Failure:
        return Failure(Exit.CUT, f"{self._path}: the router ended the connection in the middle of its answer")

    def _nonsense(self) -> Failure:
        return Failure(Exit.BAD_HEAD, f"{self._path}: this is not how a uwsgirouter answers; is it its control-socket?")

    def _lines(self) -> Iterator[bytes]:
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if len(self._rest) > LINE_MAX:
                raise self._nonsense()
            try:
                data = self._socket.recv(READ_SIZE)
            except TimeoutError:
                raise Failure(Exit.TIMEOUT, f"{self._path}: the router does not answer") from None
            except OSError as error:
                raise Failure(Exit.RESET, f"{self._path}: {error.strerror or error}") from None
            if not data:
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._waiting.extend(lines)

    def close(self) -> None:
        """Let go."""
        self._socket.close()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
