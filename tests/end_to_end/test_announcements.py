"""Real uWSGI instances announce themselves: every way to write it, every field of version 2.0.

One instance of each build (the wheel's 2.0.30, the system's 2.0.21) announces everything twice: to the router under
test, which must send requests where the option says, and to a tap, whose bytes are compared with what the option means.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.protocol.keys import pair
from tests.servers import Servers, fetch, free_udp_port, local, wait_until
from tests.servers.node import Connection
from tests.servers.programs import SystemUwsgiApp
from tests.servers.tap import Tap
from uwsgirouter.protocol.signing import split_signed
from uwsgirouter.protocol.subscription import Announce, decode_announce
from uwsgirouter.settings.address import parse_peer

APPLICATION = "def application(env, start):\n    start('200 OK', [])\n    return [b'instance']\n"
OWN, SECOND, SHARED, OTHER, UNIX = "own", "second", "shared", "other", "unix"


class Form(NamedTuple):
    """An option as it is written, and what it must mean: ``at`` is the address, ``fields`` the rest of its announce.

    One without an option is another line of the file that the last one names.
    """

    option: str
    value: str
    key: str
    at: str = OWN
    fields: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    signed: bool = False


FORMS = [
    Form("subscribe-to", "{udp}:plain.example", "plain.example"),
    Form("st", "{udp}:st.example", "st.example"),
    Form("subscribe", "{udp}:subscribe.example", "subscribe.example"),
    Form("subscribe-to", "{udp}:port.example:8000", "port.example:8000"),
    Form("subscribe-to", "{udp}:mount.example/foo", "mount.example/foo"),
    Form("subscribe-to", "{other}={udp}:modifier.example,5", "modifier.example", OTHER, {"modifier1": 5}),
    Form("subscribe-to", "{other}={udp}:address.example", "address.example", OTHER),
    Form("subscribe-to", "{unixnode}={udp}:unixnode.example", "unixnode.example", UNIX),
    Form("subscribe-to", "=0={udp}:shared.example", "shared.example", SHARED),
    Form(
        "subscribe-to",
        "{other}={udp}:signed.example,7,SHA256:{key}",
        "signed.example",
        OTHER,
        {"modifier1": 7},
        signed=True,
    ),
    Form("subscribe-to", "{unix}:unixserver.example", "unixserver.example"),
    Form(
        "subscribe-to",
        "{other}={unix}:unixserver.example:80,9",
        "unixserver.example:80",
        OTHER,
        {"modifier1": 9},
    ),
    Form("subscribe-to", "{udp}:@{list}", "one.list.example"),
    Form("", "", "two.list.example", OWN, {"modifier1": 4}),
    Form("subscribe-to", "{other}={unix}:@{otherlist}", "one.otherlist.example", OTHER, {"modifier1": 3}),
    Form("", "", "two.otherlist.example", OTHER),
    Form("subscribe2", "server={udp},key=two.example", "two.example"),
    Form("subscribe2", "server={unix},key=unix.two.example", "unix.two.example"),
    Form("subscribe2", "server={udp},key=socket.two.example,socket=1,addr={other}", "socket.two.example", SECOND),
    Form("subscribe2", "server={udp},key=nosocket.two.example,socket=7,addr={other}", "nosocket.two.example", OTHER),
    Form("subscribe2", "server={udp},key=addr.two.example,addr={other}", "addr.two.example", OTHER),
    Form(
        "subscribe2",
        "server={udp},key=modifiers.two.example,addr={other},modifier1=5,modifier2=6",
        "modifiers.two.example",
        OTHER,
        {"modifier1": 5, "modifier2": 6},
    ),
    Form(
        "subscribe2",
        "server={udp},key=sni.two.example:443,sni_key=/a/key.pem,sni_crt=/a/crt.pem,sni_ca=/a/ca.pem",
        "sni.two.example:443",
        OWN,
        {"sni_key": b"/a/key.pem", "sni_crt": b"/a/crt.pem", "sni_ca": b"/a/ca.pem"},
    ),
    Form("subscribe2", "server={udp},key=sign.two.example,sign=SHA1:{key}", "sign.two.example", signed=True),
    Form("subscribe2", "server={udp},key=check.two.example,check={missing}", "check.two.example"),
    # Fields of 2.1, which 2.0 leaves out.
    Form(
        "subscribe2",
        "server={udp},key=new.two.example,backup=2,algo=lrc,proto=uwsgi,vassal=one.ini,inactive=1",
        "new.two.example",
    ),
    # From here on all that is announced has this weight: 2.0 keeps it for the whole instance.
    Form("subscribe2", "server={udp},key=weight.two.example,weight=3", "weight.two.example", OWN, {"weight": 3}),
    Form("subscribe2", "server={udp},key=later.two.example", "later.two.example", OWN, {"weight": 3}),
]
NEVER = ["#comment.list.example", "exists.two.example"]


def respond(connection: Connection) -> None:
    """A node that a form names: it notes the packet, whose header tells the modifiers."""
    connection.read_packet()
    connection.send(b"HTTP/1.0 200 OK\r\n\r\nnode")


class Stage:
    """One router, one tap, one instance that announces all forms to both."""

    def __init__(self, servers: Servers, system: bool) -> None:
        self.servers = servers
        self.nodes = {OTHER: servers.node(respond), UNIX: servers.node(respond, servers.path("node.sock"))}
        self.tap = Tap("127.0.0.1:0", servers.path("tap.sock"))
        udp, unix = f"127.0.0.1:{free_udp_port()}", servers.path("server.sock")
        self.router = servers.router(
            config=f"[uwsgirouter]\nfastrouter = {local()}\n"
            f"fastrouter-subscription-server = {udp}\nfastrouter-subscription-server = {unix}\n"
        )
        self.shared = local()
        self.names = self._files()
        options = ["--master", "--socket", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--need-app", "--die-on-term"]
        options += ["--shared-socket", self.shared, "--socket", "=0", "--wsgi-file", self._write("app.py", APPLICATION)]
        for form in filter(lambda form: form.option, FORMS):
            for server in ((udp, unix), (self.tap.addresses[0], self.tap.addresses[1])):
                options += [f"--{form.option}", self.filled(form.value, *server)]
        exists = f"server={udp},key=exists.two.example,check={self.names['list']}"
        self.app = servers.uwsgi(*options, "--subscribe2", exists, system=system)
        self.tap.wait_for(FORMS[-1].key)

    def _files(self) -> dict[str, str]:
        text = "#comment.list.example\none.list.example\n\ntwo.list.example,4\n"
        return {
            "key": self._write("private.pem", pair("rsa").private_pem.decode()),
            "list": self._write("list.txt", text),
            "otherlist": self._write("other.txt", "one.otherlist.example,3\ntwo.otherlist.example"),
            "missing": self.servers.path("missing"),
            "other": self.nodes[OTHER].address,
            "unixnode": self.nodes[UNIX].address,
        }

    def _write(self, name: str, text: str) -> str:
        Path(self.servers.path(name)).write_text(text)
        return self.servers.path(name)

    def filled(self, value: str, udp: str, unix: str) -> str:
        return value.format(udp=udp, unix=unix, **self.names)

    def address(self, at: str) -> str:
        sockets = dict(re.findall(r"uwsgi socket (\d) bound to TCP address (\S+)", self.app.log()))
        own = {OWN: sockets["0"], SECOND: sockets["1"], SHARED: self.shared}
        return own[at] if at in own else self.nodes[at].address


@pytest.fixture(scope="module", params=["wheel", "system"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    servers = Servers()
    try:
        made = Stage(servers, system=request.param == "system")
        yield made
        made.app.kill()
        made.tap.stop()
    finally:
        servers.close()


every_form = pytest.mark.parametrize("form", FORMS, ids=[f"{form.option} {form.key}" for form in FORMS])


@every_form
def test_what_is_written_is_announced(stage: Stage, form: Form) -> None:
    datagram = stage.tap.wait_for(form.key)[0]
    announce = decode_announce(datagram)
    signs = form.signed and isinstance(stage.app, SystemUwsgiApp)
    if signs:
        signed, signature = split_signed(datagram)
        assert pair("rsa").public.verifies(signature, signed, "SHA1" if "SHA1" in form.value else "SHA256")
        assert abs(announce.unix - time.time()) < 120
    plain = Announce(form.key.encode(), parse_peer(stage.address(form.at)), cores=1)
    expected = plain._replace(load=announce.load, unix=announce.unix if signs else 0, **form.fields)
    assert announce == expected


@every_form
def test_what_is_announced_gets_requests(stage: Stage, form: Form) -> None:
    stage.router.wait_for_log(f"{form.key} => new node: {stage.address(form.at)}", 15)
    # uWSGI itself answers such a modifier: it has no plugin for it.
    expected = b"instance" if form.at not in stage.nodes else b"node"
    if form.at in stage.nodes or not form.fields.get("modifier1"):
        wait_until(lambda: fetch(stage.router.address, form.key).body == expected, 10, "the workers know it, too")
    if form.at in stage.nodes:
        packet = stage.nodes[form.at].connections[-1].packet
        assert packet is not None
        assert (packet.modifier1, packet.modifier2) == (
            form.fields.get("modifier1", 0),
            form.fields.get("modifier2", 0),
        )
        assert (b"HTTP_HOST", form.key.encode()) in packet.variables


def test_comments_and_checks_announce_nothing(stage: Stage) -> None:
    stage.tap.wait_for(FORMS[-1].key, 2)  # a second round
    assert [stage.tap.of(key) for key in NEVER] == [[], []]
