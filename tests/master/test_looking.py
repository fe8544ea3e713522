"""The state of a router as operators get it: bounded, true, and whatever a worker says."""

from __future__ import annotations

import json
import os
import signal
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.servers import Router, Servers, announce, fetch, local, wait_until
from tests.servers.node import answer
from tests.worker.patched import patched_router
from tests.worker.traced import Speaker, settle
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.master.fleet import Fleet, Respawns
from uwsgirouter.master.looking import OUT_SHOWN, WORKERS_SHOWN, Looking
from uwsgirouter.master.news import News
from uwsgirouter.master.supervisor import Supervisor
from uwsgirouter.model.counters import MEMORY_BYTES, Counter, Counters
from uwsgirouter.model.events import Put
from uwsgirouter.model.node import State
from uwsgirouter.model.table import RouteTable
from uwsgirouter.protocol.control import to_text
from uwsgirouter.protocol.messages import encode_message
from uwsgirouter.settings.address import parse_peer
from uwsgirouter.stats.picture import Datagrams

Row = dict[str, Any]


class Standing(SimpleNamespace):
    """As much of a master as is looked at."""

    def __init__(self) -> None:
        table = RouteTable(WeightedRoundRobin)
        generation = SimpleNamespace(
            settings=SimpleNamespace(source=""),
            index=1,
            frozen="",
            target=1,
            duties=[],
            endpoints=SimpleNamespace(listeners=[]),
        )
        counters = Counters(memoryview(bytearray(MEMORY_BYTES)))
        for row in range(4):
            counters.row(row)[Counter.USED] = 1
        super().__init__(
            table=table,
            news=News(table),
            fleet=Fleet(),
            counters=counters,
            reload=SimpleNamespace(current=generation, failure=None, incoming=None),
            upgrade=SimpleNamespace(failure=None, is_pending=False),
            stage=SimpleNamespace(value="running"),
            is_stopping=False,
            began=0.0,
            crew=SimpleNamespace(respawns=Respawns()),
            attendants=SimpleNamespace(members={}, missing=lambda generation: []),
            registrar=SimpleNamespace(datagrams=Datagrams, describe_rejects=lambda: ""),
        )
        self.looking = Looking(cast(Supervisor, self))

    def status(self) -> Row:
        first, last = self.looking.status()
        assert json.loads(last) == {"ok": True}
        found = json.loads(first)["status"]
        assert isinstance(found, dict)
        return found


def put(master: Standing, id: int, key: bytes, state: State) -> None:
    change = Put(id, key, parse_peer(f"127.0.0.1:{1 + id % 60000}"), (0, 0), 1, 0, 0, state, 1.0)
    master.table.apply(change)
    master.news.node_changed(id)


def test_it_is_short_however_much_is_wrong() -> None:
    """Two thousand sites, and not one has a node."""
    master = Standing()
    for id in range(4000):
        put(master, id, b"%d.example" % (id // 2), State.DOWN)
    while master.news.is_behind:
        master.news.look()
    found = master.status()
    assert (found["keys"], found["nodes"]) == (2000, {"down": 4000})
    assert (len(found["unserved"]), found["unserved_more"]) == (OUT_SHOWN, 2000 - OUT_SHOWN)
    assert (len(found["out_of_service"]), found["out_of_service_more"]) == (OUT_SHOWN, 4000 - OUT_SHOWN)
    assert len(json.dumps(found)) < 20_000
    for id in range(0, 4000, 2):
        put(master, id, b"%d.example" % (id // 2), State.UP)
    while master.news.is_behind:
        master.news.look()
    assert master.status()["unserved"] == []


def test_a_key_of_any_bytes_is_told() -> None:
    master = Standing()
    put(master, 0, b"caf\xe9\x1b", State.EJECTED)
    master.news.look()
    found = master.status()
    assert found["unserved"] == [to_text(b"caf\xe9\x1b")] == [found["out_of_service"][0]["key"]]


@pytest.mark.parametrize(
    "message",
    [
        ["trouble"],
        ["trouble", 1, 2, 3, 4, 5],
        ["trouble", *["x"] * 100_000],
        ["traced"],
        ["traced", "x", {}],
        ["traced", 1, []],
        ["traced", 1, {}, 1],
        ["traced", 10**400, {}],
        ["what"],
        [None],
        [[]],
    ],
)
def test_what_a_worker_says_harms_nobody(message: list[object]) -> None:
    master = Standing()
    member = SimpleNamespace(number=1)
    master.looking.hear(cast(Any, member), message)
    assert master.status()["failures"] == []


# -- a running one ---------------------------------------------------------------------------------------------------


def ask(path: str) -> Row:
    one = Speaker(path)
    try:
        one.say(command="status")
        found = one.hear()["status"]
        assert isinstance(found, dict)
        return found
    finally:
        one.close()


def started(servers: Servers, code: str = "", *lines: str) -> tuple[Router, str, str]:
    """A router, its control socket, and its subscription server."""
    path, server = servers.path("c.sock"), local()
    config = ["[uwsgirouter]", f"fastrouter = {local()}", f"fastrouter-subscription-server = {server}"]
    text = "\n".join([*config, f"control-socket = {path}", *lines, ""])
    router = patched_router(servers, code, config=text) if code else servers.router(config=text)
    router.wait_for_workers(1)
    return router, path, server


def test_what_went_wrong_is_there(servers: Servers) -> None:
    """A reload that failed, a key without a node, a refused announcement, a worker that died; and that it is over."""
    router, path, server = started(servers)
    config = router.config_file.read_text()
    router.rewrite(config + "fastrouter-timeout = soon\n")
    router.hup()
    router.wait_for_log("reload failed: the old configuration stays in use")
    announce(server, "dead.example", local())
    router.wait_for_log("dead.example => new node")
    settle(path)
    assert fetch(router.address, "dead.example").status == 502
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        host, port = server.split(":")
        sender.sendto(b"nonsense", (host, int(port)))
    (worker,) = router.workers()
    os.kill(worker, signal.SIGKILL)

    def is_told() -> bool:
        found = ask(path)
        return (
            "fastrouter-timeout" in (found["reload_failed"] or {"reason": ""})["reason"]
            and found["unserved"] == ["dead.example"]
            and found["lately"]["datagrams_rejected"] == 1
            and found["deaths"] == 1
            and [row["pid"] for row in found["workers"]] != [worker]
            and found["failures"][0]["last"]["key"] == "dead.example"
        )

    wait_until(is_told, 20.0, "all of it in a status")
    router.rewrite(config)
    router.hup()
    router.wait_for_log("reloaded in")
    assert ask(path)["reload_failed"] is None


MAD = """
original = uwsgirouter.worker.main.Worker._tick
def mad(self):
    original(self)
    self.mad = getattr(self, "mad", 0) + 1
    if self.mad == 1:
        for message in MESSAGES:
            self.uplink._out.append(message)
        self.uplink._flush()
uwsgirouter.worker.main.Worker._tick = mad
"""


def test_a_worker_that_has_gone_mad(servers: Servers) -> None:
    """It tells nonsense, and then more than anybody reads: it is replaced, and the master goes on."""
    odd: list[list[object]] = [
        ["trouble", "no-node", 7, {}, [], None],
        ["traced", 0, {"steps": [[0, "x" * 100_000]]}],
        ["failed", 10**9, []],
        ["faults", -5, 7],
        ["ready"],
        ["nodes", 1, True, [], []],
        [{"a": 1}],
    ]
    messages = [encode_message(*message) for message in odd] + [encode_message("traced", 1, {"x": "y" * (2 << 20)})]
    node = servers.node(answer())
    file = servers.directory / "messages.bin"
    file.write_bytes(repr(messages).encode())
    code = f"MESSAGES = eval(open({str(file)!r}).read())\n" + MAD
    router, path, server = started(servers, code, "reload-mercy = 2")
    announce(server, "a.example", node.address)
    router.wait_for_log("the master is gone: draining")
    wait_until(lambda: ask(path)["stage"] == "running", 20.0, "the master goes on")
    wait_until(lambda: fetch(router.address, "a.example").status == 200, 20.0, "somebody serves")


def test_workers_are_bounded() -> None:
    assert WORKERS_SHOWN * 300 < 1 << 20, "a line that whoever asks can read"
