"""``uwsgi.register_rpc`` and its like: functions that scripts of one process give each other by name.

One idea: what uWSGI's RPC does within an instance: bytes in, bytes out, and None for whatever goes wrong, which is
logged. Nothing listens on a socket here, so the functions of other machines are refused.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

from uwsgirouter.scripting.cache_calls import Bytes, plain

ARGUMENTS_MOST = 255


class RpcCalls:
    """The functions of this process. ``block`` logs several lines."""

    def __init__(self, block: Callable[[str], None]) -> None:
        self._block = block
        self._functions: dict[bytes, Callable[..., object]] = {}

    def register_rpc(self, name: Bytes, function: Callable[..., object], arguments: int = 0, /) -> bool:
        """Give a function a name. ``arguments`` is for other languages and not looked at, as in uWSGI for Python."""
        if not callable(function):
            raise TypeError(f"register_rpc: {function!r} cannot be called")
        if not 0 <= arguments <= ARGUMENTS_MOST:
            raise ValueError(f"register_rpc: {arguments} arguments, expected 0 to {ARGUMENTS_MOST}")
        self._functions[plain(name)] = function
        return True

    def rpc(self, node: Bytes | None, name: Bytes, /, *arguments: Bytes) -> bytes | None:
        """Call a function of this process: ``node`` is None or empty."""
        if node:
            raise ValueError(f"rpc: {node!r}: a router calls functions of its own scripts only, not of others")
        return self.call(name, *arguments)

    def call(self, name: Bytes, /, *arguments: Bytes) -> bytes | None:
        """What the function returns, if it is bytes and not empty."""
        function = self._functions.get(plain(name))
        if function is None:
            self._block(f"somebody calls the rpc function {name!r}; there are: {self.rpc_list()}")
            return None
        try:
            result = function(*map(plain, arguments))
        except Exception:  # noqa: BLE001 - whatever a script raises is its own; the caller gets None, as in uWSGI
            self._block(traceback.format_exc())
            return None
        return result if isinstance(result, bytes) and result else None

    def rpc_list(self) -> tuple[bytes, ...]:
        """The names."""
        return tuple(self._functions)
