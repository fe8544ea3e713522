"""What is missing for an application is told before anything is started."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import gunicorn
import pytest

from uwsgirouter.cli import main
from uwsgirouter.errors import BootError
from uwsgirouter.local.requirements import means_for
from uwsgirouter.settings.settings import Settings


def test_the_routers_own_python_and_gunicorn() -> None:
    means = means_for(Settings.of(module="a", socket=":3031"))
    assert means.python == sys.executable
    assert Path(means.gunicorn) == Path(gunicorn.__file__).parent.parent


def test_an_environments_python(tmp_path: Path) -> None:
    settings = Settings.of(module="a", socket=":3031", virtualenv=str(tmp_path))
    with pytest.raises(
        BootError, match=f"test: virtualenv: virtualenv = {tmp_path}: there is no {tmp_path}/bin/python"
    ):
        means_for(settings)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    assert means_for(settings) == (f"{tmp_path}/bin/python", str(Path(gunicorn.__file__).parent.parent))
    (tmp_path / "lib" / "python3.9" / "site-packages" / "gunicorn").mkdir(parents=True)
    assert means_for(settings).gunicorn == ""


def test_check_tells_what_would_run_and_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "router.conf"
    lines = ["[uwsgi]", "shared-socket = :3031", "fastrouter = =0", "socket = =0", "wsgi-file = my.wsgi"]
    lines += ["processes = 4", "mount = /api=api:app", "fastrouter-subscription-server = 127.0.0.1:4040"]
    config.write_text("\n".join([*lines, ""]))
    with pytest.raises(SystemExit) as caught:
        main(["--check", "-c", str(config)])
    assert caught.value.code == 0
    assert "runs an application on =0 in 4 processes: my.wsgi at /; api at /api" in capsys.readouterr().out
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(SystemExit) as caught:
        main(["--check", "-c", str(config)])
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert "router.conf:5: wsgi-file = my.wsgi: an application needs gunicorn, which is not installed" in error
