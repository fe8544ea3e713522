"""What rules cost: loading many, and requests that match none. The bounds are several times what is measured."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from tests.rules.made import Playground, PlayHost, packet_for
from uwsgirouter.rules.base import ChainName
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.table import Table
from uwsgirouter.settings.settings import Settings

RULES = [
    "route-user-agent = .*curl.* redirect:http://uwsgi.it",
    "route-remote-addr = ^192\\.168\\.. break:403 Forbidden",
    "route = ^/test{n} log:someone called /test",
    "route = \\.php{n}$ rewrite:/index.php?page=$1",
    "route-host = ^nowhere{n}$ logvar:local=1",
    "route-uri = ^/foo{n}/(.*)\\.jpg$ addheader:X-File: $1 ${{cookie[a]}} ${{REQUEST_URI}}",
    "route-if = equal:${{PATH_INFO}};/bad{n} break:500 Internal Server Error",
    "route-if = startswith:${{HTTP_COOKIE}};session{n} log:x",
    "route-if = contains:${{HTTP_ACCEPT}};zstd{n} log:x",
    "route-if-not = empty:${{HTTP_X_FORWARDED_FOR}} log:x",
]
SLOWER = 10 if sys.gettrace() else 1
"""Coverage looks at each line."""
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"


def rules(count: int) -> list[str]:
    return [RULES[n % len(RULES)].format(n=n) for n in range(count)]


def cpu(work: Callable[[], object], times: int, rounds: int = 5) -> float:
    """Seconds of CPU that one call takes, of the best round."""
    best = float("inf")
    for _ in range(rounds):
        before = time.process_time()
        for _ in range(times):
            work()
        best = min(best, time.process_time() - before)
    return best / times


def test_200_rules_load_in_no_time() -> None:
    lines = [line.partition(" = ") for line in rules(200)]
    settings = Settings.listed([(name, text, "x:1") for name, _, text in lines])
    Table.build(settings, print)  # imports the parts
    built = cpu(lambda: Table.build(Settings.listed([*settings.sequence({name for name, *_ in lines})]), print), 1)
    assert built < 0.1 * SLOWER  # measured: 6 ms


def per_request(lines: list[str]) -> float:
    play = Playground("\n".join(lines), PlayHost())
    packet = packet_for("/some/path?x=1", {"User-Agent": AGENT, "Accept": "text/html,*/*;q=0.8"})

    def ask() -> None:
        play.table.run(ChainName.REQUEST, Exchange(play.table, play.host, packet, b"key"))  # type: ignore[arg-type]

    return cpu(ask, 500)


def test_a_rule_that_does_not_match_costs_little() -> None:
    few, many = per_request(rules(20)), per_request(rules(220))
    assert (many - few) / 200 < 2e-6 * SLOWER  # measured: 0.3 microseconds


def test_a_chain_of_20_rules_costs_a_quarter_of_a_small_request() -> None:
    assert per_request(rules(20)) < 60e-6 * SLOWER  # measured: 11 microseconds compiled, 16 as Python


def test_a_long_agent_is_no_square() -> None:
    play = Playground("route-user-agent = .*curl.* log:x\nroute-user-agent = (.*)wget(.*)$ log:y")
    packet = packet_for("/", {"User-Agent": "x" * 60000})
    exchange = play.exchange(packet)
    assert cpu(lambda: play.table.run(ChainName.REQUEST, exchange), 1, 1) < 0.5
