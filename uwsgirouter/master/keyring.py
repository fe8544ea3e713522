"""The keyring: the public keys of those who may announce, and the owners of the files that stand for keys.

One idea: the directories are asked at each announcement, so that a key that is put there or taken away has its effect
at once; a key's file is read and parsed again only when it changed. It must not know what a signature covers. Each
call is a stat of a local file. Invariant: no key of an announcement leads out of the directories.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.signing import PublicKey, key_file

KEPT_MAX = 32768
"""Public keys that are kept parsed (some 3 KB each)."""
PEM_MAX = 65536

Version = tuple[int, int, int]


class Keyring:
    """The files ``<key>.pem`` in ``directory``.

    ``mount_points``: a key with a path (``foo.com/one``) that has no file of its own has that of its host.
    """

    def __init__(self, directory: str, mount_points: bool = False) -> None:
        self._directory = directory
        self._mount_points = mount_points
        self._kept: OrderedDict[str, tuple[Version, PublicKey]] = OrderedDict()

    def find(self, key: bytes) -> PublicKey | None:
        """The public key for ``key``, None when there is no file for it.

        Raises :class:`ProtocolError` when the file is there and no key can be read from it.
        """
        host, slash, _ = key.partition(b"/")
        found = self._read(key)
        return self._read(host) if found is None and slash and host and self._mount_points else found

    def _read(self, key: bytes) -> PublicKey | None:
        path = os.path.join(self._directory, key_file(key))
        try:
            status = os.stat(path)
        except OSError:
            self._kept.pop(path, None)
            return None
        version = (status.st_ino, status.st_size, status.st_mtime_ns)
        kept = self._kept.get(path)
        if kept is None or kept[0] != version:
            kept = self._kept[path] = (version, _read(path))
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        self._kept.move_to_end(path)
        return kept[1]


def _read(path: str) -> PublicKey:
    try:
        # Without O_NONBLOCK a pipe in the place of the file would hold up the master.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return PublicKey(os.read(descriptor, PEM_MAX))
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        raise ProtocolError("bad public key", f"{path}: {text}") from None


def owners(directories: Iterable[str], key: bytes) -> Iterator[tuple[int, int]]:
    """User and group of the file ``key`` in each of ``directories`` that has one."""
    if b"\0" in key or any(part in (b"", b".", b"..") for part in key.split(b"/")):
        return
    for directory in directories:
        try:
            status = os.stat(os.path.join(os.fsencode(directory), key))
        except OSError:
            continue
        yield status.st_uid, status.st_gid
