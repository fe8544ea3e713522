"""Metrics: rules that count, the memory that they count in, thresholds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from tests.rules.made import Playground, PlayHost
from uwsgirouter.errors import ConfigError
from uwsgirouter.model.metrics import Metrics
from uwsgirouter.rules.metric_memory import MetricMemory
from uwsgirouter.settings.consistency import checked
from uwsgirouter.settings.metering import MOST, MetricSpec, metrics
from uwsgirouter.settings.settings import Settings

OPTIONS = "metric = hits\nmetric = name=level,initial_value=17,type=gauge\n"


@pytest.fixture
def memory() -> Iterator[MetricMemory]:
    made = MetricMemory()
    yield made
    made.close()


@pytest.fixture
def host(memory: MetricMemory) -> PlayHost:
    return PlayHost(metrics=memory.configure(metrics(Playground(OPTIONS + "route-run = last:").settings)))


def of(host: PlayHost) -> Metrics:
    assert isinstance(host.metrics, Metrics)
    return host.metrics


def test_rules_count(host: PlayHost) -> None:
    play = Playground(
        OPTIONS
        + """
        route-run = metricinc:hits
        route-run = metricinc:${HTTP_WHICH},${HTTP_BY}
        route-run = metricmul:level,2
        route-run = metricdec:level,4
        route-run = metricdiv:level,-3
        route-run = addheader:X: ${metric[hits]} ${metric[level]} ${metric[none]}
        """,
        host,
    )
    assert play.get("/", {"Which": "hits", "By": "41"}).header("X") == "42 -10 0"
    Playground(OPTIONS + "route-run = metricset:hits,7", host).get()
    assert of(host).get(b"hits") == 7


@pytest.mark.parametrize("rule", ["metricdiv:level,0", "metricinc:${HTTP_X}", "metricdiv:level,x"])
def test_what_cannot_be_counted_ends_the_request(host: PlayHost, rule: str) -> None:
    reply = Playground(f"{OPTIONS}route-run = {rule}", host).get()
    assert reply.status == 500 and not reply.asked
    assert of(host).get(b"level") == 17


def test_an_unknown_metric_is_told_at_start() -> None:
    play = Playground(f"{OPTIONS}route-run = metricinc:hist")
    assert "there is no metric hist" in play.warnings[0]
    assert play.get().status == 500


def test_numbers_go_round() -> None:
    cells = memoryview(bytearray(8)).cast("q")
    known = Metrics(cells, {b"m": 0}, nullcontext())
    known.set(b"m", (1 << 63) - 1)
    assert known.inc(b"m") and known.get(b"m") == -(1 << 63)


def test_names_keep_their_numbers_over_reloads(memory: MetricMemory) -> None:
    first = memory.configure([MetricSpec("a", 5), MetricSpec("b")])
    first.inc(b"a")
    second = memory.configure([MetricSpec("c", 3), MetricSpec("a", 100)])
    assert (second.get(b"a"), second.get(b"c")) == (6, 3)
    assert b"b" not in second and not second.inc(b"b")
    first.inc(b"b")
    assert memory.configure([MetricSpec("b")]).get(b"b") == 1


def test_the_memory_is_bounded(memory: MetricMemory) -> None:
    memory.configure([MetricSpec(f"m{number}") for number in range(MOST)])
    with pytest.raises(OverflowError, match="restart it"):
        memory.configure([MetricSpec("one more")])


def test_no_change_of_several_processes_is_lost(memory: MetricMemory) -> None:
    known = memory.configure([MetricSpec("m")])
    children = []
    for _ in range(4):
        child = os.fork()
        if not child:
            for _ in range(2000):
                known.inc(b"m")
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert known.get(b"m") == 8000


def test_the_lock_dies_with_its_holder(memory: MetricMemory) -> None:
    known = memory.configure([MetricSpec("m")])
    child = os.fork()
    if not child:
        memory._lock.__enter__()
        os._exit(9)
    os.waitpid(child, 0)
    assert known.inc(b"m")


def test_thresholds(host: PlayHost) -> None:
    play = Playground(
        OPTIONS
        + """
        alarm = ops log:
        metric-threshold = key=hits,value=2,alarm=ops,rate=10,msg=too many
        metric-threshold = key=level,value=20,reset=0,alarm=ops
        route = ^/hit metricinc:hits
        route = ^/up metricinc:level,3
        """,
        host,
    )
    play.get("/hit")
    assert host.alarms == []
    play.get("/hit")
    play.get("/hit")
    assert host.alarms == [("ops", b"too many")], "at most once in its rate"
    host.time += 10
    play.get("/hit")
    assert len(host.alarms) == 2
    play.get("/up")
    assert of(host).get(b"level") == 0
    assert host.alarms[2:] == [("ops", b"metric level reached 20")]


def test_a_threshold_that_signals_a_script() -> None:
    rules = "metric = m\nalarm = s signal:9\nmetric-threshold = key=m,value=1,alarm=s\nroute-run = metricinc:m"
    assert Playground(rules).table.scripts


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"metric": "a b"}, "letters, digits"),
        ({"metric": "name=a,initial_value=x"}, "expected a whole number"),
        ({"metric": "name=a,type=alias"}, "counter, gauge or absolute"),
        ({"metric": "name=a,collector=file"}, "expected manual"),
        ({"metric": "name=a,colour=red"}, "unknown key 'colour'|unknown key colour"),
        ({"metric": ["a", "a"]}, "there is one of that name"),
        ({"metric_threshold": "key=a,value=1,reset=0"}, "there is no metric a"),
        ({"metric": "a", "metric_threshold": "key=a,value=1,alarm=x"}, "there is no alarm x"),
        ({"metric": "a", "metric_threshold": "key=a,value=1"}, "nothing follows"),
        ({"metric": "a", "metric_threshold": "key=a,alarm=x"}, "expected key=NAME,value=NUMBER"),
    ],
)
def test_bad_options(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        checked(Settings.of(fastrouter="127.0.0.1:3017", **options), inherits_sockets=False)
