"""Several processes on one cache, some of which die at the worst moment."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from tests.cache.made import Child, Open, consistent, spec
from tests.servers import wait_until


def test_what_one_sets_the_others_see_at_once(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        child = Child(tmp_path, spec(), 'cache.set(b"k", b"v"); tell("set"); hold()')
        assert child.hear() == "set"
        assert child.hear() == "holding"
        assert opened.cache.get(b"k") == b"v", "a look-up waits for no writer"
        child.kill()


def test_a_writer_that_is_killed_holds_nobody_up(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        opened.cache.set(b"before", b"v")
        for _ in range(2):
            child = Child(tmp_path, spec(), "hold()")
            assert child.hear() == "holding"
            child.kill()
            began = time.monotonic()
            assert opened.cache.update(b"after", b"v")
            assert time.monotonic() - began < 1.0
        assert opened.cache.keys() == [b"after", b"before"], "nothing of what was half written"
        consistent(opened.cache)


def test_a_writer_is_waited_for(tmp_path: Path) -> None:
    """The child dies while we wait for it; a stopped writer would hold writers up, but never a look-up."""
    with Open(tmp_path) as opened:
        opened.cache.set(b"k", b"v")
        child = Child(tmp_path, spec(), "hold()")
        assert child.hear() == "holding"
        os.kill(child.process.pid, signal.SIGSTOP)
        assert opened.cache.get(b"k") == b"v"
        # The wait is inside LMDB with the interpreter's lock held: another process must end it.
        killer = Child(
            tmp_path, spec("other"), f"tell('ready'); time.sleep(0.3); os.kill({child.process.pid}, {signal.SIGKILL:d})"
        )
        assert killer.hear() == "ready"
        assert opened.cache.set(b"late", b"v")
        child.close()
        assert killer.close() == 0


def test_threads_of_one_process_take_turns(tmp_path: Path) -> None:
    """They share LMDB's writer lock, which would wait for itself without a lock of ours."""
    with Open(tmp_path, spec(items=1000)) as opened:

        def count() -> None:
            for _ in range(300):
                opened.cache.inc(b"n")

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert opened.cache.num(b"n") == 1200


def test_processes_count_without_losing(tmp_path: Path) -> None:
    code = 'tell("ready")\nfor _ in range(300): cache.inc(b"n"); cache.get(b"n")'
    children = [Child(tmp_path, spec(), code) for _ in range(2)]
    assert [child.hear() for child in children] == ["ready"] * 2
    assert [child.close() for child in children] == [0] * 2
    with Open(tmp_path) as opened:
        assert opened.cache.num(b"n") == 600
        assert opened.cache.stats()["hits"] == 601, "each has a row of its own, and what the dead counted stays"


def test_a_row_is_used_again_after_its_holder_s_death(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        opened.cache.set(b"k", b"v")
        for _ in range(2):
            child = Child(tmp_path, spec(), 'cache.get(b"k"); tell("read"); time.sleep(100)')
            assert child.hear() == "read"
            child.kill()
        assert opened.cache.stats()["hits"] == 2
        used = [row for row in range(512) if any(opened.cache._shared._cells[row * 3 : row * 3 + 3])]
        assert used == [1], "the first row is ours and has counted nothing"


def test_readers_that_were_killed_are_forgotten(tmp_path: Path) -> None:
    """Otherwise the pages that they were reading could never be used again."""
    with Open(tmp_path) as opened:
        opened.cache.set(b"k", b"v")
        for _ in range(2):
            child = Child(tmp_path, spec(), "txn = cache._env.begin(); tell('reading'); time.sleep(100)")
            assert child.hear() == "reading"
            child.kill()
        assert opened.cache.check_readers() >= 1, "each opening takes back those before it"
        assert opened.cache.check_readers() == 0


def test_a_reader_that_stands_still_does_not_stop_writers(tmp_path: Path) -> None:
    child = Child(tmp_path, spec(items=100), "txn = cache._env.begin(); tell('reading'); time.sleep(100)")
    assert child.hear() == "reading"
    with Open(tmp_path, spec(items=100)) as opened:
        for number in range(300):
            assert opened.cache.update(b"k", b"%d" % number)
        size = os.stat(opened.cache._env.path()).st_size
        child.kill()
        opened.cache.check_readers()
        for number in range(600):
            assert opened.cache.update(b"k", b"%d" % number)
        assert os.stat(opened.cache._env.path()).st_size <= size + (1 << 20), "the pages are used again"


def test_all_open_a_new_cache_at_once(tmp_path: Path) -> None:
    count = 3
    code = 'tell(str(cache.update(b"k%d" % os.getpid(), b"v")))'
    children = [Child(tmp_path, spec(purge_lru=True), code) for _ in range(count)]
    assert [child.hear() for child in children] == ["True"] * count
    assert [child.close() for child in children] == [0] * count
    with Open(tmp_path, spec(purge_lru=True)) as opened:
        assert len(opened.cache.keys()) == count
        consistent(opened.cache)


def test_a_long_write_is_not_seen_in_parts(tmp_path: Path) -> None:
    """load is one step: whoever looks meanwhile sees all of it or nothing."""
    child = Child(
        tmp_path,
        spec(items=20000),
        """
        old = [(b"k%d" % n, b"old") for n in range(2000)]
        new = [(b"k%d" % n, b"new") for n in range(2000)]
        cache.load(old)
        tell("ready")
        for _ in range(4):
            cache.load(new, replacing_all=True)
            cache.load(old, replacing_all=True)
        """,
    )
    assert child.hear() == "ready"
    with Open(tmp_path, spec(items=20000)) as opened:
        seen = set()

        def done() -> bool:
            values = {value for _, value, _ in opened.cache.items()}
            assert len(values) == 1 and len(opened.cache.keys()) == 2000
            seen.update(values)
            return child.process.poll() is not None

        wait_until(done, 20, "the loads end")
        assert child.close() == 0
        assert seen
