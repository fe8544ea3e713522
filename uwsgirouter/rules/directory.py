"""A connection to an LDAP server, and the one question that is asked over it: is this the user's password?

One idea: as uWSGI's ldapauth does it, an entry is searched for with the rights of ``binddn`` (or of nobody), and then
the server is asked to bind as that entry with the password. It knows no rule and no HTTP. Invariants: an empty
password is never sent (servers may take it for "nobody in particular" and say yes); what a client sent is data in a
filter; each login begins with a bind of its own, so no search runs with an earlier user's rights; passwords go to no
other server (referrals are not followed), and over TLS to none whose certificate is not right; whatever the server
does, a login ends at its deadline, and nothing but the answer *success* to the user's own bind lets anybody in.
"""

from __future__ import annotations

import functools
import math
import socket
import ssl
import time
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.base import BadRule, Broken
from uwsgirouter.rules.service import Timing, extra

ldap3 = extra("ldap3", "ldap")
_errors = ldap3.core.exceptions

_PORTS = {"ldap": 389, "ldaps": 636, "ldapi": 0}
_START_TLS = "1.3.6.1.4.1.1466.20037"
_NAME_MOST = 1024
_ENTRIES_MOST = 16
"""Entries of one name that are looked at: a directory compares names without regard to case, a login does not."""
_RECEIVED_MOST = 1 << 20
"""Bytes that a server may answer to one login."""
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")

_SUCCESS, _SIZE_LIMIT = 0, 4
_UNABLE = frozenset((1, 2, 3, 7, 8, 11, 13, 14, 51, 52, 54, 80))
"""Result codes of a bind that speak of the server, not of the password: busy, unavailable, wants TLS first, ..."""


class Login(Enum):
    """What became of a login."""

    RIGHT = "in"
    REFUSED = "refused"
    UNKNOWN = "no such user"
    AMBIGUOUS = "several entries have this name"


@dataclass(frozen=True)
class Search:
    """How users are found: below ``base``, by ``attribute``, if ``filter`` holds, with the rights of ``dn``."""

    base: str
    attribute: str
    filter: str
    dn: str = ""
    password: bytes = b""

    def check(self) -> None:
        """Raises :class:`BadRule` when the filter is none."""
        try:
            ldap3.operation.search.parse_filter(self.filter_for(b"x"), None, False, False, None, False)
        except _errors.LDAPExceptionError as error:
            raise BadRule(f"filter={self.filter}: {error}; expected as in (objectClass=person)") from None

    def filter_for(self, user: bytes) -> str:
        """The filter that finds ``user``: every byte that could mean something is written as ``\\xx``."""
        name = "".join(chr(byte) if byte in _PLAIN else f"\\{byte:02x}" for byte in user)
        return f"(&({self.attribute}={name}){self.filter})"


@dataclass(frozen=True)
class Address:
    """Where a server is. ``host`` is a path for ldapi."""

    scheme: str
    host: str
    port: int
    starttls: bool = False
    cafile: str | None = None
    """Certificates of the authorities that are trusted; those of the system when it is None."""

    @property
    def is_secure(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.starttls or self.scheme == "ldaps"

    @property
    def url(self) -> str:
        """For logs."""
        if self.scheme == "ldapi":
            return f"ldapi://{quote(self.host, safe='')}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def name(self) -> str:
        """For logs, too: over TLS it is another service."""
        return f"{self.url} with TLS" if self.starttls else self.url

    @property
    def shows_passwords(self) -> bool:
        """Whether passwords could be read on their way to it."""
        near = self.scheme == "ldapi" or self.host in ("localhost", "::1") or self.host.startswith("127.")
        return not self.is_secure and not near

    @classmethod
    def parse(cls, url: str, starttls: bool = False, cafile: str | None = None) -> Address:
        """Raises :class:`BadRule`."""
        expected = "expected ldap://HOST[:PORT], ldaps://HOST[:PORT] or ldapi://%2Fpath%2Fto%2Fsocket"
        try:
            parts = urlsplit(url)
            scheme, port = parts.scheme, parts.port
            rest = (parts.path.strip("/"), parts.query, parts.fragment, parts.username)
        except ValueError as error:
            raise BadRule(f"url={url}: {error}; {expected}") from None
        if scheme not in _PORTS or any(rest):
            raise BadRule(f"url={url}: {expected}; what is searched say basedn=, attr= and filter=")
        if starttls and scheme != "ldap":
            raise BadRule("starttls= is for ldap:// alone")
        if scheme == "ldapi":
            path = unquote(parts.netloc)
            if not path.startswith("/"):
                raise BadRule(f"url={url}: {expected}")
            return cls(scheme, path, 0)
        address = cls(scheme, parts.hostname or "localhost", port or _PORTS[scheme], starttls, cafile)
        if address.is_secure:
            try:
                _context(cafile, ssl.SSLContext)
            except OSError as error:
                raise BadRule(f"cafile={cafile}: {error.strerror or error}") from None
        return address


@functools.lru_cache(maxsize=16)
def _context(cafile: str | None, kind: type[ssl.SSLContext]) -> ssl.SSLContext:
    """``kind``: the one in force; scripts make workers have another one, and sockets that fit to that alone."""
    return ssl.create_default_context(cafile=cafile)


class DirectoryDown(Exception):
    """The connection is no good: it broke off, was too slow, or said what is no LDAP."""


class Directory:
    """One connection. Raises :class:`DirectoryDown` from everything that it does."""

    def __init__(self, address: Address, timing: Timing) -> None:
        self._address = address
        self._answer = timing.answer
        self._until = time.monotonic() + timing.connect
        self._link: Any = None
        try:
            self._open()
        except (OSError, ValueError, _errors.LDAPExceptionError) as error:
            raise DirectoryDown(_told(error)) from None

    def login(self, search: Search, user: bytes, password: bytes) -> tuple[Login, str]:
        """Whether it is the user's password; and, for logs, the DN and why not.

        Raises :class:`Broken` when the server answers, but does not do what it is asked for.
        """
        never = hopeless(user, password)
        if never is not None:
            return never
        self._until = time.monotonic() + self._answer
        if self._link.socket is None:
            raise DirectoryDown("it is closed")
        self._link.socket.begin(self._until)
        try:
            return self._login(search, user, password)
        except _errors.LDAPExceptionError as error:
            raise DirectoryDown(_told(error)) from None
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise DirectoryDown(f"it said what is no LDAP ({type(error).__name__})") from None

    def close(self) -> None:
        """End it. (Without taking leave: that could wait.)"""
        if self._link.socket is not None:
            self._link.socket.close()

    def _open(self) -> None:
        address = self._address
        if address.scheme == "ldapi":
            self._link = self._connected(f"ldapi://{quote(address.host, safe='')}", 0)
        else:
            self._link = self._connected_to_any(address)
        # A connection that broke off would open itself again, and send a password in the clear.
        self._link.open = _never
        if address.is_secure:
            try:
                self._secure(_context(address.cafile, ssl.SSLContext), address.host)
            except BaseException:
                self.close()
                raise

    def _connected_to_any(self, address: Address) -> Any:
        """(All addresses of a name share the time that there is.)"""
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        for _, _, _, _, numeric in found[:-1]:
            try:
                return self._connected(str(numeric[0]), address.port)
            except (OSError, _errors.LDAPExceptionError):
                continue
        return self._connected(str(found[-1][4][0]), address.port)

    def _connected(self, host: str, port: int) -> Any:
        link = ldap3.Connection(
            ldap3.Server(host, port or None, get_info=ldap3.NONE, connect_timeout=_left(self._until)),
            auto_bind=ldap3.AUTO_BIND_NONE,
            auto_referrals=False,
            auto_range=False,
            check_names=False,
            auto_escape=False,
            auto_encode=False,
        )
        try:
            link.open(read_server_info=False)
        except _errors.LDAPExceptionError:
            if link.socket is not None:
                link.socket.close()
            raise
        link.socket = _Wire(link.socket, self._until)
        return link

    def _secure(self, context: ssl.SSLContext, host: str) -> None:
        if self._address.starttls:
            self._link.extended(_START_TLS)
            code, said = self._result()
            if code != _SUCCESS:
                raise DirectoryDown(f"it does not start TLS: {said}")
        self._link.socket = _Wire(self._link.socket.secured(context, host), self._until)

    def _login(self, search: Search, user: bytes, password: bytes) -> tuple[Login, str]:
        code, said = self._bind(search.dn, search.password)
        if code != _SUCCESS:
            raise _unable(f"{self._address.name} refuses {search.dn or 'to be asked by nobody'}: {said}")
        found = self._find(search, user)
        if len(found) != 1:
            return (Login.AMBIGUOUS, ", ".join(found)) if found else (Login.UNKNOWN, "")
        code, said = self._bind(found[0], password)
        if code in _UNABLE:
            raise _unable(f"{self._address.name} cannot say whether it is the password of {found[0]}: {said}")
        return (Login.RIGHT, found[0]) if code == _SUCCESS else (Login.REFUSED, f"{found[0]}: {said}")

    def _bind(self, dn: str, password: bytes) -> tuple[int, str]:
        """With neither, as nobody."""
        link = self._link
        link.authentication = ldap3.SIMPLE if dn else ldap3.ANONYMOUS
        link.user, link.password = dn or None, password or None
        link.result = None
        try:
            link.bind(read_server_info=False)
        finally:
            link.password = link.request = None  # it would lie there until the next login
        return self._result()

    def _find(self, search: Search, user: bytes) -> list[str]:
        """The DNs of those who are called exactly so, and ``...`` when there may be more."""
        link = self._link
        link.result = None
        link.search(
            search.base,
            search.filter_for(user),
            ldap3.SUBTREE,
            ldap3.DEREF_NEVER,
            attributes=[search.attribute],
            size_limit=_ENTRIES_MOST,
            time_limit=math.ceil(_left(self._until)),
        )
        code, said = self._result()
        if code not in (_SUCCESS, _SIZE_LIMIT):
            raise _unable(f"{self._address.name} does not search {search.base}: {said}")
        entries = [entry for entry in link.response if entry["type"] == "searchResEntry"]
        found = [entry["raw_dn"].decode("utf-8") for entry in entries if _is_called(entry, user)]
        if found and code == _SIZE_LIMIT:
            found.append("...")
        return found

    def _result(self) -> tuple[int, str]:
        result = self._link.result
        text = result["message"]
        return int(result["result"]), f"{result['description']} ({text})" if text else str(result["description"])


def hopeless(user: bytes, password: bytes) -> tuple[Login, str] | None:
    """What is no login, whatever a server says of it; None for others."""
    if not user or len(user) > _NAME_MOST:
        return Login.UNKNOWN, ""
    if not password or not _is_text(password):
        return Login.REFUSED, "its password is no text" if password else "an empty password"
    return None


def _is_called(entry: Any, user: bytes) -> bool:
    return any(user in values for values in entry["raw_attributes"].values())


def _is_text(password: bytes) -> bool:
    try:
        password.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unable(message: str) -> Broken:
    return Broken(message, Cause.SERVICE_FAILED)


def _never(*args: object, **keys: object) -> None:
    raise DirectoryDown("it broke off")


class _Wire:
    """A socket whose calls share one deadline, and that reads a bounded number of bytes until then.

    (It stands in the place of ldap3's own, whose timeouts are whole seconds, and for each piece that arrives.)
    """

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self.begin(until)

    def begin(self, until: float) -> None:
        """What is done from now on."""
        self._until = until
        self._room = _RECEIVED_MOST

    def secured(self, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
        """The same, once it is encrypted and the certificate is that of ``host``; this one is of no use then."""
        self._sock.settimeout(_left(self._until))
        return context.wrap_socket(self._sock, server_hostname=host)

    def recv(self, size: int) -> bytes:
        self._sock.settimeout(_left(self._until))
        data = self._sock.recv(size)
        self._room -= len(data)
        if self._room < 0:
            raise OSError("it says too much")
        return data

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_left(self._until))
        self._sock.sendall(data)

    def shutdown(self, how: int) -> None:
        self._sock.shutdown(how)

    def close(self) -> None:
        self._sock.close()


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _told(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not right: {error.verify_message}"
    return str(error) or type(error).__name__
