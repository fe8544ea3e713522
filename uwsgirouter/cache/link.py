"""How a Redis server is asked about a cache: what is sent, and what an answer means. The only importer of redis here.

One idea: each function is one question on one connection and blocks as long as the connection's timeouts allow; in
which thread that is, and what it means that no answer came, is for others (remote.py, worker/cache_links.py).
A change that depends on what was there is one step of the server's (a script), so nobody comes between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from uwsgirouter.cache.access import CacheTrouble
from uwsgirouter.cache.base import wrapped

T = TypeVar("T")
Client = Any
"""One connection (a ``redis.Redis``)."""

FAILURES: tuple[type[BaseException], ...] = (redis.ConnectionError, redis.TimeoutError, OSError)
"""Nobody answers."""

CLOSED: tuple[type[BaseException], ...] = (redis.ConnectionError, ConnectionError)
"""Those of them that a connection has which the server closed while it lay idle."""

_GONE = -2
"""What is left of the life of an item that is not there, perhaps since a moment ago."""

NUMBER = 8
TRIES = 200
PAGE = 1000
"""Keys that one step of a walk over all of them is to look at."""


class Away(CacheTrouble):
    """Nobody answers."""


class Link(Protocol):
    """A way to a server."""

    def ask(self, call: Callable[[Client], T], once: bool = False) -> T:
        """``call(client)``. Raises :class:`CacheTrouble`, :class:`Away`. ``once``: it must not be made twice."""

    def hand(self, call: Callable[[Client], object], complain: Callable[[str], None]) -> None:
        """The same without waiting for it."""

    def close(self) -> None:
        """Nobody asks any more."""


def connect(url: str, connect_timeout: float, answer_timeout: float, single: bool = True) -> Client:
    """A client that gives up in time and repeats nothing by itself; ``single``: it is one connection. Raises what it
    likes.
    """
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=connect_timeout,
        socket_timeout=answer_timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        single_connection_client=single,
    )


def refusable(call: Callable[[Client], T]) -> Callable[[Client], T]:
    """``call``, of which a server's refusal (no memory, a key of another type) is a :class:`CacheTrouble`."""

    def asked(client: Client) -> T:
        try:
            return call(client)
        except redis.ResponseError as error:
            raise CacheTrouble(str(error)) from None

    return asked


# -- questions -------------------------------------------------------------------------------------------------------


def fetch(client: Client, key: bytes) -> tuple[bytes, int] | None:
    """The value and the milliseconds that it still lives, 0 for ever; None: there is none."""
    both = client.pipeline(transaction=False)
    both.get(key)
    both.pttl(key)
    value, left = both.execute()
    return None if value is None or left == _GONE else (value, max(0, left))


def fetch_all(client: Client, keys: Sequence[bytes]) -> list[tuple[bytes, int] | None]:
    """The same of several."""
    several = client.pipeline(transaction=False)
    for key in keys:
        several.get(key)
        several.pttl(key)
    found = several.execute(raise_on_error=False)
    return [
        (value, max(0, left)) if isinstance(value, bytes) and isinstance(left, int) and left != _GONE else None
        for value, left in zip(found[::2], found[1::2], strict=True)
    ]


def mortal(client: Client, keys: Sequence[bytes]) -> int:
    """How many of these have an end."""
    several = client.pipeline(transaction=False)
    for key in keys:
        several.pttl(key)
    return sum(1 for left in several.execute() if left > 0)


def store(client: Client, key: bytes, value: bytes, life: int, adding: bool) -> bool:
    """``life`` in ms, 0 is for ever; ``adding``: only if there is none."""
    return bool(client.set(key, value, px=life or None, nx=adding))


def page(client: Client, cursor: int, pattern: bytes) -> tuple[int, list[bytes]]:
    """Some keys, and where to go on (0: it is the end). One may come twice."""
    following, keys = client.scan(cursor, match=pattern, count=PAGE)
    return int(following), list(keys)


def store_all(client: Client, items: Sequence[tuple[bytes, bytes]], life: int, gone: Sequence[bytes]) -> None:
    """Put all these and remove those, in one step."""
    step = client.pipeline(transaction=True)
    if gone:
        step.delete(*gone)
    for key, value in items:
        step.set(key, value, px=life or None)
    step.execute()


# Numbers are eight bytes, the lowest first, as uWSGI has them; Lua's own have 53 bits only, so they are added by bytes.
_ADD = """
local old = redis.call('GET', KEYS[1])
local number = old or ARGV[2]
if #number ~= 8 then return false end
local carry, out = 0, {}
for at = 1, 8 do
    local sum = string.byte(number, at) + string.byte(ARGV[1], at) + carry
    out[at] = string.char(sum % 256)
    carry = math.floor(sum / 256)
end
local new = table.concat(out)
if old then redis.call('SETRANGE', KEYS[1], 0, new)
elseif ARGV[3] ~= '0' then redis.call('SET', KEYS[1], new, 'PX', ARGV[3])
else redis.call('SET', KEYS[1], new) end
return new
"""

_EXCHANGE = """
local old = redis.call('GET', KEYS[1]) or ''
if old ~= ARGV[1] then return {0, old} end
if old ~= '' then redis.call('SETRANGE', KEYS[1], 0, ARGV[2])
elseif ARGV[3] ~= '0' then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
else redis.call('SET', KEYS[1], ARGV[2]) end
return {1, ARGV[2]}
"""


def add(client: Client, key: bytes, by: int, initial: int, life: int) -> bytes | None:
    """Add to a number, which lives on as it would; the new one, None for what is no number."""
    new: bytes | None = client.eval(_ADD, 1, key, packed(by), packed(initial), life)
    return new


def calculate(client: Client, key: bytes, step: Callable[[int], int], initial: int, life: int) -> bytes | None:
    """Make any other change of a number: tried until nobody else's came between. Raises CacheTrouble."""
    old = client.get(key) or b""
    for _ in range(TRIES):
        if old and len(old) != NUMBER:
            return None
        new = packed(step(unpacked(old) if old else initial))
        done, old = client.eval(_EXCHANGE, 1, key, old, new, life)
        if done:
            return new
    raise CacheTrouble(f"others changed the number {TRIES} times meanwhile")


def packed(number: int) -> bytes:
    """As eight bytes."""
    return wrapped(number).to_bytes(NUMBER, "little", signed=True)


def unpacked(data: bytes) -> int:
    """The number of eight bytes."""
    return int.from_bytes(data, "little", signed=True)
