"""The options of routing rules: all of them exist, and their values keep the order in which they were given."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.servers.programs import uwsgi_command
from tests.settings.files import LISTEN, Files
from uwsgirouter.errors import ConfigError
from uwsgirouter.settings import report
from uwsgirouter.settings.load import Source
from uwsgirouter.settings.rows.routing import RULES
from uwsgirouter.settings.settings import Settings
from uwsgirouter.settings.table import BY_NAME

HEAD = f"[uwsgirouter]\n{LISTEN}"


def test_there_is_an_option_for_each_chain_and_kind() -> None:
    words = "host uri qs remote-addr remote-user referer user-agent status if if-not run label"
    kinds = ["", *(f"-{word}" for word in words.split())]
    expected = {f"{chain}route{kind}" for chain in ("", "error-", "response-", "final-") for kind in kinds}
    assert set(RULES) == expected
    assert expected | {"collect-header", "pull-header", "response-header-collect"} <= set(BY_NAME)


def test_the_order_over_names_files_and_the_command_line(files: Files) -> None:
    files.write("inner.conf", "[uwsgirouter]\nroute-if = empty:x log:4\nroute = x log:5\n")
    files.write(
        "router.conf",
        HEAD + "route-host = x log:2\nroute = x log:3\ninclude = inner.conf\nfor = 6 7\n"
        "route-run = log:%(_)\nendfor =\nroute-label = 8\nerror-route = x log:9\nroute-if-not = empty:x log:10\n",
    )
    source = files.source("--route-run", "log:1", "-c", "router.conf", "--route=x log:11")
    settings = source.load()
    found = settings.sequence(RULES)
    assert [text.rpartition(":")[2] for _, text, _ in found] == [str(number) for number in range(1, 12)]
    assert [name for name, _, _ in found][:6] == ["route-run", "route-host", "route", "route-if", "route", "route-run"]
    assert [where for _, _, where in found] == [
        "command line",
        "router.conf:4",
        "router.conf:5",
        "inner.conf:2",
        "inner.conf:3",
        *["router.conf:8"] * 2,
        *(f"router.conf:{line}" for line in (10, 11, 12)),
        "command line",
    ]


def test_the_shown_configuration_keeps_the_order(files: Files) -> None:
    rules = ["route-run = log:50%%", "route = x log:b", "route-run = log:c", "error-route-if = empty:x log:d"]
    settings = files.load(HEAD + "\n".join(rules) + "\n")
    text = report.show_config(settings)
    again = Source(["-c", "-"], stdin=text).load().sequence(RULES)
    assert [found[:2] for found in again] == [found[:2] for found in settings.sequence(RULES)]
    assert again[0][1] == "log:50%"
    assert report.show_config(Source(["-c", "-"], stdin=text).load()) == text


def test_what_looks_like_a_variable_in_a_pattern_stays(files: Files) -> None:
    (rule,) = files.load(HEAD + "route = ^/a$(\\d+)%%(\\d) log:x\n").sequence(RULES)
    assert rule[1] == "^/a$(\\d+)%(\\d) log:x"
    with pytest.raises(ConfigError, match="the environment variable NOPE is not set"):
        files.load(HEAD + "route = x log:$(NOPE)\n")


def test_settings_for_tests_keep_the_order_too() -> None:
    listed = [("route-run", "log:1", "a:1"), ("route", "x log:2", "a:2"), ("response-header-collect", "A B", "a:3")]
    settings = Settings.listed(listed, "a")
    assert settings.sequence(RULES) == tuple(listed[:2])
    assert settings.sequence(["collect-header"]) == (("collect-header", "A B", "a:3"),)
    assert Settings.of(route=["x log:1", "y log:2"]).sequence(RULES)[1][1] == "y log:2"


def test_flags_that_mean_nothing_are_noticed(files: Files) -> None:
    (notice,) = files.load(HEAD + "pcre-jit = true\n").notices
    assert notice.endswith("ignored: pcre-jit (router.conf:4)")


def test_every_option_for_routing_that_uwsgi_lists_is_in_the_table() -> None:
    shown = subprocess.run([*uwsgi_command(), "--help"], capture_output=True, text=True, timeout=20, check=True).stdout
    listed = re.findall(r"^\s+--([\w-]+)", shown, re.MULTILINE)
    found = {
        name for name in listed if re.fullmatch(r"((error|response|final)-)?route(-.*)?|.*-header(-collect)?", name)
    }
    assert len(found) > 40
    assert found - set(BY_NAME) <= {"add-header", "del-header", "rem-header"}
