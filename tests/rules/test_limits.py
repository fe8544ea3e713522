"""limit and concurrency: what rules do, and the memory that processes count in together."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rules.made import Playground, PlayHost, packet_for
from tests.servers import wait_until
from uwsgirouter.errors import ConfigError
from uwsgirouter.model.buckets import Rate
from uwsgirouter.rules import limit_memory
from uwsgirouter.rules.base import ChainName
from uwsgirouter.rules.limit_memory import LimitMemory, StripeLocks


@pytest.fixture
def memory() -> Iterator[LimitMemory]:
    made = LimitMemory(65536)
    yield made
    made.close()


@pytest.fixture
def host(memory: LimitMemory) -> PlayHost:
    return PlayHost(buckets=memory.buckets, holds=memory.holds(0))


SLOW = "limit:key=${REMOTE_ADDR},rate=2/h"


def test_over_the_limit_is_429_with_a_retry_after_that_holds(host: PlayHost) -> None:
    play = Playground(f"route-run = {SLOW}", host)
    assert [play.get().status for _ in range(3)] == [200, 200, 429]
    reply = play.get()
    assert not reply.asked
    assert reply.exchange.cause.value.word == "limited"
    assert "127.0.0.1 is over 2/h, and may come again in" in reply.exchange.response.detail
    assert reply.header("X-Uwsgirouter-Cause") == "limited"
    assert 1790 <= int(reply.header("Retry-After") or 0) <= 1800
    assert reply.header("RateLimit-Limit") == "2"
    assert reply.header("RateLimit-Remaining") == "0"
    assert reply.header("RateLimit-Reset") == reply.header("Retry-After")
    assert reply.log == [], "the line about the request is enough"
    assert play.get(REMOTE_ADDR="192.0.2.7").status == 200


def test_an_answer_that_passes_is_left_alone_or_told(host: PlayHost) -> None:
    play = Playground(f"route-run = {SLOW}", host)
    exchange = play.exchange(packet_for())
    play.table.run(ChainName.REQUEST, exchange)
    assert not exchange.has_response
    told = Playground(f"route-run = {SLOW},headers", host).get()
    assert [told.header(f"RateLimit-{name}") for name in ("Limit", "Remaining", "Reset")] == ["2", "1", "1800"]


def test_the_burst_may_be_another(host: PlayHost) -> None:
    play = Playground("route-run = limit:key=all,rate=1/h,burst=5", host)
    assert [play.get().status for _ in range(7)] == [200] * 5 + [429] * 2


def test_a_request_without_a_key_is_not_limited(host: PlayHost) -> None:
    play = Playground("route-run = limit:key=${HTTP_X_KEY},rate=1/h", host)
    assert [play.get().status for _ in range(3)] == [200] * 3
    assert [play.get(headers={"X-Key": "a"}).status for _ in range(2)] == [200, 429]


def test_an_ipv6_address_counts_as_its_network(host: PlayHost) -> None:
    play = Playground("route-run = limit:key=${REMOTE_ADDR},v6=56,rate=1/h", host)

    def passes(address: str) -> bool:
        return play.get(REMOTE_ADDR=address).status == 200

    assert passes("2001:db8:1:200::1")
    assert not passes("2001:db8:1:2ff:5::9")
    assert "2001:db8:1:200::/56 is over" in play.get(REMOTE_ADDR="2001:db8:1:201::").exchange.response.detail
    assert passes("2001:db8:1:300::1")
    assert passes("192.0.2.1")
    assert not passes("::ffff:192.0.2.1")
    assert passes("::ffff:192.0.2.2")
    assert passes("no: address")
    whole = Playground("route-run = limit:key=${REMOTE_ADDR},v6=0,rate=1/h", host)
    assert [whole.get(REMOTE_ADDR=address).status for address in ("2001::1", "fe80::1")] == [200, 429]


def test_rules_share_a_bucket_by_name_only(host: PlayHost) -> None:
    apart = Playground(f"route = ^/a {SLOW}\nroute = ^/b {SLOW}", host)
    assert [apart.get(path).status for path in ("/a", "/a", "/a", "/b", "/b", "/b")] == [200, 200, 429] * 2
    shared = Playground(f"route = ^/a {SLOW},name=x\nroute = ^/b {SLOW},name=x", host)
    assert [shared.get(path).status for path in ("/a", "/b", "/a", "/b")] == [200, 200, 429, 429]
    assert "limit x: 127.0.0.1" in shared.get("/a").exchange.response.detail


def test_a_reload_that_leaves_the_rule_as_it_is_goes_on_counting(host: PlayHost) -> None:
    before = Playground(f"route-run = {SLOW}", host)
    assert [before.get().status for _ in range(3)] == [200, 200, 429]
    assert Playground(f"route-run = addvar:A=b\nroute-run = {SLOW}", host).get().status == 429
    assert Playground(f"route-run = {SLOW},burst=3", host).get().status == 200


def test_log_only_refuses_nobody(host: PlayHost) -> None:
    play = Playground(f"route-run = {SLOW},name=new,log_only,var=OVER\nroute-run = addheader:X-Over: [${{OVER}}]", host)
    replies = [play.get() for _ in range(3)]
    assert [reply.status for reply in replies] == [200] * 3
    assert [reply.header("X-Over") for reply in replies] == ["[]", "[]", "[1]"]
    assert replies[2].header("Retry-After") is None
    (line,) = replies[2].log
    assert line.startswith("limit new: 127.0.0.1 is over 2/h")
    assert line.endswith("(log_only: it goes on)")


def test_an_answer_of_the_rule(host: PlayHost) -> None:
    play = Playground(f"route-run = {SLOW},status=503,message=Slow down\\, please.", host)
    play.get(), play.get()
    reply = play.get()
    assert (reply.status, reply.body) == (503, b"Slow down, please.")
    assert int(reply.header("Retry-After") or 0) > 1000
    assert reply.header("X-Uwsgirouter-Cause") == "limited"
    assert len(reply.log) == 1


def test_the_error_chain_has_its_say(host: PlayHost) -> None:
    play = Playground(f"route-run = {SLOW}\nerror-route-status = 429 redirect:/slow", host)
    play.get(), play.get()
    reply = play.get()
    assert (reply.status, reply.header("Location")) == (302, "/slow")
    assert reply.header("Retry-After")


def test_answers_can_be_counted(host: PlayHost) -> None:
    """Wrong passwords, say."""
    play = Playground(f"error-route-status = 401 {SLOW}", host)
    wrong = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    assert [play.get(app=wrong).status for _ in range(4)] == [401, 401, 429, 429]
    assert play.get().status == 200


def test_concurrency_counts_until_the_end(host: PlayHost) -> None:
    play = Playground("route-run = concurrency:key=${REMOTE_ADDR},most=2", host)
    play.ends = False
    one, two, three = (play.get() for _ in range(3))
    assert [one.status, two.status, three.status] == [200, 200, 429]
    assert three.header("Retry-After") == "1"
    assert "has 2 requests under way" in three.exchange.response.detail
    assert play.get(REMOTE_ADDR="192.0.2.7").status == 200
    three.exchange.release()
    assert play.get().status == 429
    one.exchange.release()
    one.exchange.release()
    assert [play.get().status for _ in range(2)] == [200, 429]


def test_concurrency_in_log_only(host: PlayHost) -> None:
    play = Playground("route-run = concurrency:key=a,most=1,log_only,queue=5", host)
    play.ends = False
    assert [play.get().status for _ in range(3)] == [200] * 3
    assert len(host.lines) == 2
    assert not play.table.waits(play.get().exchange.chain)


def test_what_is_held_after_the_end_is_let_go_at_once(host: PlayHost) -> None:
    exchange = Playground("route-run = last:", host).exchange(b"\0\0\0\0")
    told: list[int] = []
    exchange.hold(lambda: told.append(1))
    assert exchange.holds
    exchange.release()
    assert not exchange.holds
    exchange.hold(lambda: told.append(2))
    assert told == [1, 2]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("limit:rate=1/s", "key= is missing"),
        ("limit:key=a", "rate= is missing"),
        ("limit:key=a,rate=1", "expected a whole number and /s, /m, /h or /d"),
        ("limit:key=a,rate=0/s", "expected a whole number"),
        ("limit:key=a,rate=10/w", "expected a whole number"),
        ("limit:key=a,rate=1/s,burst=0", "burst is 0"),
        ("limit:key=a,rate=1/d,burst=1000", "would need 1000 days to fill"),
        ("limit:key=a,rate=1/s,status=200", "expected a number from 400 to 599"),
        ("limit:key=a,rate=1/s,v6=129", "v6 is 129, expected a number from 0 to 128"),
        ("limit:key=a,rate=1/s,burts=2", "did you mean burst=?"),
        ("limit:key=a,rate=1/s,log_only,message=x", "mean nothing with log_only"),
        ("concurrency:key=a,most=0", "most is 0"),
        ("concurrency:key=a", "most= is missing"),
        ("concurrency:key=a,most=2,timeout=3", "means nothing without queue="),
        ("concurrency:key=a,most=2,queue=3,timeout=60", "given up after fastrouter-timeout"),
    ],
)
def test_what_is_wrong_is_told(rule: str, words: str) -> None:
    try:
        play = Playground(f"route-run = {rule}")
    except ConfigError as error:
        assert words in str(error)
    else:
        assert words in "\n".join(play.warnings)


@pytest.mark.parametrize(
    "rule", ["final-route-run = limit:key=a,rate=1/s", "error-route-run = concurrency:key=a,most=1"]
)
def test_chains_in_which_it_is_too_late(rule: str) -> None:
    with pytest.raises(ConfigError, match=r"final chain|chain request"):
        Playground(rule)


# -- processes -------------------------------------------------------------------------------------------------------


def child(work: Callable[[], int]) -> tuple[int, int]:
    """Pid, and a descriptor from which the number comes that ``work`` returns in a forked child."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, b"%d" % work())
        os._exit(0)
    os.close(writer)
    return pid, reader


def result(started: tuple[int, int]) -> int:
    pid, reader = started
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return int(text)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, nobody goes on without the lock."""
    monkeypatch.setattr(limit_memory, "PATIENCE", 60.0)


@pytest.mark.usefixtures("patient")
def test_processes_give_out_exactly_what_there_is(memory: LimitMemory) -> None:
    rate, now = Rate(10**12, 2000), time.monotonic_ns()

    def work() -> int:
        return sum(memory.buckets.take(b"l", b"%d" % (turn % 3), rate, now) <= 0 for turn in range(3000))

    started = [child(work) for _ in range(4)]
    assert sum(map(result, started)) == 3 * 2000


@pytest.mark.usefixtures("patient")
def test_processes_never_let_one_too_many_in(memory: LimitMemory, tmp_path: Path) -> None:
    """Two may be in, and there are two chairs: who is in finds one."""
    chairs = os.open(tmp_path / "chairs", os.O_RDWR | os.O_CREAT)

    def work(row: int) -> int:
        own, standing, seated = memory.holds(row), 0, StripeLocks(chairs)
        for _ in range(1500):
            cell = own.take(b"l", b"k", 2)
            if cell >= 0:
                chair = next((chair for chair in (0, 1) if sits(chairs, chair)), None)
                standing += chair is None
                if chair is not None:
                    seated.leave(chair)
                own.release(cell)
        return standing

    started = [child(lambda row=row: work(row)) for row in range(4)]  # type: ignore[misc]
    assert sum(map(result, started)) == 0
    assert memory.holds(5).count(b"l", b"k") == 0
    os.close(chairs)


def sits(descriptor: int, chair: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, chair)
    except OSError:
        return False
    return True


def test_what_a_dead_worker_held_is_free(memory: LimitMemory) -> None:
    def work() -> int:
        own = memory.holds(3)
        return sum(own.take(b"l", b"k", 10) >= 0 for _ in range(10))

    mine = memory.holds(1)
    assert result(child(work)) == 10
    assert mine.count(b"l", b"k") == 10
    memory.release_row(3)
    assert mine.count(b"l", b"k") == 0


def holder(memory_locks: StripeLocks, stripe: int) -> int:
    """A process that holds a lock for ever; its pid."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, b"1" if memory_locks.enter(stripe) else b"0")
        signal.pause()
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"1"
    os.close(reader)
    return pid


def test_a_holder_that_is_stopped_stops_nobody_and_a_dead_one_holds_nothing(memory: LimitMemory) -> None:
    locks = memory.buckets._locks
    assert isinstance(locks, StripeLocks)
    pid = holder(locks, 5)
    try:
        began = time.monotonic()
        assert [locks.enter(5) for _ in range(1000)] == [False] * 1000
        assert time.monotonic() - began < 10, "all but the first do not wait"
        assert locks.enter(6)
        locks.leave(6)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    wait_until(lambda: locks.enter(5), 10, "the lock is free")
    locks.leave(5)


def test_the_memory_outlives_the_program_that_made_it(memory: LimitMemory) -> None:
    assert memory.buckets.take(b"l", b"k", Rate(10**15, 1), 1) <= 0
    own = memory.holds(1)
    own.take(b"l", b"k", 1)
    rows = memory.handed(os.dup)
    other = LimitMemory.inherited(json.loads(json.dumps(rows)))
    assert other is not None
    assert other.buckets.take(b"l", b"k", Rate(10**15, 1), 1) > 0
    assert other.holds(2).count(b"l", b"k") == 1
    other.release_row(1)
    assert own.count(b"l", b"k") == 0
    other.close()
    assert LimitMemory.inherited({**memory.handed(os.dup), "shape": [1, 2, 3]}) is None
