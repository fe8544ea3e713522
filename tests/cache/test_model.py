"""A cache against a plain model of it, with every call, small sizes and a clock that rules turn."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.cache.made import Open, consistent, spec
from uwsgirouter.cache.access import CacheFull

ITEMS, BLOCKS, BLOCKSIZE = 4, 8, 8
KEYS = [b"a", b"b", b"c", b"d", b"e", b"f" * 510, b"g" * 600]

keys = st.sampled_from(KEYS)
values = st.integers(1, 30).map(lambda size: b"v" * size)
lives = st.sampled_from([0, 0, 3, 10])


class Machine(RuleBasedStateMachine):
    """``model``: key to value and end of life (0: none), in the order of use."""

    spec = spec(items=ITEMS, blocks=BLOCKS, blocksize=BLOCKSIZE, bitmap=True)

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.opened = Open(self.directory, self.spec)
        self.model: dict[bytes, tuple[bytes, float]] = {}

    def teardown(self) -> None:
        self.opened.caches.close()
        shutil.rmtree(self.directory)

    def live(self, key: bytes) -> bool:
        return key in self.model and (not self.model[key][1] or self.model[key][1] > self.opened.now)

    def used(self) -> int:
        return sum(-(-len(value) // BLOCKSIZE) for value, _ in self.model.values())

    def put(self, key: bytes, value: bytes, ends: float) -> bool:
        """By the policy, if there is no room."""
        before = dict(self.model)
        need = -(-len(value) // BLOCKSIZE)
        if key in self.model:
            self.model[key] = self.model.pop(key)
        while True:
            old = -(-len(self.model[key][0]) // BLOCKSIZE) if key in self.model else 0
            fits = (key in self.model or len(self.model) < ITEMS) and self.used() + need - old <= BLOCKS
            if fits:
                self.model.pop(key, None)
                self.model[key] = (value, ends)
                return True
            if not self.spec.purge_lru or not self.model:
                self.model = before
                return False
            del self.model[next(iter(self.model))]

    def ends(self, life: int) -> float:
        return self.opened.now + life if life else 0.0

    @rule(key=keys, value=values, life=lives)
    def set(self, key: bytes, value: bytes, life: int) -> None:
        expected = not self.live(key) and self.put(key, value, self.ends(life))
        assert self.opened.cache.set(key, value, life) == expected

    @rule(key=keys, value=values, life=lives)
    def update(self, key: bytes, value: bytes, life: int) -> None:
        assert self.opened.cache.update(key, value, life) == self.put(key, value, self.ends(life))

    @rule(key=keys)
    def get(self, key: bytes) -> None:
        expected = self.model[key][0] if self.live(key) else None
        assert self.opened.cache.get(key) == expected
        if expected is not None:
            self.model[key] = self.model.pop(key)

    @rule(key=keys)
    def delete(self, key: bytes) -> None:
        assert self.opened.cache.delete(key) == self.live(key)
        self.model.pop(key, None)

    @rule(key=keys, by=st.integers(-3, 3), life=lives)
    def inc(self, key: bytes, by: int, life: int) -> None:
        number = 0
        ends = self.ends(life)
        if self.live(key):
            value, ends = self.model[key]
            if len(value) != 8:
                assert not self.opened.cache.inc(key, by, life)
                return
            number = int.from_bytes(value, "little", signed=True)
        value = ((number + by + (1 << 63)) % (1 << 64) - (1 << 63)).to_bytes(8, "little", signed=True)
        assert self.opened.cache.inc(key, by, life) == self.put(key, value, ends)

    @rule(some=st.lists(st.tuples(keys, values), max_size=3), all=st.booleans())
    def load(self, some: list[tuple[bytes, bytes]], all: bool) -> None:
        before = dict(self.model)
        if all:
            self.model = {}
        if not __builtins__["all"](self.put(key, value, 0.0) for key, value in some):  # type: ignore[index]
            self.model = before
            try:
                self.opened.cache.load(some, replacing_all=all)
            except CacheFull:
                return
            raise AssertionError("it found room")
        assert self.opened.cache.load(some, replacing_all=all) == len(some)

    @rule()
    def sweep(self) -> None:
        over = [key for key in self.model if not self.live(key)]
        assert self.opened.cache.sweep() == len(over)
        for key in over:
            del self.model[key]

    @rule()
    def clear(self) -> None:
        assert self.opened.cache.clear()
        self.model = {}

    @rule(seconds=st.sampled_from([1, 4]))
    def wait(self, seconds: int) -> None:
        self.opened.now += seconds

    @precondition(lambda self: self.model)
    @rule()
    def reopen(self) -> None:
        now = self.opened.now
        self.opened.caches.close()
        self.opened = Open(self.directory, self.spec)
        self.opened.now = now

    @invariant()
    def same(self) -> None:
        expected = {key: ends for key, (_, ends) in self.model.items() if self.live(key)}
        assert {key: ends for key, _, ends in self.opened.cache.items()} == expected
        assert self.opened.cache.stats()["used_blocks"] == self.used()
        consistent(self.opened.cache)


class PurgingMachine(Machine):
    """The least recently used goes, so the order of use is part of the model."""

    spec = spec(items=ITEMS, blocks=BLOCKS, blocksize=BLOCKSIZE, bitmap=True, purge_lru=True)


class TestWithoutPolicy(Machine.TestCase):  # type: ignore[misc, name-defined]
    settings = settings(stateful_step_count=20)


class TestPurging(PurgingMachine.TestCase):  # type: ignore[misc, name-defined]
    settings = settings(stateful_step_count=20)
