"""Forks of a program that announces from a thread: what must not be half done when a child is born.

One idea: a child has a copy of every lock and descriptor as it was in that moment, and no thread that would give them
back. So what takes them for a moment (a socket that is made, a signature's library) is done ``with unforked``, and a
fork waits for its end; what waits for others is never done with it. Invariant: nobody holds it for more than
milliseconds.
"""

from __future__ import annotations

import os
import socket
import threading

unforked = threading.RLock()
"""Held by who must not be copied half done, and by who forks. (A signal handler may fork while it is held here.)"""

opened: set[socket.socket] = set()
"""The sockets to be closed in a child that is born now."""


def _in_child() -> None:
    while opened:
        opened.pop().close()
    unforked.release()


os.register_at_fork(before=unforked.acquire, after_in_parent=unforked.release, after_in_child=_in_child)
