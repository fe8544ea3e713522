"""The options of the access log: destinations, formats, conditions, and what is said about mistakes."""

from __future__ import annotations

import os
from typing import Any

import pytest

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.log_format import DEFAULT, Source, json_format, line_format, log_format
from uwsgirouter.settings.logging import (
    Kind,
    Logger,
    date_format,
    is_on,
    logger,
    loggers,
    logging_faults,
    logging_notices,
    logs_all,
)
from uwsgirouter.settings.settings import Settings


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("file:/a/b.log", Logger(Kind.FILE, "/a/b.log")),
        ("/a/b.log", Logger(Kind.FILE, "/a/b.log")),
        ("b.log", Logger(Kind.FILE, os.path.abspath("b.log"))),
        ("file:logfile=/a,maxsize=7,backupname=/b", Logger(Kind.FILE, "/a", maxsize=7, backup="/b")),
        ("stdio", Logger(Kind.STDIO)),
        ("socket:10.0.0.1:514", Logger(Kind.SOCKET, host="10.0.0.1", port=514)),
        ("socket:[::1]:514,pre", Logger(Kind.SOCKET, host="::1", port=514, prefix="pre")),
        ("socket:/run/x", Logger(Kind.SOCKET, "/run/x")),
        ("syslog", Logger(Kind.SYSLOG, "/dev/log", name="uwsgirouter", facility=3)),
        ("syslog:app,local6", Logger(Kind.SYSLOG, "/dev/log", name="app", facility=22)),
        ("rsyslog:box", Logger(Kind.RSYSLOG, host="box", port=514, name="")),
        ("rsyslog:box:99,me", Logger(Kind.RSYSLOG, host="box", port=99, name="me")),
    ],
)
def test_loggers(text: str, found: Logger) -> None:
    assert logger(text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("redislog:x", "there is no logger redislog; expected file:PATH, stdio, socket:HOST:PORT"),
        ("nothing", "there is no logger nothing; expected file:PATH"),
        ("file:", "expected file:PATH"),
        ("file:maxsize=3", "expected file:PATH"),
        ("file:logfile=a,maxsize=x", "maxsize=x: expected bytes"),
        ("file:logfile=a,size=3", "size is no part of it"),
        ("socket:", "expected socket:HOST:PORT"),
        ("socket:a:b", "a:b: expected HOST:PORT"),
        ("socket:a:70000", "expected HOST:PORT"),
        ("syslog:a,b", "there is no facility b; expected one of kern"),
        ("rsyslog", "expected rsyslog:HOST:PORT"),
        ("mine file:/a", "mine would be the name of a logger for log-req-route"),
    ],
)
def test_what_is_no_logger(text: str, words: str) -> None:
    (error,) = logging_faults(Settings.of(req_logger=text))
    assert words in str(error) and f"req-logger = {text}" in str(error)


@pytest.mark.parametrize(
    ("options", "on", "everything"),
    [
        ({}, False, True),
        ({"req_logger": "a.log"}, True, True),
        ({"logformat": "x"}, True, True),
        ({"log_format_json": "status"}, True, True),
        ({"log_5xx": True}, True, False),
        ({"log_slow": 10}, True, False),
        ({"log_slow": 0}, False, True),
        ({"logformat": "x", "log_4xx": True}, True, False),
        ({"req_logger": "a.log", "log_4xx": True}, True, True),
        ({"req_logger": "a.log", "log_big": 4, "disable_logging": True}, True, False),
        ({"req_logger": "a.log", "disable_logging": True}, False, False),
        ({"log_zero": True, "disable_logging": True}, True, False),
    ],
)
def test_which_requests(options: dict[str, Any], on: bool, everything: bool) -> None:
    settings = Settings.of(**options)
    assert is_on(settings) is on
    if on:
        assert logs_all(settings) is everything


def test_without_a_logger_it_is_the_error_log() -> None:
    assert loggers(Settings.of(log_5xx=True)) == (Logger(Kind.STDIO),)


def test_sizes_are_for_files_that_say_none() -> None:
    settings = Settings.of(req_logger=["/a", "file:logfile=/b,maxsize=3"], log_maxsize=9, log_backupname="/old")
    assert [(one.maxsize, one.backup) for one in loggers(settings)] == [(9, "/old"), (3, "/old")]
    (error,) = logging_faults(settings)
    assert "log-backupname = /old: more than one log would be renamed to it" in str(error)
    assert not list(logging_faults(Settings.of(req_logger="/a", log_maxsize=9, log_backupname="/old")))
    assert list(logging_faults(Settings.of(req_logger="/a", logto="/b", log_maxsize=9, log_backupname="/old")))


def notices(**options: Any) -> str:
    return "\n".join(logging_notices(Settings.of(**options)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"logformat": "%(core) %(uri) %(werr)"}, "%(core) %(werr): these mean nothing in a router and give -"),
        (
            {"logformat": "%(methd)"},
            "%(methd) is no field, and no rule sets it by logvar:methd=...; did you mean %(method)?",
        ),
        ({"log_format_json": "stat"}, "did you mean %(status)?"),
        ({"logformat": "%(metric.x)"}, "there is no such metric"),
        ({"logformat": "x", "logformat_strftime": True}, "without log-date = FORMAT"),
        ({"logformat": "x", "log_date": "%Y"}, "log-date is for %(ftime)"),
        ({"req_logger": "/a", "disable_logging": True}, "no request is logged"),
    ],
)
def test_what_does_nothing(options: dict[str, Any], words: str) -> None:
    assert words in notices(**options)


def test_what_is_right_is_not_spoken_of() -> None:
    assert not notices(logformat="%(site) %(uri) %(metric.x)", route="^/ logvar:site=$1", metric="x")
    assert not notices(logformat="%(ftime)", logformat_strftime=True, log_date="%Y")
    assert date_format(Settings.of(logformat_strftime=True, log_date="%Y")) == "%Y"
    assert date_format(Settings.of(log_date="%Y")) == date_format(Settings.of(logformat_strftime=True)) == ""


@pytest.mark.parametrize("text", ["a b,,c=", '"x"', "a a", "%(", " ".join(f"v{n}" for n in range(65))])
def test_bad_json_formats(text: str) -> None:
    (error,) = logging_faults(Settings.of(log_format_json=text))
    assert "log-format-json" in str(error)


def test_bad_formats() -> None:
    for text in ("x" * 5000, "%(uri)" * 65):
        with pytest.raises(ConfigError):
            line_format(text)
    assert list(logging_faults(Settings.of(logformat="x", log_format_json="uri")))


def test_forms() -> None:
    assert log_format(Settings.of()) == line_format(DEFAULT)
    assert log_format(Settings.of(log_format_json="true")).keys[0] == "isotime"
    assert [part.source for part in json_format("uri status x metric.a var.B").parts] == [
        Source.VARIABLE,
        Source.FIELD,
        Source.LOGVAR,
        Source.METRIC,
        Source.VARIABLE,
    ]
    assert line_format("%(hsize)").needs_heads and not line_format(DEFAULT).needs_heads
