"""What must fit together among the options that find nodes; see ``consistency.py``. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.settings import Settings
from uwsgirouter.settings.targets import CodeString, example, fill, pattern_of_base

WAYS = (
    "fastrouter-use-cache",
    "fastrouter-use-pattern",
    "fastrouter-subscription-server",
    "fastrouter-use-base",
    "fastrouter-use-code-string",
    "fastrouter-use-socket",
    "fastrouter-to",
)
"""The ways to find a node, the one that wins first: the FastRouter's order."""
TABLED = ("fastrouter-subscription-server", "fastrouter-use-socket", "fastrouter-to", None)
"""Those whose nodes are in the registry, so that it is known when none is there. Without any way none ever is."""


def way(settings: Settings) -> str | None:
    """The option whose way is used; None when none is given."""
    return next((name for name in WAYS if settings.is_set(name)), None)


def errors(settings: Settings) -> Iterator[ConfigError]:
    """What cannot work."""
    yield from _check(settings, "fastrouter-use-pattern", example)
    yield from _check(settings, "fastrouter-use-base", lambda base: example(pattern_of_base(base)))
    yield from _check(settings, "fastrouter-use-code-string", CodeString.parse)
    for name in ("fastrouter-force-key", "fastrouter-subscription-fallback-key"):
        size = len(settings.text(name).encode("utf-8", "surrogateescape"))
        if size > 255:
            yield ConfigError(f"{name}: {size} bytes, a key has at most 255", settings.where(name))
    number = settings.optional_number("fastrouter-use-socket")
    count = len(settings.addresses("socket"))
    if number is not None and number >= count:
        there = "there is none" if not count else f"there are {count}, from 0 to {count - 1}"
        where = settings.where("fastrouter-use-socket")
        yield ConfigError(f"fastrouter-use-socket = {number}: no socket option has this number, {there}", where)


def _check(settings: Settings, name: str, check: Callable[[str], object]) -> Iterator[ConfigError]:
    if settings.is_set(name):
        try:
            check(settings.text(name))
        except ConfigError as error:
            yield ConfigError(f"{name} = {settings.text(name)}: {error.message}", settings.where(name))


def notices(settings: Settings) -> Iterator[str]:
    """What has no effect, or another one than expected."""
    used = way(settings)
    for name in WAYS:
        if name != used and settings.is_set(name):
            yield f"{settings.where(name)}: {name} is not used: {used} goes first, and only one way to find nodes is"
    if used is None:
        yield (
            "there is no way to find a node, so every request will fail: write fastrouter-subscription-server = "
            "ADDRESS for nodes that announce themselves, fastrouter-to = ADDRESS for static ones, or another of "
            + ", ".join(sorted(set(WAYS) - {"fastrouter-subscription-server", "fastrouter-to"}))
        )
    for name, needed in _NEEDS.items():
        if settings.is_set(name) and not any(settings.is_set(other) for other in needed):
            yield f"{settings.where(name)}: {name} does nothing without {' or '.join(needed)}"
    if settings.flag("fastrouter-cheap") and used not in ("fastrouter-subscription-server", None):
        yield (
            f"{settings.where('fastrouter-cheap')}: fastrouter-cheap does nothing with {used}: only nodes that "
            "announce themselves come and go"
        )
    pattern = settings.text("fastrouter-use-pattern")
    if pattern and fill(pattern, "x") == fill(pattern, "xx"):
        yield (
            f"{settings.where('fastrouter-use-pattern')}: fastrouter-use-pattern = {pattern}: there is no %s in the "
            "pattern, so every key leads to this one address (in an ini file write %%s)"
        )
    if settings.is_set("fastrouter-subscription-slot"):
        yield (
            f"{settings.where('fastrouter-subscription-slot')}: fastrouter-subscription-slot is deprecated and does "
            "nothing; fastrouter-subscription-server names the address"
        )


_NEEDS = {
    "fastrouter-fallback-on-no-key": ("fastrouter-fallback",),
    "fastrouter-subscription-fallback-key": ("fastrouter-subscription-server",),
    "fastrouter-post-buffering-dir": ("fastrouter-post-buffering",),
    "fastrouter-defer-connect-timeout": ("fastrouter-emperor-socket",),
    "fastrouter-emperor-socket": ("fastrouter-subscription-server",),
    "subscription-dotsplit": ("fastrouter-subscription-server",),
    "subscription-mountpoints": ("fastrouter-subscription-server",),
    "fastrouter-resubscribe": ("fastrouter-subscription-server",),
    "fastrouter-resubscribe-bind": ("fastrouter-resubscribe",),
    "fastrouter-subscription-chmod": ("fastrouter-subscription-server",),
    "fastrouter-subscription-chown": ("fastrouter-subscription-server",),
}
