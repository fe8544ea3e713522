"""One configuration for each way to find nodes, which both routers read, with nodes that record.

A :class:`Way` says which keys lead to nodes and which do not. Nothing is asserted here.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tests.end_to_end.twins import Twins, record
from tests.servers import Node, Servers


class Way(NamedTuple):
    """One way to find nodes: both routers, and keys that it knows beside those that it does not."""

    twins: Twins
    known: tuple[bytes, ...]
    unknown: tuple[bytes, ...] = (b"nobody.example",)
    """Keys without a node. They may not be any bytes: a key with a colon makes the C FastRouter look up a host."""
    any_key: bool = False
    """Whether every key leads to the same nodes."""
    lengths: tuple[bytes, ...] = (b"exact", b"exact", b"exact", b"absent", b"12abc", b"-1", b"")
    """What the packet says about its body."""


def nodes(servers: Servers, **addresses: str) -> dict[str, Node]:
    """Recorders by name; an empty address is a port of its own."""
    return {name: servers.node(record, address or "127.0.0.1:0") for name, address in addresses.items()}


ANY = (b"a.example", b"A.Example.:8000", b"x" * 255, b"\xff\x01", b"..", b"a/b")
"""Keys for the ways that do not look at them."""


def to_tcp(servers: Servers) -> Way:
    recorders = nodes(servers, one="", two="")
    lines = "\n".join(f"fastrouter-to = {node.address}" for node in recorders.values())
    return Way(Twins(servers, lines, recorders), ANY, any_key=True)


def to_unix(servers: Servers) -> Way:
    recorders = nodes(servers, path=servers.path("to.sock"), abstract=f"@{servers.path('to')}")
    lines = "\n".join(f"fastrouter-to = {node.address}" for node in recorders.values())
    return Way(Twins(servers, lines, recorders), ANY, any_key=True)


def to_unix_without_descriptors(servers: Servers) -> Way:
    recorders = nodes(servers, path=servers.path("plain.sock"))
    return Way(
        Twins(servers, f"fastrouter-to = {recorders['path'].address}\nno-fd-passing = true", recorders),
        ANY,
        any_key=True,
    )


def post_buffering(servers: Servers) -> Way:
    recorders = nodes(servers, one="")
    lines = f"fastrouter-to = {recorders['one'].address}\nfastrouter-post-buffering = 8192"
    return Way(Twins(servers, lines, recorders), ANY, any_key=True, lengths=(b"exact",))


def small_buffers(servers: Servers) -> Way:
    recorders = nodes(servers, one="")
    lines = f"fastrouter-to = {recorders['one'].address}\nfastrouter-buffer-size = 4096"
    return Way(Twins(servers, lines, recorders), ANY, any_key=True)


def subscription(servers: Servers) -> Way:
    recorders = nodes(servers, plain="", perl="", both=servers.path("both.sock"))
    twins = Twins(servers, "fastrouter-subscription-server = {server}\nsubscription-tolerance = 600", recorders)
    twins.announce("a.example", recorders["plain"].address)
    twins.announce("a.example:8000", recorders["perl"].address, modifier1=5)
    twins.announce("a.example.", recorders["perl"].address, modifier1=255, modifier2=254)
    twins.announce("k" * 255, recorders["both"].address, modifier2=1)
    known = (b"a.example", b"a.example:8000", b"a.example.", b"k" * 255)
    return Way(twins, known, (b"nobody.example", b"a.example:80", b".a.example", b"k" * 254, b"a", b"b.a.example"))


def subscription_fallback_key(servers: Servers) -> Way:
    recorders = nodes(servers, one="", last="")
    lines = "fastrouter-subscription-server = {server}\nfastrouter-subscription-fallback-key = last.example"
    twins = Twins(servers, f"{lines}\nsubscription-tolerance = 600", recorders)
    twins.announce("last.example", recorders["last"].address, modifier1=7)
    twins.announce("a.example", recorders["one"].address)
    return Way(twins, (b"a.example", b"last.example", b"nobody.example", b"A.EXAMPLE:80"))


def subscription_fallback(servers: Servers) -> Way:
    recorders = nodes(servers, one="", fallback="")
    lines = f"fastrouter-fallback = {recorders['fallback'].address}\nfastrouter-fallback-on-no-key = true"
    twins = Twins(
        servers, f"fastrouter-subscription-server = {{server}}\nsubscription-tolerance = 600\n{lines}", recorders
    )
    twins.announce("a.example", recorders["one"].address, modifier1=9)
    return Way(twins, (b"a.example", b"nobody.example", b"x" * 255))


def base(servers: Servers) -> Way:
    directory = servers.directory / "base"
    (directory / "sub").mkdir(parents=True)
    names = ("a.example", "A.EXAMPLE", "a.example.", "sub/b.example", "\xfc.example", "a,5")
    recorders = nodes(servers, **{name: f"{directory}/{name}" for name in names})
    twins = Twins(servers, f"fastrouter-use-base = {directory}/", recorders)
    return Way(twins, tuple(name.encode() for name in names), (b"nobody.example", b"sub", b"x" * 255, b"x" * 60))


def pattern(servers: Servers) -> Way:
    """Also what stands for a percent sign, and for nothing."""
    directory = servers.directory / "pattern" / "%"
    names = ("a.example", "A.EXAMPLE", "a.example.", "a,5")
    for name in names:
        (directory / name).mkdir(parents=True)
    recorders = nodes(servers, **{name: f"{directory}/{name}/uwsgi.sock" for name in names})
    twins = Twins(servers, f"fastrouter-use-pattern = {directory.parent}/%%%%/%%z%%s/uwsgi.sock", recorders)
    return Way(twins, tuple(name.encode() for name in names), (b"nobody.example", b"x" * 255))


def cache(servers: Servers) -> Way:
    recorders = nodes(servers, one="", two="", path=servers.path("cached.sock"), abstract=f"@{servers.path('cached')}")
    one, two, path, abstract = (node.address for node in recorders.values())
    items = {
        "a.example": one,
        "a.example:8000": f"{two},5",
        "turns.example": f"{one}|{two},7|{path}",
        "path.example": f"{path},255",
        "abstract.example": abstract,
        "k" * 255: two,
    }
    lines = "".join(f"add-cache-item = {key}={value}\n" for key, value in items.items())
    twins = Twins(servers, f"cache2 = name=default,items=100\nfastrouter-use-cache\n{lines}", recorders)
    return Way(twins, tuple(key.encode() for key in items), (b"nobody.example", b"k" * 254))


CODE = """
nodes = {{b'a.example': b'{one}', b'a.example:8000': b'{two},5', b'path.example': b'{path}', b'none.example': None,
         b'number.example': 3031}}
turn = 0


def get(key):
    global turn
    if key == b'turns.example':
        turn += 1
        return (b'{one}', b'{two},7')[turn % 2]
    if key == b'raises.example':
        raise ValueError(key)
    return nodes[key]
"""


def code_string(servers: Servers) -> Way:
    recorders = nodes(servers, one="", two="", path=servers.path("code.sock"))
    script = servers.directory / "mapper.py"
    script.write_text(CODE.format(**{name: node.address for name, node in recorders.items()}))
    twins = Twins(servers, f"fastrouter-use-code-string = 0:{script}:get", recorders)
    known = (b"a.example", b"a.example:8000", b"path.example", b"turns.example")
    return Way(twins, known, (b"nobody.example", b"none.example", b"number.example", b"raises.example"))


def use_socket(servers: Servers) -> Way:
    twins = Twins(servers, OWN_SOCKET, {})
    take_over(twins)
    return Way(twins, ANY, any_key=True)


OWN_SOCKET = "fastrouter-use-socket\nsocket = {own}"


def take_over(twins: Twins) -> None:
    """The C FastRouter connects to its own instance's socket by name: recorders get the names."""
    twins.routers[0].wait_for_log("spawned uWSGI worker 1")
    for path, own in zip(twins.own, twins.nodes, strict=True):
        own["socket"] = twins.servers.node(record, f"{path}.new")
        Path(f"{path}.new").replace(path)


def fallback(servers: Servers) -> Way:
    recorders = nodes(servers, dead="", first="", second="")
    lines = [f"fastrouter-to = {recorders['dead'].address}", "fastrouter-fallback-on-no-key = true"]
    lines += [f"fastrouter-fallback = {recorders[name].address}" for name in ("first", "second")]
    recorders["dead"].refuse()
    return Way(Twins(servers, "\n".join(lines), recorders), ANY, any_key=True)


WAYS = [
    to_tcp,
    to_unix,
    to_unix_without_descriptors,
    post_buffering,
    small_buffers,
    subscription,
    subscription_fallback_key,
    subscription_fallback,
    base,
    pattern,
    cache,
    code_string,
    use_socket,
    fallback,
]


def in_order(servers: Servers, first: str) -> Twins:
    """Several ways in one configuration, from ``first`` to the last; each has a node of its own for a.example.

    A socket of its own makes uWSGI slow to stop, so it is there only where it is first or second.
    """
    recorders = nodes(
        servers,
        cache="",
        pattern=servers.path("pattern-a.example"),
        subscription="",
        base=servers.path("base-a.example"),
        code="",
        to="",
    )
    script = servers.directory / "mapper.py"
    script.write_text(f"def get(key):\n    return b'{recorders['code'].address}'\n")
    lines = {
        "cache": f"cache2 = name=default,items=9\nadd-cache-item = a.example={recorders['cache'].address}\n"
        "fastrouter-use-cache",
        "pattern": f"fastrouter-use-pattern = {servers.directory}/pattern-%%s",
        "subscription": "fastrouter-subscription-server = {server}\nsubscription-tolerance = 600",
        "base": f"fastrouter-use-base = {servers.directory}/base-",
        "code": f"fastrouter-use-code-string = 0:{script}:get",
        "socket": OWN_SOCKET,
        "to": f"fastrouter-to = {recorders['to'].address}",
    }
    used = [name for name in ORDER[ORDER.index(first) :] if name != "socket" or first in ("code", "socket")]
    # The last one stands first in the file, so that it is not the file's order that counts.
    twins = Twins(servers, "\n".join(lines[name] for name in reversed(used)), recorders)
    if first == "socket":
        take_over(twins)
    if "subscription" in used:
        twins.announce("a.example", recorders["subscription"].address)
    return twins


ORDER = ("cache", "pattern", "subscription", "base", "code", "socket", "to")
"""The way that wins goes first."""
