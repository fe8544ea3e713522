"""The instances that cases run in, by the name of the group."""

from __future__ import annotations

from tests.rules.differential.sides import Group

CACHES = ("cache2 = name=default,items=200,blocksize=65536", "cache2 = name=other,items=20")
MIME = "mime-file = {root}/mime.types"

GROUPS = {
    "main": Group(
        both=(
            *CACHES,
            "metric = name=oracle.m",
            "metric = name=oracle.d",
            "metric = name=oracle.read,initial_value=42",
            "alarm = tell log:",
            MIME,
        ),
        real=("enable-metrics = true",),
        ours=("import = {here}/funcs.py",),
    ),
    "collect": Group(
        both=(
            "collect-header = X-App COLLECTED",
            "pull-header = X-Pull PULLED",
            "collect-header = Content-Type TYPE",
            "collect-header = Location LOCATION",
            MIME,
        ),
    ),
    "guards": Group(guards=True),
    "range": Group(both=("honour-range = true", MIME)),
    "bare": Group(both=CACHES, ours=("fastrouter-error-pages = false",)),
    "stores": Group(
        both=(MIME,),
        # One connection: what is asked comes behind what was to be kept.
        ours=("service-connections = 1",),
        stores=True,
    ),
    "system": Group(system=True),
}
