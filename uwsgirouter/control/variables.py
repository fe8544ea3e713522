"""The uwsgi variables of one request, made from a URL as a web server would make them.

One idea: :func:`variables` gives what nginx's ``uwsgi_params`` give for the same request, in that order,
followed by the header fields as ``HTTP_*``. Pure: no socket, no file. Values are bytes: a path is decoded
from its percent signs into whatever bytes it names, and a repeated header stays a repeated variable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlsplit

import uwsgirouter
from uwsgirouter.control.base import Exit, Failure

Variables = list[tuple[bytes, bytes]]

_URL_SAFE = "%/:=&?~#+!$,;'@()*[]-._|^"


class Asked(NamedTuple):
    """A request as the command line gives it. ``length`` is the body's size in bytes, None without a body."""

    url: str
    method: str
    headers: Sequence[str]
    extra: Sequence[str]
    key: str | None
    length: int | None


def variables(asked: Asked, client: tuple[str, int]) -> Variables:
    """The variables, in order; ``client`` is the address and port shown as the browser's."""
    url = split(asked.url)
    headers = _headers(asked, url)
    result = [
        (b"QUERY_STRING", _encode(url.query)),
        (b"REQUEST_METHOD", _encode(asked.method)),
        (b"CONTENT_TYPE", _last(headers, b"HTTP_CONTENT_TYPE")),
        (b"CONTENT_LENGTH", _last(headers, b"HTTP_CONTENT_LENGTH")),
        (b"REQUEST_URI", _encode(url.path + (f"?{url.query}" if url.query else ""))),
        (b"PATH_INFO", unquote_to_bytes(url.path)),
        (b"SERVER_PROTOCOL", b"HTTP/1.1"),
        (b"REQUEST_SCHEME", _encode(url.scheme)),
        *([(b"HTTPS", b"on")] if url.scheme == "https" else []),
        (b"REMOTE_ADDR", _encode(client[0])),
        (b"REMOTE_PORT", _encode(str(client[1]))),
        (b"SERVER_PORT", _encode(str(url.port or (443 if url.scheme == "https" else 80)))),
        (b"SERVER_NAME", _encode(url.hostname or "")),
    ]
    if asked.key is not None:
        result.append((b"UWSGI_FASTROUTER_KEY", _encode(asked.key)))
    return _with_extra([*result, *headers], asked.extra)


def split(url: str) -> SplitResult:
    """The URL in parts, the path percent-encoded; without a scheme it is http, as curl takes it."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https"):
        raise Failure(Exit.USAGE, f"URL {url!r}: the scheme is http or https")
    if parts.username is not None:
        raise Failure(Exit.USAGE, f"URL {url!r}: no user and password here, use -H 'Authorization: ...'")
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Failure(Exit.USAGE, f"URL {url!r}: {error}") from None
    if not host or port == 0:
        raise Failure(Exit.USAGE, f"URL {url!r}: expected http://HOST[:PORT]/PATH")
    return parts._replace(path=_percent(parts.path or "/"), query=_percent(parts.query))


def _percent(text: str) -> str:
    """What must not stand in a request line becomes ``%XX``; what is encoded already stays."""
    return quote(text, safe=_URL_SAFE, errors="surrogateescape")


def _headers(asked: Asked, url: SplitResult) -> Variables:
    """The header fields as variables: the ones a browser would send, unless -H says otherwise."""
    given = [_header(text) for text in asked.headers]
    names = {name for name, _ in given}
    length = None if asked.length is None else _encode(str(asked.length))
    form = None if asked.length is None else b"application/x-www-form-urlencoded"
    default = [
        (b"HTTP_HOST", _encode(url.netloc)),
        (b"HTTP_USER_AGENT", _encode(f"uwsgirouterctl/{uwsgirouter.__version__}")),
        (b"HTTP_ACCEPT", b"*/*"),
        (b"HTTP_CONTENT_TYPE", form),
        (b"HTTP_CONTENT_LENGTH", length),
    ]
    every = [(name, value) for name, value in default if name not in names] + given
    return [(name, value) for name, value in every if value is not None]


def _header(text: str) -> tuple[bytes, bytes | None]:
    """``Name: value``; ``Name:`` leaves a default header out, ``Name;`` sends it with an empty value (as
    curl).
    """
    name, colon, value = text.partition(":")
    if not colon and text.endswith(";"):
        return _header_name(text[:-1], text), b""
    if not colon:
        raise Failure(Exit.USAGE, f"header {text!r}: expected 'Name: value'")
    return _header_name(name, text), _encode(value.strip()) or None


def _header_name(name: str, text: str) -> bytes:
    if not name or not name.isascii() or not name.replace("-", "a").replace("_", "a").isalnum():
        raise Failure(Exit.USAGE, f"header {text!r}: a name has letters, digits, dashes and underscores")
    return b"HTTP_" + name.upper().replace("-", "_").encode()


def _with_extra(base: Variables, extra: Sequence[str]) -> Variables:
    """``NAME=VALUE`` takes the place of every NAME so far; more of the same name stay together, in order."""
    added: Variables = []
    removed = set()
    for text in extra:
        name, equals, value = text.partition("=")
        if not name:
            raise Failure(Exit.USAGE, f"variable {text!r}: expected NAME=VALUE, or NAME to leave it out")
        removed.add(_encode(name))
        if equals:
            added.append((_encode(name), _encode(value)))
    return [(name, value) for name, value in base if name not in removed] + added


def _last(headers: Variables, name: bytes) -> bytes:
    return next((value for found, value in reversed(headers) if found == name), b"")


def _encode(text: str) -> bytes:
    # Arguments that are no UTF-8 keep the bytes they had on the command line.
    return text.encode("utf-8", "surrogateescape")
