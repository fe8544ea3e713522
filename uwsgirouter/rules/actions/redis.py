"""redis: answer with a string of a Redis server, and keep bodies there.

One idea: what a rule makes of an item is rules/stored.py; here is how the server is asked, by redis-py, which is
imported when a rule names one of these. Observed on uWSGI 2.0.30: an empty string is a miss, and so is what is no
string. Keys and values are any bytes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from uwsgirouter.rules.base import BadRule, Broken, Verdict, action, transformation
from uwsgirouter.rules.service import Service, Timing, extra
from uwsgirouter.rules.stored import NONSENSE, Items, Store, answering, keeping
from uwsgirouter.settings.address import parse_peer

URLS = ("redis://", "rediss://")


@lru_cache(maxsize=1)
def _load() -> tuple[Any, Any]:
    """The library, and what makes it try nothing again."""
    library, backoff = extra("redis", "redis"), extra("redis.backoff", "redis")
    return library, extra("redis.retry", "redis").Retry(backoff.NoBackoff(), 0)


@lru_cache(maxsize=256)
def _reach(text: str) -> Service[Items]:
    library, never = _load()
    way, name = _way(text)

    def connect(timing: Timing) -> Redis:
        times = {"socket_connect_timeout": timing.connect, "socket_timeout": timing.answer}
        options = {**times, "retry": never, "protocol": 2}
        if "url" in way:
            # (Not the library's default before 6.)
            checks = {"ssl_check_hostname": True} if way["url"].startswith("rediss:") else {}
            return Redis(library, library.Redis.from_url(way["url"], **options, **checks))
        return Redis(library, library.Redis(**way, **options))

    return Service(f"redis {name}", connect, lambda items: items.close(), (library.RedisError, OSError, *NONSENSE))


class Redis:
    """One connection, made by the first command. The library is given, so that nothing is imported in a thread."""

    def __init__(self, library: Any, client: Any) -> None:
        self._library = library
        self._client = client

    def get(self, key: bytes) -> bytes | None:
        """A string. Raises Broken for what is none."""
        try:
            value = self._client.get(key)
        except self._library.ResponseError as error:
            raise Broken(str(error)) from None
        if value is None or isinstance(value, bytes):
            return value
        raise self._library.InvalidResponse(f"{str(value)[:64]} is no string")

    def put(self, key: bytes, value: bytes, expires: int) -> None:
        """Set a string. Raises Broken when the server will not have it."""
        try:
            self._client.set(key, value, ex=expires or None)
        except self._library.ResponseError as error:
            raise Broken(str(error)) from None

    def close(self) -> None:
        """Close it."""
        self._client.close()


def _way(text: str) -> tuple[dict[str, Any], str]:
    """Arguments for the library, and the name for logs. Raises ConfigError, BadRule."""
    if text.startswith(URLS):
        return {"url": text}, _named(text)
    address = parse_peer(text)
    if address.is_unix:
        path = address.sockaddr
        return {"unix_socket_path": path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path}, text
    return {"host": address.host, "port": address.port}, text


def _named(url: str) -> str:
    """A URL without its password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadRule(f"the URL of a Redis server: {error}") from None
    database = parts.path.strip("/")
    if not host or parts.query or parts.fragment or (database and not database.isdecimal()):
        raise BadRule(f"the URL of a Redis server is {parts.scheme}://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]")
    return f"{parts.scheme}://{host}:{port or 6379}/{database or 0}"


STORE = Store("redis", _load, _reach, bool)

action("redis", waits=True)(answering(STORE, Verdict.BREAK, forgives=False))
action("redis-continue", waits=True)(answering(STORE, Verdict.NEXT, forgives=True))
transformation("redisstore", "redis-store")(keeping(STORE, "redisstore"))
