"""What no single option can show: addresses that clash, numbers of shared sockets that are not there, nothing
to do.

Pure: settings in, the same settings with more notices out, or errors that name every line involved.
"""

from __future__ import annotations

from collections.abc import Iterator

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.address import Address, Kind
from uwsgirouter.settings.judge import raise_all
from uwsgirouter.settings.settings import Settings

_STREAMS = ("fastrouter", "shared-socket")
_DATAGRAMS = ("fastrouter-subscription-server",)


def checked(settings: Settings, inherits_sockets: bool) -> Settings:
    """The settings, with the notices found here. Raises :class:`ConfigError`.

    ``inherits_sockets``: systemd passes the sockets to listen on.
    """
    errors = [
        *_nothing_to_listen_on(settings, inherits_sockets),
        *_shared_numbers(settings),
        *_duplicates(settings),
    ]
    raise_all(errors)
    return settings.with_notices([*_no_nodes(settings), *_odd_paths(settings)])


def _nothing_to_listen_on(settings: Settings, inherits_sockets: bool) -> Iterator[ConfigError]:
    if not settings.addresses("fastrouter") and not inherits_sockets:
        yield ConfigError("no address to listen on: write fastrouter = 127.0.0.1:3017 (or a path for a unix socket)")


def _no_nodes(settings: Settings) -> Iterator[str]:
    if not settings.addresses("fastrouter-to") and not settings.addresses("fastrouter-subscription-server"):
        yield (
            "there is no way to find a node, so every request will fail: write fastrouter-subscription-server = "
            "ADDRESS for nodes that announce themselves, or fastrouter-to = ADDRESS for static ones"
        )


def _odd_paths(settings: Settings) -> Iterator[str]:
    for name in (*_STREAMS, "fastrouter-to", *_DATAGRAMS):
        for index, address in enumerate(settings.addresses(name)):
            if address.kind is Kind.UNIX and address.text.isdigit():
                text = address.text
                where = settings.where(name, index)
                yield f"{where}: {name} = {text} is the unix socket ./{text}; write :{text} for a port"


def _shared_numbers(settings: Settings) -> Iterator[ConfigError]:
    count = len(settings.addresses("shared-socket"))
    for index, address in enumerate(settings.addresses("fastrouter")):
        if address.kind is Kind.SHARED and address.port >= count:
            there = "there is none" if not count else f"there are {count}, from =0 to ={count - 1}"
            yield ConfigError(
                f"fastrouter = {address.text}: no shared-socket has number {address.port}, {there}",
                settings.where("fastrouter", index),
            )


def _duplicates(settings: Settings) -> Iterator[ConfigError]:
    seen: dict[object, str] = {}
    for name in (*_STREAMS, *_DATAGRAMS):
        for index, address in enumerate(settings.addresses(name)):
            where = settings.where(name, index)
            if _is_chosen_by_kernel(address):
                continue
            key = (address.is_unix or name not in _DATAGRAMS, address.identity)
            if key in seen:
                yield ConfigError(f"{name} = {address.text}: the address is already used by {seen[key]}", where)
            seen.setdefault(key, f"{name} at {where}")


def _is_chosen_by_kernel(address: Address) -> bool:
    return address.kind in (Kind.TCP4, Kind.TCP6, Kind.NAME) and address.port == 0
