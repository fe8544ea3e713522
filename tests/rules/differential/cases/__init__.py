"""The cases, a file for each subject."""

from __future__ import annotations

import importlib
import pkgutil

from tests.rules.differential.case import CASES, Case


def load() -> list[Case]:
    """All of them."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return CASES
