"""``${geoip[...]}``: where a client's address is, from databases of MaxMind's format (the extra ``geoip``).

One idea: the library and the databases are loaded by the first rule that asks, when the table is built; what is missing
refuses the start. The city's database is asked before the country's, as in uWSGI. An address in none of them is empty.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from uwsgirouter.rules.base import BadRule, Place, Value, variable

if TYPE_CHECKING:
    from uwsgirouter.rules.exchange import Exchange

Record = dict[str, Any]

_PATHS: dict[bytes, tuple[str | int, ...]] = {
    b"continent": ("continent", "code"),
    b"country_code": ("country", "iso_code"),
    b"country_name": ("country", "names", "en"),
    b"region": ("subdivisions", 0, "iso_code"),
    b"region_name": ("subdivisions", 0, "names", "en"),
    b"city": ("city", "names", "en"),
    b"postal_code": ("postal", "code"),
    b"latitude": ("location", "latitude"),
    b"longitude": ("location", "longitude"),
    b"asn": ("autonomous_system_number",),
    b"organization": ("autonomous_system_organization",),
}
"""What may be asked for, and where a record has it."""

_OPTIONS = ("geoip-city", "geoip-country")


@variable("geoip")
def geoip(argument: bytes, place: Place) -> Value:
    """A word about the client's address (REMOTE_ADDR)."""
    path = _PATHS.get(argument)
    if path is None:
        words = ", ".join(word.decode() for word in _PATHS)
        raise BadRule(f"geoip: unknown word {argument.decode('utf-8', 'backslashreplace')!r}; there are {words}")
    files = [(name, place.settings.text(name)) for name in _OPTIONS if place.settings.is_set(name)]
    if not files:
        raise BadRule("geoip: no database; write geoip-city = FILE.mmdb or geoip-country = FILE.mmdb")
    look = [
        _database(name, os.path.abspath(file), os.stat(file).st_mtime_ns if os.path.exists(file) else 0)
        for name, file in files
    ]

    def value(exchange: Exchange) -> bytes:
        address = exchange.subject(b"REMOTE_ADDR").decode("latin-1")
        for ask in look:
            found = ask(address)
            if found is not None:
                return _word(found, path)
        return b""

    return value


def _word(record: object, path: tuple[str | int, ...]) -> bytes:
    found: Any = record
    for step in path:
        try:
            found = found[step]
        except (KeyError, IndexError, TypeError):
            return b""
    return str(found).encode("utf-8", "backslashreplace")


@lru_cache(maxsize=8)
def _database(option: str, path: str, changed: int) -> Callable[[str], object]:
    """What answers for an address: the record, None for what is not there. ``changed``: the file's time, so that a
    reload reads a new file."""
    try:
        import maxminddb
    except ImportError as error:
        wanted = "pip install 'uwsgirouter[geoip]'"
        raise BadRule(f"geoip needs the package maxminddb ({error}); install it with: {wanted}") from None
    try:
        reader = maxminddb.open_database(path)
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        raise BadRule(f"{option} = {path}: {error}") from None

    def ask(address: str) -> object:
        try:
            return reader.get(address)
        except (ValueError, maxminddb.InvalidDatabaseError):
            return None  # no address, an IPv6 one for a database of IPv4, or a broken file

    return ask
