"""One request as the rules see it and change it, and what is to become of it.

One idea: rules decide, the session acts. An exchange holds the packet (variables are appended to it, as uWSGI does),
the subjects that rules may change, the answer that is being made (response.py), and the ways out of the request chain:
another key, a node, a target. It never touches a socket. Invariant: ``packet`` is a whole, valid packet without body
at any time.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.protocol.packet import decode_vars, value_of, values_of, with_variable
from uwsgirouter.rules.base import Broken, ChainName
from uwsgirouter.rules.host import Host
from uwsgirouter.rules.response import Response
from uwsgirouter.rules.subjects import ADDRESS, HOST, SERVER_NAME

if TYPE_CHECKING:
    from uwsgirouter.rules.program import Program
    from uwsgirouter.rules.table import Table

ID_VARIABLE = b"HTTP_X_REQUEST_ID"


_ENDS = (Cause.NODE_CLOSED, Cause.NODE_RESET)


class Speech(Enum):
    """What is spoken with a target."""

    UWSGI = "uwsgi"
    HTTP = "http"
    TUNNEL = "bytes both ways, after 200 Connection established"


@dataclass
class Target:
    """Where a rule sends the request instead of a node. ``head`` is what is sent in place of the packet (HTTP)."""

    address: str
    """As in fastrouter-to: host:port, [v6]:port, a path, @abstract; names are resolved by the worker."""
    speech: Speech
    modifiers: tuple[int, int] | None = None
    head: bytes = b""
    untouched: bool = False
    """The answer passes as it is: no chain, no header, no transformation (proxyhttp, proxyuwsgi)."""
    program: Program | None = None
    """What this worker itself runs there; its answer comes in chunks, which are the worker's own affair."""


class Steps(Protocol):
    """Who is told what rules do, one by one."""

    def step(self, text: str) -> None:
        """Another one."""


class Exchange:
    """One request. ``packet`` is the uwsgi packet without body."""

    __slots__ = (
        "_all",
        "_came",
        "_held",
        "_known",
        "_origin",
        "_response",
        "_uuid",
        "broken",
        "cause",
        "chain",
        "changes",
        "chosen",
        "collected",
        "depth",
        "directory",
        "host",
        "jump",
        "key",
        "log_request",
        "logvars",
        "node",
        "packet",
        "patience",
        "request_id",
        "running",
        "steps",
        "subjects",
        "table",
        "target",
    )

    def __init__(self, table: Table, host: Host, packet: bytes, key: bytes) -> None:
        self.table = table
        self.host = host
        self.packet = packet
        self.key = key
        """The key that finds the node; a rule may set another."""
        self.node = ""
        """The address of the node that a rule chose; empty: the key's nodes."""
        self.target: Target | None = None
        self.subjects: dict[bytes, bytes] = {}
        """What rules made of variables that subjects look at (PATH_INFO after a rewrite), by variable name."""
        self.changes = 0
        """How often rules changed a subject."""
        self._origin = packet
        self._came: dict[bytes, bytes] | None = None
        self._known: dict[bytes, bytes] | None = None
        self._all: dict[bytes, bytes] | None = None
        self.chosen: tuple[int, int] | None = None
        """The modifiers that rules chose, which count more than a node's."""
        self.broken = ""
        """Why a rule could not go on (the engine sets it)."""
        self.cause = Cause.RULE_FAILED
        """What the client is told of that."""
        self.jump: bytes = b""
        """Where GOTO goes: a label, or a number."""
        self._response: Response | None = None
        self.logvars: dict[bytes, bytes] = {}
        self.log_request = True
        self.patience: int | None = None
        """Seconds that the request may take at most (harakiri)."""
        self.directory = b""
        """What relative file names of later rules start at (chdir); empty: the router's working directory."""
        self.depth = 0
        """How many chains have run for this request."""
        self.chain = ChainName.REQUEST
        """The chain that runs, or ran last."""
        self.steps: Steps | None = None
        """Who is told of each rule that acts; None: nobody wants to know."""
        self.running = 0
        """The chains that run now, within each other: a bit each."""
        self.collected: dict[bytes, bytes] = {}
        """Variables made of response headers; not sent to a node."""
        self._uuid = ""
        self._held: list[Callable[[], None]] | tuple[()] | None = None
        self.request_id = b""
        """What logs call the request; empty until somebody asks."""

    @property
    def response(self) -> Response:
        """The answer that is being made. Most request chains never ask for it."""
        if self._response is None:
            self._response = Response(self)
        return self._response

    @property
    def has_response(self) -> bool:
        """Whether anybody has asked for :attr:`response`."""
        return self._response is not None

    @property
    def holds(self) -> bool:
        """Whether somebody is to be told that the request is over."""
        return bool(self._held)

    def hold(self, release: Callable[[], None]) -> None:
        """Have ``release`` called when the request is over, whatever became of it; now, if it is."""
        if self._held is None:
            self._held = [release]
        elif isinstance(self._held, list):
            self._held.append(release)
        else:
            release()

    def release(self) -> None:
        """The request is over: tell those who wanted to know, once."""
        held, self._held = self._held, ()
        for release in held or ():
            release()

    def identify(self) -> bytes:
        """What logs and failure pages call the request."""
        if not self.request_id:
            self.request_id = self.host.identify(self.variable(ID_VARIABLE))
        return self.request_id

    def let_go(self) -> None:
        """The request is over: exchange and response need not wait for the garbage collector."""
        self._response = None

    def variable(self, name: bytes) -> bytes:
        """The value of ``${NAME}``: the last one of its name; empty when there is none."""
        if self.collected and name in self.collected:
            return self.collected[name]
        found = self._known
        if found is None:
            found = self._known = values_of(self.packet, self.table.wanted)
        if name in found:
            return found[name]
        return b"" if name in self.table.wanted else self._everything().get(name, b"")

    def has(self, name: bytes) -> bool:
        """Whether there is such a variable."""
        if name in self.collected:
            return True
        if name not in self.table.wanted:
            return name in self._everything()
        self.variable(name)
        return self._known is not None and name in self._known

    def _everything(self) -> dict[bytes, bytes]:
        """All variables: what a table looks at is found without them, so this is for names that a request brings."""
        if self._all is None:
            self._all = dict(decode_vars(self.packet))
        return self._all

    def explained(self, cause: Cause, detail: str) -> tuple[Cause, str]:
        """Why there is no answer: a program that was run for the request knows better than the connection to it."""
        program = None if self.target is None else self.target.program
        if program is None or program.failure is None or cause not in _ENDS:
            return cause, detail
        return program.failure

    def set_variable(self, name: bytes, value: bytes) -> None:
        """Append a variable to the request. Raises :class:`Broken` when the packet has no room for it."""
        if not name:
            raise Broken("a variable without a name")
        try:
            self.packet = with_variable(self.packet, name, value)
        except ProtocolError as error:
            raise Broken(f"{name.decode('latin-1')} does not fit into the request: {error}") from None
        if self._known is not None:
            if self._known is self._came:
                self._known = dict(self._known)
            self._known[name] = value
        if self._all is not None:
            self._all[name] = value

    def set_subject(self, name: bytes, value: bytes) -> None:
        """As :meth:`set_variable`, and rules that look at that subject see the new value."""
        self.set_variable(name, value)
        self.subjects[name] = value
        self.changes += 1

    def subject(self, name: bytes) -> bytes:
        """What a subject's variable was when the request came, or what a rule that may change subjects made of it.

        As uWSGI parses them: the first REMOTE_ADDR counts, and SERVER_NAME stands in for a missing HTTP_HOST.
        """
        changed = self.subjects.get(name)
        if changed is not None:
            return changed
        found = self._came
        if found is None:
            found = self._came = values_of(self._origin, self.table.wanted)
            if self.packet is self._origin and self._known is None:
                self._known = found
        if name == ADDRESS:
            return value_of(self._origin, len(self._origin), ADDRESS)
        if name == HOST and HOST not in found:
            return found.get(SERVER_NAME, b"")
        if name not in found and name not in self.table.wanted:
            return values_of(self._origin, (name,)).get(name, b"")
        return found.get(name, b"")

    @property
    def modifiers(self) -> tuple[int, int]:
        """modifier1 and modifier2 of the packet."""
        return self.packet[0], self.packet[3]

    @modifiers.setter
    def modifiers(self, pair: tuple[int, int]) -> None:
        packet, self.chosen = self.packet, pair
        self.packet = bytes((pair[0], packet[1], packet[2], pair[1])) + packet[4:]

    @property
    def uuid(self) -> str:
        """An identity of this request, made when it is first asked for."""
        if not self._uuid:
            self._uuid = str(uuid.uuid4())
        return self._uuid
