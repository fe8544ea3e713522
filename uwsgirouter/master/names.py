"""Names: the host names of one configuration, and what they mean now.

One idea: what the configuration names is fixed, what a name means is not. A name must mean something when the
configuration is loaded (an unknown one is a mistake that somebody should see then); later the resolver tells what
changes (:mod:`uwsgirouter.master.resolver`), and a name that cannot be looked up keeps its last meaning. At load the
master waits, for a bounded time, for a child that asks, since a look-up of the system's cannot be cut short.
"""

from __future__ import annotations

import ipaddress
import os
import select
import signal
import threading
import time
import traceback

from uwsgirouter.errors import BootError, ProtocolError, RouterError
from uwsgirouter.log import Log
from uwsgirouter.master import process
from uwsgirouter.protocol.messages import MessageReader, encode_message
from uwsgirouter.settings.address import Address, Kind, at_host
from uwsgirouter.settings.mapping_checks import way
from uwsgirouter.settings.settings import Settings

OPTIONS = ("fastrouter-to", "fastrouter-fallback", "fastrouter-emperor-socket", "fastrouter-resubscribe")
"""Whose values may be host names that are resolved here."""
LOAD_SECONDS = 10.0
"""How long the master waits for all names together, at a start or a reload."""
READ_SIZE = 1 << 16

Hosts = tuple[str, ...]


class Names:
    """The names of ``settings``; ``hosts`` says what each means, as addresses in text (nothing until it is known)."""

    def __init__(self, settings: Settings) -> None:
        self.server = next(iter(settings.addresses("fastrouter-resolver")), None)
        self._given = {option: _given(settings, option) for option in OPTIONS}
        self.hosts: dict[str, Hosts] = dict.fromkeys(self.places(), ())

    def places(self) -> dict[str, str]:
        """Each name, and where the configuration has it first."""
        found: dict[str, str] = {}
        for given in self._given.values():
            for address, where in given:
                if address.kind is Kind.NAME:
                    found.setdefault(address.host, where)
        return found

    def addresses(self, option: str) -> list[Address]:
        """The addresses of ``option``, names replaced by all addresses that they have."""
        found: list[Address] = []
        for address, _ in self._given[option]:
            if address.kind is Kind.NAME:
                found += [at_host(host, address.port) for host in self.hosts[address.host]]
            else:
                found.append(address)
        return found

    def learn(self, name: object, hosts: object) -> bool:
        """What the resolver found for ``name``; whether that is news. Nonsense is none."""
        meaning = hosts_in(hosts)
        if not isinstance(name, str) or name not in self.hosts or not meaning:
            return False
        news = meaning != self.hosts[name]
        self.hosts[name] = meaning
        return news


def _given(settings: Settings, option: str) -> list[tuple[Address, str]]:
    """The addresses of ``option`` and where they stand.

    Nodes of a way that is not used are no nodes: they would keep a cheap router from being so.
    """
    used = way(settings)
    if option != "fastrouter-to" or used == option:
        return [(address, settings.where(option, index)) for index, address in enumerate(settings.addresses(option))]
    if used != "fastrouter-use-socket":
        return []
    number = settings.number(used)
    address = settings.addresses("socket")[number]
    if address.kind is Kind.SHARED:
        return [(settings.addresses("shared-socket")[address.port], settings.where("shared-socket", address.port))]
    return [(address, settings.where("socket", number))]


def resolve(settings: Settings, before: Names | None = None) -> Names:
    """The names of ``settings`` with their meaning; those that the running configuration has too keep theirs.

    Waits :data:`LOAD_SECONDS` at most. Raises :class:`BootError` that names the option's place.
    """
    names = Names(settings)
    if before is not None and before.server == names.server:
        names.hosts |= {name: hosts for name, hosts in before.hosts.items() if name in names.hosts}
    missing = [name for name, hosts in names.hosts.items() if not hosts]
    if missing:
        found = ask_all(missing, names.server, LOAD_SECONDS)
        for name in missing:
            answer = found.get(name, f"no answer in {LOAD_SECONDS:g} seconds")
            if isinstance(answer, str):
                raise BootError(f"{names.places()[name]}: cannot resolve {name!r}: {answer}")
            names.hosts[name] = answer
    return names


def hosts_in(answer: object) -> Hosts:
    """The addresses that a resolver told; none when it told nonsense."""
    if not isinstance(answer, list):
        return ()
    try:
        for host in answer:
            ipaddress.ip_address(host if isinstance(host, str) else "")
    except ValueError:
        return ()
    return tuple(answer)


# -- at load --------------------------------------------------------------------------------------------------------


def ask_all(names: list[str], server: Address | None, seconds: float) -> dict[str, Hosts | str]:
    """What each name means, or why that is not known; a name without an answer in time is missing."""
    # It costs 4 MB and 50 ms, which only those shall pay who use names. Here, not in the child: the modules are
    # inherited by the resolvers to come, which may not have the rights to load them.
    try:
        from uwsgirouter.master import lookup  # noqa: F401
    except (ImportError, OSError) as error:
        return dict.fromkeys(names, f"cannot load what that takes (a restart may help): {error}")
    reader, writer = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        return dict.fromkeys(names, f"cannot start a process: {error.strerror}")
    if pid == 0:
        try:
            _answer(names, server, writer)
        except BaseException:  # noqa: BLE001 - a child must never return into the master's code
            Log("uwsgirouter").block(traceback.format_exc())
        finally:
            os._exit(0)
    os.close(writer)
    try:
        return _collect(reader, time.monotonic() + seconds)
    finally:
        os.close(reader)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _answer(names: list[str], server: Address | None, writer: int) -> None:
    """In the child: all names at once, each answer as soon as it is there."""
    from uwsgirouter.master.lookup import addresses

    turn = threading.Lock()

    def ask(name: str) -> None:
        try:
            answer: object = addresses(name, server)
        except RouterError as error:
            answer = str(error)
        with turn, open(writer, "wb", closefd=False) as pipe:
            pipe.write(encode_message(name, answer))

    process.reset_signals()
    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _collect(reader: int, deadline: float) -> dict[str, Hosts | str]:
    found: dict[str, Hosts | str] = {}
    messages = MessageReader()
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        data = os.read(reader, READ_SIZE)
        if not data:
            break
        for name, answer in _framed(messages, data):
            if isinstance(name, str):
                found[name] = tuple(answer) if isinstance(answer, list) else str(answer)
    return found


def _framed(messages: MessageReader, data: bytes) -> list[list[object]]:
    try:
        return messages.feed(data)
    except ProtocolError:
        return []
