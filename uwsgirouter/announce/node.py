"""What is announced of a node: its fields, some of which are asked for anew each time.

One idea: everything that a router would refuse is refused here, when the node is described, with the name of the field;
what a callable says later is brought into range. It must not know servers, signatures or clocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from uwsgirouter.errors import ConfigError, ProtocolError
from uwsgirouter.protocol.subscription import WEIGHT_MAX, Announce, decode_announce, encode_announce
from uwsgirouter.settings.address import NOWHERE, Address, parse_peer

Number = int | Callable[[], int]
"""A number, or who can tell it at each round (it must not wait)."""

CORES_MAX = 1_000_000
LOAD_MAX = (1 << 63) - 1


class Node:
    """A node under one key or several. Raises :class:`ConfigError` for what a router would refuse.

    ``say`` gets a line when a callable raises; the number before is announced then.
    """

    def __init__(
        self,
        keys: Iterable[str],
        address: str,
        *,
        weight: Number,
        cores: Number,
        load: Number,
        modifier1: int,
        modifier2: int,
        backup: int,
        algo: str,
        vassal: str,
        inactive: bool,
        notify: str,
        say: Callable[[str], None],
    ) -> None:
        self._weight = Asked("weight", weight, 1, WEIGHT_MAX, say)
        self._cores = Asked("cores", cores, 0, CORES_MAX, say)
        self._load = Asked("load", load, 0, LOAD_MAX, say)
        self.address = parse_peer(address) if address else NOWHERE
        first = Announce(
            key=b"",
            address=self.address,
            modifier1=modifier1,
            modifier2=modifier2,
            backup=backup,
            algo=algo,
            vassal=_bytes(vassal),
            inactive=inactive,
            notify=parse_peer(notify) if notify else NOWHERE,
        )
        self._fixed = [first._replace(key=_bytes(key)) for key in keys]
        self.keys = tuple(keys)
        self.name = address or f"vassal {vassal}"
        if not self.keys:
            raise ConfigError("no key: what does the node serve?")
        if not address and not inactive:
            raise ConfigError("no address: where is the node? (Only an inactive vassal can do without.)")
        for announce in self._fixed:
            _check(announce)

    @property
    def is_open(self) -> bool:
        """Its address means "the machine that this comes from"."""
        return self.address.is_wildcard and not self.address.is_unix

    def announces(self, leaving: bool) -> list[Announce]:
        """One for each key, with the numbers of now. Does not raise."""
        weight, cores, load = self._weight.ask(), self._cores.ask(), self._load.ask()
        return [each._replace(leaving=leaving, weight=weight, cores=cores, load=load) for each in self._fixed]


class Asked:
    """A number of a node. Raises :class:`ConfigError` for one that is out of range from the start."""

    def __init__(self, name: str, number: Number, low: int, high: int, say: Callable[[str], None]) -> None:
        self._name = name
        self._number = number
        self._low, self._high = low, high
        self._last = low
        self._say = say
        self._problem = ""
        if isinstance(number, int) and not low <= number <= high:
            raise ConfigError(f"{name} = {number}: expected a whole number from {low} to {high}")

    def ask(self) -> int:
        """The number of now, brought into range."""
        if isinstance(self._number, int):
            return self._number
        problem = ""
        try:
            self._last = max(self._low, min(int(self._number()), self._high))
        except Exception as error:  # noqa: BLE001 (it is the program's own code, and the node must not vanish for it)
            problem = f"{self._name}: {type(error).__name__}: {error}; {self._last} is announced"
        if problem and problem != self._problem:
            self._say(problem)
        self._problem = problem
        return self._last


def local_address(address: Address, host: str) -> Address:
    """``address``, which means "the machine that this comes from", with that machine in it."""
    return parse_peer(f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}")


def _check(announce: Announce) -> None:
    try:
        decode_announce(encode_announce(announce))
    except ProtocolError as error:
        at = f" at {announce.address.text!r}" if announce.address.text else ""
        raise ConfigError(f"key {announce.key.decode('utf-8', 'surrogateescape')!r}{at}: {error}") from None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
