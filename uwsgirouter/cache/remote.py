"""A named cache on a Redis server, so that several routers, on several machines, have the same one.

One idea: it does what a cache of this machine does (base.py), asks the server for each look-up, and remembers what it
was told. While nobody answers, look-ups find what was seen last (last_known.py), and a change is not made: it is
False, counted, and a line of the log once a second at most. How the server is asked, and who waits for it, is the
link's. Invariants: nothing here raises but what says so; an item's key on the server is ``uwsgirouter:CACHE:KEY``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from uwsgirouter.cache import link
from uwsgirouter.cache.access import CacheTrouble
from uwsgirouter.cache.base import NamedCache, quotient
from uwsgirouter.cache.last_known import LastKnown, Seen
from uwsgirouter.cache.link import Away, Client, Link
from uwsgirouter.cache.shared import Count, Shared
from uwsgirouter.cache.specs import CacheSpec
from uwsgirouter.log import Throttle

T = TypeVar("T")

PREFIX = b"uwsgirouter:%b:"
REMEMBERED_MOST = 16 << 20
"""Bytes of what was seen last, in each process."""

_GLOB = str.maketrans({character: f"\\{character}" for character in "*?[]\\"})


class RedisCache(NamedCache):
    """``shared`` has the counters of this machine; its column FULL is that of changes that were not made."""

    def __init__(
        self,
        spec: CacheSpec,
        link: Link,
        shared: Shared,
        stale: float,
        say: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self.spec = spec
        self._link = link
        self._shared = shared
        self._row = shared.row
        self._known = LastKnown(stale, REMEMBERED_MOST)
        self._say_lost = Throttle(say, 1)
        self._say_away = Throttle(say, 1)
        self._clock = clock
        self._is_away = False
        self._prefix = PREFIX % spec.name.encode("utf-8", "surrogateescape")
        pattern = spec.name.translate(_GLOB).encode("utf-8", "surrogateescape")
        self._pattern = PREFIX % pattern + b"*"
        self._loader = 0
        self._loaded: set[bytes] = set()

    @property
    def is_away(self) -> bool:
        """Whether the last question had no answer."""
        return self._is_away

    # -- looking ----------------------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """The value, or None. Waits for the server."""
        found = self.timed(key)
        return None if found is None else found[0]

    def timed(self, key: bytes) -> tuple[bytes, float] | None:
        """As :meth:`get`, with the end of its life (seconds since 1970, 0: none)."""
        found = self._look(key)
        self._row[Count.MISSES if found is None else Count.HITS] += 1
        return found

    def exists(self, key: bytes) -> bool:
        """Whether there is a value; it does not count as a use."""
        return self._look(key) is not None

    def num(self, key: bytes) -> int:
        """The number that inc and its like count with; 0 for an item that is none, or is not there."""
        value = self.get(key)
        return link.unpacked(value) if value is not None and len(value) == link.NUMBER else 0

    def keys(self) -> list[bytes]:
        """Every key; none when nobody answers."""
        try:
            return [name[len(self._prefix) :] for page in self._pages() for name in page]
        except CacheTrouble as error:
            self._tell(error)
            return []

    def items(self) -> list[tuple[bytes, bytes, float]]:
        """Every key with its value and its end of life, sorted by key."""
        found: dict[bytes, Seen] = {}
        try:
            for page in self._pages():
                for name, item in zip(page, self._ask(partial(link.fetch_all, keys=page)), strict=True):
                    if item is not None:
                        found[name[len(self._prefix) :]] = self._seen(item)
        except CacheTrouble as error:
            self._tell(error)
        return [(key, *found[key]) for key in sorted(found)]

    def stats(self) -> dict[str, object]:
        """As those of a cache of this machine; what has no meaning here is 0."""
        spec, total = self.spec, self._shared.total
        items, mortal = self._figures()
        return {
            "name": spec.name,
            "url": spec.server,
            "items": items,
            "max_items": 0,
            "used_blocks": 0,
            "blocks": 0,
            "blocksize": spec.blocksize,
            "keysize": spec.keysize,
            "hits": total(Count.HITS),
            "miss": total(Count.MISSES),
            "full": total(Count.FULL),
            "expiring": mortal,
            "last_modified_at": 0,
            "store": "",
        }

    # -- changing ---------------------------------------------------------------------------------------------------

    def set(self, key: bytes, value: bytes, expires: int = 0) -> bool:
        """Add an item; False when it is there already, too large, or nobody answers."""
        adding = not self._is_new_to_loading(key)
        done = self._store(key, value, expires, adding)
        if done and self._is_loading():
            self._loaded.add(key)
        return done

    def update(self, key: bytes, value: bytes, expires: int = 0) -> bool:
        """Add an item or replace it; False when it is too large or nobody answers."""
        return self._store(key, value, expires, adding=False)

    def keep(self, key: bytes, value: bytes, expires: int = 0) -> None:
        """As :meth:`update`; does not wait."""
        if self._takes(key, value):
            life = self._life(expires)
            self._link.hand(
                link.refusable(lambda client: link.store(client, self._prefix + key, value, life, False)), self._fail
            )

    def delete(self, key: bytes) -> bool:
        """Whether there was such an item."""
        self._known.drop(key)
        return bool(self._change(lambda client: client.delete(self._prefix + key), 0))

    def clear(self) -> bool:
        """Remove every item, some in one step."""
        self._known.clear()
        try:
            for page in self._pages():
                if page:
                    self._ask(lambda client, page=page: client.delete(*page))  # type: ignore[misc]
        except CacheTrouble as error:
            self._fail(str(error))
            return False
        return True

    def inc(self, key: bytes, by: int = 1, expires: int = 0) -> bool:
        """Add to a number, in one step of the server's."""
        return self._number(key, expires, lambda name, life, client: link.add(client, name, by, self._initial, life))

    def dec(self, key: bytes, by: int = 1, expires: int = 0) -> bool:
        """Subtract, as :meth:`inc` adds."""
        return self.inc(key, -by, expires)

    def mul(self, key: bytes, by: int = 2, expires: int = 0) -> bool:
        """Multiply; nobody's change comes between."""
        return self._calculate(key, lambda number: number * by, expires)

    def div(self, key: bytes, by: int = 2, expires: int = 0) -> bool:
        """Divide, as :meth:`mul` multiplies."""
        return self._calculate(key, lambda number: quotient(number, by), expires)

    def load(self, items: Iterable[tuple[bytes, bytes]], expires: int = 0, replacing_all: bool = False) -> int:
        """Add or replace many in one step, or none; how many. Raises :class:`CacheTrouble`."""
        every = list(items)
        if not all(self._takes(key, value) for key, value in every):
            raise CacheTrouble(f"a key or a value is empty, or too long for {self.spec.name}")
        named = [(self._prefix + key, value) for key, value in every]
        staying = {name for name, _ in named}
        gone = [name for page in self._pages() for name in page if name not in staying] if replacing_all else []
        self._ask(partial(link.store_all, items=named, life=self._life(expires), gone=gone))
        return len(every)

    # -- the life of a process with it ------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises :class:`CacheTrouble` when nobody answers."""
        self._ask(lambda client: client.ping())

    def begin_loading(self, joining: bool) -> None:
        """What this thread sets from now on replaces what is there, once; when it is not the first to load: nothing."""
        self._loader = 0 if joining else threading.get_ident()
        self._loaded.clear()

    def end_loading(self, done: bool) -> None:
        """Nothing is undone: other routers use the items, too."""
        self._loader = 0
        self._loaded.clear()

    def close(self) -> None:
        """Let go of the connection and the counters."""
        self._link.close()
        self._shared.close()

    # -- inside -----------------------------------------------------------------------------------------------------

    @property
    def _initial(self) -> int:
        return self.spec.math_initial

    def _is_loading(self) -> bool:
        return self._loader != 0 and self._loader == threading.get_ident()

    def _is_new_to_loading(self, key: bytes) -> bool:
        return self._is_loading() and key not in self._loaded

    def _look(self, key: bytes) -> Seen | None:
        if not 0 < len(key) <= self.spec.keysize:
            return None
        try:
            item = self._ask(lambda client: link.fetch(client, self._prefix + key))
        except CacheTrouble as error:
            self._tell(error)
            return self._known.get(key, self._clock())
        seen = None if item is None else self._seen(item)
        self._known.see(key, seen, self._clock())
        return seen

    def _store(self, key: bytes, value: bytes, expires: int, adding: bool) -> bool:
        if not self._takes(key, value):
            return False
        life = self._life(expires)
        done = self._change(lambda client: link.store(client, self._prefix + key, value, life, adding), False)
        if done:
            self._known.see(key, self._seen((value, life)), self._clock())
        return done

    def _calculate(self, key: bytes, step: Callable[[int], int], expires: int) -> bool:
        return self._number(
            key, expires, lambda name, life, client: link.calculate(client, name, step, self._initial, life)
        )

    def _number(self, key: bytes, expires: int, change: Callable[[bytes, int, Client], bytes | None]) -> bool:
        if not self._takes(key, bytes(link.NUMBER)):
            return False
        self._known.drop(key)
        return self._change(partial(change, self._prefix + key, self._life(expires)), None) is not None

    def _takes(self, key: bytes, value: bytes) -> bool:
        return 0 < len(key) <= self.spec.keysize and 0 < len(value) <= self.spec.value_most

    def _life(self, expires: int) -> int:
        """Milliseconds, 0 for ever; a negative duration is none."""
        return max(0, expires or self.spec.expires) * 1000

    def _seen(self, item: tuple[bytes, int]) -> Seen:
        value, left = item
        return value, self._clock() + left / 1000 if left else 0.0

    def _figures(self) -> tuple[int, int]:
        """How many items there are, and how many of them have an end."""
        items = mortal = 0
        try:
            for page in self._pages():
                items += len(page)
                mortal += self._ask(partial(link.mortal, keys=page)) if page else 0
        except CacheTrouble as error:
            self._tell(error)
        return items, mortal

    def _pages(self) -> Iterator[list[bytes]]:
        """Every key on the server, without those that come twice. Raises :class:`CacheTrouble`."""
        cursor, seen = 0, set[bytes]()
        while True:
            cursor, page = self._ask(partial(link.page, cursor=cursor, pattern=self._pattern))
            new = [name for name in dict.fromkeys(page) if name not in seen]
            seen.update(new)
            yield new
            if not cursor:
                return

    def _change(self, call: Callable[[Client], T], failed: T) -> T:
        try:
            return self._ask(call, once=True)
        except CacheTrouble as error:
            self._fail(str(error))
            return failed

    def _ask(self, call: Callable[[Client], T], once: bool = False) -> T:
        try:
            answer = self._link.ask(link.refusable(call), once)
        except Away:
            self._is_away = True
            raise
        except CacheTrouble:
            self._is_away = False
            raise
        self._is_away = False
        return answer

    def _fail(self, why: str) -> None:
        """A change was not made."""
        self._row[Count.FULL] += 1
        self._say_lost(f"cache {self.spec.name}: not written: {why}", time.monotonic())

    def _tell(self, error: CacheTrouble) -> None:
        self._say_away(f"cache {self.spec.name}: {error}; what was seen last counts", time.monotonic())


class DirectLink:
    """For processes in which one may wait: the keeper of the caches, uwsgirouterctl. Threads may share it.

    After a question without an answer it is not asked again for :data:`REST` seconds.
    """

    REST = 1.0

    def __init__(self, spec: CacheSpec, connect_timeout: float, answer_timeout: float) -> None:
        self._server = f"redis {spec.server}"
        self._client = link.connect(spec.url, connect_timeout, answer_timeout, single=False)
        self._rests_until = 0.0

    def ask(self, call: Callable[[Client], T], once: bool = False) -> T:
        """Raises :class:`CacheTrouble`, :class:`Away`."""
        if time.monotonic() < self._rests_until:
            raise Away(f"{self._server} is down")
        try:
            return self._attempt(call, not once)
        except link.FAILURES as error:
            self._rests_until = time.monotonic() + self.REST
            raise Away(f"{self._server}: {error}") from None

    def hand(self, call: Callable[[Client], object], complain: Callable[[str], None]) -> None:
        """The same; it waits here."""
        try:
            self.ask(call)
        except CacheTrouble as error:
            complain(str(error))

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _attempt(self, call: Callable[[Client], T], again: bool) -> T:
        """A connection that lay idle may have been closed: then once more, on a new one."""
        try:
            return call(self._client)
        except link.CLOSED:
            if not again:
                raise
            return call(self._client)
