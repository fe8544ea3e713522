"""What the options about caches say of each other, as --check tells it."""

from __future__ import annotations

import pytest

from tests.settings.files import LISTEN, Files
from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.cache_checks import split_file, split_item


def loaded(files: Files, text: str) -> tuple[str, ...]:
    """The notices of a configuration with these lines, from line 4 on."""
    return files.load(f"[uwsgi]\n{LISTEN}{text}").notices


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cache2 = name=a,itms=1", r"router\.conf:4: cache2 = name=a,itms=1: unknown key itms; did you mean items\?"),
        (
            "cache2 = name=a,items=1\ncache2 = name=a,items=2",
            r"router\.conf:5: a cache named a is there already \(router\.conf:4\)",
        ),
        (
            "fastrouter-use-cache",
            r"router\.conf:4: fastrouter-use-cache = default: there is no cache: write cache = NUMBER",
        ),
        ("fastrouter-use-cache = x\ncache = 1", r"no cache has the name 'x'; there are: default"),
        ("fastrouter-use-cache = x\ncache2 = name=a,items=1\ncache2 = name=b,items=1", "there are: a, b"),
        ("add-cache-item = k=v", r"router\.conf:4: add-cache-item = k=v: there is no cache"),
        ("load-file-in-cache = f", "load-file-in-cache = f: there is no cache"),
        ("load-file-in-cache-gzip = f", "load-file-in-cache-gzip = f: there is no cache"),
        ("cache = 1\nadd-cache-item = x k=v", "add-cache-item = x k=v: no cache has the name 'x'; there are: default"),
        ("cache = 1\nload-file-in-cache = x f", "no cache has the name 'x'"),
        ("cache = 1\nadd-cache-item = k", r"add-cache-item = k: expected \[CACHE \]KEY=VALUE"),
        ("cache = 1\nadd-cache-item = =v", "a key of the cache default has 1 to 2048 bytes, this one 0"),
        ("cache = 1\nadd-cache-item = k=", "a value of the cache default has 1 to 65536 bytes, this one 0"),
        (
            "cache2 = name=a,items=1,blocksize=2,keysize=3\nadd-cache-item = key=abc",
            "cache a has 1 to 2 bytes, this one 3",
        ),
        (
            "cache2 = name=a,items=1,blocksize=2,keysize=3\nload-file-in-cache = file",
            "a key of the cache a has 1 to 3 bytes",
        ),
        ("cache-sync = 127.0.0.1:1", "cache-sync is not supported: a cache belongs to one machine"),
    ],
)
def test_mistakes(files: Files, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(files, text)


@pytest.mark.parametrize(
    "text",
    [
        "cache = 1\nadd-cache-item = k=v",
        "cache2 = name=a,items=1\nadd-cache-item = a k=v=w\nadd-cache-item = k=a b",
        "cache2 = name=a,items=1\nload-file-in-cache = a a b c\nload-file-in-cache = f",
        "cache = 1\ncache-store = f\ncache-blocksize = 5\ncache-expire-freq = 2\ncache-no-expire",
        "cache2 = name=a,items=1\ncache-report-freed-items\ncache-store-sync = 5",
        "file = x.py",
    ],
)
def test_what_is_right(files: Files, text: str) -> None:
    assert loaded(files, text) == ()


def test_what_has_no_effect_is_told(files: Files) -> None:
    (notice,) = loaded(files, "cache2 = name=a,items=1,hash=murmur2,hashsize=5")
    assert notice.startswith("router.conf:4: hash and hashsize of cache2 mean nothing here")
    (notice,) = loaded(files, "cache2 = name=a,items=1\ncache-blocksize = 5\ncache-store = s")
    assert notice == (
        "these options do nothing without the cache option: cache-blocksize (router.conf:5), "
        "cache-store (router.conf:6)"
    )
    (notice,) = loaded(files, "cache-expire-freq = 5")
    assert notice == "these options do nothing without a cache: cache-expire-freq (router.conf:4)"


def test_several_faults_are_told_at_once(files: Files) -> None:
    with pytest.raises(ConfigError) as raised:
        loaded(files, "cache = 1\nadd-cache-item = k\nadd-cache-item = x k=v\nfastrouter-use-cache = y")
    assert len(str(raised.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("k=v", ("", "k", "v")),
        ("c k=v", ("c", "k", "v")),
        ("k=v w", ("", "k", "v w")),
        ("c k=v w=x", ("c", "k", "v w=x")),
        ("c k", ("c", "k", None)),
        ("k", ("", "k", None)),
        ("k=", ("", "k", "")),
    ],
)
def test_the_parts_of_an_item(text: str, parts: tuple[str, str, str | None]) -> None:
    assert split_item(text) == parts


def test_the_parts_of_a_file() -> None:
    assert split_file("a/b") == ("", "a/b")
    assert split_file("c a/b c") == ("c", "a/b c")
