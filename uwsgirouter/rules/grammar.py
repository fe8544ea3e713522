"""The words of a rule: which option it stands in, what it looks at, when it holds, and what it does.

One idea: a rule is cut at its first space (subject or condition from action), the action at its first colon, exactly
as uWSGI cuts it. It knows the options' names and no action, condition or variable. Invariant: what it takes apart is
complete; whether the parts mean something is for the table.
"""

from __future__ import annotations

from dataclasses import dataclass

from uwsgirouter.rules.base import BadRule, ChainName
from uwsgirouter.rules.secrets import masked
from uwsgirouter.settings.rows.routing import RULES


@dataclass(frozen=True)
class Key:
    """What an option's name says: ``error-route-if-not`` is (ERROR, "if-not")."""

    chain: ChainName
    kind: str


KEYS = {option: Key(ChainName(chain), kind) for option, (chain, kind) in RULES.items()}
"""Every option that holds a rule or a label."""


@dataclass(frozen=True)
class Rule:
    """One rule or label, taken apart. ``label`` is None for rules, the other texts are empty where there is none."""

    key: Key
    option: str
    text: bytes
    where: str
    label: bytes | None = None
    pattern: bytes = b""
    condition: bytes = b""
    """The condition's name; ``pattern`` is then its argument."""
    action: bytes = b""
    argument: bytes = b""
    turn: int = 0
    """Its place among the rules of all chains."""

    @property
    def negated(self) -> bool:
        """Whether the rule holds when its condition does not."""
        return self.key.kind == "if-not"

    def __str__(self) -> str:
        """As it was written, but for passwords."""
        return f"{self.option} = {masked(self.text).decode('utf-8', 'surrogateescape')}"


def take_apart(option: str, text: str, where: str, turn: int = 0) -> Rule:
    """The rule that ``option = text`` is. Raises :class:`BadRule` when it has not the form of one."""
    key = KEYS[option]
    data = text.encode("utf-8", "surrogateescape")
    if key.kind == "label":
        return Rule(key, option, data, where, label=data, turn=turn)
    rest, pattern, condition = data, b"", b""
    if key.kind != "run":
        pattern, space, rest = data.partition(b" ")
        if not space:
            raise BadRule(f"no space; {_form(key)}")
    if key.kind in ("if", "if-not"):
        condition, colon, pattern = pattern.partition(b":")
        if not colon:
            raise BadRule(f"no colon in the condition {_shown(condition)}; {_form(key)}")
    action, argument = _action(rest, key)
    return Rule(key, option, data, where, None, pattern, condition, action, argument, turn)


def _action(text: bytes, key: Key) -> tuple[bytes, bytes]:
    name, colon, argument = text.partition(b":")
    if not colon:
        raise BadRule(
            f"no colon behind the action {_shown(name)} (an action without an argument has one too); {_form(key)}"
        )
    if name != name.strip():
        raise BadRule(f"a space too much before or behind the action {_shown(name.strip())}; {_form(key)}")
    return name, argument


def _form(key: Key) -> str:
    if key.kind == "run":
        return "expected ACTION:ARGUMENT"
    if key.kind in ("if", "if-not"):
        return "expected CONDITION:ARGUMENT ACTION:ARGUMENT, with the first space between condition and action"
    return "expected PATTERN ACTION:ARGUMENT, with the first space between pattern and action"


def _shown(text: bytes) -> str:
    return repr(text.decode("utf-8", "surrogateescape"))
