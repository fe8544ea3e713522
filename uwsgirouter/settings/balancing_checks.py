"""What is wrong, or without effect, in the options that share requests out.

Pure: settings in, errors and notices out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.mapping_checks import TABLED, way
from uwsgirouter.settings.settings import Settings

_COOKIE = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
"""A cookie's name is a token (RFC 6265, 4.1.1)."""
SECRET_MIN = 16
"""Characters of a secret below which it could be guessed."""


def faults(settings: Settings) -> Iterator[ConfigError]:
    """Values that cannot be meant."""
    name, secret = settings.text("fastrouter-sticky"), settings.text("fastrouter-sticky-secret")
    if settings.is_set("fastrouter-sticky") and not _COOKIE.fullmatch(name):
        text = f"fastrouter-sticky = {name}: expected the name of a cookie, up to 64 letters, digits or -_.!#$%&'*+^`|~"
        yield ConfigError(text, settings.where("fastrouter-sticky"))
    if settings.is_set("fastrouter-sticky-secret") and len(secret) < SECRET_MIN:
        text = f"fastrouter-sticky-secret has {len(secret)} characters: expected {SECRET_MIN} or more"
        yield ConfigError(text, settings.where("fastrouter-sticky-secret"))


def notices(settings: Settings) -> Iterator[str]:
    """Options without effect, and what is easily overlooked."""
    if settings.is_set("fastrouter-sticky-secret") and not settings.is_set("fastrouter-sticky"):
        where = settings.where("fastrouter-sticky-secret")
        yield f"{where}: fastrouter-sticky-secret does nothing without fastrouter-sticky"
    for name in ("subscription-queue-timeout", "subscription-queue-length"):
        if settings.is_set(name) and not settings.flag("subscription-limit-cores"):
            yield f"{settings.where(name)}: {name} does nothing without subscription-limit-cores"
    if not settings.is_set("fastrouter-sticky"):
        return
    where = settings.where("fastrouter-sticky")
    if way(settings) not in TABLED:
        yield f"{where}: fastrouter-sticky does nothing with {way(settings)}: its nodes are in no registry"
    elif not settings.is_set("fastrouter-sticky-secret"):
        yield (
            f"{where}: fastrouter-sticky without fastrouter-sticky-secret: cookies hold until the router is stopped, "
            "and other routers do not understand them"
        )
