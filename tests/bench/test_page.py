"""What is drawn into the documentation: the page between its marks, and the plots."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from scripts.bench import page
from scripts.bench.experiment import Figure
from scripts.bench.peers import FASTROUTER, HAPROXY, OURS
from scripts.bench.plot import Axis, Line, Scale, plot, ticks
from scripts.bench.processes import BenchError
from scripts.bench.report import Row
from tests.bench.test_report import LANES, SMALL, START, found

SVG = "{http://www.w3.org/2000/svg}"


def points(series: str, *at: int) -> list[Row]:
    """Rows that are points of a plot; the C router's cost is what ``at`` is, ours half."""
    return [
        found(
            Figure(f"{series}-{one}", "p", "us", series=series, at=one),
            LANES,
            fastrouter=[one + 1.0],
            ours=[one / 2 + 1],
        )
        for one in at
    ]


def test_a_page_is_changed_between_its_marks_only() -> None:
    text = f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n"
    changed = page.replaced(text, "new\n")
    assert changed == f"before\n{page.BEGIN}\nnew\n{page.END}\nafter\n"
    assert page.replaced(changed, "new") == changed


@pytest.mark.parametrize("text", ["", page.BEGIN, f"{page.END}{page.BEGIN}", f"{page.BEGIN}{page.BEGIN}{page.END}"])
def test_a_page_without_its_marks_is_an_error(text: str) -> None:
    with pytest.raises(BenchError, match="must have"):
        page.replaced(text, "new")


def test_the_markdown_says_who_was_compared_and_what_was_missed() -> None:
    lanes = [*LANES, (HAPROXY, HAPROXY)]
    rows = [
        found(SMALL, lanes, fastrouter=[100.0], ours=[91.0], haproxy=[85.0]),
        found(START, LANES, fastrouter=[50.0], ours=[300.0]),
    ]
    head, rule, first, second = page.markdown(rows, lanes)
    assert head == "| figure | C FastRouter | uwsgirouter | ratio (rounds) | target | floors |"
    assert rule.count("|") == head.count("|") == first.count("|")
    assert "| 100 us | 91 us | 0.910 (0.910 to 0.910) | <= 0.90, **missed** | HAProxy (TCP) 0.85 |" in first
    assert "<= 1000 ms, met" in second


def test_the_section_names_the_machine_and_shows_the_plots_that_there_are() -> None:
    rows = points("responses", 1024, 65536)
    text = page.section(rows, LANES, {"processor": "a fast one"}, ["static"], 5)
    assert "processor a fast one" in text
    assert page.CPU_PLOT in text
    assert page.MEMORY_PLOT not in text
    assert "not quiet during static" in text


def test_plots_are_drawn_beside_the_page(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / page.PAGE).write_text(f"# Title\n{page.BEGIN}\n{page.END}\n")
    rows = [*points("responses", 1024, 65536), *points("requests", 1024), *points("memory", 0, 1000)]
    written = page.draw(tmp_path, rows, LANES, {"kernel": "6"}, [], 5)
    assert [file.name for file in written] == ["benchmarks.md", page.CPU_PLOT, page.MEMORY_PLOT]
    names = [element.text for element in ElementTree.parse(written[1]).iter(f"{SVG}text")]
    for name in ("C FastRouter, response", "uwsgirouter, response", "uwsgirouter, request body", "1K", "64K"):
        assert name in names
    assert f"({page.MEMORY_PLOT})" in (tmp_path / page.PAGE).read_text()


def test_a_line_of_the_plot_has_its_points_in_place() -> None:
    document = plot("a < b", Axis("x"), Axis("y"), [Line("one", [(100, 10), (0, 0)]), Line("two", [(50, 5)])])
    root = ElementTree.fromstring(document)
    circles = [(float(c.get("cx", "")), float(c.get("cy", ""))) for c in root.iter(f"{SVG}circle")]
    assert len(circles) == 3
    # (0, 0) is at the bottom left, (100, 10) at the top right, (50, 5) halfway between them.
    assert circles[0][0] < circles[1][0]
    assert circles[0][1] > circles[1][1]
    assert circles[2] == pytest.approx(
        ((circles[0][0] + circles[1][0]) / 2, (circles[0][1] + circles[1][1]) / 2), abs=0.1
    )
    assert "a < b" in [element.text for element in root.iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("values", "scale", "marks"),
    [
        ([0, 10_000], Scale.LINEAR, [0, 2000, 4000, 6000, 8000, 10_000]),
        ([3.2], Scale.LINEAR, [0, 1, 2, 3, 4]),
        ([0], Scale.LINEAR, [0, 0.2]),
        ([1024, 1 << 20], Scale.LOG, [1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20]),
        ([64], Scale.LOG, [64, 128]),
        ([70, 1500], Scale.LOG, [64, 128, 256, 512, 1024, 2048]),
    ],
)
def test_marks_of_an_axis_are_round_and_enclose_the_values(
    values: list[float], scale: Scale, marks: list[float]
) -> None:
    found = ticks(values, scale)
    assert found[: len(marks)] == pytest.approx(marks)
    assert found[0] <= min(values)
    assert found[-1] >= max(values)


def test_a_plot_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="without a point"):
        plot("", Axis("x"), Axis("y"), [])


def test_the_checkout_has_its_marks(project: Path) -> None:
    text = (project / page.PAGE).read_text()
    assert page.replaced(text, "new") != text


def test_the_bounds_of_the_guard_are_stated_in_the_page(project: Path) -> None:
    text = (project / page.PAGE).read_text()
    assert page.bounds() in text


def test_lanes_without_points_have_no_line() -> None:
    rows = points("memory", 1000)
    assert [line.name for line in page.lines_of(rows, [*LANES, ("third", "third")], "memory")] == [
        page.NAMES[FASTROUTER],
        page.NAMES[OURS],
    ]
