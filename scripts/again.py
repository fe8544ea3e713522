"""Runs the tests that failed once more, one at a time: `make test` calls it when the first run failed.

What failed only because test files ran beside each other on a starved machine passes now; it is named, so that
somebody can look at it. What fails again has failed, and so has a run of which more than a few tests failed, which
collected nothing, or which was interrupted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FAILED = Path(".pytest_cache/v/cache/lastfailed")
MOST = 10
"""Tests: one in a thousand."""


def main() -> int:
    """The exit status of the second run; 1 when there is nothing that a second run could mend."""
    failed = sorted(json.loads(FAILED.read_text())) if FAILED.exists() else []
    if not 0 < len(failed) <= MOST:
        print(f"{len(failed)} tests failed: not run again", file=sys.stderr)
        return 1
    print("run once more, alone:", *failed, sep="\n  ")
    status = subprocess.run(
        [sys.executable, "-m", "pytest", "--last-failed", "--last-failed-no-failures=none"]
    ).returncode
    if status == 0:
        print("passed when run alone; they depend on the time that they get:", *failed, sep="\n  ")
    return status


if __name__ == "__main__":
    sys.exit(main())
