"""Ask a Python function for the node: ``fastrouter-use-code-string 0:FILE:FUNCTION``.

One idea: the function may wait for whatever it likes (it runs in a greenlet, and the worker is patched for it), so a
session asks and goes on when the answer is there. A function that keeps naming a node that was tried, or is down, is
asked again a few times: one that takes turns names another one then. Written for the manual's ``str`` or for uWSGI's
``bytes``, it works (see ``key.py``). The module is loaded once per worker; a reload makes new workers.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Container
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

from uwsgirouter.errors import BadTarget, BootError
from uwsgirouter.mappers.direct import DirectNodes, Turns
from uwsgirouter.mappers.key import Key
from uwsgirouter.model.node import Node
from uwsgirouter.settings.targets import CodeString

MODULE = "uwsgi_fastrouter"
"""The name under which the script is imported, as in uWSGI."""

Function = Callable[[Key], object]


class _Fresh(SourceFileLoader):
    """Reads the script itself, never what was compiled of it before.

    That is known by a time in whole seconds and a length, so a script changed twice in a second would stay as it was.
    """

    def path_stats(self, path: str) -> Any:
        """None that a compiled file could be compared with."""
        raise OSError


def load(code: CodeString) -> Function:
    """The function of the script. Raises BootError; whatever the script itself raises goes through."""
    path = os.path.abspath(code.file)
    spec = spec_from_file_location(MODULE, path, loader=_Fresh(MODULE, path))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[MODULE] = module
    try:
        spec.loader.exec_module(module)
    except SystemExit as leaving:
        raise BootError(f"{code.file} called exit({leaving.code!r})") from None
    except OSError as error:
        if error.filename == path:
            raise BootError(f"cannot read {path}: {error.strerror}") from None
        raise
    function = getattr(module, code.function, None)
    if not callable(function):
        raise BootError(f"{code.file} has no function {code.function}")
    return function  # type: ignore[no-any-return]


class ScriptMapper:
    """``ask(key, tried)`` calls ``function`` up to ``tries`` times."""

    def __init__(self, function: Function, nodes: DirectNodes, tries: int) -> None:
        self._function = function
        self._nodes = nodes
        self._tries = tries

    def find(self, key: bytes) -> Turns | None:
        """None: only :meth:`ask` knows."""
        return None

    def ask(self, key: bytes, tried: Container[Node]) -> Turns | None:
        """The nodes that the function names, None when it returns None. Raises what it raises, BadTarget."""
        turns = None
        for _ in range(self._tries):
            try:
                result = self._function(Key.of(key))
            except SystemExit as leaving:  # in a greenlet this would end the worker
                raise BadTarget(f"the mapper called exit({leaving.code!r})") from None
            if result is None:
                return turns
            turns = self._nodes.resolve(_target(result))
            if turns is not None and turns.has_up(tried):
                break
        return turns


def _target(result: object) -> bytes:
    if isinstance(result, Key):
        return bytes(result)
    if isinstance(result, str):
        return result.encode("utf-8", "surrogateescape")
    if isinstance(result, (bytes, bytearray)):
        return bytes(result)
    raise BadTarget(f"the mapper returned {result!r}: expected an address as str or bytes, or None")
