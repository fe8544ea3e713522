"""Why a request gets the node that it gets, in words, for those who trace it.

One idea: what chooses (slot, balancer, cookies, cores) says no reasons, since nobody asks for them; here they are found
out afterwards, for the few requests that somebody wants to see. It changes nothing of a session but its record.
Invariant: a request that nobody asked for says nothing more as soon as that is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uwsgirouter.log import printable
from uwsgirouter.model.node import SERVING, Node, Order, State
from uwsgirouter.model.slot import Slot
from uwsgirouter.model.table import FALLBACK_KEY, STATIC_KEY

if TYPE_CHECKING:
    from uwsgirouter.mappers.base import Candidates
    from uwsgirouter.worker.session import Session

NODES_MOST = 10
"""Nodes of a key that are named."""

_NAMES = {STATIC_KEY: "fastrouter-to", FALLBACK_KEY: "fastrouter-fallback"}
_OUT = {
    State.DRAINING: "it takes leave",
    State.DOWN: "it did not accept connections",
    State.EJECTED: "it accepted and did not answer, and is left alone for a while",
    State.INACTIVE: "its vassal has to be started",
}
_ORDERS = {Order.DRAIN: "an operator drains it", Order.DOWN: "an operator took it down"}


def is_traced(session: Session) -> bool:
    """Whether what is decided for ``session`` is noted."""
    return session.record is not None and session.record.steps is not None


def step(session: Session, text: str) -> None:
    """Note ``text``, if anybody wants to know. (Where it costs something to make, ask :func:`is_traced` first.)"""
    if session.record is not None:
        session.record.step(text)


def keys_of(session: Session) -> set[bytes]:
    """All by which a request can be meant: its host, its key, the key under which its nodes stand."""
    record = session.record
    assert record is not None
    keys = {key for key in (session.key, record.key) if key}
    nodes = [*(session.tried or ()), *([session.node] if session.node is not None else [])]
    keys.update(node.key for node in nodes)
    if record.slot is not None:
        keys.add(record.slot)
    return keys


def explain(session: Session, slot: Candidates | None, chosen: Node | None) -> None:
    """The nodes among which ``chosen`` was chosen (None: none of them), and why not the others."""
    record, observer = session.record, session.router.observer
    assert record is not None
    record.slot = slot.key if isinstance(slot, Slot) else None
    wanted = observer.traces if observer is not None else None
    if not wanted or (FALLBACK_KEY not in wanted and wanted.isdisjoint(keys_of(session))):
        record.steps = None
        if session.routed is not None:
            session.routed.exchange.steps = None
        return
    key = printable(session.key) or "-"
    if slot is None:
        record.step(f"key {key}: no nodes are known")
    elif not isinstance(slot, Slot):
        made = f" {chosen.address.text}" if chosen is not None else ""
        record.step(f"key {key}: its node{made} is made of it, or by a rule")
    else:
        where = _NAMES.get(slot.key) or printable(slot.key)
        under = "" if slot.key == session.key else f" under {where}"
        record.step(f"key {key}: {len(slot.nodes)} nodes{under}, algorithm {slot.algo or 'of the configuration'}")
        _tell_cookie(session, slot)
        _tell_nodes(session, slot, chosen)


def _tell_cookie(session: Session, slot: Slot) -> None:
    choice = session.router.choice
    if choice is not None and choice.sticky is not None:
        step(session, choice.sticky.explain(session, slot))


def _tell_nodes(session: Session, slot: Slot, chosen: Node | None) -> None:
    shown = slot.nodes[:NODES_MOST]
    if chosen is not None and chosen not in shown:
        shown = [*shown[:-1], chosen]
    level = min((node.backup for node in slot.nodes if node.state in SERVING), default=0)
    for node in shown:
        why = "chosen" if node is chosen else _why_not(session, node, level, chosen)
        backup = f", backup level {node.backup}" if node.backup else ""
        step(session, f"  {node.address.text} {node.state.value}, weight {node.weight}{backup}: {why}")
    if len(slot.nodes) > len(shown):
        step(session, f"  ... and {len(slot.nodes) - len(shown)} more")


def _why_not(session: Session, node: Node, level: int, chosen: Node | None) -> str:
    if node.state not in SERVING:
        return _ORDERS.get(node.order) or _OUT[node.state]
    if node in (session.tried or ()):
        return "it was tried"
    if node.backup > level:
        return f"nodes of level {level} are there"
    choice = session.router.choice
    if choice is not None and choice.full is not None and node in choice.full:
        return f"full, it has all the requests of its {node.cores} cores"
    return "not its turn" if chosen is not None else "others wait for it, or the request waits for another"
