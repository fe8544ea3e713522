"""What no single option can show: addresses that clash, numbers of shared sockets that are not there, nothing
to do.

Pure: settings in, the same settings with more notices out, or errors that name every line involved.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings import application, balancing_checks, mapping_checks, resubscription, senders
from uwsgirouter.settings.address import Address, Kind, parse_listen
from uwsgirouter.settings.alarming import alarm_faults
from uwsgirouter.settings.cache_checks import cache_faults, cache_notices
from uwsgirouter.settings.judge import raise_all
from uwsgirouter.settings.logging import logging_faults, logging_notices
from uwsgirouter.settings.metering import metric_faults
from uwsgirouter.settings.rule_services import service_notices
from uwsgirouter.settings.settings import Settings

_STREAMS = ("fastrouter", "shared-socket", "fastrouter-stats", "stats", "metrics")
_DATAGRAMS = ("fastrouter-subscription-server",)


def checked(settings: Settings, inherits_sockets: bool) -> Settings:
    """The settings, with the notices found here. Raises :class:`ConfigError`.

    ``inherits_sockets``: systemd passes the sockets to listen on.
    """
    errors = [
        *_nothing_to_listen_on(settings, inherits_sockets),
        *_name_server(settings),
        *_shared_numbers(settings),
        *_duplicates(settings),
        *_control_socket(settings),
        *mapping_checks.errors(settings),
        *cache_faults(settings),
        *alarm_faults(settings),
        *metric_faults(settings),
        *logging_faults(settings),
        *senders.faults(settings),
        *balancing_checks.faults(settings),
        *application.faults(settings),
    ]
    raise_all(errors)
    notices = [
        *mapping_checks.notices(settings),
        *_odd_paths(settings),
        *cache_notices(settings),
        *service_notices(settings),
        *logging_notices(settings),
        *senders.notices(settings),
        *resubscription.notices(settings),
        *balancing_checks.notices(settings),
    ]
    return settings.with_notices([*notices, *application.notices(settings)])


def _nothing_to_listen_on(settings: Settings, inherits_sockets: bool) -> Iterator[ConfigError]:
    if not settings.addresses("fastrouter") and not settings.texts("fastrouter-zerg") and not inherits_sockets:
        yield ConfigError("no address to listen on: write fastrouter = 127.0.0.1:3017 (or a path for a unix socket)")


def _name_server(settings: Settings) -> Iterator[ConfigError]:
    for address in settings.addresses("fastrouter-resolver"):
        if address.kind not in (Kind.TCP4, Kind.TCP6):
            text = (
                f"fastrouter-resolver = {address.text}: expected IP address and port of a name server, as 10.0.0.2:53"
            )
            yield ConfigError(text, settings.where("fastrouter-resolver"))


def _odd_paths(settings: Settings) -> Iterator[str]:
    for name in (*_STREAMS, "socket", "fastrouter-to", *_DATAGRAMS):
        for index, address in enumerate(settings.addresses(name)):
            if address.kind is Kind.UNIX and address.text.isdigit():
                text = address.text
                where = settings.where(name, index)
                yield f"{where}: {name} = {text} is the unix socket ./{text}; write :{text} for a port"


def _shared_numbers(settings: Settings) -> Iterator[ConfigError]:
    count = len(settings.addresses("shared-socket"))
    for name in ("fastrouter", "socket", "fastrouter-stats", "stats", "metrics"):
        for index, address in enumerate(settings.addresses(name)):
            if address.kind is Kind.SHARED and address.port >= count:
                there = "there is none" if not count else f"there are {count}, from =0 to ={count - 1}"
                yield ConfigError(
                    f"{name} = {address.text}: no shared-socket has number {address.port}, {there}",
                    settings.where(name, index),
                )


def _duplicates(settings: Settings) -> Iterator[ConfigError]:
    seen: dict[object, str] = {}
    served = ("socket",) if application.is_served(settings) else ()
    for name in (*_STREAMS, *served, *_DATAGRAMS):
        for index, address in enumerate(settings.addresses(name)):
            where = settings.where(name, index)
            if _is_chosen_by_kernel(address):
                continue
            # A shared socket is there for several to use; each of them once.
            user = name if address.kind is Kind.SHARED else ""
            key = (address.is_unix or name not in _DATAGRAMS, user, address.identity)
            if key in seen:
                hint = "; to share it write shared-socket, and =N for each" if name == "socket" else ""
                yield ConfigError(f"{name} = {address.text}: the address is already used by {seen[key]}{hint}", where)
            seen.setdefault(key, f"{name} at {where}")


def _control_socket(settings: Settings) -> Iterator[ConfigError]:
    """It is a file: what else there is has no mode that keeps others out."""
    path = settings.text("control-socket")
    if not path:
        return
    where = settings.where("control-socket")
    try:
        address = parse_listen(path)
    except ConfigError as error:
        yield ConfigError(f"control-socket = {path}: {error.message}", where)
        return
    if address.kind is not Kind.UNIX:
        yield ConfigError(f"control-socket = {path}: expected the path of a unix socket", where)
    for name in (*_STREAMS, "socket", *_DATAGRAMS):
        for index, other in enumerate(settings.addresses(name)):
            if other.kind is Kind.UNIX and os.path.abspath(other.host) == os.path.abspath(path):
                text = (
                    f"control-socket = {path}: the address is already used by {name} at {settings.where(name, index)}"
                )
                yield ConfigError(text, where)


def _is_chosen_by_kernel(address: Address) -> bool:
    return address.kind in (Kind.TCP4, Kind.TCP6, Kind.NAME) and address.port == 0
