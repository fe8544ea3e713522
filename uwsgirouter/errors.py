"""The error tree: what can go wrong, by who is at fault.

It imports nothing. A :class:`ConfigError` is the operator's (it names where and what is allowed), a
:class:`ProtocolError` is a peer's (bytes from outside that break the format), a :class:`BootError` is the
machine's (a socket, a user, a file that start-up needs and cannot have). Anything else that escapes is a bug.
"""

from __future__ import annotations


class RouterError(Exception):
    """The root of all that uwsgirouter raises on purpose."""


class ConfigError(RouterError):
    """The configuration cannot be used.

    ``where`` is ``file:line`` or ``command line`` (empty when the configuration as a whole is at fault);
    ``str()`` gives the complete sentence for people.
    """

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.message = message
        self.where = where


class ConfigErrors(ConfigError):
    """Several faults found in one reading, so that they can be mended in one go."""

    def __init__(self, errors: list[ConfigError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = errors


class ProtocolError(RouterError):
    """Bytes from a peer break the format. ``reason`` is a short fixed word for counters and logs."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class BadKey(ProtocolError):
    """A request's key would lead out of the place that the configuration gives it."""

    def __init__(self, detail: str) -> None:
        super().__init__("bad key", detail)


class BadTarget(RouterError):
    """A cache's value or a mapper's result is no address of a node."""


class BootError(RouterError):
    """Start-up (or a reload) needs something that the machine does not give: an address, a user, a file."""


class BadHandover(RouterError):
    """What another version left to its successor cannot be taken: of an unknown version, or no handover at all."""
