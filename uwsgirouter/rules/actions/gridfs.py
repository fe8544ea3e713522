"""gridfs: a file that MongoDB keeps (GridFS) is the answer.

One idea: the newest file of a name is looked up, and read block by block, each a bounded call in a thread of the
service; small ones are held in memory, large ones go through a temporary file without a name. It knows pymongo by name
only, imported when a rule needs it. Invariants: a file that is not whole is not answered; the temporary file is handed
to the response or closed.
"""

from __future__ import annotations

import os
import tempfile
from base64 import b64encode
from binascii import Error, unhexlify
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, NamedTuple

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.arguments import keyed, shown
from uwsgirouter.rules.base import Act, BadRule, Broken, Found, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.mime import mime_types
from uwsgirouter.rules.ranges import http_date
from uwsgirouter.rules.service import Service, Timing, extra
from uwsgirouter.rules.stage import Piece

BLOCK = 1 << 20
"""Bytes that one call reads; a file of no more is held in memory."""

_FLAGS = ("no_mime", "orig_filename", "skip_slash", "md5", "etag")
_KEYS = (
    *(
        "mountpoint",
        "server",
        "replica",
        "db",
        "prefix",
        "bucket",
        "timeout",
        "itemname",
        "item",
        "username",
        "password",
    ),
    *_FLAGS,
)
_DEFAULT = "127.0.0.1:27017"


class _File(NamedTuple):
    """What is known of a file, and its first block."""

    id: Any
    name: bytes
    length: int
    uploaded: float | None
    md5: str
    block: bytes


class _Store:
    """One database and bucket, as a rule names it."""

    def __init__(self, given: dict[str, bytes]) -> None:
        self._pymongo: Any = extra("pymongo", "gridfs")
        self._gridfs: Any = extra("gridfs", "gridfs")
        text = {key: value.decode("utf-8", "replace") for key, value in given.items()}
        self._hosts = [host.strip() for host in text.get("server", _DEFAULT).split(",") if host.strip()]
        self._db = text["db"]
        self._bucket = text.get("bucket") or "fs"
        self._replica = text.get("replica", "")
        self._login: dict[str, str] = {}
        if text.get("username") and text.get("password"):
            self._login = {"username": text["username"], "password": text["password"], "authSource": self._db}
        try:
            self._client(Timing(1, 1, 1)).close()
        except Exception as error:  # noqa: BLE001 - whatever a driver says of an address that is none
            raise BadRule(f"server={','.join(self._hosts)}: {error}") from None
        self.service: Service[Any] = Service(
            f"gridfs {','.join(self._hosts)}/{self._db}",
            self._client,
            lambda client: client.close(),
            (self._pymongo.errors.PyMongoError, OSError),
        )

    def _client(self, timing: Timing) -> Any:
        """A client with one connection; it connects when it is first asked."""
        return self._pymongo.MongoClient(
            self._hosts,
            maxPoolSize=1,
            serverSelectionTimeoutMS=int(timing.connect * 1000),
            connectTimeoutMS=int(timing.connect * 1000),
            socketTimeoutMS=int(timing.answer * 1000),
            waitQueueTimeoutMS=int(timing.answer * 1000),
            heartbeatFrequencyMS=60_000,
            serverMonitoringMode="poll",
            appname="uwsgirouter",
            connect=False,
            **({"replicaSet": self._replica} if self._replica else {"directConnection": len(self._hosts) == 1}),
            **self._login,
        )

    def open(self, client: Any, name: str, wanted: bool, digest: bool) -> _File | None:
        """The newest file of that name, None when there is none. ``wanted``: its bytes; ``digest``: its MD5."""
        files = self._gridfs.GridFS(client[self._db], self._bucket)
        try:
            found = files.get_last_version(name)
            block = found.read(BLOCK) if wanted else b""
        except self._gridfs.NoFile:
            return None
        when = found.upload_date
        known = when.replace(tzinfo=timezone.utc).timestamp() if isinstance(when, datetime) else None
        md5 = self._digest(client, found._id) if digest else ""
        return _File(found._id, name.encode(), int(found.length), known, md5, block)

    def _digest(self, client: Any, id: Any) -> str:
        """What older drivers kept in a file's document; empty when there is none."""
        about = client[self._db][self._bucket]["files"].find_one({"_id": id}, {"md5": 1}) or {}
        md5 = about.get("md5")
        return md5 if isinstance(md5, str) else ""

    def read(self, client: Any, id: Any, at: int) -> bytes:
        """The next block of a file; nothing when it is gone."""
        files = self._gridfs.GridFS(client[self._db], self._bucket)
        try:
            found = files.get(id)
            found.seek(at)
            data: bytes = found.read(BLOCK)
        except self._gridfs.NoFile:
            return b""
        return data


@action("gridfs", waits=True)
def gridfs(argument: bytes, place: Place) -> Act:
    """``server=HOST:PORT,db=DB,itemname=NAME[,...]``: answer with the newest file of that name."""
    given = keyed(argument, place, _KEYS, ("db",))
    item = given.get("itemname") or given.get("item")
    if not item:
        raise BadRule("itemname= is missing, expected db=...,itemname=...")
    for key in ("mountpoint", "timeout"):
        if key in given:
            place.note(f"{key}= of gridfs means nothing in a rule: service-timeout says how long it waits")
    store = _Store(given)
    flags = frozenset(key for key in _FLAGS if key in given)
    name_of, prefix = place.template(item), given.get("prefix", b"")
    types = mime_types(place.settings)
    place.variable(b"HTTP_IF_NONE_MATCH")

    def act(exchange: Exchange, found: Found) -> Verdict:
        name = name_of(exchange, found)
        name = prefix + (name[1:] if "skip_slash" in flags and name.startswith(b"/") else name)
        file = _find(exchange, store, name, not flags.isdisjoint(("md5", "etag")))
        content_type = b"" if "no_mime" in flags else types.of(name)
        tag = f'"{file.md5 or file.id}"'.encode("ascii", "replace") if "etag" in flags else b""
        if tag and exchange.variable(b"HTTP_IF_NONE_MATCH") == tag:
            if exchange.response.prepare(b"304 Not Modified"):
                exchange.response.header(b"ETag", tag)
                exchange.response.write_head()
            return Verdict.BREAK
        if len(file.block) >= file.length or exchange.variable(b"REQUEST_METHOD") == b"HEAD":
            _answer(exchange, file, flags, content_type, tag)
            return Verdict.BREAK
        try:
            with tempfile.TemporaryFile(buffering=0, prefix="uwsgirouter-") as kept:
                _fetch(exchange, store, file, kept)
                _answer(exchange, file, flags, content_type, tag, kept)
        except OSError as error:
            raise Broken(f"{shown(name)}: a temporary file: {error.strerror}", Cause.STORAGE) from None
        return Verdict.BREAK

    return act


def _find(exchange: Exchange, store: _Store, name: bytes, digest: bool) -> _File:
    wanted = exchange.variable(b"REQUEST_METHOD") != b"HEAD"
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = ""
    file = None
    if text:
        file = exchange.host.ask(store.service, lambda client: store.open(client, text, wanted, digest))
    if file is None:
        raise Broken(f"{store.service.name} has no file {shown(name)}", Cause.NO_FILE)
    return file


def _answer(
    exchange: Exchange, file: _File, flags: frozenset[str], content_type: bytes, tag: bytes, kept: Any = None
) -> None:
    """``kept``: the temporary file in which the body is, if it is not the file's block."""
    response = exchange.response
    if not response.prepare(b"200 OK"):
        return
    if tag:
        response.header(b"ETag", tag)
    if content_type:
        response.header(b"Content-Type", content_type)
    if "orig_filename" in flags:
        response.header(b"Content-Disposition", b'inline; filename="%b"' % _quoted(file.name))
    response.header(b"Content-Length", b"%d" % file.length)
    if file.uploaded is not None:
        response.header(b"Last-Modified", http_date(file.uploaded))
    if "md5" in flags and file.md5:
        with suppress(Error, ValueError):
            response.header(b"Content-MD5", b64encode(unhexlify(file.md5)))
    if response.is_bodiless or not file.length:
        response.write_head()
    elif kept is None:
        response.write(file.block[: file.length])
    else:
        response.write_file(Piece(os.dup(kept.fileno()), 0, file.length), changes=True)


def _quoted(name: bytes) -> bytes:
    return name.rpartition(b"/")[2].replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def _fetch(exchange: Exchange, store: _Store, file: _File, kept: Any) -> None:
    """All of the body into ``kept``. Raises :class:`Broken`."""
    host = exchange.host
    block, at = file.block, 0
    while block:
        host.aside(lambda block=block: _write(kept, block))  # type: ignore[misc]
        at += len(block)
        if at >= file.length:
            return
        block = host.ask(store.service, lambda client, at=at: store.read(client, file.id, at))  # type: ignore[misc]
    raise Broken(f"{shown(file.name)} of {store.service.name} ended early", Cause.SERVICE_FAILED)


def _write(kept: Any, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[kept.write(view) :]
