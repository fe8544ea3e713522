"""Rules on memcached and Redis, against the real servers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rules.made import Playground, PlayHost
from tests.servers import Connection, Memcached, Redis, Servers, free_port
from tests.servers.logins import certified
from tests.servers.programs import environment
from uwsgirouter.errors import ConfigError
from uwsgirouter.rules.actions import memcached as memcached_actions
from uwsgirouter.rules.actions import redis as redis_actions
from uwsgirouter.rules.base import ChainName
from uwsgirouter.rules.service import Timing

KINDS = ["memcached", "redis"]
Store = Memcached | Redis


@pytest.fixture(scope="module")
def started() -> Iterator[Servers]:
    servers = Servers()
    try:
        yield servers
    finally:
        servers.close()


@pytest.fixture(scope="module")
def memcached(started: Servers) -> Memcached:
    return started.daemon(Memcached)


@pytest.fixture(scope="module")
def redis(started: Servers) -> Redis:
    return started.daemon(Redis)


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


def play(store: Store, *rules: str, host: PlayHost | None = None) -> Playground:
    """Rules with ``NAME`` and ``AT`` for the store's name and address."""
    text = "\n".join(rules).replace("NAME", store.name).replace("AT", f"addr={store.address}")
    return Playground(text, host)


def test_an_answer(store: Store) -> None:
    store.set("an-answer", b"\x00 two\r\nlines \xff")
    reply = play(store, "route = ^/(.*) NAME:AT,key=an-$1").get("/answer")
    assert reply.raw == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 14\r\n\r\n\x00 two\r\nlines \xff"
    )
    assert not reply.asked
    miss = play(store, "route = ^/(.*) NAME:AT,key=no-$1").get("/answer")
    assert miss.asked
    assert miss.body == b"hello"


def test_the_head_of_an_answer(store: Store, tmp_path: Path) -> None:
    (tmp_path / "types").write_text("text/css css\n")
    store.set("x.css", b"value")
    rules = f"mime-file = {tmp_path}/types\nroute-run = NAME:AT,key=x.css,content_encoding=br"
    reply = play(store, f"{rules},mime=1,nocl=1,status=410 Not any more").get()
    assert reply.head.decode() == "HTTP/1.1 410 Not any more\r\nContent-Type: text/css\r\nContent-Encoding: br"
    reply = play(store, f"{rules},content_type=a/b,status=404").get()
    assert reply.head.decode() == (
        "HTTP/1.1 404 Not Found\r\nContent-Type: a/b\r\nContent-Encoding: br\r\nContent-Length: 5"
    )


def test_an_empty_item_is_a_miss(store: Store) -> None:
    store.set("empty", b"")
    assert play(store, "route-run = NAME:AT,key=empty").get().asked
    assert play(store, "route-run = NAME:AT,key=${NOPE}").get().asked


@pytest.mark.parametrize(
    "item", [b"HTTP/1.0 404 Gone\r\nX-A: 1\r\n\r\nno", b"HTTP/1.0 404 Gone\nX-A: 1\n\nno"], ids=["crlf", "lf"]
)
def test_a_whole_answer(store: Store, item: bytes) -> None:
    store.set("whole", item)
    rules = play(
        store, "route-run = NAME:AT,key=whole,type=full", "response-route-run = addheader:X-B: ${uwsgi[status]}"
    )
    reply = rules.get()
    assert (reply.status, reply.headers, reply.body) == (404, [("X-A", "1"), ("X-B", "404")], b"no")
    assert not reply.asked
    body = play(store, "route-run = NAME:AT,key=whole,type=body").get()
    assert (body.status, body.body) == (200, item)


@pytest.mark.parametrize(
    "item", [b"junk", b"HTTP/1.1 200", b"HTTP/1.1 xxx Bad\r\n\r\nbody", b"HTTP/1.1 200 OK\r\nX: 1"]
)
def test_what_is_no_whole_answer_is_a_body(store: Store, item: bytes) -> None:
    store.set("half", item)
    reply = play(store, "route-run = NAME:AT,key=half,type=full,content_type=a/b").get()
    assert (reply.status, reply.header("Content-Type"), reply.body) == (200, "a/b", item)


def test_an_answer_cut_short_is_not_whole(store: Store) -> None:
    store.set("short", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")
    reply = play(store, "route-run = toupper:", "route-run = NAME:AT,key=short,type=full").get()
    assert reply.status == 502 or reply.exchange.response.cut


def test_continue_goes_on_behind_its_answer(store: Store) -> None:
    store.set("cont", b"value")
    reply = play(store, "route-run = NAME-continue:AT,key=cont", "route-run = log:and on").get()
    assert (reply.log, reply.body) == (["and on"], b"value")
    miss = play(store, "route-run = NAME-continue:AT,key=nothing", "route-run = log:and on").get()
    assert (miss.log, miss.body) == (["and on"], b"hello")


def test_what_runs_in_a_greenlet(store: Store) -> None:
    assert play(store, "route-run = NAME:AT,key=k").table.waits(ChainName.REQUEST)
    assert not play(store, "route-run = NAMEstore:AT,key=k").table.waits(ChainName.REQUEST)


# -- keeping -------------------------------------------------------------------------------------------------------


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("alias", ["store", "-store"])
def test_a_body_is_kept(store: Store, alias: str) -> None:
    rules = play(store, f"route = ^/(.*) NAME{alias}:AT,key=kept{alias}-$1")
    reply = rules.get("/a", app=[answer(b"one two")[:-3], b"two"])
    assert (reply.body, reply.log) == (b"one two", [])
    assert store.get(f"kept{alias}-a") == b"one two"


def test_what_is_not_kept(store: Store) -> None:
    rules = play(store, "route = ^/(.*) NAMEstore:AT,key=not-$1,status=404,max_size=10")
    rules.get("/empty", app=answer(b""))
    rules.get("/error", app=answer(b"x", "500 Oops"))
    rules.get("/404", app=answer(b"missing", "404 Not Found"))
    rules.get("/cut", app=answer(b"whole")[:-1])
    large = rules.get("/large", app=answer(b"x" * 11))
    rules.get("/ten", app=answer(b"x" * 10))
    assert large.body == b"x" * 11
    assert large.log == [f"{store.name}store not-large: the body is larger than 10 bytes (max_size=)"]
    kept = {name: store.get(f"not-{name}") for name in ("empty", "error", "404", "cut", "large", "ten")}
    assert {name: value for name, value in kept.items() if value is not None} == {"404": b"missing", "ten": b"x" * 10}


def test_a_body_that_breaks_off_is_not_kept(store: Store) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n"
    rules = play(store, "route = ^/(.*) NAMEstore:AT,key=chunks-$1")
    rules.get("/cut", app=chunked)
    rules.get("/whole", app=chunked + b"0\r\n\r\n")
    assert store.get("chunks-cut") is None
    assert store.get("chunks-whole") == b"whole"


def test_an_empty_key_keeps_nothing(store: Store) -> None:
    reply = play(store, "route-run = NAMEstore:AT,key=${NOPE}").get()
    assert (reply.body, reply.log) == (b"hello", [])


def test_a_large_body(redis: Redis, memcached: Memcached) -> None:
    body = os.urandom(3 << 20)
    assert play(redis, "route-run = NAMEstore:AT,key=large").get(app=answer(body)).log == []
    assert play(redis, "route-run = NAME:AT,key=large").get().body == body
    rules = play(memcached, "route-run = NAME:AT,key=large", "route-run = NAMEstore:AT,key=large")
    reply = rules.get(app=answer(body))
    assert reply.body == body
    (line,) = reply.log
    assert line.startswith("memcachedstore large: ")
    assert "too large" in line
    assert rules.get(app=answer(body[: 1 << 19])).log == []
    assert rules.get().body == body[: 1 << 19]


def test_items_expire(redis: Redis, memcached: Memcached) -> None:
    for given, most in (("", -1), (",expires=0", -1), (",expires=100", 100), (",expires=1000000000", 10**9)):
        play(redis, f"route-run = NAMEstore:AT,key=ttl{given}").get()
        left = int(redis.command("TTL", "ttl")[1:])
        assert left == most or most - 30 < left < most
        play(memcached, f"route-run = NAMEstore:AT,key=ttl{given}").get()
        left = expires(memcached, "ttl")
        if most == 10**9:  # memcached counts to 2038
            assert left > 10**8
        else:
            assert left == most or most - 30 < left < most


def expires(memcached: Memcached, key: str) -> int:
    """Seconds that an item has, -1 for ever."""
    said = memcached.converse(b"mg %b t\r\n" % key.encode())
    assert said.startswith(b"HD t"), said
    return int(said.split()[1][1:])


def test_a_year_is_no_date(memcached: Memcached) -> None:
    play(memcached, f"route-run = NAMEstore:AT,key=year,expires={365 * 86400}").get()
    assert 364 * 86400 < expires(memcached, "year") < 366 * 86400


# -- keys ----------------------------------------------------------------------------------------------------------

ODD = ["with space", "tab\there", "new\r\nset x 0 0 1\r\ny\r\n", "nul\0", "l" * 251, "\x7f"]


@pytest.mark.parametrize("key", ODD)
def test_a_key_that_memcached_cannot_have(memcached: Memcached, key: str) -> None:
    assert play(memcached, "route-run = NAME:AT,key=${HTTP_X}").get(headers={"X": key}).asked
    reply = play(memcached, "route-run = NAMEstore:AT,key=${HTTP_X}").get(headers={"X": key})
    assert reply.body == b"hello"
    (line,) = reply.log
    assert line.endswith("memcached can have no item of that name")
    assert memcached.get("x") is None


@pytest.mark.parametrize("key", [*ODD, "\xe9", "l" * 5000, "*1\r\n$8\r\nFLUSHALL\r\n"])
def test_any_key_is_one_of_redis(redis: Redis, key: str) -> None:
    redis.set("stays", b"there")
    assert not play(redis, "route-run = NAMEstore:AT,key=${HTTP_X}").get(headers={"X": key}).log
    assert play(redis, "route-run = NAME:AT,key=${HTTP_X}").get(headers={"X": key}, app=answer(b"no")).body == b"hello"
    assert redis.get("stays") == b"there"


def test_keys_of_bytes(memcached: Memcached) -> None:
    for key in ("\xe9\xff", "l" * 250):
        assert not play(memcached, "route-run = NAMEstore:AT,key=${HTTP_X}").get(headers={"X": key}).log
        assert not play(memcached, "route-run = NAME:AT,key=${HTTP_X}").get(headers={"X": key}).asked


def test_what_is_no_string_in_redis(redis: Redis) -> None:
    redis.command("RPUSH", "list", "x")
    reply = play(redis, "route-run = NAME:AT,key=list").get()
    assert reply.asked
    assert reply.log == ["redis list: WRONGTYPE Operation against a key holding the wrong kind of value"]


# -- addresses -----------------------------------------------------------------------------------------------------


def test_other_forms_of_an_address(redis: Redis, memcached: Memcached) -> None:
    redis.set("where", b"here")
    memcached.set("where", b"here")
    addresses = [
        redis.socket,
        f"localhost:{redis.port}",
        f"redis://127.0.0.1:{redis.port}",
        f"redis://localhost:{redis.port}/0",
    ]
    for address in addresses:
        reply = Playground(f"route-run = redis:addr={address},key=where").get()
        assert reply.body == b"here", address
    assert Playground(f"route-run = memcached:addr=localhost:{memcached.port},key=where").get().body == b"here"
    made = Playground("route-run = redis:addr=${HTTP_X},key=where")
    assert made.get(headers={"X": redis.address}).body == b"here"


def test_another_database(redis: Redis) -> None:
    url = f"redis://127.0.0.1:{redis.port}"
    Playground(f"route-run = redisstore:addr={url}/3,key=third").get()
    assert Playground(f"route-run = redis:addr={url}/3,key=third").get(app=answer(b"no")).body == b"hello"
    assert Playground(f"route-run = redis:addr={url},key=third").get(app=answer(b"no")).body == b"no"


def test_a_server_with_a_password(started: Servers) -> None:
    closed = started.daemon(Redis, "--requirepass", "se/cr et")
    url = f"redis://:se%2Fcr%20et@127.0.0.1:{closed.port}"
    assert Playground(f"route-run = redisstore:addr={url},key=k").get().log == []
    assert Playground(f"route-run = redis:addr={url},key=k").get(app=answer(b"no")).body == b"hello"
    for wrong in (closed.address, url.replace("se%2F", "SE")):
        reply = Playground(f"route-run = redis:addr={wrong},key=k").get()
        assert reply.status == 502
        kept = Playground(f"route-run = redisstore:addr={wrong},key=k").get()
        assert kept.body == b"hello"
        assert len(kept.log) == 1
        assert "cr%20et" not in kept.log[0]
        assert "cr et" not in kept.log[0]


@pytest.mark.parametrize("password", ["pw-secret", "pw\\,secret", "pw:secret", "pw@secret", "pw%40secret"])
def test_a_password_is_not_shown(password: str) -> None:
    rules = Playground(f"route-run = redis:addr=redis://user:{password}@127.0.0.1:1/2,key=a@b")
    reply = rules.get()
    assert reply.status == 502
    for text in (*reply.log, rules.table.describe()[1]):
        assert "secret" not in text
        assert "***@127.0.0.1:1/2,key=a@b" in text
    with pytest.raises(ConfigError) as caught:
        Playground(f"route-run = redis:addr=redis://user:{password}@127.0.0.1:1/2/3,key=k")
    assert "secret" not in str(caught.value)


def test_a_server_behind_tls(started: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, port = certified(tmp_path, "localhost"), free_port()
    tls = ["--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", str(files.authority)]
    tls += ["--tls-cert-file", str(files.certificate), "--tls-key-file", str(files.key)]
    started.daemon(Redis, *tls).set("k", b"value")
    rules = Playground(f"route-run = redis:addr=rediss://localhost:{port},key=k")
    refused = rules.get()
    assert refused.status == 502
    assert "CERTIFICATE_VERIFY_FAILED" in refused.log[0]
    monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))
    assert rules.get().body == b"value"
    other = Playground(f"route-run = redis:addr=rediss://127.0.0.1:{port},key=k").get()
    assert other.status == 502, "the certificate has another name"


# -- without the server --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_nobody_is_there(name: str) -> None:
    at = f"{name}:addr=127.0.0.1:1,key=k"
    reply = Playground(f"route-run = {at}").get()
    assert (reply.status, reply.header("X-Uwsgirouter-Cause")) == (502, "service-failed")
    forgiven = Playground(f"route-run = {at.replace(':', '-continue:', 1)}").get()
    assert forgiven.body == b"hello"
    kept = Playground(f"route-run = {at.replace(':', 'store:', 1)}").get()
    assert kept.body == b"hello"
    for line in (*forgiven.log, *kept.log):
        assert line.startswith((f"{name} k: {name} 127.0.0.1:1: ", f"{name}store k: {name} 127.0.0.1:1: "))
        assert "refused" in line
    assert len(forgiven.log) == len(kept.log) == 1


@pytest.mark.parametrize("name", KINDS)
def test_an_address_that_is_none(name: str) -> None:
    rules = Playground(
        f"route = ^/go {name}-continue:addr=${{HTTP_X}},key=k\nroute = ^/get {name}:addr=${{HTTP_X}},key=k"
    )
    for text in ("", "host:port", "nul\0", "[::1", "\xff:1"):
        assert rules.get("/go", {"X": text}).body == b"hello"
        assert rules.get("/get", {"X": text}).status == 502


GARBAGE = [
    b"",
    b"\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"VALUE k 0 notanumber\r\n",
    b"VALUE k\r\n",
    b"VALUE other 0 2\r\nab\r\nEND\r\n",
    b"VALUE k 0 100\r\nab",
    b"$notanumber\r\n",
    b"$100\r\nab",
    b"*-1\r\n",
    b":12\r\n",
    b"+OK\r\n",
    b"-LOADING Redis is loading the dataset in memory\r\n",
    b"\xff" * 100,
]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("said", GARBAGE)
def test_somebody_who_speaks_nonsense(started: Servers, name: str, said: bytes) -> None:
    def handler(connection: Connection) -> None:
        connection.read(1)
        connection.send(said)

    node = started.node(handler)
    host = PlayHost()
    reply = Playground(f"route-run = {name}-continue:addr={node.address},key=k", host).get(app=answer(b"app"))
    assert reply.status == 200
    plain = Playground(f"route-run = {name}:addr={node.address},key=k", host).get(app=answer(b"app"))
    assert plain.status in (200, 502)


# -- rules that cannot be ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ("NAME:key=k", "addr= is missing"),
        ("NAME:addr=127.0.0.1:1", "key= is missing"),
        ("NAMEstore:addr=127.0.0.1:1", "key= is missing"),
        ("NAME:addr=127.0.0.1:x,key=k", "127.0.0.1:x"),
        ("NAME-continue:addr=127.0.0.1:70000,key=k", "70000"),
        ("NAME:addr=127.0.0.1:1,key=k,type=half", "type is half, expected body or full"),
        ("NAME:addr=127.0.0.1:1,key=k,status=ok", "status is ok"),
        ("NAMEstore:addr=127.0.0.1:1,key=k,expires=soon", "expires is soon, expected a number from 0 to 1000000000"),
        ("NAME-store:addr=127.0.0.1:1,key=k,expires=-1", "expires is -1"),
        ("NAMEstore:addr=127.0.0.1:1,key=k,max_size=1g", "max_size is 1g"),
    ],
)
@pytest.mark.parametrize("name", KINDS)
def test_a_rule_that_cannot_be(name: str, rule: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        Playground(f"route-run = {rule.replace('NAME', name)}")


@pytest.mark.parametrize(
    "url", ["redis://", "redis://host:port", "redis://h/one", "redis://h?socket_timeout=9", "redis://h#x", "redis://[h"]
)
def test_a_url_that_cannot_be(url: str) -> None:
    with pytest.raises(ConfigError, match="the URL of a Redis server"):
        Playground(f"route-run = redis:addr={url},key=k")


@pytest.mark.parametrize("name", KINDS)
def test_an_argument_that_means_nothing_is_told(name: str) -> None:
    rules = Playground(f"route-run = {name}:addr=127.0.0.1:1,key=k,content-type=a/b")
    assert "content-type= means nothing here; did you mean content_type=?" in rules.warnings[0]


def test_rules_with_the_same_server_share_it() -> None:
    for module in (memcached_actions, redis_actions):
        assert module.STORE.reach("127.0.0.1:7") is module.STORE.reach("127.0.0.1:7")
        assert module.STORE.reach("127.0.0.1:7") is not module.STORE.reach("127.0.0.1:8")


def test_a_silent_server_is_given_up(started: Servers, store: Store) -> None:
    module = {"memcached": memcached_actions, "redis": redis_actions}[store.name]
    service = module.STORE.reach(store.address)
    items = service.connect(Timing(10, 0.2, 1))
    try:
        assert items.get(b"silent") is None
        began = time.monotonic()
        with store.frozen(), pytest.raises(service.failures):
            items.get(b"silent")
        assert time.monotonic() - began < 10
    finally:
        service.close(items)


# -- the extras ----------------------------------------------------------------------------------------------------

WITHOUT = """
import sys
sys.modules["redis"] = sys.modules["pymemcache"] = None
from tests.rules.made import Playground
from uwsgirouter.errors import ConfigError
from uwsgirouter.rules import parts
assert {"redis", "memcached"} <= parts.load().actions.keys()
assert Playground("route-run = return:204").get().status == 204
for name in ("redis", "memcached"):
    for rule in (name, name + "-continue", name + "store", name + "-store"):
        for address in ("127.0.0.1:1", "${HTTP_X}"):
            try:
                Playground(f"route-run = {rule}:addr={address},key=k")
            except ConfigError as error:
                print(rule, str(error).partition(": it needs ")[2])
"""


def test_without_the_libraries_the_start_says_which() -> None:
    text = run(WITHOUT)
    for name, library in (("redis", "redis"), ("memcached", "pymemcache")):
        for rule in (name, f"{name}-continue", f"{name}store", f"{name}-store"):
            assert text.count(f"{rule} {library}, which is not installed: pip install 'uwsgirouter[{name}]'\n") == 2


LOADED = """
import sys
from tests.rules.made import Playground
Playground("route-run = cacheset:key=a,value=b")
print(sorted({"redis", "pymemcache"} & sys.modules.keys()))
Playground("route-run = redis:addr=127.0.0.1:1,key=b")
print(sorted({"redis", "pymemcache"} & sys.modules.keys()))
Playground("route-run = memcachedstore:addr=127.0.0.1:1,key=b")
print(sorted({"redis", "pymemcache"} & sys.modules.keys()))
"""


def test_libraries_are_imported_when_a_rule_names_them() -> None:
    assert run(LOADED).split("\n")[:3] == ["[]", "['redis']", "['pymemcache', 'redis']"]


def run(code: str) -> str:
    env = {**os.environ, **environment(None)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout
