"""``python -m scripts.bench.holding ADDRESS...``: a node that takes requests and never answers.

It reads nothing, so all it holds of a request is in the kernel; it closes a connection when the other side has. A
process of its own, because connections count against its limit of open files.
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Sequence

from scripts.bench.processes import allow_open_files, split_address

BACKLOG = 4096


def hold(addresses: Sequence[str]) -> None:
    """Until it is interrupted."""
    listeners = {}
    epoll = select.epoll()
    for address in addresses:
        listener = socket.create_server(split_address(address), backlog=BACKLOG)
        listeners[listener.fileno()] = listener
        epoll.register(listener, select.EPOLLIN)
    held: dict[int, socket.socket] = {}
    while True:
        for number, _ in epoll.poll():
            if number in listeners:
                peer, _ = listeners[number].accept()
                held[peer.fileno()] = peer
                # Not EPOLLIN: what was sent stays where it is.
                epoll.register(peer, select.EPOLLRDHUP)
            else:
                held.pop(number).close()


if __name__ == "__main__":
    allow_open_files()
    try:
        hold(sys.argv[1:])
    except KeyboardInterrupt:
        pass
