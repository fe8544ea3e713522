"""Look the key up in a named cache: ``fastrouter-use-cache``.

A value is ``address``, ``address,modifier1`` or several of them with ``|`` between, which take turns (the real one goes
by the item's hits; here each worker turns for itself, so a look-up never writes). The mapper knows the cache by one
function; whether that is LMDB or a dictionary must not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from uwsgirouter.errors import BadTarget
from uwsgirouter.log import printable
from uwsgirouter.mappers.direct import DirectNodes, Turns
from uwsgirouter.mappers.key import without_port
from uwsgirouter.model.node import Node


class CacheMapper:
    """``find(key)`` over ``get(key) -> value | None``.

    ``strip_port``: a key that is not there is tried without its port. ``waits``: ``get`` asks another server, and
    yields: it is called by :meth:`ask` alone.
    """

    def __init__(
        self, get: Callable[[bytes], bytes | None], nodes: DirectNodes, strip_port: bool, waits: bool = False
    ) -> None:
        self._get = get
        self._nodes = nodes
        self._strip_port = strip_port
        self._waits = waits

    def find(self, key: bytes) -> Turns | None:
        """The nodes of the item, or None: no item, or :meth:`ask` must find it, or a name in it. Raises BadTarget."""
        if self._waits:
            return None
        value = self._value(key)
        return None if value is None else self._checked(key, value, self._nodes.of_target)

    def ask(self, key: bytes, tried: Container[Node]) -> Turns | None:
        """As :meth:`find`, names looked up. May yield; raises BadTarget."""
        value = self._value(key)
        return None if value is None else self._checked(key, value, self._nodes.resolve)

    def _value(self, key: bytes) -> bytes | None:
        value = self._get(key)
        if value is None and self._strip_port:
            value = self._get(without_port(key))
        return value

    def _checked(self, key: bytes, value: bytes, nodes: Callable[[bytes], Turns | None]) -> Turns | None:
        try:
            return nodes(value)
        except BadTarget as error:
            raise BadTarget(f"the cache has {printable(value)!r} for {printable(key)}: {error}") from None
