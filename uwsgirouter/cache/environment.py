"""Opening the file of one cache: what is checked, what is made, and what the error says when it cannot be.

One idea: whatever is wrong with a file (no rights, no room, another program's, damaged, made for other sizes) is found
before the cache is used, by the one process that keeps it, and said with the cache's place in the configuration. LMDB
must be opened after the fork, once per process. It knows nothing of items.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import Enum

import lmdb

from uwsgirouter.cache.shared import Shared
from uwsgirouter.cache.specs import FORMAT, SUFFIXES, CacheSpec, file_of, map_size, sizes
from uwsgirouter.cache.table import TREES, Table
from uwsgirouter.errors import BootError

MODE = 0o600
READERS = 1024
"""Processes and threads that can look up at one moment; the slots of dead ones are taken back."""
_READER_SIZE = 64
_SPARE = 8


_DAMAGED = (
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.IncompatibleError,
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
)


class _Unusable(BootError):
    """The content of a store is of no use: store_delete allows to begin with an empty one."""


class Role(Enum):
    """What a process is to the caches that it opens."""

    KEEPER = "makes the files, checks stores, deletes one that is no good if it was told to"
    WORKER = "uses them"
    GUEST = "looks in from outside the router: makes nothing, counts nothing"


class File:
    """The opened file of one cache."""

    def __init__(self, env: lmdb.Environment, table: Table, shared: Shared) -> None:
        self.env = env
        self.table = table
        self.shared = shared

    def close(self) -> None:
        """Let go of it."""
        self.shared.close()
        self.env.close()


def open_file(spec: CacheSpec, directory: str, role: Role, say: Callable[[str], None]) -> File:
    """The cache's file, ready for use. Raises BootError."""
    path = file_of(spec, directory)
    try:
        return _open(spec, path, role, say)
    except BootError as error:
        wanted = isinstance(error, _Unusable) and spec.store_delete and role is Role.KEEPER
        if not wanted or not os.path.isfile(path):
            raise BootError(f"{spec.where}: cache {spec.name}: {error}") from error
        say(f"cache {spec.name}: {error}; starting with an empty one (store_delete)")
    try:
        delete_files(path)
        return _open(spec, path, role, say)
    except (BootError, OSError) as error:
        raise BootError(f"{spec.where}: cache {spec.name}: {error}") from error


def delete_files(path: str) -> None:
    """Delete the files of a cache. Processes that have them open keep what they have."""
    for suffix in SUFFIXES:
        try:
            os.unlink(path + suffix)
        except FileNotFoundError:
            continue


def _open(spec: CacheSpec, path: str, role: Role, say: Callable[[str], None]) -> File:
    try:
        if role is Role.GUEST:
            os.stat(path)
        else:
            _reserve(path + SUFFIXES[1], READERS * _READER_SIZE)
        env = _environment(spec, path, role)
    except (lmdb.Error, OSError) as error:
        raise _told(error, path) from error
    try:
        return _inside(spec, path, env, role, say)
    except (lmdb.Error, OSError) as error:
        env.close()
        raise _told(error, path) from error
    except BootError:
        env.close()
        raise


def _told(error: lmdb.Error | OSError, path: str) -> BootError:
    """The error in words; :class:`_Unusable` when it is the file's content that is wrong."""
    if isinstance(error, OSError):
        return BootError(f"cannot open {error.filename or path}: {error.strerror}")
    if isinstance(error, _DAMAGED):
        return _Unusable(f"{path} is no store or damaged ({_reason(error, path)})")
    return BootError(f"cannot open {path}: {_reason(error, path)}")


def _environment(spec: CacheSpec, path: str, role: Role) -> lmdb.Environment:
    return lmdb.open(
        path,
        subdir=False,
        map_size=map_size(spec),
        mode=MODE,
        create=role is not Role.GUEST,
        # What a process has written is there for all others at once, and outlives it; only a crash of the machine
        # can lose it, and store_sync bounds how much.
        sync=False,
        metasync=False,
        readahead=False,
        max_dbs=TREES,
        max_readers=READERS,
        max_spare_txns=_SPARE,
    )


def _inside(spec: CacheSpec, path: str, env: lmdb.Environment, role: Role, say: Callable[[str], None]) -> File:
    env.reader_check()
    if spec.store and role is Role.KEEPER:
        _complete(path, env)
    table = Table(env, spec)
    with env.begin() as txn:
        found, made = table.text(txn, b"sizes"), table.number(txn, b"format")
    if not made:
        with env.begin(write=True) as txn:
            table.set_text(txn, b"sizes", sizes(spec))
            table.set_number(txn, b"format", FORMAT)
    elif made != FORMAT or found != sizes(spec):
        was = f"with {found}" if made == FORMAT else "by another version"
        raise _Unusable(
            f"{path} was made {was}, and now it is {sizes(spec)}: put the sizes back, delete the file, or write "
            "store_delete=1"
        )
    if spec.store and role is Role.KEEPER:
        _check(spec, path, env, table, say)
    return File(env, table, Shared(path + SUFFIXES[2], spec.items if spec.purge_lru else 0, role is not Role.GUEST))


def _complete(path: str, env: lmdb.Environment) -> None:
    """A file that was cut short gets its length back: reading beyond its end would kill the process.

    The empty pages are then found to be none, and that is an error like any other.
    """
    needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if os.stat(path).st_size < needed:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.posix_fallocate(descriptor, 0, needed)
        finally:
            os.close(descriptor)


def _check(spec: CacheSpec, path: str, env: lmdb.Environment, table: Table, say: Callable[[str], None]) -> None:
    """Read a store once as a whole. Raises lmdb.Error, BootError."""
    with env.begin() as txn:
        count = table.count(txn)
        if not count:
            return
        # Before the reading: a file that is damaged badly enough may end the process.
        say(f"cache {spec.name}: checking the {count} items of {path}")
        seen = sum(1 for _ in table.all(txn))
        used = table.used(txn)
    if seen != count:
        raise _Unusable(f"{path} is damaged: {seen} of {count} items can be read")
    if count > spec.items or (spec.bitmap and used > spec.blocks):
        raise _Unusable(
            f"{path} holds {count} items in {used} blocks, more than items={spec.items},blocks={spec.blocks} allow: "
            "raise them, delete the file, or write store_delete=1"
        )


def _reserve(path: str, size: int) -> None:
    """Make LMDB's lock file with its whole room, so that a full file system is an error now, not a crash later."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    except FileExistsError:
        # Not to be opened: closing it again would give up the locks of an LMDB in this process.
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        os.unlink(path)
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(descriptor)


def _reason(error: lmdb.Error, path: str) -> str:
    """LMDB's words without the path, which the sentence has already."""
    return str(error).removeprefix(f"{path}: ")
