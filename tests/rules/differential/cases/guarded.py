"""The error chain when it runs twice, in a table without jumps (uWSGI loses its way there)."""

from __future__ import annotations

from tests.rules.differential.case import Differs, ask, case

LOGS = """
    error-route-run = log:{log}error ${uwsgi[status]}
    response-route-run = log:{log}response ${uwsgi[status]}
    final-route-run = log:{log}final ${uwsgi[status]}
"""
case("clear-then-app", "route-run = clearheaders:410 Gone\n" + LOGS, ask(), ask(status="404 Not Found"), group="guards")
case("clear-in-response", "response-route-run = clearheaders:410 Gone\n" + LOGS, ask(), ask(chunks=[]), group="guards")
case("break-in-response", "response-route-run = break:410 Gone\n" + LOGS, ask(), group="guards")
case("redirect-in-response", "response-route-run = redirect:/x\n" + LOGS, ask(), group="guards")
case(
    "clear-in-error",
    "error-route-run = clearheaders:410 Gone\n" + LOGS,
    ask(),
    group="guards",
    differs=Differs("one status line", answer=lambda real: real.answer.replace(b"HTTP/1.1 200 OK\r\n", b"")),
)
case("redirect-in-error", "error-route-run = redirect:/x\n" + LOGS, ask(), group="guards")
case("break-in-error", "error-route-run = break:410 Gone\n" + LOGS, ask(), group="guards")
