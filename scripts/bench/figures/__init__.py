"""The experiments, a module for each kind; ``ALL`` is in the order of the table.

A module makes Experiments (scripts/bench/experiment.py) and knows nothing of tables, files or the command line.
"""

from __future__ import annotations

from scripts.bench.experiment import Experiment
from scripts.bench.figures import (
    announcements,
    bodies,
    idle,
    instructions,
    observed,
    passing,
    registry,
    requests,
    rules,
    sizes,
    start,
    waiting,
)

ALL: tuple[Experiment, ...] = (
    *requests.EXPERIMENTS,
    rules.EXPERIMENT,
    observed.EXPERIMENT,
    bodies.EXPERIMENT,
    *sizes.EXPERIMENTS,
    waiting.EXPERIMENT,
    announcements.EXPERIMENT,
    registry.EXPERIMENT,
    idle.EXPERIMENT,
    passing.EXPERIMENT,
    start.EXPERIMENT,
    instructions.EXPERIMENT,
)

QUICK = ("static", "bodies", "responses", "waiting", "announcements", "instructions")
"""What the regression guard looks at."""
