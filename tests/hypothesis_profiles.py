"""How hard Hypothesis tries: ``fast`` for every run (the same examples each time), ``deep`` for a long look.

``HYPOTHESIS_PROFILE=deep pytest tests/model`` takes new random examples, some thirty times as many. The packages of
pure tests call :func:`load` in their ``__init__``, before any of their tests is made.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def load() -> None:
    """Use the profile that the environment names."""
    slow_machine = [HealthCheck.too_slow]
    settings.register_profile(
        "fast", max_examples=60, deadline=None, derandomize=True, suppress_health_check=slow_machine
    )
    settings.register_profile("deep", max_examples=2000, deadline=None, suppress_health_check=slow_machine)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
