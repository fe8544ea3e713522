"""What the options say of a local application: which ones there are, where each is mounted, and what is missing.

One idea: three options name applications (wsgi-file, module, mount) in uWSGI's way, and everything else asks here which
ones that makes. Pure; no file is looked at. The first application is the one for paths that no mount covers, unless
one is mounted at /.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.address import Address, Kind
from uwsgirouter.settings.settings import Settings

NAMED_BY = ("wsgi-file", "module", "mount")
"""The options that name an application."""
SERVED_BY = ("processes", "threads", "gevent", "virtualenv", "harakiri", "max-requests", "py-autoreload", "lazy-apps")
"""Those that say how it is served, and mean nothing without one."""
_FILES = (".py", ".wsgi")
_OTHERS = (".ini", ".psgi", ".ru", ".lua", ".php", ".cgi")


@dataclass(frozen=True)
class App:
    """One application: ``target`` is a file's path or a module's name; ``mount`` is empty or begins with a slash."""

    mount: str
    target: str
    is_file: bool
    callable: str


def is_served(settings: Settings) -> bool:
    """Whether there is an application, and a socket for it to accept on."""
    return bool(settings.addresses("socket")) and any(settings.is_set(name) for name in NAMED_BY)


def apps(settings: Settings) -> list[App]:
    """The applications, in uWSGI's order. Raises ConfigError."""
    name = settings.text("callable")
    found = []
    if settings.is_set("module"):
        module, _, own = settings.text("module").partition(":")
        found.append(App("", module, False, own or name))
    if settings.is_set("wsgi-file"):
        found.append(App("", settings.text("wsgi-file"), True, name))
    for index, text in enumerate(settings.texts("mount")):
        found.append(_mounted(text, name, settings.where("mount", index)))
    return found


def _mounted(text: str, name: str, where: str) -> App:
    path, equals, target = text.partition("=")
    if not equals or not target or "://" in path:
        raise ConfigError(f"mount = {text}: expected /PATH=FILE or /PATH=MODULE:CALLABLE", where)
    if target.endswith(_OTHERS):
        raise ConfigError(f"mount = {text}: only Python applications (.py, .wsgi, module:callable) are run", where)
    mount = "/" + path.strip("/") if path.strip("/") else ""
    if target.endswith(_FILES) or "/" in target:
        return App(mount, target, True, name)
    module, _, own = target.partition(":")
    return App(mount, module, False, own or name)


def faults(settings: Settings) -> Iterator[ConfigError]:
    """What cannot be meant."""
    if settings.is_set("wsgi-file") and settings.is_set("module"):
        yield ConfigError(
            f"wsgi-file = {settings.text('wsgi-file')}: the application is already named by module at "
            f"{settings.where('module')}; write mount = /PATH=FILE for a second one",
            settings.where("wsgi-file"),
        )
    try:
        found = apps(settings)
    except ConfigError as error:
        yield error
        return
    mounts = [app.mount for app in found]
    for index, text in enumerate(settings.texts("mount")):
        app = found[index - len(settings.texts("mount"))]
        if mounts.count(app.mount) > 1:
            where = settings.where("mount", index)
            yield ConfigError(f"mount = {text}: there is more than one application at {app.mount or '/'}", where)


def notices(settings: Settings) -> Iterator[str]:
    """What has no effect, and why."""
    named = [name for name in NAMED_BY if settings.is_set(name)]
    if named and not settings.addresses("socket"):
        yield (
            f"the application of {_places(settings, named)} is not run: it has no socket; write socket = ADDRESS "
            "(=0 for the first shared-socket)"
        )
    idle = [name for name in SERVED_BY if settings.is_set(name)]
    if idle and not named:
        yield (
            "these options are about a local application and do nothing without one (wsgi-file, module or mount; the "
            f"router's own processes are fastrouter-processes): {_places(settings, idle)}"
        )
    if not named:
        yield from _unused_sockets(settings)


def _unused_sockets(settings: Settings) -> Iterator[str]:
    used = settings.optional_number("fastrouter-use-socket") if settings.is_set("fastrouter-use-socket") else None
    for index, address in enumerate(settings.addresses("socket")):
        effect = "it only names the node of fastrouter-use-socket" if index == used else "it does nothing"
        yield (
            f"{settings.where('socket', index)}: socket = {address.text}: without an application (wsgi-file, module or "
            f"mount) nothing is bound there, {effect}"
        )


def shared_numbers(settings: Settings) -> list[tuple[str, int, Address]]:
    """The uses of ``=N`` by the application."""
    found = enumerate(settings.addresses("socket"))
    return [("socket", index, address) for index, address in found if address.kind is Kind.SHARED]


def _places(settings: Settings, names: list[str]) -> str:
    return ", ".join(f"{name} ({settings.where(name)})" for name in names)
