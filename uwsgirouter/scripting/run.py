"""Run the scripts of a configuration: the items it names, then its modules and files, in uWSGI's order.

One idea: a configuration whose script fails must not come into force, so whatever goes wrong here is a
:class:`ScriptError` with the script's own traceback; and what was put into the caches until then is taken back
(:meth:`Caches.loading`). It knows nothing of processes. The order: load-file-in-cache, the same with gzip,
add-cache-item, shared-import, import, file.
"""

from __future__ import annotations

import gzip
import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import ModuleType, TracebackType

from uwsgirouter.cache.base import NamedCache
from uwsgirouter.cache.caches import Caches
from uwsgirouter.errors import BootError
from uwsgirouter.log import Log
from uwsgirouter.scripting.module import install
from uwsgirouter.settings.cache_checks import split_file, split_item
from uwsgirouter.settings.settings import Settings

_OURS = (__file__, "<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>", importlib.__file__)


class ScriptError(BootError):
    """A script failed. ``str()`` is one sentence with its place, ``traceback`` the script's own lines."""

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


def run_scripts(settings: Settings, caches: Caches | None, log: Log, is_reload: bool = False) -> None:
    """Run everything once, in the process that keeps the caches. Raises :class:`ScriptError`, BootError."""
    install(settings, caches, log, is_reload=is_reload)
    sys.argv = ["uwsgi"]
    with nullcontext() if caches is None else caches.loading():
        if caches is not None:
            _load_files(settings, caches, log)
            _add_items(settings, caches, log)
        _each(settings, "shared-import", import_module)
        _each(settings, "import", import_module)
        _each(settings, "file", run_file)
    sys.stdout.flush()


def run_shared(settings: Settings, caches: Caches | None) -> None:
    """Run shared-import once more, in a worker where the module is installed. Raises as :func:`run_scripts`."""
    if settings.is_set("shared-import"):
        with nullcontext() if caches is None else caches.loading(joining=True):
            _each(settings, "shared-import", import_module)


def run_imports(settings: Settings, caches: Caches | None) -> None:
    """Run import once more, in a worker whose rules call functions of scripts. Raises as :func:`run_scripts`."""
    if settings.is_set("import"):
        with nullcontext() if caches is None else caches.loading(joining=True):
            _each(settings, "import", import_module)


def run_file(path: str) -> None:
    """Run a file as a module of its own, named as uWSGI names it."""
    stem = path.removesuffix(".py")
    _execute(path, "uwsgi_file_" + re.sub(r"\W", "_", stem))


def import_module(text: str) -> None:
    """Import a module by its name, or a file whose name ends in .py."""
    if text.endswith(".py"):
        _execute(text, os.path.basename(text).removesuffix(".py"))
    else:
        importlib.import_module(text)


def _execute(path: str, name: str) -> None:
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec")
    module = ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module
    exec(code, module.__dict__)


def _each(settings: Settings, option: str, run: Callable[[str], None]) -> None:
    for index, text in enumerate(settings.texts(option)):
        what = f"{settings.where(option, index)}: {option} = {text}"
        try:
            run(text)
        except SystemExit as leaving:
            if leaving.code not in (None, 0):
                raise ScriptError(f"{what}: it exited with {leaving.code!r}") from leaving
        except Exception as error:
            raise failure(what, error) from error


def failure(what: str, error: BaseException, ours: tuple[str, ...] = ()) -> ScriptError:
    """What a script raised, as an error of the place ``what``; ``ours`` are further files that are not the script's."""
    if isinstance(error, BootError):
        return ScriptError(f"{what}: {error}")
    return ScriptError(f"{what}: {type(error).__name__}: {error}", _traceback(error, (*_OURS, *ours)))


def _traceback(error: BaseException, ours: tuple[str, ...]) -> str:
    """The traceback as the script's author knows it: without the frames that led to the script."""
    frames: TracebackType | None = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename in ours:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))


def _load_files(settings: Settings, caches: Caches, log: Log) -> None:
    for option, pack, label in (
        ("load-file-in-cache", bytes, "[cache]"),
        ("load-file-in-cache-gzip", gzip.compress, "[cache-gzip]"),
    ):
        for index, text in enumerate(settings.texts(option)):
            what = f"{settings.where(option, index)}: {option} = {text}"
            name, path = split_file(text)
            try:
                with open(path, "rb") as file:
                    value = pack(file.read())
            except OSError as error:
                raise ScriptError(f"{what}: cannot read {path}: {error.strerror}") from error
            for cache in _wanted(caches, name):
                most = cache.spec.value_most
                if not 1 <= len(value) <= most:
                    sizes = f"{len(value)} bytes, and a value of the cache {cache.spec.name} has 1 to {most}"
                    raise ScriptError(f"{what}: {sizes}")
                _store(cache, path, value, label, log)


def _add_items(settings: Settings, caches: Caches, log: Log) -> None:
    for text in settings.texts("add-cache-item"):
        name, key, value = split_item(text)
        for cache in _wanted(caches, name):
            _store(cache, key, os.fsencode(value or ""), "[cache]", log)


def _wanted(caches: Caches, name: str) -> Iterator[NamedCache]:
    """The cache of that name; all of them for none."""
    return (cache for cache in caches if name in ("", cache.spec.name))


def _store(cache: NamedCache, text: str, value: bytes, label: str, log: Log) -> None:
    key, name = os.fsencode(text), cache.spec.name
    if cache.set(key, value):
        log.line(f'{label} stored "{text}" in "{name}"')
    elif cache.exists(key):
        log.line(f'{label} "{text}" is in "{name}" already and stays as it is')
    else:
        log.line(f'[cache-error] unable to store "{text}" in "{name}"')
