"""The command's arguments, the order of turns, the rounds, configurations of the partners; what it exits with."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

import pytest

from scripts.bench import __main__ as command
from scripts.bench import instructions, nginx, peers
from scripts.bench.experiment import Done, Experiment, Figure, Length, Sample, order, run, take_turns
from scripts.bench.figures import ALL, QUICK, sizes, waiting
from scripts.bench.fleet import Fleet, Lane, Layout, Placement, cores_of
from scripts.bench.peers import FASTROUTER, HAPROXY, OURS, STREAM, Wiring
from scripts.bench.processes import BenchError, CpuReading, Daemon
from tests.bench.test_report import LANES, SMALL, START, found

LENGTH = Length(3, 1, 1, 1)


class Router:
    """In the place of a daemon: each reading of its CPU costs it what it is told."""

    def __init__(self, cost: float) -> None:
        self.used = 0.0
        self.cost = cost

    def cpu(self) -> CpuReading:
        return CpuReading(self.used, frozenset({1}))

    def log_end(self) -> str:
        return "its log"


def lanes(*names: str) -> list[Lane]:
    """Without daemons."""
    return [Lane(name, "", cast(Daemon, None)) for name in names]


def test_turns_alternate_and_swap_their_order() -> None:
    assert "".join(lane.name for lane in order(lanes("A", "B"), 4)) == "ABBAABBA"
    assert [lane.name for lane in order(lanes("A"), 3)] == ["A", "A", "A"]
    assert "".join(lane.name for lane in order(lanes("A", "B", "C"), 2)) == "ABCCBA"


def test_turns_make_cpu_for_each_unit_and_medians_of_what_is_seen() -> None:
    seen = iter([9.0, 8.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    sample, turns = Sample(), list[str]()
    with Fleet(Layout([])) as fleet:
        routers = {name: Router(cost) for name, cost in (("A", 2.0), ("B", 3.0))}
        fleet.lanes += [Lane(name, "", cast(Daemon, router)) for name, router in routers.items()]

        def load(lane: Lane) -> Done:
            turns.append(lane.name)
            routers[lane.name].used += routers[lane.name].cost
            return Done(4, {"p99": next(seen)})

        take_turns(fleet, SMALL, 1e6, load, 3, sample)
    assert "".join(turns) == "AB" + "ABBAAB"
    assert sample.values["small"] == {"A": 0.5e6, "B": 0.75e6}
    assert sample.done == {"A": 12, "B": 12}
    assert sample.values["p99"] == {"A": 4.0, "B": 3.0}


def test_a_failed_turn_names_the_lane_and_shows_its_log() -> None:
    def load(lane: Lane) -> Done:
        raise BenchError("3 requests failed")

    with Fleet(Layout([])) as fleet:
        router = cast(Daemon, Router(1.0))
        fleet.lanes.append(Lane("A", "", router))
        fleet.daemons.append(router)
        router.name = "A"
        with pytest.raises(BenchError, match=r"A: 3 requests failed\nits log"):
            take_turns(fleet, SMALL, 1.0, load, 1, Sample())


def test_rounds_go_over_all_experiments_and_end_in_time() -> None:
    made: list[str] = []

    def of(key: str, most: int = 100) -> Experiment:
        def measure(layout: Layout, length: Length) -> Sample:
            made.append(key)
            return Sample({SMALL.key: {"A": 1.0}})

        return Experiment(key, (SMALL,), measure, most)

    said: list[str] = []
    later = time.monotonic() + 60
    results = run(Layout([]), [of("a"), of("b", 1)], LENGTH, said.append, later)
    assert made == ["a", "b", "a", "a"]
    assert results["a"].of("small", "A") == [1.0] * 3
    assert results["a"].of("small", "B") == []
    made.clear()
    run(Layout([]), [of("a"), of("b")], LENGTH, said.append, time.monotonic() - 1)
    assert made == ["a", "b"]
    assert said[-1] == "time is up: 1 rounds were made of a and what follows it"


def test_an_experiment_that_found_nothing_is_said() -> None:
    said: list[str] = []
    one = Experiment("a", (SMALL,), lambda layout, length: Sample())
    run(Layout([]), [one], Length(1, 1, 1, 1), said.append, 0)
    assert said == ["round 1, a: nothing, what it needs is not here"]


def test_placements() -> None:
    assert cores_of(Placement.TOGETHER, (0, 1, 2)) == ({2}, {2})
    assert cores_of(Placement.APART, (0, 1, 2)) == ({2}, {0, 1})
    assert cores_of(Placement.FREE, (0, 1, 2)) == ({0, 1, 2}, {0, 1, 2})
    with pytest.raises(BenchError, match="two cores"):
        cores_of(Placement.APART, (0,))


def test_arguments_fill_in_the_lengths() -> None:
    quick = command.arguments_from(["--quick", "--rounds", "7"])
    assert (quick.rounds, quick.seconds) == (7, command.LENGTHS[True]["seconds"])
    assert [one.key for one in command.experiments(quick)] == [one.key for one in ALL if one.key in QUICK]
    normal = command.arguments_from(["--figures", "unix", "static"])
    assert normal.rounds == command.LENGTHS[False]["rounds"]
    assert [one.key for one in command.experiments(normal)] == ["static", "unix"]
    assert command.experiments(command.arguments_from([])) == list(ALL)
    assert command.length(command.arguments_from(["--body-megabytes", "2"])).body == 2 << 20


def test_lanes_are_who_was_asked_for() -> None:
    floors = [HAPROXY, STREAM]
    assert command.lanes(command.arguments_from([]), floors) == [*LANES, (HAPROXY, HAPROXY), (STREAM, STREAM)]
    assert command.lanes(command.arguments_from(["--no-floors"]), floors) == LANES
    assert command.lanes(command.arguments_from(["--quick"]), floors) == LANES
    assert command.lanes(command.arguments_from(["--only", "ours"]), floors) == [(OURS, OURS)]
    assert [kind for _, kind in command.lanes(command.arguments_from(["--noise-floor"]), floors)] == [FASTROUTER] * 2


@pytest.mark.parametrize(
    "argv", [["--rounds", "0"], ["--seconds", "x"], ["--only", "ours", "--noise-floor"], ["--figures", "nonsense"]]
)
def test_bad_arguments_are_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.arguments_from(argv)
    assert "error:" in capsys.readouterr().err


def test_bounds_are_judged_when_quick_and_targets_when_asked() -> None:
    between = found(SMALL, LANES, fastrouter=[1.0], ours=[0.95])
    above = found(SMALL, LANES, fastrouter=[1.0], ours=[1.1])
    late = found(START, LANES, fastrouter=[1.0], ours=[2000.0])
    rows = [between, above, late]
    assert command.missed(rows, quick=False, enforce=False) == []
    assert command.missed(rows, quick=True, enforce=False) == [SMALL.title]
    assert command.missed(rows, quick=False, enforce=True) == [SMALL.title, SMALL.title, START.title]


def test_figures_have_keys_of_their_own() -> None:
    keys = [figure.key for one in ALL for figure in one.figures]
    assert len(set(keys)) == len(keys)
    assert len({one.key for one in ALL}) == len(ALL)
    assert set(QUICK) <= {one.key for one in ALL}
    guarded = {one.key for one in ALL if any(figure.guard for figure in one.figures)}
    assert guarded == set(QUICK)


def test_points_of_the_plots_are_at_their_sizes() -> None:
    for one in sizes.EXPERIMENTS:
        assert [figure.at for figure in one.figures] == list(sizes.SIZES)
        assert [figure.most for figure in one.figures if figure.at == sizes.SHOWN] == [0.6]


def test_no_more_sessions_than_the_limit_of_open_files_allows() -> None:
    assert waiting.fitting([0, 1000, 10_000], 65_536) == {0: 0, 1000: 1000, 10_000: 10_000}
    assert waiting.fitting([0, 1000, 10_000], 4096) == {0: 0, 1000: 1000, 10_000: (4096 - waiting.SPARE) // 2}


def test_totals_of_callgrind() -> None:
    assert instructions.counted("events: Ir\nsummary: 28447072\n\ntotals: 28447072\n") == 28447072
    with pytest.raises(BenchError, match="no total"):
        instructions.counted("events: Ir\n")


def test_nginx_has_a_server_per_router(tmp_path: Path) -> None:
    text = nginx.configuration(tmp_path, {"127.0.0.1:1001": "127.0.0.1:2001", "127.0.0.1:1002": "/run/2.sock"}, "8k")
    assert text.count("{") == text.count("}")
    for number, router in (("1", "127.0.0.1:2001"), ("2", "unix:/run/2.sock")):
        server = text[text.index(f"listen 127.0.0.1:100{number};") :]
        assert server[: server.index("}")].endswith(f"uwsgi_pass {router}; ")
    assert "uwsgi_buffering off;" in text
    assert "uwsgi_request_buffering off;" in text


@pytest.mark.parametrize("kind", [FASTROUTER, OURS])
def test_both_routers_are_told_the_same(kind: str, tmp_path: Path) -> None:
    argv = peers.command(kind, Wiring("127.0.0.1:1", "/run/n.sock", "127.0.0.1:2", 2, ("--more",)), tmp_path)
    words = " ".join(argv)
    for part in (
        "--fastrouter 127.0.0.1:1",
        "--fastrouter-to /run/n.sock",
        "--fastrouter-subscription-server 127.0.0.1:2",
        "--fastrouter-processes 2",
        "--more",
    ):
        assert part in words


def test_relays_pass_on_to_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.bench.programs.look_for", lambda name: f"/usr/sbin/{name}")
    monkeypatch.setattr("scripts.bench.peers.stream_module", lambda: "load_module x.so;\n")
    wiring = Wiring("127.0.0.1:1", "/run/n.sock", processes=2)
    assert peers.command(HAPROXY, wiring, tmp_path)[:2] == ["/usr/sbin/haproxy", "-db"]
    text = (tmp_path / "haproxy.cfg").read_text()
    assert "bind 127.0.0.1:1 " in text
    assert "server node unix@/run/n.sock" in text
    assert "nbthread 2" in text
    peers.command(STREAM, wiring, tmp_path)
    text = (tmp_path / "nginx.conf").read_text()
    assert text.startswith("load_module x.so;")
    assert "listen 127.0.0.1:1 backlog=1024; proxy_pass unix:/run/n.sock;" in text
    assert "worker_processes 2;" in text
    with pytest.raises(BenchError, match="knows no subscriptions"):
        peers.command(HAPROXY, Wiring("127.0.0.1:1", subscriptions="127.0.0.1:2"), tmp_path)


def test_a_figure_is_told_apart_by_its_key() -> None:
    sample = Sample()
    sample.add(Figure("a", "", ""), "x", 1.0)
    sample.add(Figure("b", "", ""), "x", 2.0)
    sample.add(Figure("a", "", ""), "y", 3.0)
    assert sample.values == {"a": {"x": 1.0, "y": 3.0}, "b": {"x": 2.0}}
