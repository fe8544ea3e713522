"""collect-header and pull-header: the group has `collect-header = X-App COLLECTED` and `pull-header = X-Pull PULLED`."""

from __future__ import annotations

from tests.rules.differential.case import ask, case

LOGGED = """
    route-run = log:{log}request [${COLLECTED}][${PULLED}][${TYPE}]
    error-route-run = log:{log}error [${COLLECTED}][${PULLED}][${TYPE}]
    response-route-run = log:{log}response [${COLLECTED}][${PULLED}][${TYPE}]
    final-route-run = log:{log}final [${COLLECTED}][${PULLED}][${TYPE}]
"""
HEADERS = [["Content-Type", "text/html"], ["X-App", "one"], ["x-PULL", "gone"], ["x-app", "two"], ["X-Pull", "too"]]
case(
    "collected",
    LOGGED,
    ask(headers=HEADERS),
    ask(),
    ask(headers=HEADERS, chunks=[]),
    ask(headers=HEADERS, v={"COLLECTED": "by client"}),
    group="collect",
)
case(
    "collected-delheader",
    "route-run = delheader:X-App\nroute-run = delheader:X-Pull\n"
    + LOGGED.replace("route-run = log:{log}request", "route-if = equal:;x log:", 1),
    ask(headers=HEADERS),
    group="collect",
)
case(
    "collected-addheader",
    "route-run = addheader:X-App: mine\nroute-run = addheader:X-Pull: mine\nfinal-route-run = log:{log}final [${COLLECTED}][${PULLED}]",
    ask(),
    group="collect",
)
case("collected-redirect", "route-run = redirect:/x\nfinal-route-run = log:{log}final [${LOCATION}]", group="collect")
case("collected-static", "route-run = static:{root}/a.txt\nresponse-route-run = log:{log}[${TYPE}]", group="collect")
case(
    "collected-uwsgi",
    "route-run = uwsgi:{upstream},0,0\nresponse-route-run = log:{log}[${COLLECTED}][${PULLED}]",
    ask(headers=HEADERS),
    group="collect",
)
case(
    "collected-gzip",
    "response-route-if = equal:${TYPE};text/html goto:gzipme\nresponse-route-run = last:\nresponse-route-label = gzipme\n"
    "response-route-if = contains:${HTTP_ACCEPT_ENCODING};gzip gzip:",
    ask(headers=HEADERS, v={"HTTP_ACCEPT_ENCODING": "x, gzip"}),
    ask(headers=HEADERS),
    ask(v={"HTTP_ACCEPT_ENCODING": "gzip"}),
    group="collect",
    framing=True,
)
