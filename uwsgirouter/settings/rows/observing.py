"""Options of what is seen of the router: statistics, logs, request ids."""

from __future__ import annotations

from uwsgirouter.settings.option import Option, Type

ROWS = (
    Option(
        "request-id",
        "observing",
        Type.BOOL,
        "give each request that brings no X-Request-ID header one (its node sees HTTP_X_REQUEST_ID)",
        default="false",
    ),
)
