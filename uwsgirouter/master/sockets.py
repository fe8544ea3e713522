"""The sockets of the master: bound once, kept over reloads, inherited by every worker.

One idea: a socket is known by the address that the configuration gives it. A new configuration takes what is there
already and binds only the rest, so an address in both is never closed; a configuration that fails gives back only
what it bound itself. It knows the kernel's calls, nothing of processes. Sockets that came from outside (systemd,
``fd://``) are never unlinked.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import socket
from dataclasses import dataclass, field, fields

import psutil

from uwsgirouter.errors import BootError
from uwsgirouter.log import Log
from uwsgirouter.master import zerg
from uwsgirouter.master.handover import Keep, Rows, inherited_socket
from uwsgirouter.master.socket_files import Mark, clear_stale, file_mark, listen_private, remove_marked
from uwsgirouter.settings.address import Address, Kind
from uwsgirouter.settings.application import is_served
from uwsgirouter.settings.settings import Settings

DEFER_ACCEPT = 5
"""Seconds that the kernel waits for a connection's first byte before it wakes us for nothing."""
FIRST_SYSTEMD_FD = 3
SYSTEMD_VARIABLES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")

Identity = tuple[socket.SocketKind, Kind, str, int]


@dataclass
class Bound:
    """One bound socket. ``path`` is its file when we made it, else empty; ``name`` is what people see.

    ``mark``: which file that is, of one that is ours alone (the control socket) and goes with the router.
    """

    identity: Identity
    sock: socket.socket
    name: str
    path: str = ""
    mark: Mark | None = None


@dataclass
class Endpoints:
    """What one configuration binds: listeners in order, the shared sockets by number, and the datagram sockets.

    ``application`` are the sockets of the socket option, by number, when there is an application to accept on them;
    ``resubscription`` is what announcements are passed on from, which may be one of the servers.
    """

    listeners: list[Bound] = field(default_factory=list)
    shared: list[Bound] = field(default_factory=list)
    servers: list[Bound] = field(default_factory=list)
    application: list[Bound] = field(default_factory=list)
    resubscription: list[Bound] = field(default_factory=list)
    control: Bound | None = None
    stats: list[Bound] = field(default_factory=list)
    metrics: list[Bound] = field(default_factory=list)

    def all(self) -> list[Bound]:
        """Each socket once."""
        seen: dict[int, Bound] = {}
        others = [*self.resubscription] if self.control is None else [*self.resubscription, self.control]
        others += [*self.stats, *self.metrics]
        for bound in (*self.listeners, *self.shared, *self.servers, *self.application, *others):
            seen[id(bound)] = bound
        return list(seen.values())


class Sockets:
    """Every socket that the master holds open."""

    def __init__(self, log: Log, passed: list[Bound] | None = None) -> None:
        self._log = log
        self._open: dict[Identity, Bound] = {}
        self._inherited = _systemd_sockets() if passed is None else passed
        self.created: set[str] = set()
        """Paths of unix sockets that we made and that are in use."""

    def bind(self, settings: Settings) -> Endpoints:
        """All sockets of ``settings``, old ones kept, new ones bound.

        Raises :class:`BootError` that names the option's place; then what was bound for it is closed again.
        """
        before = set(self._open)
        try:
            endpoints = self._bind_all(settings)
        except BootError:
            for identity in set(self._open) - before:
                self._close(self._open[identity])
            raise
        self._warn_clipped(settings.number("listen"))
        return endpoints

    def release(self, keep: Endpoints) -> None:
        """Close what ``keep`` does not name."""
        kept = {bound.identity for bound in keep.all()}
        for bound in [bound for identity, bound in self._open.items() if identity not in kept]:
            self._close(bound)

    def opened(self) -> list[Bound]:
        """All that is open now."""
        return list(self._open.values())

    def close_all(self) -> None:
        """Close everything; the files stay until :meth:`unlink`, but for that of the control socket."""
        for bound in list(self._open.values()):
            self._remove_private(bound)
            bound.sock.close()

    def unlink(self) -> None:
        """``vacuum``: remove the files of our own unix sockets."""
        for path in list(self.created):
            self._unlink(path)

    # -- over an upgrade --------------------------------------------------------------------------------------------

    def handed(self, keep: Keep, current: Endpoints) -> Rows:
        """For the master that takes the place of this one: every socket, and those of ``current``."""
        all_of_them = list({id(bound): bound for bound in (*self._open.values(), *self._inherited)}.values())
        place = {id(bound): index for index, bound in enumerate(all_of_them)}

        def places(found: list[Bound]) -> list[int]:
            return [place[id(bound)] for bound in found]

        return {
            "sockets": [_row(bound, keep) for bound in all_of_them],
            "open": places(list(self._open.values())),
            "inherited": places(self._inherited),
            "created": sorted(self.created),
            "endpoints": {name: places(found) for name, found in _by_name(current).items()},
        }

    @classmethod
    def inherited(cls, log: Log, rows: Rows) -> tuple[Sockets, Endpoints]:
        """The sockets that were handed over, and the endpoints of the configuration in force."""
        found = [_bound(row) for row in rows["sockets"]]
        for variable in SYSTEMD_VARIABLES:  # they are among these
            os.environ.pop(variable, None)
        sockets = cls(log, [found[index] for index in rows["inherited"]])
        sockets._open = {found[index].identity: found[index] for index in rows["open"]}
        sockets.created = set(rows["created"])
        endpoints = Endpoints()
        for name, places in rows["endpoints"].items():
            bounds = [found[index] for index in places]
            if isinstance(getattr(endpoints, name, None), list):
                setattr(endpoints, name, bounds)
            elif bounds and hasattr(endpoints, name):
                setattr(endpoints, name, bounds[0])
        return sockets, endpoints

    # -- binding ----------------------------------------------------------------------------------------------------

    def _bind_all(self, settings: Settings) -> Endpoints:
        endpoints = Endpoints()
        for index, address in enumerate(settings.addresses("shared-socket")):
            endpoints.shared.append(
                self._take(address, socket.SOCK_STREAM, settings, settings.where("shared-socket", index))
            )
        self._bind_streams("fastrouter", endpoints.listeners, endpoints.shared, settings)
        if is_served(settings):
            self._bind_streams("socket", endpoints.application, endpoints.shared, settings)
        for index, path in enumerate(settings.texts("fastrouter-zerg")):
            endpoints.listeners += self._attach(path, settings.where("fastrouter-zerg", index))
        for option, datagrams in (
            ("fastrouter-subscription-server", endpoints.servers),
            ("fastrouter-resubscribe-bind", endpoints.resubscription),
        ):
            for index, address in enumerate(settings.addresses(option)):
                datagrams.append(self._take(address, socket.SOCK_DGRAM, settings, settings.where(option, index)))
        for option, shown in (
            ("fastrouter-stats", endpoints.stats),
            ("stats", endpoints.stats),
            ("metrics", endpoints.metrics),
        ):
            self._bind_streams(option, shown, endpoints.shared, settings)
        self._adopt(endpoints, settings)
        if not endpoints.listeners:
            raise BootError("nothing to listen on: give fastrouter = ADDRESS, or sockets by systemd")
        endpoints.control = self._bind_control(settings)
        for bound in endpoints.stats:  # whoever asks for statistics says nothing, and must not be waited for
            if bound.sock.family in (socket.AF_INET, socket.AF_INET6):
                bound.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 0)
        return endpoints

    def _bind_control(self, settings: Settings) -> Bound | None:
        """The control socket; the one that is there stays, as long as its file does."""
        if not settings.text("control-socket"):
            return None
        try:
            path = os.path.abspath(settings.text("control-socket"))
        except OSError as error:
            place = f"{settings.where('control-socket')}: control-socket = {settings.text('control-socket')}"
            raise BootError(f"{place}: a relative path, and the working directory is gone: {error.strerror}") from error
        held = next((bound for bound in self._open.values() if bound.mark and bound.path == path), None)
        if held is not None and file_mark(path) == held.mark:
            return held
        try:
            sock, made = listen_private(path, settings.optional_number("uid"), settings.optional_number("gid"))
        except OSError as error:
            reason = f"{settings.where('control-socket')}: control-socket: cannot listen on {path}: {_explain(error)}"
            if held is None:
                raise BootError(reason) from error
            self._log.say(f"{reason}; its file is gone, and nobody can reach the one that is open")
            return held
        bound = Bound((socket.SOCK_STREAM, Kind.UNIX, path, -made[1]), sock, path, path, made)
        self._open[bound.identity] = bound
        return bound

    def _attach(self, path: str, where: str) -> list[Bound]:
        """The sockets of a zerg server; at a reload those that we have already stay what they are."""
        mark = f"zerg {path}"
        held = [bound for identity, bound in self._open.items() if identity[1:3] == (Kind.FD, mark)]
        try:
            found = zerg.attach(path)
        except OSError as error:
            reason = error.strerror or str(error)
            if not held:
                raise BootError(f"{where}: cannot take sockets from the zerg server {path}: {reason}") from error
            self._log.say(f"{where}: the zerg server {path}: {reason}; its sockets that are here stay in use")
            return held
        return [self._keep_or_take(mark, sock) for sock in found]

    def _keep_or_take(self, mark: str, sock: socket.socket) -> Bound:
        """The kernel's number of a socket tells whether we have it already."""
        identity = (socket.SOCK_STREAM, Kind.FD, mark, os.fstat(sock.fileno()).st_ino)
        if identity in self._open:
            sock.close()
        else:
            sock.setblocking(False)
            self._open[identity] = Bound(identity, sock, _name(sock))
        return self._open[identity]

    def _bind_streams(self, option: str, into: list[Bound], shared: list[Bound], settings: Settings) -> None:
        for index, address in enumerate(settings.addresses(option)):
            if address.kind is Kind.SHARED:
                into.append(shared[address.port])
            else:
                into.append(self._take(address, socket.SOCK_STREAM, settings, settings.where(option, index)))

    def _adopt(self, endpoints: Endpoints, settings: Settings) -> None:
        """systemd's sockets that no address claimed: streams are listeners, datagram ones subscription servers."""
        for bound in self._inherited:
            if bound in endpoints.all():
                continue
            kind = bound.sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
            self._open[bound.identity] = bound
            if kind == socket.SOCK_STREAM:
                self._prepare(bound.sock, settings)
                endpoints.listeners.append(bound)
            else:
                endpoints.servers.append(bound)

    def _take(self, address: Address, kind: socket.SocketKind, settings: Settings, where: str) -> Bound:
        identity = (kind, *address.identity)
        bound = self._open.get(identity) or self._inherited_for(address, kind, identity)
        try:
            if bound is None:
                bound = self._create(address, kind, identity, settings)
            _own(bound, settings)
            if kind == socket.SOCK_STREAM:
                self._prepare(bound.sock, settings)
        except OSError as error:
            if bound is not None and identity not in self._open:
                bound.sock.close()
                if bound.path:
                    self._unlink(bound.path)
            raise BootError(f"{where}: cannot listen on {address.text}: {_explain(error)}") from error
        self._open[identity] = bound
        return bound

    def _inherited_for(self, address: Address, kind: socket.SocketKind, identity: Identity) -> Bound | None:
        for bound in self._inherited:
            if bound.sock.type == kind and bound.name == address.text:
                bound.identity = identity
                return bound
        return None

    def _create(self, address: Address, kind: socket.SocketKind, identity: Identity, settings: Settings) -> Bound:
        if address.kind is Kind.FD:
            sock = socket.socket(fileno=os.dup(address.port))
            if sock.type != kind:
                raise OSError(errno.EINVAL, f"descriptor {address.port} is not a {kind.name} socket")
            return Bound(identity, sock, _name(sock))
        family, target = _resolve(address)
        sock = socket.socket(family, kind)
        try:
            if address.kind is Kind.UNIX:
                clear_stale(address.host, kind)
            elif family != socket.AF_UNIX:
                if kind == socket.SOCK_STREAM:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(target)
        except OSError:
            sock.close()
            raise
        bound = Bound(identity, sock, _name(sock))
        if address.kind is Kind.UNIX:
            bound.path = os.path.abspath(address.host)
            self.created.add(bound.path)
        return bound

    def _prepare(self, sock: socket.socket, settings: Settings) -> None:
        """(Re)set what a listener needs. Accepted sockets inherit TCP_NODELAY: set here, it costs nothing later."""
        sock.listen(settings.number("listen"))
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT)

    def _warn_clipped(self, wanted: int) -> None:
        with (
            contextlib.suppress(OSError, ValueError),
            open("/proc/sys/net/core/somaxconn", encoding="ascii") as file,
        ):
            allowed = int(file.read())
            if allowed < wanted:
                self._log.say(f"listen = {wanted} is clipped to {allowed} by the kernel (net.core.somaxconn)")

    # -- closing ----------------------------------------------------------------------------------------------------

    def _close(self, bound: Bound) -> None:
        del self._open[bound.identity]
        self._remove_private(bound)
        bound.sock.close()
        if bound.path and bound.mark is None:
            self._unlink(bound.path)

    def _remove_private(self, bound: Bound) -> None:
        """The file of the control socket: of no use without us, and perhaps another router's by now.

        While the socket is open no other file can have the same number.
        """
        try:
            if bound.mark is not None:
                remove_marked(bound.path, bound.mark)
        except OSError as error:
            self._log.say(f"cannot remove {bound.path}: {error.strerror}")

    def _unlink(self, path: str) -> None:
        self.created.discard(path)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._log.say(f"cannot remove {path}: {error.strerror}")


def _by_name(endpoints: Endpoints) -> dict[str, list[Bound]]:
    """Whatever there is, as lists."""
    found = {}
    for one in fields(endpoints):
        value = getattr(endpoints, one.name)
        found[one.name] = value if isinstance(value, list) else [] if value is None else [value]
    return found


def _row(bound: Bound, keep: Keep) -> Rows:
    kind, address_kind, host, port = bound.identity
    identity = [int(kind), address_kind.name, host, port]
    return {
        "identity": identity,
        "sock": keep(bound.sock.fileno()),
        "name": bound.name,
        "path": bound.path,
        "mark": bound.mark,
    }


def _bound(row: Rows) -> Bound:
    kind, address_kind, host, port = row["identity"]
    identity = (socket.SocketKind(kind), Kind[address_kind], str(host), int(port))
    mark = None if row["mark"] is None else (int(row["mark"][0]), int(row["mark"][1]))
    return Bound(identity, inherited_socket(row["sock"]), row["name"], row["path"], mark)


def _systemd_sockets() -> list[Bound]:
    """Descriptors passed by systemd (sd_listen_fds(3)); the variables are taken away, so that no child adopts them."""
    count, owner, _ = (os.environ.pop(variable, "") for variable in SYSTEMD_VARIABLES)
    if not count.isdigit() or owner != str(os.getpid()):
        return []
    found = []
    for descriptor in range(FIRST_SYSTEMD_FD, FIRST_SYSTEMD_FD + int(count)):
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        found.append(Bound((sock.type, Kind.FD, "", descriptor), sock, _name(sock)))
    return found


def _resolve(address: Address) -> tuple[socket.AddressFamily, tuple[str, int] | bytes | str]:
    """The family and the socket address to bind; a name is looked up, a ``*`` picks one of this machine's addresses."""
    if "*" in address.host and not address.is_unix:
        return socket.AF_INET, (_interface(address.host), address.port)
    if address.kind is Kind.NAME:
        family, _, _, _, target = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        return family, (str(target[0]), address.port)
    return address.family, address.sockaddr


def _interface(pattern: str) -> str:
    for addresses in psutil.net_if_addrs().values():
        for entry in addresses:
            if entry.family == socket.AF_INET and fnmatch.fnmatchcase(entry.address, pattern):
                return str(entry.address)
    raise OSError(errno.EADDRNOTAVAIL, f"no interface has an address like {pattern}")


def _own(bound: Bound, settings: Settings) -> None:
    """Mode and owner of a file that we made: ``chmod-socket`` and ``chown-socket``, or what servers have instead."""
    if not bound.path:
        return
    chmod, chown = "chmod-socket", "chown-socket"
    if bound.sock.type == socket.SOCK_DGRAM:
        chmod, chown = (
            own if settings.is_set(own) else common
            for own, common in (("fastrouter-subscription-chmod", chmod), ("fastrouter-subscription-chown", chown))
        )
    mode, owner = settings.optional_number(chmod), settings.owner(chown)
    with contextlib.suppress(FileNotFoundError):  # somebody removed it; a reload must not fail for that
        if mode is not None:
            os.chmod(bound.path, mode)
        if owner is not None:
            os.chown(bound.path, *owner)


def _name(sock: socket.socket) -> str:
    """How people write the address of a bound socket."""
    name = sock.getsockname()
    if isinstance(name, bytes):
        return "@" + name.strip(b"\0").decode("utf-8", "replace")
    if isinstance(name, str):
        return name
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


def _explain(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"address in use ({error.strerror})"
    return error.strerror or str(error)
