"""Regular expressions of rules: PCRE's, run by Python's ``re``."""

from __future__ import annotations

import re

from uwsgirouter.rules.base import BadRule


def compiled(text: bytes) -> re.Pattern[bytes]:
    """The pattern. Raises :class:`BadRule`."""
    try:
        return re.compile(text)
    except re.error as error:
        raise BadRule(f"bad regular expression: {error}") from None
