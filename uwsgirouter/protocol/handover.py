"""How a program is told that it takes the place of another one: two variables of the environment.

One idea: both versions must agree on these names whatever else they disagree on, so they stand by themselves. What they
point at is uwsgirouter/master/handover.py's.
"""

from __future__ import annotations

HANDOVER = "UWSGIROUTER_HANDOVER"
"""The variable by which a successor is told its file."""
TRIAL = "UWSGIROUTER_TRIAL"
"""The variable by which a trial is told the copy of the file, and where to report."""
