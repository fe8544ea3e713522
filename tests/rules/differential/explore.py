"""What both sides do, for people: ``python -m tests.rules.differential.explore [--real] [-g GROUP] [-c
CASE-PREFIX]``.
"""

from __future__ import annotations

import argparse
import time

from tests.rules.differential.case import Case
from tests.rules.differential.cases import load
from tests.rules.differential.groups import GROUPS
from tests.rules.differential.places import places
from tests.rules.differential.sides import Group, Sides
from tests.servers import Servers


def main() -> None:
    """Run the cases and print what came of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--real", action="store_true", help="uWSGI's side alone")
    parser.add_argument("--bad", action="store_true", help="only where the sides differ")
    parser.add_argument("-g", "--group", default="")
    parser.add_argument("-c", "--case", default="")
    parser.add_argument("--log", action="store_true", help="the whole log at the end")
    options = parser.parse_args()
    every = load()
    for name, group in GROUPS.items():
        if options.group and name != options.group:
            continue
        cases = [case for case in every if case.group == name and case.name.startswith(options.case)]
        if cases:
            explore(name, group, cases, options)


def explore(name: str, group: Group, cases: list[Case], options: argparse.Namespace) -> None:
    """One group."""
    servers = Servers()
    start = time.monotonic()
    try:
        sides = Sides(servers, name, group, cases, places(servers))
        real = sides.start_real()
        found = [sides.run(real)]
        if not options.real:
            ours = sides.start_ours()
            found.append(sides.run(ours))
        spent = time.monotonic() - start
        bad = 0
        for case in cases:
            for index, asked in enumerate(case.asks):
                outcomes = [side[case.name][index] for side in found]
                verdict = ""
                if len(outcomes) == 2:
                    try:
                        case.compare(index, *outcomes)
                    except AssertionError as error:
                        verdict = f"DIFFERENT {str(error)[:300]}"
                        bad += 1
                if options.bad and not verdict:
                    continue
                print(
                    f"== {case.name} {index} {asked.method} {asked.path} {case.rules if index == 0 else ''} {verdict}"
                )
                for outcome in outcomes:
                    print("   ", outcome.show())
        print(f"{name}: {sum(len(case.asks) for case in cases)} requests, {bad} differ, {spent:.1f} s")
        slow = sorted(
            ((o.seconds, c.name, i) for side in found for c in cases for i, o in enumerate(side[c.name])), reverse=True
        )
        print([(round(seconds, 2), name, index) for seconds, name, index in slow if seconds > 0.2])
        if options.log:
            print(real.process.log())
            if not options.real:
                print(ours.process.log())
        sides.reports.close()
    finally:
        servers.close()


if __name__ == "__main__":
    main()
