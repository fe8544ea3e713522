"""Reading again, places, and the configurations that people have."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.settings.files import LISTEN, Files
from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.load import Source

TYPICAL = """\
; the router of a machine
[uwsgi]
plugins = corerouter,fastrouter
master = true
_main_dir = %d
public_ip = 127.0.0.1
set-ph = subscription_port = 2626
shared-socket = %(public_ip):3017
fastrouter-subscription-server = %(public_ip):%(subscription_port)
fastrouter-subscription-server = %(_main_dir)announce.sock
fastrouter = =0
fastrouter-cheap = true
fastrouter-quiet
for = 3031 3032
fastrouter-fallback = %(public_ip):%(_)
endfor =
if-env = ROUTER_WORKERS
fastrouter-processes = %(_)
endif =
vacuum = true
logto = $(LOG_DIR:-/var/log)/%n.log
logformat = %%Y %(addr) "%(method)"
"""


def test_a_typical_file(files: Files) -> None:
    files.environment = {"ROUTER_WORKERS": "2"}
    settings = files.load(TYPICAL)
    directory = files.directory
    assert settings.source == "router.conf"
    assert [address.text for address in settings.addresses("shared-socket")] == ["127.0.0.1:3017"]
    assert [address.text for address in settings.addresses("fastrouter-subscription-server")] == [
        "127.0.0.1:2626",
        f"{directory}/announce.sock",
    ]
    assert [address.text for address in settings.addresses("fastrouter-fallback")] == [
        "127.0.0.1:3031",
        "127.0.0.1:3032",
    ]
    assert settings.where("fastrouter-fallback", 1) == "router.conf:15"
    assert settings.number("fastrouter-processes") == 2
    assert settings.text("logto") == "/var/log/router.log"
    assert len(settings.notices) == 1


def test_a_reading_finds_the_files_as_they_are_then(files: Files) -> None:
    files.write("router.conf", f"[uwsgirouter]\n{LISTEN}listen = 5\n")
    source = files.source("router.conf")
    assert source.load().number("listen") == 5
    files.write("router.conf", f"[uwsgirouter]\n{LISTEN}listen = 0\n")
    with pytest.raises(ConfigError, match=r"router\.conf:4"):
        source.load()
    files.write("router.conf", f"[uwsgirouter]\n{LISTEN}listen = 7\n")
    assert source.load().number("listen") == 7


def test_a_source_does_not_depend_on_where_the_process_goes(
    files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files.write("router.conf", f"[uwsgirouter]\n{LISTEN}logto = $(WHERE) %v %t\n")
    monkeypatch.chdir(files.directory)
    monkeypatch.setenv("WHERE", "before")
    source = Source(["router.conf"])
    first = source.load()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setenv("WHERE", "after")
    assert source.load().text("logto") == first.text("logto")
    assert first.text("logto").startswith(f"before {files.directory} ")


def test_a_command_line_alone(files: Files) -> None:
    settings = files.source("--fastrouter", "127.0.0.1:3017", "--fastrouter-to=127.0.0.1:3031").load()
    assert settings.source == ""
    assert settings.where("fastrouter") == "command line"


def test_the_last_value_counts_whatever_gave_it(files: Files) -> None:
    files.write("router.conf", f"[uwsgirouter]\n{LISTEN}listen = 5\n")
    assert files.source("--listen", "6", "router.conf").load().number("listen") == 5
    settings = files.source("router.conf", "--listen", "6").load()
    assert (settings.number("listen"), settings.where("listen")) == (6, "command line")


def test_an_absolute_name_is_shown_as_it_was_given(files: Files) -> None:
    path = files.write("router.conf", f"[uwsgirouter]\n{LISTEN}listen = 0\n")
    with pytest.raises(ConfigError) as caught:
        files.source("-c", str(path)).load()
    assert caught.value.where == f"{path}:4"


def test_standard_input_that_cannot_be_read(files: Files) -> None:
    def broken() -> str:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")

    with pytest.raises(ConfigError, match="cannot read standard input"):
        Source(["-"], {}, str(files.directory), broken).load()


def test_two_hundred_lines_load_quickly(files: Files) -> None:
    lines = [
        f"fastrouter-to = 127.0.0.1:{port}\nname{port} = %(public_ip):{port}\nlogformat = %(name{port})"
        for port in range(4000, 4070)
    ]
    files.write("router.conf", f"[uwsgirouter]\npublic_ip = 127.0.0.1\n{LISTEN}" + "\n".join(lines))
    source = files.source("router.conf")
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        source.load()
        taken.append(time.perf_counter() - start)
    assert min(taken) < 0.05


@pytest.mark.parametrize("name", ["router.conf", "quickstart.conf", "article/router.ini"])
def test_the_files_of_conf_load_without_an_error(project: Path, name: str) -> None:
    path = project / "conf" / name
    source = Source(["-c", str(path)], {**os.environ}, str(project))
    assert source.load(strict=True).addresses("fastrouter")
