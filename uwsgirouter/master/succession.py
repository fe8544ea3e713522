"""Succession: what the master leaves when another version takes its place in the same process, and taking it.

One idea: each part writes down what it knows (``handed``) and takes it again (``inherit``); which parts there are, and
in which order they must be filled, stands here. Workers and attendants stay children of the process: those of the
configuration in force become members of a generation of the successor, which replaces them as by any reload, so what
goes wrong with its first workers is a reload that failed. Nothing here waits.
Invariant: :func:`compose` changes nothing, so a copy of it may be tried beforehand.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

from uwsgirouter import __version__
from uwsgirouter.log import Log
from uwsgirouter.master.downlink import Downlink, Foreign
from uwsgirouter.master.fleet import Life, Member
from uwsgirouter.master.handover import Keep, Rows, inherited_socket
from uwsgirouter.master.reload import Legacy
from uwsgirouter.master.sockets import Endpoints
from uwsgirouter.master.stats_server import decode_naming, encode_naming
from uwsgirouter.model.counters import MEMORY_BYTES, Counters, fits, layout
from uwsgirouter.model.table import RouteTable
from uwsgirouter.protocol.messages import PROTOCOL
from uwsgirouter.settings.load import Source
from uwsgirouter.settings.settings import Settings

if TYPE_CHECKING:
    from uwsgirouter.master.supervisor import Supervisor


class Ledger:
    """The shared memory of the counters, and its anonymous file, which outlives the program that made it."""

    def __init__(self, descriptor: int = -1) -> None:
        if descriptor < 0:
            descriptor = os.memfd_create("uwsgirouter-counters", os.MFD_CLOEXEC)
            os.ftruncate(descriptor, MEMORY_BYTES)
        self.descriptor = descriptor
        self.counters = Counters(memoryview(mmap.mmap(descriptor, MEMORY_BYTES)))

    @classmethod
    def inherited(cls, rows: Rows) -> Ledger:
        """The memory that was handed over; a new one when what is in it stands elsewhere in this version."""
        if rows["file"] < 0:
            return cls()
        os.set_inheritable(rows["file"], False)
        if fits(rows["layout"]):
            return cls(rows["file"])
        os.close(rows["file"])
        return cls()

    def handed(self, keep: Keep) -> Rows:
        """For the successor."""
        return {"file": keep(self.descriptor), "layout": layout()}


def compose(master: Supervisor, keep: Keep) -> Rows:
    """All that ``master`` leaves."""
    current = master.reload.current
    return {
        "program": __version__,
        "protocol": PROTOCOL,
        "source": compose_source(master.source),
        "settings": compose_settings(master.settings),
        "counters": master.ledger.handed(keep),
        "sticky": master.sticky_secret.hex(),
        "index": current.index,
        "target": current.target,
        "hosts": {name: list(hosts) for name, hosts in current.names.hosts.items()},
        "sockets": master.sockets.handed(keep, current.endpoints),
        "registrar": master.registrar.handed(keep),
        "workers": [_member_row(member, keep) for member in master.fleet.members.values()],
        "attendants": master.attendants.handed(keep),
        "place": master.place.handed(keep),
        "metrics": master.reload.handed_metrics(keep),
        "limits": master.reload.handed_limits(keep),
        "access": None if current.access is None else current.access.handed(keep),
        "dropped": Log.lost,
        "observed": master.observed.handed(keep),
        "began": master.began,
        "naming": encode_naming(master.stats.naming).decode("ascii"),
    }


def compose_source(source: Source) -> Rows:
    """What another reading of the configuration must find as it was."""
    return {"cwd": source.cwd, "stdin": source.standard_input, "started": source.started}


def compose_settings(settings: Settings) -> Rows:
    """The settings in force."""
    return {"source": settings.source, "rows": settings.rows(), "written": settings.written}


def settings_in_force(rows: Rows) -> Settings:
    """The inverse. Raises :class:`ConfigError` for what this version does not know."""
    options = [(str(name), str(text), str(where)) for name, text, where in rows["rows"]]
    return Settings.listed(options, str(rows["source"]), [(str(name), str(text)) for name, text in rows["written"]])


def legacy_of(rows: Rows, endpoints: Endpoints) -> Legacy:
    """The generation in force. Its number is another one, so that none is ever the first."""
    metrics, limits, access = rows["metrics"], rows.get("limits"), rows.get("access")
    return Legacy(rows["index"] + 1, rows["target"], endpoints, rows["hosts"], metrics, limits, access)


def settle(master: Supervisor, rows: Rows) -> None:
    """Have ``master`` know what was left, and the processes that are its children now."""
    master.registrar.inherit(rows["registrar"])
    for row in rows["workers"]:
        member = _member(row, rows, master.table)
        if member.is_foreign:
            member.row = master.fleet.free_row() or 0
        master.fleet.members[member.pid] = member
        if member.downlink.sock.fileno() >= 0:
            master.channels.open(member, master.registrar)
    Log.lost += int(rows["dropped"])
    master.began = rows.get("began", master.began)
    if "observed" in rows and fits(rows["counters"]["layout"]):
        master.observed.inherit(rows["observed"])
        master.stats.naming = decode_naming(rows["naming"].encode("ascii"))
    for id in master.table.nodes:
        master.news.node_changed(id)


def settle_attendants(master: Supervisor, rows: Rows) -> None:
    """The same for the attendants, once the duties of the generation in force are complete."""
    duties = master.reload.current.duties if rows["protocol"] == PROTOCOL else []
    master.attendants.inherit(rows["attendants"], {rows["index"]: rows["index"] + 1}, duties)


def _member_row(member: Member, keep: Keep) -> Rows:
    return {
        "pid": member.pid,
        "number": member.number,
        "row": member.row,
        "generation": member.generation,
        "since": member.since,
        "life": member.life.name,
        "deadline": member.deadline,
        "is_foreign": member.is_foreign,
        "link": member.downlink.handed(keep),
    }


def _member(row: Rows, rows: Rows, table: RouteTable) -> Member:
    is_foreign = row["is_foreign"] or rows["protocol"] != PROTOCOL or not fits(rows["counters"]["layout"])
    if is_foreign:
        link: Downlink = Foreign(inherited_socket(row["link"]["sock"]), table, row["pid"])
    else:
        link = Downlink.inherited(row["link"], table)
    generation = row["generation"] + (row["generation"] == rows["index"])
    life, deadline = Life[row["life"]], row["deadline"]
    return Member(row["pid"], row["number"], row["row"], generation, link, row["since"], life, deadline, is_foreign)
