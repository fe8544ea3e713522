"""Files of users and password hashes, as htpasswd and mkpasswd write them.

One idea: a password is compared by whoever knows its hash (libpass, bcrypt), in constant time and for a user that
is not there, too, so that the time says nothing. Hashes are slow on purpose; a password that was right is
remembered by a keyed digest, in memory, until the file changes, so that a page of fifty pictures costs one hash.
Known: DES crypt, $1$, $apr1$, $5$, $6$, $2a$ $2b$ $2y$, {SHA}.
Invariant: nothing here raises for what stands in the file, or for what a client sends.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets

import bcrypt
from passlib.hash import apr_md5_crypt, des_crypt, md5_crypt, sha256_crypt, sha512_crypt

REMEMBERED_MOST = 4096
_BCRYPT_MOST = 72
"""Bytes of a password that bcrypt looks at; the library refuses longer ones, htpasswd cuts them."""
_DES = re.compile(rb"[./0-9A-Za-z]{13}")
_KNOWN = {b"$apr1$": apr_md5_crypt, b"$1$": md5_crypt, b"$5$": sha256_crypt, b"$6$": sha512_crypt}
_DUMMY = b"$apr1$........$WqXoqZeB1nnBUBhbLBLHv/"
"""What the password of an unknown user is held against in an empty file."""

Stamp = tuple[int, int, int, int]


class Htpasswd:
    """One file. Users of a process share it; look-ups in several threads are safe."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._stamp: Stamp | None = None
        self._users: dict[bytes, tuple[bytes, ...]] = {}
        self._remembered: dict[bytes, None] = {}
        self._secret = secrets.token_bytes(32)

    def remembers(self, user: bytes, password: bytes) -> bool:
        """Whether this was right before, in the file as it is now. Quick; False when it has to be verified."""
        if self._stamp is None or _stamp(self.path) != self._stamp:
            return False
        known = self._remembered
        return any(self._digest(user, password, stored) in known for stored in self._users.get(user, ()))

    def verify(self, user: bytes, password: bytes) -> bool:
        """Whether the file has this user with this password. Slow. Raises OSError when it cannot be read."""
        self._read()
        stored_ones = self._users.get(user)
        if stored_ones is None:
            first = next(iter(self._users.values()), (_DUMMY,))
            matches(first[0], password)
            return False
        right = [stored for stored in stored_ones if matches(stored, password)]
        if right:
            if len(self._remembered) >= REMEMBERED_MOST:
                self._remembered = {}
            self._remembered[self._digest(user, password, right[0])] = None
        return bool(right)

    def _read(self) -> None:
        stamp = _stamp(self.path)
        if stamp is not None and stamp == self._stamp:
            return
        with open(self.path, "rb") as file:
            users = parse(file.read())
        self._users, self._remembered, self._stamp = users, {}, stamp

    def _digest(self, user: bytes, password: bytes, stored: bytes) -> bytes:
        return hmac.digest(self._secret, b"\0".join((user, stored, password)), "sha256")


def _stamp(path: str) -> Stamp | None:
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size, about.st_ino, about.st_dev


def parse(text: bytes) -> dict[bytes, tuple[bytes, ...]]:
    """Users and their hashes. Lines that are none (comments, empty ones) are passed over."""
    users: dict[bytes, tuple[bytes, ...]] = {}
    for line in text.splitlines():
        user, colon, rest = line.partition(b":")
        stored = rest.partition(b":")[0].strip()
        if user and colon and stored and not user.startswith(b"#"):
            users[user] = (*users.get(user, ()), stored)
    return users


def matches(stored: bytes, password: bytes) -> bool:
    """Whether ``password`` gives this hash; never for a hash of a kind that nobody knows."""
    if b"\0" in password:
        return False
    if stored.startswith(b"{SHA}"):
        made = base64.b64encode(hashlib.sha1(password).digest())
        return hmac.compare_digest(made, stored[5:])
    if re.match(rb"\$2[aby]\$", stored):
        return _bcrypt(stored, password)
    handler = next((known for prefix, known in _KNOWN.items() if stored.startswith(prefix)), None)
    if handler is None and _DES.fullmatch(stored):
        handler = des_crypt
    try:
        return handler is not None and bool(handler.verify(password, stored.decode("ascii")))
    except (ValueError, TypeError):
        return False


def _bcrypt(stored: bytes, password: bytes) -> bool:
    try:
        return bcrypt.checkpw(password[:_BCRYPT_MOST], stored)
    except ValueError:
        return False
