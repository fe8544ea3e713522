"""Which test files are taken first: those that take longest.

`make test` runs four files beside each other. Were a file of forty seconds the last to begin, the other three would
wait for it with nothing to do; short files at the end fill what is left evenly. Tests depend on no order: a name that
is missing here costs some seconds at most, and one that is gone nothing.
"""

from __future__ import annotations

LONGEST = {
    "soak": "soak",
    "end_to_end": "storm service_managers "
    "local_instance article balancing differential emperor descriptor_passing manual comings_and_goings "
    "operators caches restarts_of_uwsgi rolling_restart differences quickstart get_started fronts moving "
    "subscription_differences subscription_keys resubscribe failed_nodes trust stats",
    "announce": "gunicorn",
    "master": "upgrade upgrade_attendants notify logger "
    "lasting attendants workers announced_names stop subscriptions process scale resolver reload zerg "
    "sockets control_socket saver",
    "worker": "routing_faults store_faults drill failures mapping clients faults relay queue adoption faults_buffering "
    "faults_mapping pages tracing blame faults_leaks rule_services programs remote_caches limits logins",
    "rules/differential": "cases start",
    "local": "adopting",
    "control": "subscribe_exec subscribe operating",
    "bench": "processes",
}
"""By package, the longest of each first. The soak takes two minutes, and little of the machine."""

_RANKS = {
    f"tests/{package}/test_{name}.py": rank for package in LONGEST for rank, name in enumerate(LONGEST[package].split())
}


def rank(nodeid: str) -> int:
    """The place of a test's file; all that are not listed share the last one, and stay as they were collected."""
    return _RANKS.get(nodeid.partition("::")[0], len(_RANKS))
