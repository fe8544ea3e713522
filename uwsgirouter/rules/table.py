"""The table of rules: four chains of steps, built once and run for each request.

One idea: whatever can be known before a request is known when the table is built, so a step is a compiled search (or a
test) and a function. Running it is a walk over one list; the subjects are remembered between two actions. It knows no
part by name, no socket and no log but the exchange's host. Invariants: a chain never runs within itself; numbers are
those that uWSGI prints.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from uwsgirouter.errors import ConfigError
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules import parts
from uwsgirouter.rules.arguments import number
from uwsgirouter.rules.base import Act, BadRule, Broken, ChainName, Found, Part, Parts, Test, Verdict
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.grammar import KEYS, Rule, take_apart
from uwsgirouter.rules.headers import Collected, collected
from uwsgirouter.rules.place import Needs, RulePlace
from uwsgirouter.rules.secrets import masked, masked_text
from uwsgirouter.rules.subjects import ANSWERED, NAMES, SERVER_NAME, SUBJECTS
from uwsgirouter.rules.transform import Transform
from uwsgirouter.settings.judge import raise_all
from uwsgirouter.settings.settings import Settings

RUNS_MOST = 16
"""How often the chains of one request may run: a chain that answers its own answers would go on for ever."""

_FINAL = ChainName.FINAL
_NEXT, _CONTINUE, _BREAK, _GOTO = Verdict.NEXT, Verdict.CONTINUE, Verdict.BREAK, Verdict.GOTO
_FORWARD = b'[uwsgi-route] ERROR "goto" instruction can only jump forward (check your label !!!)'

_EVERYDAY = (Cause.NO_FILE, Cause.LIMITED)
"""What clients cause as often as they like; the line about the request tells it."""

_NO_TEXTS: list[bytes | None] = [None] * len(NAMES)

Search = Callable[[bytes], "re.Match[bytes] | None"]


class Step:
    """One rule as it runs. ``act`` is None for a label; at most one of search, test and status is set."""

    __slots__ = ("act", "negated", "rule", "search", "status", "subject", "test")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.act: Act | None = None
        self.subject = -1
        self.search: Search | None = None
        self.test: Test | None = None
        self.negated = rule.negated
        self.status = -1


class Chain:
    """The steps of one chain, and where its labels are."""

    __slots__ = ("bit", "labels", "name", "steps", "waits")

    def __init__(self, name: ChainName, steps: tuple[Step, ...], labels: dict[bytes, int], waits: bool = False) -> None:
        self.name = name
        self.bit = 1 << name.number
        self.steps = steps
        self.labels = labels
        self.waits = waits


class Table:
    """See the module. Made by :meth:`build`."""

    __slots__ = ("_chains", "answers", "headers", "limits", "notices", "scripts", "transforms_wait", "wanted")

    def __init__(self, chains: dict[ChainName, Chain], needs: Needs, headers: Collected) -> None:
        self._chains = tuple(chains[name] for name in ChainName)
        self.wanted = frozenset((*needs.names, *NAMES, SERVER_NAME, *ANSWERED))
        """Variables that are found in one walk over a packet."""
        self.headers = headers
        """Response headers that become variables."""
        self.scripts = needs.scripts
        """Whether rules call functions of scripts, which each worker then has to run."""
        self.transforms_wait = needs.transforms_wait
        """Whether a body on its way to the client may wait for a transformation."""
        self.limits = needs.limits
        """Whether rules count in the memory for limits."""
        self.notices = tuple(f"{text} ({', '.join(places)})" for text, places in needs.notes.items())
        """Lines for the start."""
        later = (ChainName.ERROR, ChainName.RESPONSE, ChainName.FINAL)
        self.answers = bool(headers) or any(chains[name].steps for name in later)
        """Whether every response of the router must be seen."""

    @classmethod
    def build(cls, settings: Settings, warn: Callable[[str], None]) -> Table | None:
        """The table of a configuration, None when it has no rule. ``warn`` gets lines with their place.

        Raises :class:`ConfigError` with the place, the rule, and the reason; :class:`ConfigErrors` for several.
        """
        given = settings.sequence(KEYS)
        headers = collected(settings)
        if not given and not headers:
            return None
        building = _Building(settings, parts.load(), warn)
        rules: dict[ChainName, list[Rule]] = {name: [] for name in ChainName}
        for turn, (option, text, where) in enumerate(given):
            try:
                rule = take_apart(option, text, where, turn)
                rules[rule.key.chain].append(rule)
            except BadRule as error:
                building.errors[turn] = ConfigError(f"{option} = {masked_text(text)}: {error}", where)
        chains = {name: building.chain(name, listed) for name, listed in rules.items()}
        raise_all([building.errors[turn] for turn in sorted(building.errors)])
        return cls(chains, building.needs, headers)

    def run(self, name: ChainName, exchange: Exchange) -> Verdict:
        """Run a chain: BREAK, or CONTINUE when its end or a rule that says so is reached.

        A rule that cannot go on (:class:`Broken`) is a BREAK; ``exchange.broken`` and ``cause`` then say why, and so
        does a line of the log.
        """
        chain = self._chains[name.number]
        if not chain.steps or exchange.running & chain.bit:
            return _CONTINUE
        exchange.depth += 1
        if exchange.depth > RUNS_MOST and name is not _FINAL:
            exchange.host.complain(b"the chains of one request have run %d times: no more of them" % RUNS_MOST)
            return _CONTINUE
        outer, exchange.chain = exchange.chain, name
        exchange.running |= chain.bit
        try:
            return self._walk(chain, exchange)
        finally:
            exchange.running &= ~chain.bit
            exchange.chain = outer

    def _walk(self, chain: Chain, exchange: Exchange) -> Verdict:
        steps = chain.steps
        count = len(steps)
        texts: list[bytes | None] = _NO_TEXTS.copy()
        changes = exchange.changes
        position = -1
        while position + 1 < count:
            position += 1
            step = steps[position]
            found: Found = None
            try:
                if step.search is not None:
                    text = texts[step.subject]
                    if text is None:
                        text = texts[step.subject] = exchange.subject(NAMES[step.subject])
                    found = step.search(text)
                    if found is None:
                        continue
                elif step.test is not None:
                    held = step.test(exchange)
                    if bool(held) is step.negated:
                        continue
                    found = None if isinstance(held, bool) else held
                elif step.status >= 0 and step.status != exchange.response.status:
                    continue
                if step.act is None:
                    continue
                verdict = step.act(exchange, found)
                if exchange.steps is not None:
                    exchange.steps.step(f"{step.rule.where}: {step.rule}: {verdict.name.lower()}")
            except Broken as error:
                exchange.cause = error.cause
                return _broken(step, exchange, str(error))
            if exchange.changes != changes:
                changes = exchange.changes
                texts = _NO_TEXTS.copy()
            if verdict is _NEXT:
                continue
            if verdict is not _GOTO:
                return verdict
            target = _target(chain, exchange.jump)
            if target <= position:
                exchange.host.complain(_FORWARD)
                return _broken(step, exchange, "a goto can only jump forward")
            position = target - 1
        return _CONTINUE

    def waits(self, name: ChainName) -> bool:
        """Whether something may wait when that chain is run: it is then to be run in a greenlet.

        An answer that a rule makes runs the chains error and response within the rule's own.
        """
        own = self._chains[name.number]
        inner = (ChainName.ERROR, ChainName.RESPONSE) if own.steps else ()
        waits = own.waits or any(self._chains[one.number].waits for one in inner)
        return waits or (self.transforms_wait and bool(own.steps))

    def has(self, name: ChainName) -> bool:
        """Whether the chain has any rule."""
        return bool(self._chains[name.number].steps)

    def describe(self) -> list[str]:
        """The numbered rules, as uWSGI prints them at start."""
        lines: list[str] = []
        for chain in self._chains:
            if chain.steps:
                title = f"internal {chain.name.value} routing table".replace("  ", " ")
                lines.append(f"*** dumping {title} ***")
                lines += [f"[rule: {number}] {_described(step)}" for number, step in enumerate(chain.steps)]
                lines.append(f"*** end of the {title} ***")
        return lines + self.headers.describe()


def _described(step: Step) -> str:
    rule = step.rule
    if rule.label is not None:
        return f"label: {_text(rule.label)}"
    action = f"action: {_text(masked(rule.action + b':' + rule.argument))}"
    kind, pattern = rule.key.kind, _text(rule.pattern)
    if kind == "run":
        return action
    if kind == "status":
        return f"subject: {pattern} func: {pattern} {action}"
    if kind in SUBJECTS:
        return f"subject: {SUBJECTS[kind].printed} regexp: {pattern} {action}"
    return f"subject: {pattern} func: {'!' if rule.negated else ''}{_text(rule.condition)} {action}"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _broken(step: Step, exchange: Exchange, reason: str) -> Verdict:
    exchange.broken = reason
    if exchange.steps is not None:
        exchange.steps.step(f"{step.rule.where}: {step.rule}: failed: {reason}")
    if exchange.cause not in _EVERYDAY:
        exchange.host.complain(f"{step.rule.where}: {step.rule}: {reason}".encode("utf-8", "surrogateescape"))
    return _BREAK


def _target(chain: Chain, jump: bytes) -> int:
    """The number of the step that a goto means. As in uWSGI, what is no label is a number, a negative one is behind the
    end, and other text is 0.
    """
    found = chain.labels.get(jump)
    if found is None:
        found = number(jump)
    return len(chain.steps) if found < 0 else found


@dataclass
class _Building:
    """The making of a table: what its rules share, and all the errors."""

    settings: Settings
    parts: Parts
    warn: Callable[[str], None]
    needs: Needs = field(default_factory=Needs)
    errors: dict[int, ConfigError] = field(default_factory=dict)
    """By the rule's turn."""

    def chain(self, name: ChainName, rules: Sequence[Rule]) -> Chain:
        """One chain; a rule that is wrong is left out and noted down."""
        labels: dict[bytes, int] = {}
        for position, rule in enumerate(rules):
            if rule.label is not None:
                labels.setdefault(rule.label, position)
        steps = []
        for position, rule in enumerate(rules):
            say = partial(self._say, rule)
            place = RulePlace(name, position, rule.where, self.settings, self.parts, self.needs, say, labels)
            place.rule = str(rule).encode("utf-8", "surrogateescape")
            try:
                steps.append(_step(rule, place))
            except BadRule as error:
                self.errors[rule.turn] = ConfigError(f"{rule}: {error}", rule.where)
        return Chain(name, tuple(steps), labels, name in self.needs.waits)

    def _say(self, rule: Rule, text: str) -> None:
        self.warn(f"{rule.where}: {rule}: {text}")


def _step(rule: Rule, place: RulePlace) -> Step:
    step = Step(rule)
    if rule.label is not None:
        return step
    if rule.condition or rule.key.kind in ("if", "if-not"):
        part = place.take(place.parts.conditions, "condition", rule.condition)
        place.groups = False
        step.test = cast(Test, part.make(rule.pattern, place))
        place.groups = True
    elif rule.key.kind == "status":
        step.status = _status(rule.pattern, place)
    elif rule.key.kind != "run":
        step.subject = SUBJECTS[rule.key.kind].number
        step.search = place.search(rule.pattern)
    step.act = _act(rule, place)
    return step


def _status(pattern: bytes, place: RulePlace) -> int:
    if not (pattern.isdigit() and len(pattern) == 3):
        raise BadRule(f"{_text(pattern)} is no status; expected three digits as in 404 (ranges need route-if)")
    if place.chain is ChainName.REQUEST:
        place.warn("no response has a status before it is made, so the rule never runs; write response-route-status")
        return 0
    return int(pattern)


def _act(rule: Rule, place: RulePlace) -> Act:
    transformations = place.parts.transformations
    text = rule.action.decode("utf-8", "surrogateescape")
    if text in transformations and text not in place.parts.actions:
        part = transformations[text]
        return _transforming(part, rule.argument, place)
    both = {**transformations, **place.parts.actions}
    return cast(Act, place.take(both, "action", rule.action).make(rule.argument, place))


def _transforming(part: Part, argument: bytes, place: RulePlace) -> Act:
    make = cast("Callable[[Exchange, Found], Transform]", part.make(argument, place))
    if part.waits:
        place.needs.transforms_wait = True

    def act(exchange: Exchange, found: Found) -> Verdict:
        exchange.response.transform(make(exchange, found))
        return _NEXT

    return act
