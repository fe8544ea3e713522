"""Make the node's address of the key: ``fastrouter-use-base`` and ``fastrouter-use-pattern``.

One idea: what the key is put into decides the kind of the address and the place it is in; a key from the network must
change neither. The real one connects wherever the result points (``..``, ``evil:80``); here such a key is refused.
A key may hold slashes. Pure; never yields, but for the names that :meth:`PatternMapper.ask` has looked up.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Container

from uwsgirouter.errors import BadKey, ConfigError
from uwsgirouter.log import printable
from uwsgirouter.mappers.direct import DirectNodes, Target, Turns, remember
from uwsgirouter.mappers.key import without_port
from uwsgirouter.model.node import Node
from uwsgirouter.settings.address import Address, Kind
from uwsgirouter.settings.targets import example, fill, peer

_PLAIN = (0, 0)
"""The modifiers."""


class PatternMapper:
    """``find(key)`` gives the node at the address that ``pattern`` makes of the key.

    ``strip_port``: a key with a port is used without it.
    """

    def __init__(self, pattern: str, nodes: DirectNodes, strip_port: bool) -> None:
        self._pattern = pattern
        self._nodes = nodes
        self._strip_port = strip_port
        self._meant = example(pattern)
        self._place = _place(pattern)
        self._targets: OrderedDict[bytes, Target] = OrderedDict()

    def find(self, key: bytes) -> Turns | None:
        """The one node, or None when its name must be resolved. Raises BadKey."""
        return self._target(key).turns(self._nodes)

    def ask(self, key: bytes, tried: Container[Node]) -> Turns | None:
        """As :meth:`find`, the name looked up. May yield; raises BadKey, BadTarget."""
        target = self._target(key)
        target.look_up(self._nodes)
        return target.turns(self._nodes)

    def _target(self, key: bytes) -> Target:
        target = self._targets.get(key)
        if target is not None:
            self._targets.move_to_end(key)
            return target
        return remember(self._targets, key, Target([(self._address(key), _PLAIN)]))

    def _address(self, key: bytes) -> Address:
        if self._strip_port:
            key = without_port(key)
        shown = printable(key)
        if b"\0" in key:
            raise BadKey(f"{shown} holds a NUL byte")
        if b":" in key:
            raise BadKey(f"{shown} would make it a host and port")
        try:
            address = peer(fill(self._pattern, key.decode("utf-8", "surrogateescape")))
        except ConfigError as error:
            raise BadKey(f"{shown}: {error.message}") from None
        self._check(address, shown)
        return address

    def _check(self, address: Address, shown: str) -> None:
        meant = self._meant
        # A key that is a host may be a name or a number; one that is a part of a number must be one.
        if address.kind is not meant.kind and (address.kind, meant.kind) != (Kind.TCP4, Kind.NAME):
            raise BadKey(f"{shown} would make it another kind of address ({address.kind.value})")
        if not _is_host(address, meant):
            raise BadKey(f"{shown} is no host name")
        if address.kind is Kind.UNIX and not self._stays_inside(address.host):
            raise BadKey(f"{shown} would leave the configured place")

    def _stays_inside(self, path: str) -> bool:
        """Neither ``..`` in the key, nor a key that shortens what a ``..`` in the pattern takes away."""
        meant = self._meant.host
        if path.startswith("/") != meant.startswith("/") or path.split("/").count("..") != meant.split("/").count(".."):
            return False
        inside = os.path.normpath(path) + "/"
        return inside.startswith(self._place) if self._place else not inside.startswith("../")


def _is_host(address: Address, meant: Address) -> bool:
    """Whether a name can be one, and an interface behind a "%" is the pattern's own."""
    if address.kind is Kind.TCP6:
        return address.host.partition("%")[2] == meant.host.partition("%")[2]
    return address.kind is not Kind.NAME or (address.host.isprintable() and not {"/", " "} & set(address.host))


def _place(pattern: str) -> str:
    """The directory (with a slash behind) in which every unix socket of the pattern must be; empty: the current one."""
    before, slash, _ = fill(pattern, "\0").partition("\0")[0].rpartition("/")
    directory = os.path.normpath(before + slash)
    return "" if directory == "." else directory.rstrip("/") + "/"
