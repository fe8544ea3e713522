"""What the process of the local instance is told: a plan of the application as plain data.

One idea: the master reads the settings, the instance (another Python, perhaps that of a virtual environment) reads
this, as JSON on its command line; so the instance needs nothing of the router but a few modules of this package, which
import the standard library and gunicorn alone. It knows neither sockets nor processes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Mounted:
    """An application: ``target`` is a file's path or a module's name; ``mount`` is empty or begins with a slash."""

    mount: str
    target: str
    is_file: bool
    callable: str


@dataclass(frozen=True)
class Blueprint:
    """Everything about one local instance; numbers that are 0 are not set."""

    apps: tuple[Mounted, ...]
    manage_script_name: bool
    processes: int
    threads: int
    greenlets: int
    lazy: bool
    harakiri: int
    max_requests: int
    autoreload: int
    pythonpath: tuple[str, ...]
    mercy: int
    """Seconds that requests under way have at the end."""
    log: str
    """The file to open again at USR1; empty: there is none."""
    line: int
    """The descriptor of the channel to the master."""
    found: str
    """The directory of the gunicorn that the router would use."""

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Blueprint:
        """What :meth:`text` gave."""
        values = json.loads(text)
        values["apps"] = tuple(Mounted(**app) for app in values["apps"])
        values["pythonpath"] = tuple(values["pythonpath"])
        return cls(**values)
