"""The directory of configuration files that the tests here work in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.settings.files import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """An empty directory of configuration files."""
    return Files(tmp_path)
