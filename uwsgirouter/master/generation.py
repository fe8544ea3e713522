"""A generation: one configuration with its sockets, and the workers that run it.

One idea: a reload makes a whole new generation beside the old one and swaps only when all of its workers are ready,
so whatever fails on the way leaves the old one as it was. Resolving names for static nodes happens here, at load,
because the master alone may wait (and only then).
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from uwsgirouter.errors import BootError
from uwsgirouter.master.sockets import Endpoints
from uwsgirouter.settings.address import Address, Kind, parse_peer
from uwsgirouter.settings.settings import Settings


@dataclass
class Generation:
    """Number ``index``: the settings, what they bind, the nodes they name, how many workers they want."""

    index: int
    settings: Settings
    endpoints: Endpoints
    static: list[Address]
    target: int

    @property
    def announced(self) -> bool:
        """Whether nodes come by announcement."""
        return bool(self.endpoints.servers)


def static_nodes(settings: Settings) -> list[Address]:
    """The addresses of ``fastrouter-to``, names replaced by all addresses they have. Raises BootError."""
    found: list[Address] = []
    for index, address in enumerate(settings.addresses("fastrouter-to")):
        if address.kind is not Kind.NAME:
            found.append(address)
            continue
        try:
            entries = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except OSError as error:
            where = settings.where("fastrouter-to", index)
            raise BootError(f"{where}: cannot resolve {address.host!r}: {error.strerror}") from error
        for host in dict.fromkeys(str(entry[4][0]) for entry in entries):
            found.append(parse_peer(f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"))
    return found
