"""Traces of requests, asked for at a control socket as anybody may, when every worker knows of them."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers import wait_until

PATIENCE = 20.0
Row = dict[str, object]


class Speaker:
    """A connection to a control socket, and what is said there."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self._lines = self.socket.makefile("rb")

    def say(self, **request: object) -> None:
        self.socket.sendall(json.dumps(request).encode() + b"\n")

    def hear(self) -> Row:
        """The next line that is no sign of life."""
        while True:
            line = self._lines.readline()
            assert line, "the router ended the connection"
            value = json.loads(line)
            if "alive" not in value:
                assert isinstance(value, dict)
                return value

    def traces(self, count: int) -> list[Row]:
        """The next requests, and the end."""
        found = []
        for _ in range(count):
            trace = self.hear()["trace"]
            assert isinstance(trace, dict)
            found.append(trace)
        return found

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


def settle(path: str) -> None:
    """Every worker has heard what it was told."""
    speaker = Speaker(path)
    try:

        def settled() -> bool:
            speaker.say(command="nodes")
            while "ok" not in (last := speaker.hear()):
                pass
            return last["settled"] is True

        wait_until(settled, PATIENCE, "the workers hear their orders")
    finally:
        speaker.close()


@contextmanager
def tracing(path: str, key: str, count: int = 1) -> Iterator[Speaker]:
    """A trace that workers know of."""
    speaker = Speaker(path)
    try:
        speaker.say(command="trace", key=key, count=count)
        assert speaker.hear()["tracing"] == key
        settle(path)
        yield speaker
    finally:
        speaker.close()


def steps(trace: Row) -> str:
    """What was decided, a line each."""
    listed = trace["steps"]
    assert isinstance(listed, list)
    moments = [moment for moment, _ in listed]
    assert moments == sorted(moments)
    return "\n".join(text for _, text in listed)
