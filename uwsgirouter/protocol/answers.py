"""Failure answers: the complete HTTP responses that the router gives when no node can.

One idea: a failure is a :class:`Cause`, and everything a person sees of it (status, reason, what to do) stands in one
row of this table; docs/failures.md, the counters and the log lines use the same names. No I/O.
"""

from __future__ import annotations

import html
from enum import Enum
from typing import NamedTuple


class Answer(NamedTuple):
    """The status, a word for logs and headers, and the sentence in the body."""

    status: int
    reason: str
    word: str
    sentence: str


class Cause(Enum):
    """Why a request failed; the value is what its client is told."""

    BAD_PACKET = Answer(400, "Bad Request", "bad-packet", "The web server sent a malformed uwsgi packet.")
    NO_KEY = Answer(400, "Bad Request", "no-key", "The request names no host.")
    CLIENT_TIMEOUT = Answer(408, "Request Timeout", "client-timeout", "The request did not arrive in time.")
    NO_NODE = Answer(503, "Service Unavailable", "no-node", "No application server is there for this host.")
    OVERLOAD = Answer(503, "Service Unavailable", "overload", "The router has no descriptor left.")
    CONNECT_FAILED = Answer(502, "Bad Gateway", "connect-failed", "No application server accepts connections.")
    NODE_CLOSED = Answer(502, "Bad Gateway", "node-closed", "The application server closed without an answer.")
    NODE_RESET = Answer(502, "Bad Gateway", "node-reset", "The application server reset the connection.")
    CONNECT_TIMEOUT = Answer(504, "Gateway Timeout", "connect-timeout", "No application server accepted in time.")
    FIRST_BYTE_TIMEOUT = Answer(
        504, "Gateway Timeout", "first-byte-timeout", "The application server did not answer in time."
    )
    INTERNAL = Answer(500, "Internal Server Error", "internal-error", "The router failed at this request.")
    STOPPED = Answer(503, "Service Unavailable", "stopped", "The router was stopped before an answer came.")
    BAD_KEY = Answer(400, "Bad Request", "bad-key", "The request's host is not allowed here.")
    TOO_LARGE = Answer(413, "Content Too Large", "too-large", "The request's body is larger than allowed.")
    BODY_CUT = Answer(400, "Bad Request", "body-cut", "The request's body ended early.")
    STORAGE = Answer(507, "Insufficient Storage", "storage", "The router has no room for the request's body.")
    MAPPER_FAILED = Answer(502, "Bad Gateway", "mapper-failed", "The router could not find out who serves this host.")
    MAPPER_TIMEOUT = Answer(504, "Gateway Timeout", "mapper-timeout", "Finding out who serves this host took too long.")
    QUEUE_FULL = Answer(503, "Service Unavailable", "queue-full", "The application servers are busy.")
    QUEUE_TIMEOUT = Answer(503, "Service Unavailable", "queue-timeout", "The application servers are still busy.")
    RULE_BREAK = Answer(403, "Forbidden", "rule-break", "A rule of the router ended this request.")
    RULE_FAILED = Answer(500, "Internal Server Error", "rule-failed", "A rule of the router failed at this request.")
    RULES_TIMEOUT = Answer(504, "Gateway Timeout", "rules-timeout", "The router's rules took too long.")
    HARAKIRI = Answer(504, "Gateway Timeout", "harakiri", "The request took longer than it may.")
    NO_FILE = Answer(404, "Not Found", "no-file", "There is no such file.")
    BAD_HEADER = Answer(400, "Bad Request", "bad-header", "No header can be made of what the request says.")
    BAD_ANSWER = Answer(502, "Bad Gateway", "bad-answer", "The application server's answer is no HTTP.")
    ANSWER_TOO_LARGE = Answer(502, "Bad Gateway", "answer-too-large", "The application server's answer is too large.")
    SERVICE_FAILED = Answer(
        502, "Bad Gateway", "service-failed", "A server that the router asks about requests did not answer."
    )
    SERVICE_BUSY = Answer(
        503, "Service Unavailable", "service-busy", "A server that the router asks about requests is busy."
    )
    CGI_FAILED = Answer(502, "Bad Gateway", "cgi-failed", "A program that the router runs gave no answer.")
    CGI_TIMEOUT = Answer(504, "Gateway Timeout", "cgi-timeout", "A program that the router runs took too long.")
    CGI_BUSY = Answer(503, "Service Unavailable", "cgi-busy", "The router runs as many programs as it may.")
    LIMITED = Answer(429, "Too Many Requests", "limited", "Too many requests: try again later.")
    IDLE_TIMEOUT = Answer(504, "Gateway Timeout", "idle-timeout", "The response stopped for too long.")


RETRY_AFTER = 5
"""Seconds that a 503 asks its client to wait: nodes announce themselves every 10 s, so half of that."""


def encode_answer(cause: Cause, head_only: bool = False, request_id: bytes = b"") -> bytes:
    """The response for ``cause``; ``head_only`` leaves out the body, as the answer to a HEAD request.

    ``request_id``: what the log calls the request, printable ASCII; empty: nobody has named it.
    """
    answer = cause.value
    name = request_id.decode("ascii")
    shown = f"<p>Request {html.escape(name)}</p>\n" if name else ""
    body = (
        f"<!DOCTYPE html>\n<title>{answer.status} {answer.reason}</title>\n"
        f"<h1>{answer.status} {answer.reason}</h1>\n<p>{answer.sentence}</p>\n{shown}"
    ).encode()
    head = [
        f"HTTP/1.1 {answer.status} {answer.reason}",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        f"X-Uwsgirouter-Cause: {answer.word}",
        "Connection: close",
    ]
    if name:
        head.append(f"X-Request-ID: {name}")
    if answer.status == 503:
        head.append(f"Retry-After: {RETRY_AFTER}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + (b"" if head_only else body)
