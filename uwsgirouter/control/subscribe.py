"""``uwsgirouterctl subscribe``: announce a node that cannot announce itself.

One idea: the announcements that a uWSGI with ``subscribe-to`` sends, from outside: at once, then every few
seconds, and an unsubscription at the end. It does not look at the node. A server that is away is told of
once and announced to again, since routers are restarted; only ``--once`` and ``--unsubscribe`` fail for it.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from typing import NoReturn

from uwsgirouter.control.base import Command, Exit, Failure, number, seconds
from uwsgirouter.control.dial import datagram_socket, peer
from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.subscription import WEIGHT_MAX, Announce, decode_announce, encode_announce
from uwsgirouter.settings.address import NOWHERE

_DESCRIPTION = """\
Announce a node to a router's subscription server: at once, then every few seconds until SIGTERM, SIGINT or
SIGHUP, which unsubscribe it. Several --key and --server announce each key to each server."""

_STOP = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--server",
        metavar="ADDR",
        action="append",
        required=True,
        help="host:port, [v6]:port, /path or @abstract",
    )
    add(
        "--key",
        metavar="KEY",
        action="append",
        required=True,
        help="what the node serves, such as a host name",
    )
    add("--address", metavar="ADDR", help="where the router reaches the node; may be left out with --inactive")
    add(
        "--weight",
        metavar="N",
        type=number(1, WEIGHT_MAX),
        default=1,
        help="share of the requests (default 1)",
    )
    add(
        "--modifier1",
        metavar="N",
        type=number(0, 255),
        default=0,
        help="request modifier of the node (default 0)",
    )
    add("--modifier2", metavar="N", type=number(0, 255), default=0, help="second modifier (default 0)")
    add(
        "--cores",
        metavar="N",
        type=number(0, 1_000_000),
        default=1,
        help="requests the node serves at once (default 1)",
    )
    add("--load", metavar="N", type=number(0, 1_000_000), default=0, help="the node's load (default 0)")
    add("--vassal", metavar="NAME", default="", help="the name by which its Emperor knows the node, such as one.ini")
    add(
        "--inactive",
        action="store_true",
        help="the vassal does not run: the router has the Emperor start it when needed",
    )
    add("--every", metavar="S", type=seconds, default=10.0, help="seconds between announcements (default 10)")
    once = parser.add_mutually_exclusive_group()
    once.add_argument("--once", action="store_true", help="announce once and leave; the router forgets it later")
    once.add_argument("--unsubscribe", action="store_true", help="only take the node out")


def _run(options: argparse.Namespace) -> Exit:
    if options.address is None and not options.inactive:
        raise Failure(Exit.USAGE, "the node's --address is missing (only --inactive can do without)")
    here, leaving = ([announcement(options, key, leaving) for key in options.key] for leaving in (False, True))
    servers = [Server(text) for text in options.server]
    if options.once or options.unsubscribe:
        for server in servers:
            server.send(leaving if options.unsubscribe else here)
        return Exit.OK
    names = f"{', '.join(options.key)} => {options.address or 'vassal ' + options.vassal}"
    tell(f"{names}, to {', '.join(options.server)}, every {options.every:g} s")
    _until_stopped(servers, here, leaving, options.every)
    tell(f"{names}, unsubscribed")
    return Exit.OK


def announcement(options: argparse.Namespace, key: str, leaving: bool) -> bytes:
    """The datagram for one key. Raises :class:`Failure` for what a router would not take."""
    announce = Announce(
        key=key.encode("utf-8", "surrogateescape"),
        address=peer(options.address) if options.address is not None else NOWHERE,
        modifier1=options.modifier1,
        modifier2=options.modifier2,
        weight=options.weight,
        cores=options.cores,
        load=options.load,
        leaving=leaving,
        vassal=options.vassal.encode("utf-8", "surrogateescape"),
        inactive=options.inactive,
    )
    try:
        datagram = encode_announce(announce)
        decode_announce(datagram)
    except ProtocolError as error:
        at = "" if options.address is None else f" at {options.address!r}"
        raise Failure(Exit.USAGE, f"key {key!r}{at}: {error}") from None
    return datagram


def _until_stopped(servers: list[Server], here: list[bytes], leaving: list[bytes], every: float) -> None:
    """Announce until a signal.

    The signals wait in the kernel meanwhile, so that none falls between two steps.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    try:
        due = time.monotonic()
        while signal.sigtimedwait(_STOP, max(0.0, due - time.monotonic())) is None:
            for server in servers:
                server.try_to_send(here)
            due = max(due + every, time.monotonic())
        for server in servers:
            server.try_to_send(leaving)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Server:
    """One subscription server. Each round has a new socket: the server may have come back elsewhere."""

    def __init__(self, text: str) -> None:
        self._address = peer(text)
        self._problem = ""

    def send(self, datagrams: list[bytes]) -> None:
        """Send them all. Raises :class:`Failure` when nobody takes them, as far as that can be known."""
        with datagram_socket(self._address) as connection:
            for datagram in datagrams:
                try:
                    connection.send(datagram)
                except OSError as error:
                    self._refused(error.strerror or str(error))
                # On the same machine the kernel knows at once that no UDP socket was there.
                code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    self._refused(os.strerror(code))

    def try_to_send(self, datagrams: list[bytes]) -> None:
        """As :meth:`send`, but a failure is a line on standard error, one for each change."""
        problem = ""
        try:
            self.send(datagrams)
        except Failure as failure:
            problem = str(failure)
        if problem != self._problem:
            tell(problem or f"announcing to {self._address.text} works again")
        self._problem = problem

    def _refused(self, reason: str) -> NoReturn:
        raise Failure(Exit.NOT_SENT, f"cannot announce to {self._address.text}: {reason}")


def tell(message: str) -> None:
    """A line for people, at once: it is read in logs while the command runs."""
    # In one write, end of line included: several announcers may share a log.
    sys.stderr.write(f"uwsgirouterctl subscribe: {message}\n")


COMMAND = Command("subscribe", "announce a node to a subscription server", _DESCRIPTION, _arguments, _run)
