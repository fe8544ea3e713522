"""Take something away from a running worker: descriptors, or the right to write long files."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator

from tests.worker.site import Site


@contextlib.contextmanager
def without_descriptors(site: Site, spare: int = 0) -> Iterator[None]:
    """The worker can open ``spare`` descriptors more; every open, accept or dial beyond fails with EMFILE."""
    used = {int(name) for name in os.listdir(f"/proc/{site.worker}/fd")}
    free = [number for number in range(max(used) + spare + 2) if number not in used]
    with _limited(site.worker, resource.RLIMIT_NOFILE, free[spare]):
        yield


@contextlib.contextmanager
def with_short_files(site: Site, size: int) -> Iterator[None]:
    """No file of the worker's may grow over ``size`` bytes: as with a full disk, a write fails then (EFBIG)."""
    with _limited(site.worker, resource.RLIMIT_FSIZE, size):
        yield


@contextlib.contextmanager
def _limited(pid: int, what: int, value: int) -> Iterator[None]:
    soft, hard = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (value, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, what, (soft, hard))
