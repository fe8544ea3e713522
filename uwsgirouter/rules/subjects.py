"""What the options with a pattern look at: one variable of the request each.

One idea: a subject is what uWSGI found when it parsed the packet. Variables that rules add do not change it; the
actions that are meant to (rewrite, setuser, ...) say so (:meth:`Exchange.set_subject`). It knows no rule.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """``number`` is its place in what a run of a table remembers; ``printed`` is how uWSGI's table calls it."""

    number: int
    variable: bytes
    printed: str


SUBJECTS = {
    "": Subject(0, b"PATH_INFO", "path_info"),
    "host": Subject(1, b"HTTP_HOST", "http_host"),
    "uri": Subject(2, b"REQUEST_URI", "request_uri"),
    "qs": Subject(3, b"QUERY_STRING", "query_string"),
    "remote-addr": Subject(4, b"REMOTE_ADDR", "remote_addr"),
    "remote-user": Subject(5, b"REMOTE_USER", "remote_user"),
    "referer": Subject(6, b"HTTP_REFERER", "referer"),
    "user-agent": Subject(7, b"HTTP_USER_AGENT", "user_agent"),
}
"""By what stands behind ``route-``."""

NAMES = tuple(subject.variable for subject in SUBJECTS.values())
"""The variables, by number."""

ANSWERED = (b"SERVER_PROTOCOL", b"REQUEST_METHOD")
"""What every answer looks at."""

HOST, ADDRESS = b"HTTP_HOST", b"REMOTE_ADDR"
SERVER_NAME = b"SERVER_NAME"
"""What ``host`` looks at when there is no HTTP_HOST."""
