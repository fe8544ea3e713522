"""Which observer a worker has: none, unless its configuration wants to know of requests.

One idea: the only place that knows which options observe; each adds its sink. It must not know what a sink does.
"""

from __future__ import annotations

from typing import Any

from uwsgirouter.log import Log
from uwsgirouter.settings.log_format import log_format
from uwsgirouter.settings.logging import date_format, logs_all
from uwsgirouter.settings.settings import Settings
from uwsgirouter.worker.access import AccessLog, Choice
from uwsgirouter.worker.log_pipe import LogPipe
from uwsgirouter.worker.log_program import Program
from uwsgirouter.worker.observer import Ids, Observer
from uwsgirouter.worker.post import Post


def observer_of(post: Post, ids: Ids, loop: Any, log: Log) -> Observer | None:
    """The observer that the settings ask for; None when they ask for nothing."""
    passes_ids = post.settings.flag("request-id") or post.access is not None
    if not passes_ids and post.tallies is None and post.measures is None:
        return None
    observer = Observer(ids, passes_ids)
    observer.tallies = post.tallies
    if post.measures is not None:
        from uwsgirouter.worker.measures import KeyMeasures

        observer.sinks.append(KeyMeasures(post.measures).note)
    if post.access is not None:
        _add_access_log(observer, post, loop, log)
    return observer


def _add_access_log(observer: Observer, post: Post, loop: Any, log: Log) -> None:
    assert post.access is not None
    settings = post.settings
    form = log_format(settings)
    pipe = LogPipe(loop, post.access, post.counters.row(post.row), log.say)
    choice = _choice(settings)
    access = AccessLog(Program(form), choice, pipe.take, pipe.begun, post.number, date_format(settings), post.metrics)
    pipe.flush = access.flush
    if form.needs_heads or choice.zero or choice.big:
        observer.keeps_head = True
    observer.sinks.append(access)
    observer.ends.append(pipe.close)


def _choice(settings: Settings) -> Choice:
    return Choice(
        logs_all(settings),
        settings.flag("log-4xx"),
        settings.flag("log-5xx"),
        settings.number("log-slow") / 1000,
        settings.flag("log-zero"),
        settings.number("log-big"),
    )
