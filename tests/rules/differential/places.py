"""The files and servers that rules name, the same for both sides."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.servers import Connection, Servers, local

MODIFIED = 1_700_000_000
"""When every file was changed last."""

HTPASSWD = "des:abNANd1rDfiNc\nsha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nlast:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
"""Everybody's password is "secret"; the last line has no end."""
MIME = """# types
text/html html htm
text/plain txt
text/css css
application/javascript js
image/png png
application/gzip gz
"""


def places(servers: Servers) -> dict[str, str]:
    """What ``{root}`` and the others mean: a directory, a uwsgi server, an HTTP server, and a port that nobody
    listens on.
    """
    root = Path(servers.path("root"))
    if not root.exists():
        fill(root)
    return {"root": str(root), "web": servers.node(web).address, "dead": local()}


def web(connection: Connection) -> None:
    """An HTTP server that answers with what it was sent, or as the path says."""
    try:
        _serve(connection)
    except (AssertionError, ValueError, IndexError, OSError):
        pass  # somebody who speaks no HTTP, and left


def _serve(connection: Connection) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.read(1)
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    body = connection.read(int(fields.get(b"content-length", b"0") or b"0"))
    path = head.split(b" ")[1]
    connection.send(ANSWERS.get(path.partition(b"?")[0], _echoed)(head, body))


def _echoed(head: bytes, body: bytes) -> bytes:
    text = head + b"%d bytes of body" % len(body)
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(text) + text


def _fixed(answer: bytes) -> Callable[[bytes, bytes], bytes]:
    return lambda head, body: answer


ANSWERS: dict[bytes, Callable[[bytes, bytes], bytes]] = {
    b"/status/404": _fixed(b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\nmissing"),
    b"/empty": _fixed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    b"/twice": _fixed(b"HTTP/1.1 200 Fine\r\nX-Twice: 1\r\nX-Twice: 2\r\nx-lower: 3\r\nX-Empty: \r\n\r\nbody"),
    b"/big": _fixed(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(range(256)) * 1000),
    b"/none": _fixed(b"HTTP/1.1 204 No Content\r\n\r\n"),
    b"/http10": _fixed(b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nold"),
    b"/chunked": _fixed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    b"/junk": _fixed(b"this is not HTTP at all\r\n\r\nbody"),
    b"/close": _fixed(b""),
}


def fill(root: Path) -> None:
    """Files, a directory, links, a program, a password file."""
    root.mkdir()
    files = {"a.txt": "text of a\n", "b.html": "<b>", "noext": "no extension", "empty.txt": "", "c.TXT": "upper"}
    for name, text in files.items():
        (root / name).write_text(text)
    (root / "big.bin").write_bytes(bytes(range(256)) * 1024)
    (root / "htpasswd").write_text(HTPASSWD)
    (root / "htpasswd-cut").write_text(
        "one:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nno colon here\ntwo:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"
    )
    (root / "mime.types").write_text(MIME)
    (root / "template.html").write_text("<${PATH_INFO}> $1 ${uwsgi[status]}")
    (root / "dir").mkdir()
    (root / "dir" / "in.txt").write_text("inside")
    (root / "link.txt").symlink_to(root / "a.txt")
    (root / "dead").symlink_to(root / "nowhere")
    (root / "dirlink").symlink_to(root / "dir")
    (root / "program").write_text("#!/bin/sh\n")
    (root / "program").chmod(0o755)
    os.setxattr(root / "a.txt", "user.oracle", b"attribute")
    for path in root.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (MODIFIED, MODIFIED))
