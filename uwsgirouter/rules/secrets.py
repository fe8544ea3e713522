"""What of a rule must not stand in a log: the passwords that it holds.

One idea: rules are shown at start and named in complaints, as text; that text goes through here. It looks for keys,
not for actions, so a rule that could not even be taken apart shows nothing either. Invariant: what is behind such a
key is hidden up to the next key that the action knows; a separator that should have been escaped ends nothing.
"""

from __future__ import annotations

import re

_AFTER = {
    b"bindpw": (b";", b"url|basedn|binddn|filter|attr|loglevel|starttls|cafile"),
    b"secret": (b",", b"realm|server|nas_port|nas_address|signed"),
}
"""The separator behind a key's value, and the keys that may follow."""

_IN_URL = re.compile(rb"(rediss?://[^:/@,]*:)(?:\\.|[^,\\])*@", re.DOTALL)
"""``addr=redis://USER:PASSWORD@HOST``."""

_SECRETS = re.compile(
    b"|".join(
        rb"(?<=[,;:])(%b=).*?(?=%b(?:%b)=|\Z)" % (key, separator, following)
        for key, (separator, following) in _AFTER.items()
    ),
    re.DOTALL,
)


def masked(text: bytes) -> bytes:
    """The text of a rule, or of its argument, for people to read."""
    return _IN_URL.sub(rb"\1***@", _SECRETS.sub(lambda found: (found[1] or found[2]) + b"***", text))


def masked_text(text: str) -> str:
    """The same of a text as the settings have it."""
    return masked(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
