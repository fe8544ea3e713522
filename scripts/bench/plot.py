"""A line plot as SVG: few lines, no library. Pure: points in, text out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 50
COLOURS = ("#888888", "#c0392b", "#2980b9", "#27ae60", "#8e44ad", "#d68910")
TICKS = 6


class Scale(Enum):
    """How an axis runs."""

    LINEAR = "from 0, even steps"
    LOG = "each step a multiple"


@dataclass(frozen=True)
class Line:
    """A named series; points are (x, y), both above 0 where the axis is logarithmic."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """What it says, how it runs, and how its numbers are written."""

    title: str
    scale: Scale = Scale.LINEAR
    unit: str = ""


def plot(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> str:
    """The SVG document. ValueError without any point."""
    across = ticks([point[0] for line in lines for point in line.points], x.scale)
    up = ticks([point[1] for line in lines for point in line.points], y.scale)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        text(WIDTH / 2, 20, title, "middle", 'font-size="14"'),
        text(WIDTH / 2, HEIGHT - 10, x.title, "middle"),
        text(16, HEIGHT / 2, y.title, "middle", f'transform="rotate(-90 16 {HEIGHT / 2:g})"'),
    ]
    for value in across:
        at = place_x(value, across, x.scale)
        parts.append(rule(at, TOP, at, HEIGHT - BOTTOM))
        parts.append(text(at, HEIGHT - BOTTOM + 16, written(value, x.unit), "middle"))
    for value in up:
        at = place_y(value, up, y.scale)
        parts.append(rule(LEFT, at, WIDTH - RIGHT, at))
        parts.append(text(LEFT - 6, at + 4, written(value, y.unit), "end"))
    for number, line in enumerate(lines):
        parts += drawn(number, line, across, up, x.scale, y.scale)
    return "\n".join([*parts, "</svg>", ""])


def drawn(
    number: int, line: Line, across: Sequence[float], up: Sequence[float], x_scale: Scale, y_scale: Scale
) -> list[str]:
    """A line, its points, and its name at the top left."""
    colour = COLOURS[number % len(COLOURS)]
    places = [(place_x(a, across, x_scale), place_y(b, up, y_scale)) for a, b in sorted(line.points)]
    track = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    top = TOP + 16 + 16 * number
    return [
        f'<polyline points="{track}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in places),
        f'<rect x="{LEFT + 10}" y="{top - 6}" width="14" height="4" fill="{colour}"/>',
        text(LEFT + 30, top, line.name, "start"),
    ]


def text(x: float, y: float, words: str, anchor: str, more: str = "") -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(words)}</text>'.replace(" >", ">")


def rule(x1: float, y1: float, x2: float, y2: float) -> str:
    """A thin line of the grid."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>'


def ticks(values: Sequence[float], scale: Scale) -> list[float]:
    """The numbers on an axis: round ones, the first and the last of which enclose ``values``."""
    if not values:
        raise ValueError("a plot without a point")
    if scale is Scale.LOG:
        low, high = math.floor(math.log2(min(values))), math.ceil(math.log2(max(values)))
        step = max(1, math.ceil((max(high, low + 1) - low) / TICKS))
        return [2.0**power for power in range(low, max(high, low + 1) + step, step)]
    rough = (max(values) or 1.0) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step_size = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    steps = max(1, math.ceil(max(values) / step_size - 1e-9))
    return [step_size * number for number in range(steps + 1)]


def along(value: float, marks: Sequence[float], scale: Scale) -> float:
    """Where a value is between the first and the last mark: 0 to 1."""
    if scale is Scale.LOG:
        return math.log2(value / marks[0]) / math.log2(marks[-1] / marks[0])
    return (value - marks[0]) / (marks[-1] - marks[0])


def place_x(value: float, marks: Sequence[float], scale: Scale) -> float:
    """In the picture."""
    return LEFT + along(value, marks, scale) * (WIDTH - LEFT - RIGHT)


def place_y(value: float, marks: Sequence[float], scale: Scale) -> float:
    """In the picture, whose top is 0."""
    return HEIGHT - BOTTOM - along(value, marks, scale) * (HEIGHT - TOP - BOTTOM)


def written(value: float, unit: str) -> str:
    """A number on an axis; unit ``bytes`` is written as 64K or 1M."""
    if unit == "bytes":
        for size, letter in ((1 << 20, "M"), (1 << 10, "K")):
            if value >= size:
                return f"{value / size:g}{letter}"
    return f"{value:,.10g}"
