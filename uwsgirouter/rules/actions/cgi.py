"""Actions that have a program answer: cgi, cgihelper.

One idea: an action finds the program and makes its environment; the worker runs it in place of a node, so its answer
goes the way of a node's. A file that is not there is a 404, one that may not be run a 403, as in uWSGI's plugin, whose
environment this is (observed on 2.0.21, differences in docs/routing/cgi.md). Invariant: what comes from a request is
never more than the name of a file, without ``..``, or the value of a variable.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence

from uwsgirouter import __version__
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.protocol.cgi import environment
from uwsgirouter.protocol.packet import decode_vars
from uwsgirouter.rules.actions.request import in_time
from uwsgirouter.rules.arguments import number, shown
from uwsgirouter.rules.base import Act, BadRule, Broken, Found, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange, Speech, Target
from uwsgirouter.rules.paths import inside
from uwsgirouter.rules.program import Program

_SOFTWARE = f"uwsgirouter/{__version__}".encode()


@action("cgi")
def cgi(argument: bytes, place: Place) -> Act:
    """``cgi:FILE``: run it, and let it answer."""
    in_time(place)
    if not argument:
        raise BadRule("expected the file of a program")
    name = place.template(argument)

    def act(exchange: Exchange, found: Found) -> Verdict:
        path = _file(exchange, name(exchange, found))
        if not os.access(path, os.X_OK):
            raise Broken(f"{shown(path)} may not be run", Cause.RULE_BREAK)
        return _run(exchange, path, ())

    return act


@action("cgihelper")
def cgihelper(argument: bytes, place: Place) -> Act:
    """``cgihelper:HELPER FILE``: run ``HELPER FILE``, and let it answer."""
    in_time(place)
    helper, _, name = argument.partition(b" ")
    name = name.strip()
    if not helper or not name:
        raise BadRule("expected HELPER FILE, as in cgihelper:php-cgi /srv/www/index.php")
    constant = place.constant(helper)
    if constant is not None and shutil.which(os.fsdecode(constant)) is None:
        place.warn(f"there is no program {shown(constant)}")
    helper_of, name_of = place.template(helper), place.template(name)

    def act(exchange: Exchange, found: Found) -> Verdict:
        path = _file(exchange, name_of(exchange, found))
        wanted = helper_of(exchange, found)
        program = shutil.which(os.fsdecode(wanted))
        if program is None:
            raise Broken(f"there is no program {shown(wanted)}", Cause.CGI_FAILED)
        return _run(exchange, path, (os.fsencode(program),))

    return act


def _file(exchange: Exchange, name: bytes) -> bytes:
    """The whole path of a regular file. Raises :class:`Broken`."""
    path = inside(exchange.directory, name)
    try:
        good = b".." not in path.split(b"/") and stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        good = False
    if not good:
        raise Broken(f"{shown(path)}: no such file, or none that may be run", Cause.NO_FILE)
    return os.path.abspath(path)


def _run(exchange: Exchange, path: bytes, helper: Sequence[bytes]) -> Verdict:
    made = environment(decode_vars(exchange.packet), path, os.environb, _SOFTWARE)
    length = number(made.get(b"CONTENT_LENGTH", b""))
    program = Program((*helper, path), made, os.path.dirname(path), shown(path), length)
    try:
        address, token = exchange.host.program(program)
    except OSError as error:
        raise Broken(f"programs cannot be run: {error.strerror}", Cause.OVERLOAD) from None
    exchange.target = Target(address, Speech.HTTP, head=token, program=program)
    return Verdict.BREAK
