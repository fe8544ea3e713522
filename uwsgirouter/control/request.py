"""``uwsgirouterctl request``: one request over the uwsgi protocol, so that a router needs no web server to
be tried.

One idea: the web server's part of the conversation, with curl's habits (options, output, exit codes). It
makes the packet, sends it and prints what comes back.
"""

from __future__ import annotations

import argparse
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from typing import BinaryIO

from uwsgirouter.control.base import Command, Exit, Failure, seconds
from uwsgirouter.control.dial import connect, peer
from uwsgirouter.control.exchange import BLOCK, Exchange
from uwsgirouter.control.response import Response
from uwsgirouter.control.variables import Asked, split, variables
from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.packet import encode_packet

_DESCRIPTION = """\
Send one request to a router or node over the uwsgi protocol, print the response.

exit codes (curl's where it has one): 0 a complete response came, 2 wrong usage, 6 host name not found,
7 no connection, 8 malformed response head, 18 answer cut short, 22 status 400 or more with --fail,
23 output not written, 28 timeout, 52 empty answer, 56 connection reset"""


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("url", metavar="URL", help="what a browser would ask for; its host becomes HTTP_HOST, the routing key")
    add("--via", metavar="ADDR", required=True, help="host:port, [v6]:port, /path or @abstract of the router")
    add("-X", "--request", dest="method", metavar="METHOD", help="default GET, POST with -d")
    add(
        "-H",
        "--header",
        dest="headers",
        metavar="'Name: value'",
        action="append",
        default=[],
        help="repeatable",
    )
    add("-d", "--data", metavar="DATA", help="the body, as it is; @FILE sends a file, @- standard input")
    add("--key", metavar="KEY", help="send UWSGI_FASTROUTER_KEY, the key that overrides the host")
    add(
        "--var",
        dest="extra",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a uwsgi variable (NAME: drop it)",
    )
    add("-I", "--head", action="store_true", help="method HEAD, print the head")
    add("-i", "--include", action="store_true", help="print the response's head too")
    add("-f", "--fail", action="store_true", help="exit code 22, and no body, for a status of 400 or more")
    add("-o", "--output", metavar="FILE", help="write the response to FILE")
    add(
        "--timeout",
        metavar="S",
        type=seconds,
        default=60.0,
        help="seconds without a byte either way (default 60)",
    )


def _run(options: argparse.Namespace) -> Exit:
    split(options.url)  # a wrong URL is told before anything is opened
    with ExitStack() as stack:
        body, length = stack.enter_context(_body(options.data))
        method = options.method or ("HEAD" if options.head else "GET" if options.data is None else "POST")
        asked = Asked(options.url, method, options.headers, options.extra, options.key, length)
        connection = stack.enter_context(connect(peer(options.via), options.timeout))
        packet = _packet(asked, connection)
        response = Response(method)
        output = stack.enter_context(_output(options.output))
        printer = Printer(response, output, options.include or options.head, options.fail)
        Exchange(connection, packet, body, response, printer.write, options.timeout).run()
        printer.write(b"")
    if options.fail and response.status >= 400:
        raise Failure(Exit.HTTP_ERROR, f"the answer is {response.status}")
    return Exit.OK


class Printer:
    """Writes a response as curl does: the body, before it the heads if they are wanted."""

    def __init__(self, response: Response, output: Callable[[bytes], None], include: bool, fail: bool) -> None:
        self._response = response
        self._output = output
        self._include = include
        self._fail = fail
        self._head_bytes = 0

    def write(self, body: bytes) -> None:
        """Whatever of the heads is new, then the body's bytes."""
        if self._include and len(self._response.head) > self._head_bytes:
            self._output(self._response.head[self._head_bytes :])
            self._head_bytes = len(self._response.head)
        if body and not (self._fail and self._response.status >= 400):
            self._output(body)


def _packet(asked: Asked, connection: socket.socket) -> bytes:
    own = connection.getsockname()
    client = (own[0], own[1]) if isinstance(own, tuple) else ("127.0.0.1", 0)
    try:
        return encode_packet(variables(asked, client))
    except ProtocolError as error:
        raise Failure(Exit.USAGE, f"the request makes no uwsgi packet: {error}") from None


@contextmanager
def _body(data: str | None) -> Iterator[tuple[BinaryIO | None, int | None]]:
    """The body as a file, and its length in bytes."""
    if data is None:
        yield None, None
    elif data.startswith("@"):
        with _opened(data[1:]) as source:
            if stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                yield source, os.fstat(source.fileno()).st_size - source.tell()
            else:
                with _spooled(source) as (copy, length):
                    yield copy, length
    else:
        content = os.fsencode(data)
        yield BytesIO(content), len(content)


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        source = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise Failure(Exit.USAGE, f"body {path!r}: {error.strerror}") from None
    with source:
        yield source


@contextmanager
def _spooled(source: BinaryIO) -> Iterator[tuple[BinaryIO, int]]:
    """A pipe has no length, and a uwsgi request needs one: collect it in a temporary file."""
    with tempfile.TemporaryFile() as copy:
        while block := source.read(BLOCK):
            copy.write(block)
        length = copy.tell()
        copy.seek(0)
        yield copy, length


@contextmanager
def _output(path: str | None) -> Iterator[Callable[[bytes], None]]:
    """A function that writes to the file, or to standard output at once: a stream is shown as it comes."""
    if path is None:
        sys.stdout.flush()

        def to_stdout(data: bytes) -> None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

        yield to_stdout
        return
    try:
        with open(path, "wb") as file:

            def to_file(data: bytes) -> None:
                file.write(data)

            yield to_file
    except OSError as error:
        raise Failure(Exit.NOT_WRITTEN, f"output {path!r}: {error.strerror}") from None


COMMAND = Command(
    "request", "send one request over the uwsgi protocol, print the response", _DESCRIPTION, _arguments, _run
)
