"""The life of the process that runs the scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripting.made import Lines, opened
from uwsgirouter.errors import BootError
from uwsgirouter.scripting.keeper import CANNOT_START, DONE, has_caches, is_needed, keep
from uwsgirouter.settings.settings import Settings


class Master:
    """Says when it was told that scripts are ready, and lets the process wait ``turns`` times."""

    def __init__(self, turns: int) -> None:
        self.turns = turns
        self.told = 0
        self.waits: list[float | None] = []

    def ready(self) -> None:
        self.told += 1
        assert self.waits == []

    def wait(self, seconds: float | None) -> bool:
        assert self.told == 1
        self.waits.append(seconds)
        return len(self.waits) <= self.turns


@pytest.mark.parametrize(
    ("options", "needed", "caches"),
    [
        ({}, False, False),
        ({"fastrouter": ":1"}, False, False),
        ({"cache": 1}, True, True),
        ({"cache2": "name=a,items=1"}, True, True),
        ({"file": "x.py"}, True, False),
        ({"import": "x"}, True, False),
        ({"shared_import": "x"}, True, False),
    ],
)
def test_who_needs_it(options: dict[str, object], needed: bool, caches: bool) -> None:
    settings = Settings.of(**options)
    assert (is_needed(settings), has_caches(settings)) == (needed, caches)


def test_it_runs_the_scripts_tells_and_stays(tmp_path: Path, log: Lines) -> None:
    (tmp_path / "script.py").write_text("import uwsgi\nuwsgi.cache_set('k', str(uwsgi.is_a_reload))")
    settings = Settings.of(cache=10, file="script.py")
    master = Master(3)
    assert keep(settings, str(tmp_path), log, master.ready, master.wait, is_reload=True) == DONE
    assert len(master.waits) == 4
    assert all(seconds is not None and 0 < seconds <= 1 for seconds in master.waits)
    caches = opened(settings, tmp_path, log)
    assert caches.named("").get(b"k") == b"True"
    caches.close()


def test_without_caches_it_only_waits(tmp_path: Path, log: Lines) -> None:
    (tmp_path / "script.py").touch()
    master = Master(1)
    assert keep(Settings.of(file="script.py"), str(tmp_path), log, master.ready, master.wait) == DONE
    assert master.waits == [None, None]


def test_it_sweeps(tmp_path: Path, log: Lines) -> None:
    (tmp_path / "script.py").write_text("import uwsgi\nuwsgi.cache_set('k', 'v', 1)")
    settings = Settings.of(cache=10, file="script.py", cache_expire_freq=1, cache_report_freed_items=True)
    master = Master(100)

    def wait(seconds: float | None) -> bool:
        import time

        time.sleep(seconds or 0)
        return not any("freed" in line for line in log.lines) and master.wait(seconds)

    assert keep(settings, str(tmp_path), log, master.ready, wait) == DONE
    assert 'freed 1 items for cache "default"' in log.lines


def test_a_script_that_fails_is_told_with_its_traceback(tmp_path: Path, log: Lines) -> None:
    (tmp_path / "script.py").write_text("1 / 0")
    master = Master(0)
    settings = Settings.of(cache=10, file="script.py")
    assert keep(settings, str(tmp_path), log, master.ready, master.wait) == CANNOT_START
    assert master.told == 0
    assert log.lines == [
        "Traceback (most recent call last):",
        '  File "script.py", line 1, in <module>',
        "    1 / 0",
        *([] if "    ~~^~~" not in log.lines else ["    ~~^~~"]),
        "ZeroDivisionError: division by zero",
        "test: file: file = script.py: ZeroDivisionError: division by zero",
    ]


def test_caches_that_cannot_be_opened(tmp_path: Path, log: Lines) -> None:
    master = Master(0)
    settings = Settings.of(cache=10, cache_store=str(tmp_path / "no" / "store"))
    with pytest.raises(BootError, match=r"test: cache: cache default: cannot open .*/no/store-lock: No such file"):
        keep(settings, str(tmp_path), log, master.ready, master.wait)
    assert master.told == 0
