"""Who may come in by hosts.allow and hosts.deny, the files of TCP wrappers (hosts_access(5)).

One idea: the first line that matches decides, in hosts.allow, then in hosts.deny; nobody else is refused. Only
addresses are known here, no host names: a pattern of a name matches nobody, UNKNOWN everybody. Commands (spawn,
twist) are not run. The files are read again when they have changed. Invariant: a file that cannot be read refuses
everybody, one that is not there nobody.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address

_FIELDS = re.compile(r"(\[[^]]*\])|(:)")
_EXCEPT = "EXCEPT"


@dataclass(frozen=True)
class _Line:
    daemons: tuple[str, ...]
    clients: tuple[str, ...]
    verdict: bool


def matches(pattern: str, address: str) -> bool:
    """Whether an address is meant: by itself, ``192.168.``, ``192.168.*``, ``10.0.0.0/8``, ``[2001:db8::]/32``, ALL."""
    word = pattern.upper()
    if word in ("ALL", "UNKNOWN"):
        return True
    if pattern.endswith("."):
        return address.startswith(pattern)
    if "*" in pattern or "?" in pattern:
        return fnmatch.fnmatchcase(address, pattern)
    found = _address(address)
    if found is None:
        return False
    try:
        return found in ip_network(pattern.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return False  # a host's name, a user, a netgroup


def _address(text: str) -> Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def listed(words: Sequence[str], test: Callable[[str], bool]) -> bool:
    """Whether one of the words passes, and none behind EXCEPT (which binds to the right)."""
    for at, word in enumerate(words):
        if word.upper() == _EXCEPT:
            return False
        if test(word):
            rest = [index for index, later in enumerate(words) if index > at and later.upper() == _EXCEPT]
            return not rest or not listed(words[rest[0] + 1 :], test)
    return False


def parse(text: str, verdict: bool) -> list[_Line]:
    """The lines of a file, whose ``verdict`` an option (``: allow``) may turn round."""
    found = []
    for line in text.replace("\\\n", "").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        daemons, clients, *options = _fields(line)
        ruled = [option.strip().lower() for option in options]
        says = True if "allow" in ruled else False if "deny" in ruled else verdict
        found.append(_Line(_words(daemons), _words(clients), says))
    return found


def _fields(line: str) -> list[str]:
    """What stands between colons; those within brackets are part of an address."""
    fields, start = [], 0
    for token in _FIELDS.finditer(line):
        if token[2]:
            fields.append(line[start : token.start()])
            start = token.end()
    fields.append(line[start:])
    return fields if len(fields) > 1 else [*fields, ""]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


class _File:
    """One of the two files."""

    def __init__(self, path: str, verdict: bool) -> None:
        self._path = path
        self._verdict = verdict
        self._seen: tuple[int, int, int] | None = None
        self._lines: list[_Line] = []

    def find(self, daemon: str, address: str) -> bool | None:
        """What the first line that matches says. Raises OSError when the file is there and cannot be read."""
        self._read()
        for line in self._lines:
            if listed(line.daemons, lambda word: word.upper() == "ALL" or word == daemon) and listed(
                line.clients, lambda word: matches(word, address)
            ):
                return line.verdict
        return None

    def _read(self) -> None:
        try:
            about = os.stat(self._path)
        except FileNotFoundError:
            self._seen, self._lines = None, []
            return
        seen = (about.st_mtime_ns, about.st_size, about.st_ino)
        if seen != self._seen:
            with open(self._path, encoding="utf-8", errors="surrogateescape") as file:
                self._lines = parse(file.read(), self._verdict)
            self._seen = seen


class HostsAccess:
    """The two files of ``directory``."""

    def __init__(self, directory: str = "/etc") -> None:
        self._files = (
            _File(os.path.join(directory, "hosts.allow"), True),
            _File(os.path.join(directory, "hosts.deny"), False),
        )

    def allows(self, daemon: str, address: str) -> bool:
        """Whether that address may use that daemon. Raises OSError when a file cannot be read."""
        for file in self._files:
            verdict = file.find(daemon, address)
            if verdict is not None:
                return verdict
        return True
