"""Where lines of the access log go, and which requests get one: what the options say.

One idea: each ``req-logger`` is read into a :class:`Logger` before anything is started, so a logger that does not exist
is an error of the configuration. The forms are those of uWSGI's loggers (file, stdio, socket, syslog, rsyslog). It
opens nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.log_format import format_faults, format_notices
from uwsgirouter.settings.settings import Settings

CONDITIONS = ("log-zero", "log-slow", "log-4xx", "log-5xx", "log-big")
"""Options that name requests for the log."""


class Kind(Enum):
    """How a line is given away."""

    FILE = "file"
    STDIO = "stdio"
    SOCKET = "socket"
    SYSLOG = "syslog"
    RSYSLOG = "rsyslog"


LIST = "file:PATH, stdio, socket:HOST:PORT, socket:PATH, syslog:NAME,FACILITY, rsyslog:HOST:PORT,NAME, or a path"

FACILITIES = {
    "kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "security": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8,
    "cron": 9, "authpriv": 10, "ftp": 11,
    "local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21, "local6": 22, "local7": 23,
}  # fmt: skip


@dataclass(frozen=True)
class Logger:
    """One destination. ``path``: of a file or unix socket; ``maxsize``: bytes after which a file is renamed (0: none).

    ``name`` and ``facility`` are syslog's; ``prefix`` stands before each line that goes to a socket.
    """

    kind: Kind
    path: str = ""
    host: str = ""
    port: int = 0
    maxsize: int = 0
    backup: str = ""
    prefix: str = ""
    name: str = "uwsgirouter"
    facility: int = FACILITIES["daemon"]

    @property
    def label(self) -> str:
        """How people call it."""
        if self.kind is Kind.STDIO:
            return "the error log"
        where = self.path or f"{self.host}:{self.port}"
        return self.path if self.kind is Kind.FILE else f"{self.kind.value} {where}"


def is_on(settings: Settings) -> bool:
    """Whether any request may get a line."""
    if any(_applies(settings, name) for name in CONDITIONS):
        return True
    named = any(settings.is_set(name) for name in ("req-logger", "logformat", "log-format-json"))
    return named and not settings.flag("disable-logging")


def logs_all(settings: Settings) -> bool:
    """Whether each request gets a line, not only those that a condition names.

    As in uWSGI, where requests are logged unless ``disable-logging`` says otherwise, and conditions then bring some of
    them back. Here nothing is logged unless something is said; conditions alone name all that is.
    """
    if settings.flag("disable-logging"):
        return False
    return settings.is_set("req-logger") or not any(_applies(settings, name) for name in CONDITIONS)


def _applies(settings: Settings, name: str) -> bool:
    if name in ("log-slow", "log-big"):
        return bool(settings.number(name))
    return settings.flag(name)


def loggers(settings: Settings) -> tuple[Logger, ...]:
    """The destinations, the error log when none is named. Raises :class:`ConfigError`."""
    size, backup = settings.number("log-maxsize"), settings.text("log-backupname")
    found = [logger(text, size, backup) for text in settings.texts("req-logger")]
    return tuple(found) or (Logger(Kind.STDIO),)


def logger(text: str, maxsize: int = 0, backup: str = "") -> Logger:
    """One ``req-logger``; the rest is for files that do not say it themselves. Raises :class:`ConfigError`."""
    word, space, rest = text.partition(" ")
    if space and word.isalnum() and rest:
        raise ConfigError(
            f"{word} would be the name of a logger for log-req-route, which the router does not have; leave it out"
        )
    name, _, argument = text.partition(":")
    if name == "file":
        return _file(argument, maxsize, backup)
    if name == "stdio" and not argument:
        return Logger(Kind.STDIO)
    if name == "socket":
        address, _, prefix = argument.partition(",")
        return _socket(address, prefix)
    if name == "syslog":
        return _syslog(argument)
    if name == "rsyslog":
        return _rsyslog(argument)
    if "/" in name or "." in name:
        return Logger(Kind.FILE, path=os.path.abspath(text), maxsize=maxsize, backup=backup)
    raise ConfigError(f"there is no logger {name}; expected {LIST}")


def _file(argument: str, maxsize: int, backup: str) -> Logger:
    path = argument
    if "=" in argument:
        pairs = dict(pair.partition("=")[::2] for pair in argument.split(","))
        unknown = pairs.keys() - {"logfile", "backupname", "maxsize"}
        if unknown:
            raise ConfigError(
                f"{min(unknown)} is no part of it; expected file:logfile=PATH,maxsize=BYTES,backupname=PATH"
            )
        path, backup = pairs.get("logfile", ""), pairs.get("backupname", backup)
        size = pairs.get("maxsize", str(maxsize))
        if not size.isdigit():
            raise ConfigError(f"maxsize={size}: expected bytes")
        maxsize = int(size)
    if not path:
        raise ConfigError("expected file:PATH or file:logfile=PATH,maxsize=BYTES,backupname=PATH")
    return Logger(Kind.FILE, path=os.path.abspath(path), maxsize=maxsize, backup=backup)


def _socket(address: str, prefix: str) -> Logger:
    if not address:
        raise ConfigError("expected socket:HOST:PORT (UDP) or socket:PATH")
    if ":" not in address:
        return Logger(Kind.SOCKET, path=os.path.abspath(address), prefix=prefix)
    host, port = _host_and_port(address)
    return Logger(Kind.SOCKET, host=host, port=port, prefix=prefix)


def _syslog(argument: str) -> Logger:
    name, comma, facility = argument.partition(",")
    if comma and facility not in FACILITIES:
        raise ConfigError(f"there is no facility {facility or '(nothing)'}; expected one of {' '.join(FACILITIES)}")
    return Logger(Kind.SYSLOG, path="/dev/log", name=name or "uwsgirouter", facility=FACILITIES[facility or "daemon"])


def _rsyslog(argument: str) -> Logger:
    address, _, name = argument.partition(",")
    if not address:
        raise ConfigError("expected rsyslog:HOST:PORT,NAME")
    host, port = _host_and_port(address if ":" in address else f"{address}:514")
    return Logger(Kind.RSYSLOG, host=host, port=port, name=name)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"{address}: expected HOST:PORT")
    return host, int(port)


def logging_faults(settings: Settings) -> Iterator[ConfigError]:
    """What is wrong with the options of the access log."""
    for index, text in enumerate(settings.texts("req-logger")):
        try:
            logger(text)
        except ConfigError as error:
            yield ConfigError(f"req-logger = {text}: {error.message}", settings.where("req-logger", index))
    if settings.is_set("logformat") and settings.is_set("log-format-json"):
        yield ConfigError("log-format-json: logformat is set as well; one of them", settings.where("log-format-json"))
    yield from format_faults(settings)
    yield from _one_backup(settings)


def _one_backup(settings: Settings) -> Iterator[ConfigError]:
    """Two files that are renamed to one name would take each other's place."""
    backup = settings.text("log-backupname")
    if not backup or not settings.number("log-maxsize"):
        return
    files = [one for one in _readable(settings) if one.kind is Kind.FILE and one.backup == backup and one.maxsize]
    if len(files) + bool(settings.text("logto") or settings.text("daemonize")) > 1:
        text = "more than one log would be renamed to it; write req-logger = file:logfile=PATH,backupname=OTHER"
        yield ConfigError(f"log-backupname = {backup}: {text}", settings.where("log-backupname"))


def _readable(settings: Settings) -> Iterator[Logger]:
    for text in settings.texts("req-logger"):
        with contextlib.suppress(ConfigError):
            yield logger(text, settings.number("log-maxsize"), settings.text("log-backupname"))


def logging_notices(settings: Settings) -> Iterator[str]:
    """What of them does nothing."""
    yield from format_notices(settings)
    if settings.flag("disable-logging") and settings.is_set("req-logger") and not is_on(settings):
        yield f"{settings.where('disable-logging')}: disable-logging: no request is logged, so req-logger does nothing"
    if settings.flag("logformat-strftime") and _date(settings) == "":
        where = settings.where("logformat-strftime")
        yield f"{where}: logformat-strftime: without log-date = FORMAT %(ftime) is what %(ltime) is, as in uWSGI"
    if settings.is_set("log-date") and not settings.flag("logformat-strftime"):
        where = settings.where("log-date")
        yield f"{where}: log-date is for %(ftime), with logformat-strftime; the router's own lines have a date anyhow"


def date_format(settings: Settings) -> str:
    """What ``%(ftime)`` is written with; empty: as ``%(ltime)``."""
    return _date(settings) if settings.flag("logformat-strftime") else ""


def _date(settings: Settings) -> str:
    text = settings.text("log-date")
    return "" if text == "true" else text
