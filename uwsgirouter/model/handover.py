"""The handover: all that a registry knows, number by number, for the master that takes its place in the same process.

One idea: a successor must know each node by the number that it has, since workers that go on serving count their
sessions under it; so nothing is announced or restored anew (as by a snapshot, model/memory.py): every index of the roll
is written down as it is, and filled again. Times are monotonic seconds, which go on. Values of JSON, since the
successor is another version of this program. Pure; nothing here waits or yields.

Invariant: what :func:`inherit` makes of :func:`handed` is handed over as the same again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uwsgirouter.model.changes import Happening
from uwsgirouter.model.events import Put
from uwsgirouter.model.node import Node, Order
from uwsgirouter.model.orders import Word
from uwsgirouter.model.roll import Roll
from uwsgirouter.settings.address import parse_peer

Rows = dict[str, Any]


def handed(roll: Roll) -> Rows:
    """What ``roll`` knows."""
    return {
        "numbers": roll.numbers.rows(),
        "nodes": [_node_row(roll, node) for node in roll.table.nodes.values()],
        "words": [_word_row(word) for word in (*_present(roll), *roll.orders.absent())],
        "standing": roll.vassals.rows(),
        "draining": sorted(roll.draining),
        "retry": list(roll.retry.items()),
        "ejections": roll.ejections.rows(),
    }


def inherit(roll: Roll, rows: Mapping[str, Any]) -> None:
    """Fill ``roll``, which knows nothing yet. Raises KeyError, TypeError, ValueError... for what nobody handed over."""
    roll.numbers.restore(rows["numbers"])
    puts = [Put.from_row(row[0]) for row in rows["nodes"]]
    places = {(put.key, put.address.identity) for put in puts}
    for row in rows["words"]:
        word = _word(row)
        roll.orders.say(word, (word.key, word.address.identity) in places)
    for put, row in zip(puts, rows["nodes"], strict=True):
        _bring(roll, put, row)
    for id, said in rows["standing"]:
        roll.vassals.stand_by(id, said)
    roll.draining.update(rows["draining"])
    roll.retry.update({int(id): end for id, end in rows["retry"]})
    roll.ejections.restore(rows["ejections"])


def _node_row(roll: Roll, node: Node) -> list[object]:
    sni = roll.sni(node)
    return [
        roll.own(node).row(),
        node.why,
        roll.silence.heard(node.id),
        node.id in roll.silence,
        None if sni is None else [path.decode("latin-1") for path in sni],
    ]


def _bring(roll: Roll, put: Put, row: list[Any]) -> None:
    _, why, heard, is_watched, sni = row
    roll.insert(put, Happening.RESTORED, str(why))
    roll.table.nodes[put.id].why = str(why)
    if heard is not None:
        roll.silence.hear(put.id, float(heard))
        if not is_watched:
            roll.silence.unwatch(put.id)
    if sni is not None:
        key, certificate, authority = (str(path).encode("latin-1") for path in sni)
        roll.note_sni(put.id, (key, certificate, authority))


def _present(roll: Roll) -> list[Word]:
    """The words of which there is a node."""
    absent = {(word.key, word.address.identity) for word in roll.orders.absent()}
    return [word for word in roll.orders.all() if (word.key, word.address.identity) not in absent]


def _word_row(word: Word) -> list[object]:
    key = word.key.decode("latin-1")
    return [key, word.address.text, word.order.value, word.weight, word.who, word.since]


def _word(row: list[Any]) -> Word:
    key, address, order, weight, who, since = row
    return Word(str(key).encode("latin-1"), parse_peer(address), Order(order), weight, str(who), float(since))
