"""``python -m scripts.scale.sending``: a process that sends announcements, or junk, at a steady rate.

One idea: everything is built before the first datagram leaves, and the kernel takes hundreds with one call
(sendmmsg), so that what is measured is the router and not the sender. When it ends (by TERM, too) it prints one JSON
line: how many it sent, in how many seconds, and with how much CPU. Knows nothing of the router but its datagrams.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterable, Sequence

PAUSE_MOST = 0.1
"""Seconds after which whoever is told to stop does so."""
AT_ONCE = 256
"""Datagrams that one system call takes."""
STEP = 0.0001
"""Least seconds between two looks at the clock: nodes do not agree on a moment, so datagrams come one by one."""
JUNK = 20_000
"""Different junk datagrams; they are sent round and round."""
JUNK_KINDS = ("noise", "nameless", "crowded")


class _Piece(ctypes.Structure):
    _fields_ = (("base", ctypes.c_char_p), ("size", ctypes.c_size_t))


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("pieces", ctypes.POINTER(_Piece)),
        ("count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Entry(ctypes.Structure):
    """struct mmsghdr: a message and what became of it."""

    _fields_ = (("message", _Message), ("sent", ctypes.c_uint))


_sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg


class Barrage:
    """``datagrams``, ready to be sent to ``server`` (host:port) round and round."""

    def __init__(self, server: str, datagrams: Sequence[bytes]) -> None:
        host, _, port = server.rpartition(":")
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.connect((host, int(port)))
        self._size = len(datagrams)
        self._datagrams = datagrams  # the arrays below point into them
        self._pieces = (_Piece * self._size)(*((datagram, len(datagram)) for datagram in datagrams))
        self._entries = (_Entry * self._size)()
        for entry, piece in zip(self._entries, self._pieces, strict=True):
            entry.message.pieces = ctypes.pointer(piece)
            entry.message.count = 1
        self._next = 0

    def send(self, count: int) -> int:
        """Send ``count`` more, as far as the kernel takes them; how many it took."""
        sent = 0
        while sent < count:
            most = min(count - sent, AT_ONCE, self._size - self._next)
            where = ctypes.byref(self._entries, self._next * ctypes.sizeof(_Entry))
            taken = _sendmmsg(self.sock.fileno(), where, most, 0)
            if taken <= 0:
                break  # nobody listens any more
            sent += taken
            self._next = (self._next + taken) % self._size
        return sent


def send_steadily(
    barrage: Barrage, rate: float, seconds: float, stop: threading.Event | None = None, most: int | None = None
) -> tuple[int, float]:
    """``rate`` datagrams a second for ``seconds``, until ``stop``, or until there were ``most``.

    How many were sent, and how long it took.
    """
    start = time.monotonic()
    sent = 0
    while (passed := time.monotonic() - start) < seconds and sent != most and not (stop and stop.is_set()):
        due = int(passed * rate) - sent
        due = due if most is None else min(due, most - sent)
        if due > 0:
            done = barrage.send(due)
            sent += done
            if not done:
                break
        else:
            # Until the next one is due, and no more often: whoever sends shares the machine with what is measured.
            time.sleep(min(max(STEP, (sent + 1) / rate - passed), PAUSE_MOST))
    return sent, time.monotonic() - start


def packet(variables: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A subscription datagram."""
    pack = struct.Struct("<H").pack
    block = b"".join(pack(len(name)) + name + pack(len(value)) + value for name, value in variables)
    return struct.pack("<BHB", 224, len(block), 0) + block


def announcement(key: str, address: str, weight: int = 1) -> bytes:
    """What a uWSGI 2.0 instance sends."""
    fields = {"key": key, "address": address, "modifier1": 0, "modifier2": 0, "cores": 4, "load": 0, "weight": weight}
    return packet((name.encode(), str(value).encode()) for name, value in fields.items())


def announcements(nodes: int, keys: int) -> list[bytes]:
    """Of so many nodes under so many keys; nobody is at their addresses."""
    return [
        announcement(f"app{number % keys:05}.example.com", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:3031")
        for number in range(nodes)
    ]


def junk(kind: str, count: int = JUNK) -> list[bytes]:
    """``noise``: random bytes. ``nameless``: packets without a key. ``crowded``: 4 KB of the shortest variables."""
    dice = random.Random(5)
    if kind == "noise":
        return [dice.randbytes(dice.randrange(1, 200)) for _ in range(count)]
    if kind == "nameless":
        return [packet([(b"address", b"10.0.0.1:%d" % number), (b"weight", b"1")]) for number in range(count)]
    return [packet([(b"x", b"")] * 800 + [(b"number", b"%d" % number)]) for number in range(min(count, 1000))]


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m scripts.scale.sending", description=__doc__)
    parser.add_argument("server", help="host:port")
    parser.add_argument("--nodes", type=int, default=0)
    parser.add_argument("--keys", type=int, default=1)
    parser.add_argument("--alive", nargs=2, action="append", default=[], metavar=("KEY", "ADDRESS"))
    parser.add_argument("--junk", choices=JUNK_KINDS)
    parser.add_argument("--rate", type=float, required=True, help="datagrams a second")
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args(arguments)
    if options.junk:
        datagrams = junk(options.junk)
    else:
        datagrams = [announcement(key, address) for key, address in options.alive]
        datagrams += announcements(options.nodes, options.keys)
    barrage = Barrage(options.server, datagrams)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    began = time.process_time()
    sent, seconds = send_steadily(barrage, options.rate, options.seconds, stop)
    print(json.dumps({"sent": sent, "seconds": seconds, "cpu": time.process_time() - began}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
    os._exit(0)
