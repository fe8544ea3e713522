"""Where the caches of one running router live, and how others find them.

One idea: a router has one directory in a memory file system, made when the first cache is needed and removed when the
router ends. It is found by its name, it says in ``router.json`` whose it is and which caches are in it, and its lock is
held as long as a process of the router lives; so what a killed router left behind is known, and goes when the next one
starts. Only the master makes and removes it. Invariant: nothing is ever removed that does not hold our lock file.

    uwsgirouter.run-PID-XXXXXXXX/   0700, or 0711 when the workers are another user
        lock                        locked by the router
        router.json             for everybody
        caches/                     0700, of the workers' user
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from uwsgirouter.cache.environment import delete_files
from uwsgirouter.cache.specs import SUFFIXES, CacheSpec, file_of
from uwsgirouter.errors import BootError
from uwsgirouter.settings.caching import shown_url

MEMORY = "/dev/shm"
PREFIX = "uwsgirouter.run-"
USER_LOCK = "user"
"""A file beside the caches, for locks of the router's scripts."""
_LOCK = "lock"
_ABOUT = "router.json"
_URLS = "urls.json"
"""A file beside the caches, for what caches on other servers are asked with."""
_CACHES = "caches"
_KEEP = -1


def roots() -> tuple[str, ...]:
    """The directories in which places are made and looked for, the best one first."""
    return tuple(dict.fromkeys((MEMORY, tempfile.gettempdir())))


@dataclass(frozen=True)
class Running:
    """What a place says of its router. ``mine``: it belongs to the user who asks."""

    path: str
    pid: int
    source: str
    caches: tuple[CacheSpec, ...]
    mine: bool

    @property
    def directory(self) -> str:
        """Where its caches are."""
        return os.path.join(self.path, _CACHES)


class Place:
    """The master's hold on its place. Does nothing until :meth:`prepare` is called with caches."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.path = ""
        self._say = say
        self._lock = -1
        self._pid = 0

    @property
    def directory(self) -> str:
        """Where the caches are, empty when there is no place."""
        return os.path.join(self.path, _CACHES) if self.path else ""

    def prepare(self, user: int | None, group: int | None) -> str:
        """The directory for caches, made if it is not there, for workers of that user. Raises BootError."""
        if not self.path or not os.path.isdir(self.directory):
            self._make()
        self._own(user, group)
        return self.directory

    def settle(self, source: str, specs: Sequence[CacheSpec], user: int | None, group: int | None) -> None:
        """These caches are in force (after a start, a reload, or one that failed): say so, and remove all others."""
        if not self.path:
            return
        try:
            self._tell(source, specs)
            self._own(user, group)
            wanted = {file_of(spec, self.directory) for spec in specs if not spec.store}
            wanted.add(os.path.join(self.directory, USER_LOCK))
            if any(spec.url for spec in specs):
                wanted.add(os.path.join(self.directory, _URLS))
            for name in os.listdir(self.directory):
                path = os.path.join(self.directory, name)
                if not any(path.removesuffix(suffix) in wanted for suffix in SUFFIXES):
                    delete_files(path)
        except (OSError, BootError) as error:
            self._say(f"{self.path}: {error}")

    def handed(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """For the program that takes the place of this master: the directory, and its lock, which is never let go."""
        return {"path": self.path, "lock": keep(self._lock)}

    def inherit(self, rows: Mapping[str, Any]) -> None:
        """Hold what was handed over; without its lock it is only looked at, and never removed."""
        self.path, self._lock = str(rows["path"]), int(rows["lock"])
        if self._lock >= 0:
            self._pid = os.getpid()
            os.set_inheritable(self._lock, False)

    def remove(self) -> None:
        """The router ends. In a child of the master it does nothing."""
        if self.path and self._pid == os.getpid():
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self.path, self._lock = "", -1

    def _make(self) -> None:
        remove_leftovers()
        if self._lock >= 0:
            os.close(self._lock)  # of a place that somebody removed
            self._lock = -1
        reasons = []
        for root in roots():
            try:
                self.path, self._lock = _made(root)
            except OSError as error:
                reasons.append(f"{root}: {error.strerror}")
                continue
            self._pid = os.getpid()
            if root != MEMORY:
                self._say(f"caches are in {self.path}, on a disk perhaps ({'; '.join(reasons)})")
            return
        raise BootError(f"no directory for caches: {'; '.join(reasons)}")

    def _own(self, user: int | None, group: int | None) -> None:
        """Give the caches to the workers' user, who may differ after a reload."""
        owner = (_KEEP if user is None else user, _KEEP if group is None else group)
        try:
            os.chmod(self.path, 0o700 if user in (None, os.geteuid()) else 0o711)
            for path in (self.directory, *glob.glob(os.path.join(glob.escape(self.directory), "*"))):
                os.chown(path, *owner, follow_symlinks=False)
        except OSError as error:
            raise BootError(f"cannot give {self.directory} to uid {user} gid {group}: {error.strerror}") from error

    def _tell(self, source: str, specs: Sequence[CacheSpec]) -> None:
        about = {"pid": os.getpid(), "source": source, "caches": [asdict(spec) for spec in specs]}
        for spec in about["caches"]:  # type: ignore[attr-defined]
            spec["store"] = spec["store"] and os.path.abspath(spec["store"])
            spec["url"] = spec["url"] and shown_url(spec["url"])  # everybody may read this; a URL may have a password
        _write(os.path.join(self.path, _ABOUT), about, 0o644)
        urls = {spec.name: spec.url for spec in specs if spec.url}
        if urls:
            _write(os.path.join(self.directory, _URLS), urls, 0o600)


def running() -> list[Running]:
    """The routers that run on this machine and have caches that we can read about."""
    found = []
    for path in _places():
        with _seized(path) as left, contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            if not left:
                found.append(_read(path))
    return found


def remove_leftovers() -> None:
    """Remove the places of our user whose routers are gone."""
    for path in _places():
        with _seized(path) as left, contextlib.suppress(OSError):
            if left and os.lstat(path).st_uid == os.geteuid():
                shutil.rmtree(path, ignore_errors=True)


def _places() -> Iterator[str]:
    for root in roots():
        yield from sorted(glob.glob(os.path.join(glob.escape(root), f"{PREFIX}*")))


def _made(root: str) -> tuple[str, int]:
    """A new place and its lock's descriptor."""
    while True:
        path = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=root)
        descriptor = -1
        try:
            descriptor = os.open(os.path.join(path, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.mkdir(os.path.join(path, _CACHES), 0o700)
        except (BlockingIOError, FileNotFoundError):
            # Somebody took it for a leftover before it was locked.
            if descriptor >= 0:
                os.close(descriptor)
            continue
        return path, descriptor


@contextmanager
def _seized(path: str) -> Iterator[bool]:
    """Whether a place has a lock that nobody held; it is held meanwhile. Without a lock it is not ours, or not yet."""
    try:
        descriptor = os.open(os.path.join(path, _LOCK), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        left = True
    except OSError:
        left = False
    try:
        yield left
    finally:
        os.close(descriptor)


def _write(path: str, about: dict[str, Any], mode: int) -> None:
    """A file that is there as a whole, or not changed."""
    temporary = f"{path}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(descriptor, "w", encoding="ascii") as file:
        json.dump(about, file)
    os.replace(temporary, path)


def _urls(path: str) -> dict[str, Any]:
    """By cache; none when we may not know them."""
    try:
        with open(path, encoding="ascii") as file:
            found: dict[str, Any] = json.load(file)
            return found
    except OSError:
        return {}


def _read(path: str) -> Running:
    """What a place says. Raises whatever comes of a file that has not our form: it may be anybody's."""
    with open(os.path.join(path, _ABOUT), encoding="ascii") as file:
        about = json.load(file)
    specs = tuple(CacheSpec(**spec) for spec in about["caches"])
    if any(spec.url for spec in specs):
        urls = _urls(os.path.join(path, _CACHES, _URLS))
        specs = tuple(replace(spec, url=str(urls.get(spec.name, spec.url))) for spec in specs)
    return Running(path, int(about["pid"]), str(about["source"]), specs, os.lstat(path).st_uid == os.geteuid())
