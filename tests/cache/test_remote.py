"""A cache on a real Redis server: what a cache of this machine does, and what is different about it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.cache.made import PROJECT, spec
from tests.servers import Redis, Servers, free_port, wait_until
from uwsgirouter.cache.access import CacheTrouble
from uwsgirouter.cache.base import NamedCache
from uwsgirouter.cache.caches import Caches, Elsewhere
from uwsgirouter.cache.environment import Role
from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.caching import CacheSpec, parse_cache2


@pytest.fixture(scope="module")
def server(started: Servers) -> Redis:
    return started.daemon(Redis)


class Remote:
    """One process's view of a cache on ``server``."""

    def __init__(self, server: Redis, directory: Path, name: str = "far", url: str = "", **others: object) -> None:
        self.said: list[str] = []
        self.now = time.time()
        kept = spec(name, 0, url=url or f"redis://{server.address}/1", **others)
        elsewhere = Elsewhere(60, 0.5, 0.5)
        self.caches = Caches([kept], str(directory), self.said.append, Role.WORKER, self.clock, elsewhere)

    def clock(self) -> float:
        return self.now

    @property
    def cache(self) -> NamedCache:
        return self.caches.named("")


@pytest.fixture
def made(server: Redis, tmp_path: Path) -> Iterator[Callable[..., Remote]]:
    opened: list[Remote] = []

    def make(*args: Any, **given: Any) -> Remote:
        opened.append(Remote(server, tmp_path, *args, **given))
        return opened[-1]

    yield make
    server.thaw()
    for one in opened:
        one.caches.close()
    server.command("FLUSHALL")


Made = Callable[..., Remote]


def test_items_come_and_go(made: Made) -> None:
    cache = made().cache
    assert cache.get(b"k") is None
    assert cache.set(b"k", b"one")
    assert not cache.set(b"k", b"two")
    assert not cache.is_away
    assert cache.get(b"k") == b"one"
    assert cache.update(b"k", b"\0\xff\r\n")
    assert cache.timed(b"k") == (b"\0\xff\r\n", 0.0)
    assert cache.exists(b"k")
    assert cache.delete(b"k")
    assert not cache.delete(b"k")
    assert not cache.exists(b"k")


def test_what_is_too_large_is_refused(made: Made) -> None:
    cache = made(blocksize=4, keysize=3).cache
    assert not cache.set(b"", b"v")
    assert not cache.set(b"k", b"")
    assert not cache.set(b"long", b"v")
    assert not cache.update(b"k", b"large")
    assert cache.get(b"long") is None
    assert cache.update(b"key", b"four")


def test_items_end(made: Made, server: Redis) -> None:
    remote = made(expires=100)
    assert remote.cache.set(b"k", b"v")
    assert remote.cache.set(b"short", b"v", 1)
    for key, seconds in ((b"k", 100), (b"short", 1)):
        found = remote.cache.timed(key)
        assert found is not None
        assert remote.now + seconds - 0.9 < found[1] <= remote.now + seconds
    wait_until(lambda: remote.cache.get(b"short") is None, 10, "its life is over")
    assert remote.cache.set(b"short", b"again")


def test_several_routers_have_one_cache_and_each_name_its_own_items(made: Made) -> None:
    one, two, other = made(), made(), made("o*t[h]er?")
    assert one.cache.set(b"k", b"v")
    assert two.cache.get(b"k") == b"v"
    assert two.cache.delete(b"k")
    assert one.cache.get(b"k") is None
    one.cache.set(b"k", b"v")
    other.cache.set(b"k", b"another")
    assert one.cache.items() == [(b"k", b"v", 0.0)]
    assert other.cache.keys() == [b"k"]
    assert other.cache.clear()
    assert (one.cache.get(b"k"), other.cache.get(b"k")) == (b"v", None)


def test_many_items_are_walked_over(made: Made) -> None:
    cache = made().cache
    items = [(b"%d" % number, b"v%d" % number) for number in range(2500)]
    assert cache.load(items, expires=50) == 2500
    assert sorted(cache.keys()) == sorted(key for key, _ in items)
    assert [(key, value) for key, value, _ in cache.items()] == sorted(items)
    assert cache.stats()["items"] == cache.stats()["expiring"] == 2500
    assert cache.load([(b"1", b"new"), (b"x", b"y")], replacing_all=True) == 2
    assert [(key, value) for key, value, _ in cache.items()] == [(b"1", b"new"), (b"x", b"y")]
    with pytest.raises(CacheTrouble, match="too long"):
        cache.load([(b"z", b"v"), (b"", b"v")])
    assert cache.get(b"z") is None


def test_numbers_are_those_of_uwsgi(made: Made, server: Redis) -> None:
    cache = made(math_initial=5).cache
    assert cache.inc(b"n", 3)
    assert cache.num(b"n") == 8
    assert cache.get(b"n") == (8).to_bytes(8, "little")
    assert cache.dec(b"n", 10)
    assert cache.num(b"n") == -2
    assert cache.mul(b"n", -21)
    assert cache.num(b"n") == 42
    assert cache.div(b"n", -4)
    assert cache.num(b"n") == -10
    assert cache.div(b"n", 0)
    assert cache.num(b"n") == 0
    cache.update(b"text", b"abc")
    assert not cache.inc(b"text")
    assert not cache.mul(b"text")
    assert cache.get(b"text") == b"abc"
    assert not cache.is_away


@pytest.mark.parametrize(
    ("start", "by", "end"),
    [
        (2**63 - 1, 1, -(2**63)),
        (-(2**63), -1, 2**63 - 1),
        (2**53 + 1, 2**53 + 1, 2**54 + 2),
        (-1, 1, 0),
        (255, 1, 256),
        (-(2**40), 2**40 - 1, -1),
    ],
)
def test_numbers_have_64_bits(made: Made, start: int, by: int, end: int) -> None:
    cache = made().cache
    cache.update(b"n", start.to_bytes(8, "little", signed=True))
    assert cache.inc(b"n", by)
    assert cache.num(b"n") == end


def test_a_number_lives_as_long_as_it_was_to_live(made: Made) -> None:
    cache = made().cache
    for change in (cache.inc, cache.mul):
        assert change(b"n", 1, 100)
        before = cache.timed(b"n")
        assert change(b"n", 1, 5000)
        after = cache.timed(b"n")
        assert before is not None and after is not None
        assert before[1] - 5 < after[1] <= before[1] + 0.1
        cache.delete(b"n")


def test_changes_of_numbers_do_not_get_lost(made: Made) -> None:
    caches = [made().cache for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda cache: [cache.inc(b"n") for _ in range(200)], caches))
    assert caches[0].num(b"n") == 800
    caches[0].update(b"n", (1).to_bytes(8, "little"))
    with ThreadPoolExecutor(4) as pool:
        assert all(sum(pool.map(lambda cache: [cache.mul(b"n", 3) for _ in range(8)], caches), []))  # noqa: RUF017
    assert caches[0].num(b"n") == 3**32


def test_what_scripts_set_replaces_what_they_had_set(made: Made) -> None:
    remote, other = made(), made()
    for value in (b"old", b"new"):
        with remote.caches.loading():
            assert remote.cache.set(b"k", value)
            assert not remote.cache.set(b"k", b"twice")
        assert other.cache.get(b"k") == value
    with remote.caches.loading(joining=True):
        assert not remote.cache.set(b"k", b"later")
    assert not remote.cache.set(b"k", b"later")
    assert remote.cache.settle()
    assert not remote.cache.recover()


def test_while_it_is_away_what_was_seen_last_is_found(made: Made, server: Redis) -> None:
    remote = made()
    cache = remote.cache
    cache.set(b"k", b"v")
    cache.set(b"mortal", b"v", 30)
    cache.get(b"k")
    server.stop()
    try:
        assert cache.get(b"k") == b"v"
        assert cache.is_away
        assert cache.exists(b"k")
        assert cache.get(b"other") is None
        assert not cache.update(b"k", b"new")
        assert not cache.inc(b"n")
        assert cache.keys() == []
        assert not cache.clear()
        remote.now += 31
        assert cache.get(b"mortal") is None
        remote.now += 30
        assert cache.get(b"k") is None, "a minute is over"
        assert cache.stats()["full"] >= 2
    finally:
        server.start()
    assert any("what was seen last counts" in line for line in remote.said)
    assert len(remote.said) < 10
    wait_until(lambda: cache.update(b"k", b"back"), 20, "it is there again")
    assert not cache.is_away
    assert cache.get(b"k") == b"back"


def test_a_frozen_server_is_waited_for_once(made: Made, server: Redis) -> None:
    remote = made()
    remote.cache.set(b"k", b"v")
    with server.frozen():
        began = time.monotonic()
        assert [remote.cache.get(b"k") for _ in range(500)] == [b"v"] * 500
        assert time.monotonic() - began < 10
    wait_until(lambda: remote.cache.get(b"k") == b"v" and not remote.cache.is_away, 20, "it answers again")


def test_a_connection_that_the_server_closed_is_replaced(made: Made, server: Redis) -> None:
    remote = made()
    remote.cache.set(b"k", b"v")
    server.stop()
    server.start()
    assert remote.cache.get(b"k") is None
    assert not remote.cache.is_away
    assert remote.said == []


def test_what_the_server_refuses_is_told(made: Made, server: Redis) -> None:
    remote = made()
    server.command("CONFIG", "SET", "maxmemory", "1")
    try:
        assert not remote.cache.update(b"k", b"v")
    finally:
        server.command("CONFIG", "SET", "maxmemory", "0")
    assert not remote.cache.is_away
    assert any("not written" in line and "memory" in line for line in remote.said)


def test_a_unix_socket_and_a_password(started: Servers, made: Made, tmp_path: Path) -> None:
    guarded = started.daemon(Redis, "--requirepass", "s3cret")
    for url in (f"unix://:s3cret@{guarded.socket}?db=2", f"redis://:s3cret@{guarded.address}/2"):
        if url.startswith("unix"):
            url = f"unix://{guarded.socket}?db=2&password=s3cret"
        assert made(url=url).cache.update(b"k", b"v")
    wrong = made(url=f"redis://:wrong@{guarded.address}/2")
    assert not wrong.cache.update(b"k", b"v")
    assert wrong.cache.is_away
    assert "wrong" not in "".join(wrong.said)
    with pytest.raises(CacheTrouble):
        wrong.cache.check()


def test_over_tls_the_certificate_is_checked(started: Servers, made: Made, tmp_path: Path) -> None:
    certificate, key, port = tmp_path / "cert.pem", tmp_path / "key.pem", free_port()
    certify(certificate, key)
    files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate)]
    started.daemon(Redis, "--tls-port", str(port), "--tls-auth-clients", "no", *files)
    known = made(url=f"rediss://localhost:{port}/1?ssl_ca_certs={certificate}")
    assert known.cache.update(b"k", b"v")
    assert known.cache.get(b"k") == b"v"
    unknown = made(url=f"rediss://localhost:{port}/1")
    assert unknown.cache.get(b"k") is None
    assert unknown.cache.is_away
    assert "certificate" in "".join(unknown.said).lower()


def certify(certificate: Path, key: Path) -> None:
    """A certificate for localhost that nobody else has signed."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    forms = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, *forms))


def test_it_opens_without_its_server(made: Made) -> None:
    remote = made(url=f"redis://127.0.0.1:{free_port()}")
    assert remote.cache.get(b"k") is None


# -- the configuration ----------------------------------------------------------------------------------------------


def test_the_specification() -> None:
    assert parse_cache2("name=x,url=redis://h:1/2,expires=3,blocksize=100") == CacheSpec(
        "x", 0, 0, url="redis://h:1/2", expires=3, blocksize=100
    )
    assert parse_cache2("name=x,url=redis://u:p@[::1]/3?x=1").server == "redis://[::1]:6379/3"
    assert parse_cache2("name=x,url=unix:///run/redis.sock?db=1").server == "unix:///run/redis.sock"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("url=redis://h", "name= is missing"),
        ("name=x,url=http://h", "expected redis://"),
        ("name=x,url=redis:///1", "expected redis://"),
        ("name=x,url=redis://h/one", "expected redis://"),
        ("name=x,url=redis://h:99999", "out of range"),
        ("name=x,url=unix://h/p", "expected redis://"),
        ("name=x,url=redis://h,items=100,lru=1", "items, lru mean nothing with url="),
    ],
)
def test_what_is_wrong_with_it_is_told(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_cache2(text)
    assert words in str(caught.value)


def test_without_its_library_the_start_is_refused() -> None:
    """And a configuration without such a cache does not load it."""
    code = """
import sys
from uwsgirouter.cache.caches import Caches
from uwsgirouter.settings.consistency import checked
from uwsgirouter.settings.settings import Settings
checked(Settings.of(fastrouter="127.0.0.1:1", fastrouter_to="127.0.0.1:2", cache2="name=x,items=1"), False)
assert "redis" not in sys.modules
import importlib.util
found = importlib.util.find_spec
import uwsgirouter.settings.cache_checks as checks
checks.find_spec = lambda name: None if name == "redis" else found(name)
try:
    checked(Settings.of(fastrouter="127.0.0.1:1", fastrouter_use_cache="x", cache2="name=x,url=redis://h"), False)
except Exception as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert "cache x is on redis://h:6379, which needs redis: pip install 'uwsgirouter[redis]'" in done.stdout, (
        done.stderr
    )
