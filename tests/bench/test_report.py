"""From rounds to rows: ratios of pairs, verdicts, the table, JSON."""

from __future__ import annotations

import json

import pytest

from scripts.bench import report
from scripts.bench.arithmetic import ratios, spread
from scripts.bench.experiment import Experiment, Figure, Length, Results, Sample, disturbed
from scripts.bench.fleet import Layout
from scripts.bench.peers import FASTROUTER, HAPROXY, OURS

LANES = [(FASTROUTER, FASTROUTER), (OURS, OURS)]
SMALL = Figure("small", "small request", "us", most=0.9, guard=1.0)
START = Figure("start", "start", "ms", most=1000.0, absolute=True)


def results(figure: Figure, **lanes: list[float]) -> Results:
    """Rounds with these values."""
    rounds = zip(*lanes.values(), strict=True)
    return Results([Sample({figure.key: dict(zip(lanes, values, strict=True))}) for values in rounds])


def found(figure: Figure, lanes: list[tuple[str, str]], **values: list[float]) -> report.Row:
    """The row that these values make."""
    row = report.row(figure, results(figure, **values), lanes)
    assert row is not None
    return row


def test_the_ratio_is_taken_round_by_round() -> None:
    # Both twice as dear in the second round: no difference between the routers.
    assert ratios([10.0, 20.0, 12.0], [20.0, 40.0, 20.0]) == [0.5, 0.5, 0.6]
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


def test_the_ratio_is_no_quotient_of_medians() -> None:
    row = found(SMALL, LANES, fastrouter=[100.0, 200.0, 400.0], ours=[50.0, 220.0, 200.0])
    assert row.ratio is not None
    assert row.ratio.median == 0.5
    assert row.cost[OURS].median / row.cost[FASTROUTER].median == 1.0


def test_spread_is_robust_against_one_bad_round() -> None:
    figures = spread([1.0, 1.02, 0.98, 7.0, 1.01])
    assert (figures.median, figures.least, figures.greatest) == (1.01, 0.98, 7.0)
    assert figures.width == pytest.approx(6.02 / 1.01)


@pytest.mark.parametrize(
    ("ours", "passed", "guarded"),
    [([90.0, 90.0, 160.0], True, True), ([90.1, 90.1, 10.0], False, True), ([100.1, 100.1, 10.0], False, False)],
)
def test_targets_and_bounds(ours: list[float], passed: bool, guarded: bool) -> None:
    row = found(SMALL, LANES, fastrouter=[100.0] * 3, ours=ours)
    assert (row.passed, row.guarded) == (passed, guarded)
    assert report.table([row], LANES).endswith("pass" if passed else "MISSED")
    assert report.table([row], LANES, guard=True).endswith("pass" if guarded else "MISSED")


@pytest.mark.parametrize(("ours", "passed"), [(1000.0, True), (1001.0, False)])
def test_an_absolute_target_is_about_our_figure_alone(ours: float, passed: bool) -> None:
    row = found(START, LANES, fastrouter=[1.0], ours=[ours])
    assert row.passed is passed
    alone = found(START, [(OURS, OURS)], ours=[ours])
    assert (alone.passed, alone.ratio) == (passed, None)
    other = found(START, [(FASTROUTER, FASTROUTER)], fastrouter=[ours])
    assert other.passed is None


def test_no_verdict_without_both_routers() -> None:
    lanes = [(FASTROUTER, FASTROUTER), ("again", FASTROUTER)]
    again = found(SMALL, lanes, fastrouter=[1.0], again=[3.0])
    assert again.ratio is not None
    assert (again.ratio.median, again.passed, again.guarded) == (3.0, None, None)
    alone = found(SMALL, [(OURS, OURS)], ours=[3.0])
    assert (alone.ratio, alone.passed) == (None, None)
    assert report.cells(alone, [OURS])[1] == "3"


def test_a_relay_is_a_floor_and_no_partner_of_the_ratio() -> None:
    lanes = [*LANES, (HAPROXY, HAPROXY)]
    row = found(SMALL, lanes, fastrouter=[100.0, 100.0], ours=[95.0, 95.0], haproxy=[80.0, 90.0])
    assert row.ratio is not None
    assert row.ratio.median == 0.95
    assert row.floors == {HAPROXY: pytest.approx(0.85)}
    text = report.table([row], lanes)
    assert text.endswith("MISSED  haproxy 0.85")
    assert "haproxy" not in text.splitlines()[0]


def test_nobody_measured_is_no_row() -> None:
    one = Experiment("some", (SMALL, START), lambda layout, length: Sample())
    rows = report.rows([one], {"some": results(SMALL, fastrouter=[2.0], ours=[1.0])}, LANES)
    assert [row.figure for row in rows] == [SMALL]


def test_a_figure_of_nothing_has_no_ratio() -> None:
    assert found(SMALL, LANES, fastrouter=[0.0], ours=[1.0]).ratio is None


def test_the_table_has_a_line_for_each_figure_and_even_columns() -> None:
    rows = [
        found(SMALL, LANES, fastrouter=[123.456], ours=[0.001234]),
        found(START, LANES, fastrouter=[1.0], ours=[2.0]),
    ]
    head, first, second = report.table(rows, LANES).splitlines()
    assert first.index("us") == head.index("unit") == second.index("ms")
    assert "123  " in first
    assert "0.00123" in first
    assert "<= 1000 ms" in second


def test_points_of_plots_are_not_in_the_table() -> None:
    point = found(Figure("p", "a point", "us", series="responses", at=1), LANES, fastrouter=[1.0], ours=[1.0])
    target = found(
        Figure("q", "a point with a target", "us", 0.6, series="responses"), LANES, fastrouter=[1.0], ours=[1.0]
    )
    small = found(SMALL, LANES, fastrouter=[1.0], ours=[1.0])
    assert report.shown([point, target, small]) == [target, small]


def test_the_document_is_json_and_has_every_round() -> None:
    one = results(SMALL, fastrouter=[2.0, 4.0], ours=[1.0, 3.0])
    row = report.row(SMALL, one, LANES)
    assert row is not None
    document = json.loads(json.dumps(report.document([row], {"some": one}, {"rounds": 2}, {"kernel": "6"})))
    assert document["machine"] == {"kernel": "6"}
    assert document["results"]["small"]["ratio"] == {"median": 0.625, "least": 0.5, "greatest": 0.75}
    assert document["results"]["small"]["passed"] is True
    assert [sample["values"]["small"]["ours"] for sample in document["rounds"]["some"]] == [1.0, 3.0]


def test_busy_neighbours_are_named() -> None:
    loads = {
        "small": Results([Sample(neighbours=0.0), Sample(neighbours=0.01)]),
        "upload": Results([Sample(neighbours=0.3), Sample(neighbours=0.0)]),
        "none": Results(),
    }
    assert disturbed(loads, 0.05) == ["upload"]


def test_the_machine_names_the_router() -> None:
    about = report.machine()
    assert about["router"].startswith("uwsgirouter ")
    assert about["cores"].isdigit()
    assert all(about.values())


def test_lengths_and_layouts_are_plain_values() -> None:
    assert Length(1, 2, 3, 4).quick is False
    layout = Layout(lanes=[*LANES, (HAPROXY, HAPROXY)])
    assert layout.without_floors().lanes == LANES
