"""The arithmetic on figures: medians, spreads, ratios of pairs. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of the rounds' figures."""

    median: float
    least: float
    greatest: float

    @property
    def width(self) -> float:
        """From the least to the greatest, as a part of the median."""
        return (self.greatest - self.least) / self.median if self.median else 0.0


def spread(figures: Sequence[float]) -> Spread:
    """Of at least one figure."""
    return Spread(statistics.median(figures), min(figures), max(figures))


def ratios(figures: Sequence[float], base: Sequence[float]) -> list[float]:
    """Round by round, ``figures`` over ``base``. ValueError if they are not of the same rounds."""
    return [figure / other for figure, other in zip(figures, base, strict=True)]
