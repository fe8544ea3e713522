"""The module ``uwsgi`` against uWSGI's own: the same script run by both, call by call.

Known differences are listed with their reason; a difference that is not there fails, and so does one that is gone.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.scripting.made import Lines, opened
from tests.servers import Servers, wait_until
from tests.servers.programs import uwsgi_command
from uwsgirouter.scripting.run import run_scripts
from uwsgirouter.settings.load import Source

SCRIPT = str(Path(__file__).with_name("calls.py"))
OPTIONS = [
    *("--master", "--fastrouter", "127.0.0.1:0", "--fastrouter-use-cache", "--cache", "100"),
    *("--cache2", "name=two,items=10", "--cache2", "name=three,items=10", "--set", "foo=bar", "--file", SCRIPT),
]
DIFFERENT = {
    # uWSGI means to give a list of an option's values, but on Python 3 compares its name as bytes and keeps the last.
    "opt['cache2']": "[b'name=two,items=10', b'name=three,items=10']",
}


@pytest.fixture(scope="module")
def real() -> list[str]:
    """What the calls come to in uWSGI."""
    servers = Servers()
    try:
        results = servers.directory / "results.json"
        servers.process(*uwsgi_command(), *OPTIONS, "--die-on-term")
        wait_until(lambda: results.exists() and results.read_text().endswith("]"), 20, "uWSGI has run the script")
        return [str(text) for text in json.loads(results.read_text())]
    finally:
        servers.close()


def test_each_call_comes_to_the_same(tmp_path: Path, log: Lines, real: list[str]) -> None:
    settings = Source(OPTIONS).load()
    caches = opened(settings, tmp_path, log)
    run_scripts(settings, caches, log)
    caches.close()
    ours = json.loads((tmp_path / "results.json").read_text())
    calls = calls_of(Path(SCRIPT))
    assert len(calls) == len(ours) == len(real) > 80
    differing = {call: own for call, own, other in zip(calls, ours, real, strict=True) if own != other}
    assert differing == DIFFERENT
    assert "a line" in log.lines and "ZeroDivisionError: division by zero" in log.lines


def calls_of(script: Path) -> list[str]:
    """The calls, as the script has them."""
    text = script.read_text().split('CALLS = """')[1].split('"""')[0]
    return text.encode().decode("unicode_escape").strip().splitlines()
