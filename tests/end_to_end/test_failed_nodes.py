"""Real uWSGI nodes that fail: refuse, break off, do not answer; and what both routers make of those that refuse.

A bad node here is a real one, too: its application kills the worker that serves it, or waits.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.court import APPLICATION, SLOW
from tests.servers import Reply, Router, Servers, UwsgiApp, announce, fetch, free_udp_port, local, wait_until

DIES = "import os\ndef application(env, start):\n    os._exit(1)\n"
"""The connection is closed before the first byte; uWSGI starts another worker within a second."""
WAITS = "import time\ndef application(env, start):\n    time.sleep(60)\n"


class Nodes:
    """Starts real nodes, which announce themselves but once."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.apps: list[UwsgiApp] = []

    def start(self, application: str, *announces: str, address: str = "127.0.0.1:0", workers: int = 1) -> UwsgiApp:
        path = Path(self.servers.path(f"app{len(self.apps)}.py"))
        path.write_text(application)
        options = [part for text in announces for part in ("--subscribe2", text)]
        fixed = ("--master", "--socket", address, "--wsgi-file", str(path), "--processes", str(workers))
        self.apps.append(self.servers.uwsgi(*fixed, "--need-app", "--subscribe-freq", "1000", *options))
        return self.apps[-1]


@pytest.fixture
def nodes(servers: Servers) -> Iterator[Nodes]:
    """They are killed in the end: what has just died or waits does not stop in time."""
    made = Nodes(servers)
    yield made
    for app in made.apps:
        app.kill()


def router(servers: Servers, *lines: str) -> Router:
    """The router under test, with room for nodes that announce themselves once."""
    server = f"127.0.0.1:{free_udp_port()}"
    fixed = ("fastrouter-subscription-server = " + server, "subscription-tolerance = 600", *lines)
    return servers.router(config="\n".join(["[uwsgirouter]", f"fastrouter = {local()}", *fixed, ""]))


def told(router: Router, key: str) -> str:
    return f"server={router.server},key={key}"


def ask_until(router: Router, key: str, line: str, count: int = 1) -> list[Reply]:
    """Ask for the key until the line stands so many times in the log; the answers."""
    answers: list[Reply] = []

    def is_said() -> bool:
        answers.append(fetch(router.address, key))
        return router.log().count(line) >= count

    wait_until(is_said, SLOW, line)
    return answers


# -- nodes that refuse ----------------------------------------------------------------------------------------------


def test_who_refuses_is_out_until_it_announces_itself(servers: Servers, nodes: Nodes) -> None:
    """Both mark the node at the first request, and take it back with its announcement."""
    ours = router(servers)
    theirs = servers.fastrouter(
        config=f"[uwsgi]\nfastrouter = {local()}\nfastrouter-subscription-server = 127.0.0.1:{free_udp_port()}\n"
        "subscription-tolerance = 600\n"
    )
    key, address = "dead.example", local()
    node = nodes.start(APPLICATION, told(ours, key), told(theirs, key), address=address)
    for each in (ours, theirs):
        wait_until(lambda each=each: each.log().count(f"{key} => new node: {address}") == 1, SLOW, "it is known")  # type: ignore[misc]
        wait_until(lambda each=each: answered(each, key), SLOW, "it serves")  # type: ignore[misc]
    node.kill()
    for each in (ours, theirs):
        # While it dies it may reset a connection; only a refusal counts.
        failed = f"{key} => marking {address} as failed"
        wait_until(lambda each=each, line=failed: not answered(each, key) and line in each.log(), SLOW, failed)  # type: ignore[misc]
        assert not answered(each, key)
    nodes.start(APPLICATION, told(ours, key), told(theirs, key), address=address)
    for each in (ours, theirs):
        wait_until(lambda each=each: answered(each, key), SLOW, "it serves again")  # type: ignore[misc]
    ours.wait_for_log(f"{key} => node is back: {address}")
    theirs.wait_for_log(f"{key} => new node: {address}", count=2)


def answered(router: Router, key: str) -> bool:
    """The application answered (the FastRouter closes without a byte when it did not)."""
    try:
        return fetch(router.address, key).status == 200
    except AssertionError:
        return False


def test_when_all_are_out_they_are_tried_all_the_same(servers: Servers, nodes: Nodes) -> None:
    ours, key, addresses = router(servers), "all.example", [local(), local()]
    for address in addresses:
        nodes.start(APPLICATION, told(ours, key), address=address).wait_for_log("subscribing to")
        ours.wait_for_log(f"{key} => new node: {address}", SLOW)
    for app in nodes.apps:
        app.kill()
    for address in addresses:
        ask_until(ours, key, f"{key} => marking {address} as failed")
    assert fetch(ours.address, key).status == 502
    nodes.start(APPLICATION, address=addresses[1])  # it listens again, and has not said so
    assert fetch(ours.address, key).body == b"here"
    assert "node is back" not in ours.log()


# -- nodes that accept and fail --------------------------------------------------------------------------------------


def test_who_breaks_off_is_left_alone_for_longer_and_longer(servers: Servers, nodes: Nodes) -> None:
    """Not one client notices, and an announcement ends it."""
    ours, key = router(servers), "bad.example"
    bad = nodes.start(DIES, told(ours, key), workers=6)
    good = nodes.start(APPLICATION, told(ours, key))
    for node in (bad, good):
        ours.wait_for_log(f"{key} => new node: {node.address}", SLOW)
    answers = ask_until(ours, key, f"{key} => leaving {bad.address} alone for 1 s (3 requests reset, closed or not")
    answers += ask_until(ours, key, f"{key} => node is back: {bad.address}")
    answers += ask_until(ours, key, f"{key} => leaving {bad.address} alone for 2 s")
    announce(ours.server, key, bad.address)
    ours.wait_for_log(f"{key} => node is back: {bad.address}", SLOW, count=2)
    answers += ask_until(ours, key, f"{key} => leaving {bad.address} alone for 4 s")
    assert {answer.body for answer in answers} == {b"here"}
    assert f"leaving {good.address}" not in ours.log()


def test_never_more_than_half(servers: Servers, nodes: Nodes) -> None:
    """Of two bad nodes and a good one, one is left alone; alone, none is."""
    ours = router(servers)
    bad = [nodes.start(DIES, told(ours, "three.example"), workers=6) for _ in range(2)]
    only = nodes.start(DIES, told(ours, "one.example"), workers=6)
    good = nodes.start(APPLICATION, told(ours, "three.example"))
    for node in (*bad, good):
        ours.wait_for_log(f"three.example => new node: {node.address}", SLOW)
    ours.wait_for_log(f"one.example => new node: {only.address}", SLOW)
    ask_until(ours, "three.example", "three.example => leaving")
    ask_until(ours, "three.example", "three.example => node is back")
    # Who is left alone comes back before the next one is.
    said = re.findall(r"three.example => (leaving|node is back)", ours.log())
    assert said in (["leaving", "node is back"], ["leaving", "node is back", "leaving"])
    for _ in range(5):
        assert fetch(ours.address, "one.example").status == 502
    assert "one.example => leaving" not in ours.log()


def test_who_does_not_answer_is_left_alone(servers: Servers, nodes: Nodes) -> None:
    """Three requests at once, none answered in time; from then on the other node has them all."""
    ours, key = router(servers, "fastrouter-timeout = 1"), "slow.example"
    slow = nodes.start(WAITS, told(ours, key), workers=3)
    good = nodes.start(APPLICATION, told(ours, key))
    for node in (slow, good):
        ours.wait_for_log(f"{key} => new node: {node.address}", SLOW)
    answers: list[Reply] = []
    threads = [threading.Thread(target=lambda: answers.append(fetch(ours.address, key))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SLOW)
    ours.wait_for_log(f"{key} => leaving {slow.address} alone for 1 s", SLOW)
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 504, 504, 504]
