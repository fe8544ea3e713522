"""Signing announcements, and the clock that signed ones bear.

One idea: a router takes a signed announcement once, and none that is older than what it had from the node; so every
round bears a second of its own. When rounds follow each other faster than the seconds do (it announced, left and is
back), the clock runs ahead, and time catches up. It must not know what is announced or where it goes.

Invariant: no two rounds of one :class:`Clock` bear the same second, an unsubscribe's never one that was used before;
an announcement's is at most :data:`LEAD` seconds ahead.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from uwsgirouter.announce.forks import unforked
from uwsgirouter.errors import ConfigError
from uwsgirouter.protocol.signing import PrivateKey, encode_signed
from uwsgirouter.protocol.subscription import Announce

LEAD = 60
"""Seconds. A caller that announces without a pause must not run out of the router's tolerance; what it repeats in the
last of these seconds is refused as a repetition, which it is."""


class Signer:
    """A private key: ``digest`` such as SHA256 (in any case), ``path`` of a PEM file without passphrase.

    Raises :class:`ConfigError` that names the file, and ImportError where ``cryptography`` is not installed.
    """

    def __init__(self, digest: str, path: str) -> None:
        from uwsgirouter.settings.senders import DIGESTS

        if digest.upper() not in DIGESTS:
            raise ConfigError(f"unknown digest {digest!r}, there are {', '.join(DIGESTS)}")
        self._digest = digest.upper()
        try:
            with open(path, "rb") as file:
                self._key = PrivateKey(file.read())
        except OSError as error:
            raise ConfigError(f"private key {path}: {error.strerror}") from None
        except ValueError as error:
            raise ConfigError(f"private key {path}: {error}") from None

    @classmethod
    def parse(cls, text: str) -> Signer:
        """uWSGI's form: ``SHA256:/path/key.pem``. Raises :class:`ConfigError`."""
        digest, colon, path = text.partition(":")
        if not colon or not path:
            raise ConfigError(f"{text!r}: expected DIGEST:FILE, as in SHA256:/etc/uwsgi/private.pem")
        return cls(digest, path)

    def encode(self, announce: Announce, unix: int) -> bytes:
        """The signed datagram, which bears the second ``unix``."""
        # The encoder dates an unsubscribe one second ahead, as uWSGI does; the clock here has done that.
        with unforked:
            return encode_signed(announce, self._key, self._digest, unix - 1 if announce.leaving else unix)


class Clock:
    """``now`` gives wall-clock seconds."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._last = 0

    def next(self, leaving: bool) -> int:
        """The second of the next round."""
        second = int(self._now())
        if leaving:
            self._last = max(second, self._last) + 1
        else:
            self._last = max(second, min(self._last + 1, second + LEAD))
        return self._last
