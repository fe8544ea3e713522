"""wrk: requests over kept connections, as fast as they are answered; what it reports, checked.

The kinds of requests (many hosts, bodies to send) are scripts in wrk's Lua, made here. Parsing is pure.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.bench import programs
from scripts.bench.processes import BenchError

CONNECTIONS = 32
"""Connections that wrk keeps open towards nginx."""


@dataclass(frozen=True)
class WrkResult:
    """What wrk printed: requests done, seconds, its counts of failures by kind (empty: none failed).

    ``slowest``: seconds within which 99 % of the requests were answered; None if wrk was not asked for it.
    """

    requests: int
    seconds: float
    failures: dict[str, int]
    slowest: float | None = None


UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_wrk(text: str) -> WrkResult:
    """Read wrk's report. BenchError if it has no line of totals."""
    totals = re.search(r"^\s*(\d+) requests in ([\d.]+)(us|ms|s|m|h),", text, re.MULTILINE)
    if totals is None:
        raise BenchError(f"wrk printed no totals:\n{text}")
    failures: dict[str, int] = {}
    sockets = re.search(r"^\s*Socket errors: (.+)$", text, re.MULTILINE)
    if sockets:
        failures.update((kind, int(count)) for kind, count in re.findall(r"(\w+) (\d+)", sockets[1]))
    statuses = re.search(r"^\s*Non-2xx or 3xx responses: (\d+)", text, re.MULTILINE)
    if statuses:
        failures["status"] = int(statuses[1])
    percentile = re.search(r"^\s*99%\s+([\d.]+)(us|ms|s|m|h)\s*$", text, re.MULTILINE)
    return WrkResult(
        slowest=float(percentile[1]) * UNITS[percentile[2]] if percentile else None,
        requests=int(totals[1]),
        seconds=float(totals[2]) * UNITS[totals[3]],
        failures={kind: count for kind, count in failures.items() if count},
    )


def requests(
    front: str, seconds: int, path: str = "/", script: Path | None = None, connections: int = CONNECTIONS
) -> WrkResult:
    """GET ``path``, or what ``script`` says, for whole ``seconds``. BenchError if any request failed."""
    argv = [programs.find("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency"]
    argv += ["-s", str(script)] if script else []
    argv.append(f"http://{front}{path}")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 30, check=False)
    if done.returncode != 0:
        raise BenchError(f"wrk ended with status {done.returncode}: {done.stdout}{done.stderr}")
    result = parse_wrk(done.stdout)
    if result.failures or not result.requests:
        raise BenchError(f"{result.requests} requests done, failures {result.failures}:\n{done.stdout}")
    return result


def many_hosts(hosts: Sequence[str]) -> str:
    """A script that asks each host in turn; the requests are made before the first is sent."""
    names = ", ".join(f'"{host}"' for host in hosts)
    return f"""\
local hosts = {{{names}}}
local made, last = {{}}, 0
function init(args)
   for number, host in ipairs(hosts) do made[number] = wrk.format("GET", nil, {{Host = host}}) end
end
function request()
   last = last % #made + 1
   return made[last]
end
"""


def posts(size: int) -> str:
    """A script that sends a body of ``size`` bytes with each request."""
    return f'wrk.method = "POST"\nwrk.body = string.rep("x", {size})\n'
