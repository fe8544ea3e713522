"""Kerberos tickets as clients show them to a service: whose is it?

One idea: a token is accepted or not in one step, with the keys of a keytab; no server is asked, but files are read
(the keytab, the memory of what was shown before) and names may be looked up, so it is done in a thread. It knows no
rule and no HTTP. Invariants: only a whole exchange has a user (one that wants another step has none, since nothing is
remembered between two requests); nobody in particular (an anonymous ticket) is no user.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uwsgirouter.errors import RouterError
from uwsgirouter.rules.service import Service, extra

gssapi = extra("gssapi", "spnego")

SERVICE: Service[None] = Service("kerberos keys", lambda timing: None, lambda connection: None, ())
"""Its threads."""


@dataclass(frozen=True)
class Shown:
    """What a token is worth. ``answer``: for the client, empty when there is none."""

    user: bytes = b""
    """``name@REALM``; empty when nobody is let in, and ``reason`` says why."""
    answer: bytes = b""
    reason: str = ""


class NoKey(RouterError):
    """There is no key of the service: the configuration's fault, not the client's."""


def show(token: bytes, service: bytes, keytab: str | None) -> Shown:
    """``service``: ``HTTP``, or ``HTTP@host``. ``keytab``: the system's (KRB5_KTNAME) when it is None.

    Raises :class:`NoKey`.
    """
    try:
        name = gssapi.Name(service, gssapi.NameType.hostbased_service)
        store = None if keytab is None else {b"keytab": keytab.encode("utf-8", "surrogateescape")}
        keys = gssapi.Credentials(usage="accept", name=name, store=store)
    except gssapi.exceptions.GSSError as error:
        raise NoKey(_told(error)) from None
    context = gssapi.SecurityContext(creds=keys, usage="accept")
    try:
        answer = context.step(token)
        return judged(context, answer or b"")  # (an error that has a token for the client is raised here)
    except gssapi.exceptions.GSSError as error:
        return Shown(reason=_told(error))


def judged(context: Any, answer: bytes) -> Shown:
    """What a context says after its first step."""
    if not context.complete:
        return Shown(reason="it takes more than one step")
    if gssapi.RequirementFlag.anonymity in context.actual_flags:
        return Shown(reason="an anonymous ticket")
    user = bytes(context.initiator_name)
    return Shown(user, answer) if user else Shown(reason="a ticket without a name")


def _told(error: Any) -> str:
    """The mechanism's own words where it has some."""
    minor = "; ".join(error.get_all_statuses(error.min_code, False)) if error.min_code else ""
    return minor or "; ".join(error.get_all_statuses(error.maj_code, True)) or type(error).__name__
