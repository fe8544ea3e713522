"""Types of files by the ending of their names.

One idea: a table of endings, in their exact case, read from files in the format of /etc/mime.types; what a name's
ending is, is uWSGI's notion (all behind the last dot, whatever it is). Where no such file is, Python's own table
counts. Read when rules are built, again at each reload.
"""

from __future__ import annotations

import mimetypes
import os
from functools import lru_cache

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.settings import Settings

DEFAULT = "/etc/mime.types"


class MimeTypes:
    """Ending to type."""

    def __init__(self, types: dict[bytes, bytes]) -> None:
        self._types = types

    def of(self, name: bytes) -> bytes:
        """The type of a file of that name; empty when nobody knows."""
        _, dot, ending = name.rpartition(b".")
        return self._types.get(ending, b"") if dot else b""


def mime_types(settings: Settings) -> MimeTypes:
    """The types of a configuration. Raises :class:`ConfigError` for a mime-file that cannot be read."""
    paths = settings.texts("mime-file")
    if not paths and not os.path.exists(DEFAULT):
        return _built_in()
    stamps = []
    for index, path in enumerate(paths or (DEFAULT,)):
        try:
            about = os.stat(path)
        except OSError as error:
            raise ConfigError(
                f"mime-file = {path}: cannot be read: {error.strerror}",
                settings.where("mime-file", index) if paths else "",
            ) from None
        stamps.append((path, about.st_mtime_ns, about.st_size, about.st_ino))
    return _read(tuple(stamps))


@lru_cache(maxsize=1)
def _built_in() -> MimeTypes:
    known = mimetypes.MimeTypes(filenames=()).types_map[True]
    return MimeTypes({ending[1:].encode(): name.encode() for ending, name in known.items()})


@lru_cache(maxsize=1)
def _read(stamps: tuple[tuple[str, int, int, int], ...]) -> MimeTypes:
    types: dict[bytes, bytes] = {}
    for path, *_ in stamps:
        try:
            with open(path, "rb") as file:
                for line in file:
                    name, *endings = line.partition(b"#")[0].split() or [b""]
                    for ending in endings:
                        types.setdefault(ending, name)
        except OSError as error:
            raise ConfigError(f"mime-file = {path}: cannot be read: {error.strerror}") from None
    return MimeTypes(types)
