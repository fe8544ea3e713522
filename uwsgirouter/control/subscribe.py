"""``uwsgirouterctl subscribe``: announce a node that cannot announce itself.

One idea: the announcements that a uWSGI with ``subscribe2`` sends, from outside: at once, then every few seconds, and
an unsubscription at the end; with ``--exec`` it starts and stops the node's server, too. What is sent, and how, is
uwsgirouter/announce; this is its command line. A server that is away is told of once and announced to again, since
routers are restarted; only ``--once`` and ``--unsubscribe`` fail for it.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable

from uwsgirouter.announce import Announcer, Presence, Signer
from uwsgirouter.announce.servers import Stage
from uwsgirouter.control.base import Command, Exit, Failure, number, seconds
from uwsgirouter.control.child import Door
from uwsgirouter.control.escort import Escort, Patience
from uwsgirouter.errors import ConfigError
from uwsgirouter.protocol.subscription import BACKUP_MAX, WEIGHT_MAX
from uwsgirouter.settings.address import parse_peer

_DESCRIPTION = """\
Announce a node to a router's subscription server: at once, then every few seconds until SIGTERM, SIGINT or
SIGHUP, which unsubscribe it. Several --key and --server announce each key to each server.

With a command behind --exec (or behind --) it runs an application server: it starts it, waits until it answers
at --address (or at --ready), and announces it. On SIGTERM, SIGINT or SIGQUIT it unsubscribes, waits --drain
seconds for the requests that are on their way, passes the signal on, and leaves with the server's exit code
(128 and the signal's number for a signal). SIGHUP, SIGUSR1, SIGWINCH, SIGTTIN and SIGTTOU are passed on as
they come. A server that ends by itself is unsubscribed at once.

  uwsgirouterctl subscribe --server 10.0.0.1:2626 --key foo.com --address 10.0.0.7:3031 \\
      --exec gunicorn --protocol uwsgi --bind 10.0.0.7:3031 --uwsgi-allow-from 10.0.0.1 app:application"""

_STOP = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_CODES = {Stage.NAME: Exit.NO_ADDRESS, Stage.CONNECT: Exit.NO_CONNECTION, Stage.SEND: Exit.NOT_SENT}
READY_WITHIN = 60.0
DRAIN = 2.0


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--server", metavar="ADDR", action="append", required=True, help="host:port, [v6]:port, /path or @abstract")
    add("--key", metavar="KEY", action="append", required=True, help="what the node serves, such as a host name")
    add("--address", metavar="ADDR", help=_ADDRESS)
    add("--weight", metavar="N", type=number(1, WEIGHT_MAX), default=1, help="share of the requests (default 1)")
    add("--cores", metavar="N", type=_COUNT, default=1, help="requests the node serves at once (default 1)")
    add("--load", metavar="N", type=_COUNT, default=0, help="the node's load (default 0)")
    add("--backup", metavar="N", type=number(0, BACKUP_MAX), default=0, help=_BACKUP)
    add("--algo", metavar="NAME", default="", help="how the key's nodes share its requests, such as lrc")
    add("--modifier1", metavar="N", type=_BYTE, default=0, help="request modifier of the node (default 0)")
    add("--modifier2", metavar="N", type=_BYTE, default=0, help="second modifier (default 0)")
    add("--vassal", metavar="NAME", default="", help="the name by which its Emperor knows the node, such as one.ini")
    add("--inactive", action="store_true", help="the vassal does not run: the router has it started when needed")
    add("--notify", metavar="ADDR", default="", help="a datagram address that is told when the router took the node")
    add("--sign", metavar="DIGEST:FILE", type=_signer, help="sign with a private key, as in SHA256:private.pem")
    add("--every", metavar="S", type=seconds, default=10.0, help="seconds between announcements (default 10)")
    once = parser.add_mutually_exclusive_group()
    once.add_argument("--once", action="store_true", help="announce once and leave; the router forgets it later")
    once.add_argument("--unsubscribe", action="store_true", help="only take the node out")
    child = parser.add_argument_group("running the server")
    add = child.add_argument
    add("--ready", metavar="ADDR", help="where the server is to answer before it is announced (default --address)")
    add("--ready-timeout", metavar="S", type=seconds, default=READY_WITHIN, help=_READY)
    add(
        "--drain",
        metavar="S",
        type=_pause,
        default=DRAIN,
        help=f"seconds from unsubscription to stop (default {DRAIN:g})",
    )
    add("--exec", metavar="CMD", nargs=argparse.REMAINDER, help="the command to run, with all that follows")
    add("command_line", metavar="-- CMD", nargs="*", help="the same")


_ADDRESS = "where the router reaches the node; :port is the machine that this runs on; may be left out with --inactive"
_BACKUP = "level; one is used when the better ones have nobody (default 0, the first)"
_READY = f"seconds within which it must answer; then it is stopped (default {READY_WITHIN:g})"
_COUNT = number(0, 1_000_000)
_BYTE = number(0, 255)


def _pause(text: str) -> float:
    return 0.0 if text == "0" else seconds(text)


def _signer(text: str) -> Signer:
    try:
        return Signer.parse(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(options: argparse.Namespace) -> int:
    if options.address is None and not options.inactive:
        raise Failure(Exit.USAGE, "the node's --address is missing (only --inactive can do without)")
    command = _command(options)
    if command:
        return _escorted(options, command)
    announcer = _announcer(options)
    if options.once or options.unsubscribe:
        for away in announcer.leave() if options.unsubscribe else announcer.announce():
            raise Failure(_CODES[away.stage], str(away))
        return Exit.OK
    _until_stopped(announcer)
    return Exit.OK


def _command(options: argparse.Namespace) -> list[str]:
    """What is to be run, empty for nothing."""
    command = _words_behind(options) if options.exec is not None or options.command_line else []
    if options.exec is not None and not command:
        raise Failure(Exit.USAGE, "--exec needs the command to run")
    if command and (options.once or options.unsubscribe or options.inactive):
        raise Failure(Exit.USAGE, "what is run is announced until it ends: no --once, --unsubscribe, --inactive")
    if options.ready is not None and not command:
        raise Failure(Exit.USAGE, "--ready is for a server that is run, with --exec")
    return command


def _words_behind(options: argparse.Namespace) -> list[str]:
    """The command as it was written: argparse drops a -- that is the command's own, in some versions."""
    introducer = next((place for place, word in enumerate(options.argv) if word in ("--exec", "--")), None)
    if introducer is None:
        word = [*(options.exec or []), *options.command_line][0]
        raise Failure(Exit.USAGE, f"{word!r}: a command to run stands behind --exec or behind --")
    words: list[str] = options.argv[introducer + 1 :]
    return words[1:] if words[:1] == ["--"] else words


def _announcer(options: argparse.Namespace, presence: Callable[[], Presence] | None = None) -> Announcer:
    """Raises ConfigError for what a router would not take."""
    quiet = options.once or options.unsubscribe
    return Announcer(
        options.server,
        options.key,
        options.address or "",
        weight=options.weight,
        cores=options.cores,
        load=options.load,
        modifier1=options.modifier1,
        modifier2=options.modifier2,
        backup=options.backup,
        algo=options.algo,
        vassal=options.vassal,
        inactive=options.inactive,
        notify=options.notify,
        sign=options.sign,
        every=options.every,
        presence=presence,
        say=_mute if quiet else tell,
    )


def _until_stopped(announcer: Announcer) -> None:
    """Announce until a signal; signals wait in the kernel meanwhile, so that none falls between two steps."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    try:
        tell(str(announcer))
        announcer.start()
        signal.sigwait(_STOP)
        announcer.stop()
        tell(f"{announcer.name}, unsubscribed")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _escorted(options: argparse.Namespace, command: list[str]) -> int:
    door = Door(parse_peer(options.ready or options.address))
    patience = Patience(options.ready_timeout, options.drain)
    return Escort(command, door, lambda presence: _announcer(options, presence), patience, tell).run()


def _mute(message: str) -> None:
    """What goes wrong in the only round is the failure of the command."""


def tell(message: str) -> None:
    """A line for people, at once: it is read in logs while the command runs."""
    # In one write, end of line included: several announcers may share a log.
    sys.stderr.write(f"uwsgirouterctl subscribe: {message}\n")


COMMAND = Command("subscribe", "announce a node, or run and announce a server", _DESCRIPTION, _arguments, _run)
