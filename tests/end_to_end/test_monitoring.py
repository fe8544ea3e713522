"""What stands in conf/monitoring, conf/grafana and docs/monitoring.md fits what the router shows."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.test_stats import ask, read
from tests.servers import Servers, announce, answer, fetch, free_udp_port, local, wait_until
from tests.servers.programs import program

NAME = re.compile(r"\buwsgirouter_[a-z_]+")


@pytest.fixture(scope="module")
def shown() -> Iterator[tuple[str, str]]:
    """The statistics and the metrics of the example, which has a cache and a number of rules besides."""
    servers = Servers()
    try:
        text = (Path(__file__).parents[2] / "conf" / "monitoring" / "router.conf").read_text()
        addresses = {"3017": local(), "2626": f"127.0.0.1:{free_udp_port()}", "2628": local(), "9629": local()}
        for port, address in addresses.items():
            text = text.replace(f"127.0.0.1:{port}", address)
        more = "cache2 = name=pages,items=10\nmetric = name=hits\nroute = . metricinc:hits\n"
        router = servers.router(config=text + more)
        node = servers.node(answer(b"served"))
        announce(addresses["2626"], "a.example", node.address)
        wait_until(lambda: fetch(router.address, "a.example").status == 200, 15, "the node serves")
        fetch(router.address, "nobody.example")
        stats = read(addresses["2628"], b"GET / HTTP/1.1\r\n\r\n").decode()
        yield stats, ask(addresses["9629"])[1]
    finally:
        servers.close()


def exported(metrics: str) -> set[str]:
    """The names of all samples, and of the families that have some at other times."""
    return {*re.findall(r"^(uwsgirouter_[a-z_]+)", metrics, re.M), *re.findall(r"^# TYPE (\S+)", metrics, re.M)}


def test_the_example(shown: tuple[str, str]) -> None:
    stats, metrics = shown
    head, _, body = stats.partition("\r\n\r\n")
    assert "application/json" in head
    assert json.loads(body)["subscriptions"][0]["key"] == "a.example"
    assert 'uwsgirouter_responses_total{class="2xx",key="a.example"}' in metrics


def test_the_dashboard_asks_for_what_is_there(shown: tuple[str, str], project: Path) -> None:
    board = json.loads((project / "conf" / "grafana" / "uwsgirouter.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    queries += [variable["query"] for variable in board["templating"]["list"] if variable["type"] == "query"]
    asked = {name for query in queries for name in NAME.findall(query)}
    assert len(asked) > 25
    assert asked <= exported(shown[1])
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_prometheus_takes_the_configuration_and_the_alerts(shown: tuple[str, str], project: Path) -> None:
    folder = project / "conf" / "monitoring"
    done = subprocess.run(
        [program("promtool"), "check", "config", "prometheus.yml"],
        cwd=folder, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    asked = set(NAME.findall((folder / "alerts.yml").read_text()))
    assert len(asked) >= 6 and asked <= exported(shown[1])


def test_the_page_names_all_that_is_shown(shown: tuple[str, str], project: Path) -> None:
    stats, metrics = shown
    page = (project / "docs" / "monitoring.md").read_text()
    families = set(re.findall(r"^# TYPE (\S+)", metrics, re.M))
    assert [name for name in sorted(families) if f"`{name.removeprefix('uwsgirouter_')}`" not in page] == []
    own = json.loads(stats.partition("\r\n\r\n")[2])["uwsgirouter"]
    fields = {*own, *own["workers"][0], *own["keys"][0]}
    assert [name for name in sorted(fields) if f"`{name}`" not in page] == []
    alerts = re.findall(r"alert: (\w+)", (project / "conf" / "monitoring" / "alerts.yml").read_text())
    assert [name for name in alerts if f"`{name}`" not in page] == []
