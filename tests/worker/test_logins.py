"""Rules that ask for passwords, in a real worker: LDAP, RADIUS and Kerberos, stopped, frozen and under load."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers import Servers, get, wait_until
from tests.servers.logins import Freeradius, Kdc, Slapd, negotiate
from tests.servers.services import Daemon
from tests.servers.wire import Reply
from tests.worker.site import Site

RULES = """\
fastrouter-timeout = 30
service-connect-timeout = 1
service-timeout = 2
service-connections = 4
route = ^/quick return:204
route = ^/ldap/next ldapauth-next:Realm,{ldap}
route = ^/ldap/tls ldapauth:Realm,{ldap};starttls=1;cafile={authority}
route = ^/ldap/slow ldapauth:Realm,{slow}
route = ^/ldap$ ldapauth:Realm,{ldap}
route = ^/radius/next radius-next:realm=Realm,{radius}
route = ^/radius$ radius:realm=Realm,{radius}
route = ^/krb spnego:HTTP,keytab={keytab}
route = ^/ addheader:X-User: ${{REMOTE_USER}}
route = ^/ return:200
"""
SECRETS = ("annpw", "nopass", "router;pw", r"router\;pw", "se,cret", r"se\,cret", "cret=1")


class Login:
    """A router that asks one of each."""

    def __init__(self, servers: Servers, *lines: str) -> None:
        self.slapd = servers.daemon(Slapd)
        self.radius = servers.daemon(Freeradius)
        self.kdc = servers.daemon(Kdc)
        self.slowly = Slowly(self.slapd.port)
        rules = RULES.format(
            ldap=f"url={self.slapd.url};basedn=dc=example,dc=org;binddn=cn=router,dc=example,dc=org;"
            rf"bindpw=router\;pw;loglevel=2",
            radius=rf"server={self.radius.address},secret=se\,cret=1",
            slow=f"url=ldap://{self.slowly.address};basedn=dc=example,dc=org",
            authority=self.slapd.authority,
            keytab=self.kdc.keytab,
        )
        realm = [f"env = {name}={value}" for name, value in self.kdc.environment.items()]
        self.site = Site(servers, *realm, *lines, *rules.splitlines())

    def ask(self, path: str, user: str = "ann", password: str = "annpw", header: str = "") -> Reply:
        text = header or "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        with self.site.servers.client(self.site.tcp) as client:
            client.send_packet(get("any.example", path, extra=[(b"HTTP_AUTHORIZATION", text.encode())]))
            return client.reply()

    def user(self, path: str, password: str = "annpw", header: str = "") -> str | None:
        reply = self.ask(path, password=password, header=header)
        return reply.header("x-user") if reply.status == 200 else None

    def server(self, path: str) -> Daemon:
        return self.slapd if path.startswith("/ldap") else self.radius


@pytest.fixture(scope="module")
def login(started: Servers) -> Iterator[Login]:
    made = Login(started)
    yield made
    made.site.router.stop()  # it ends its connections
    made.slowly.close()


@pytest.mark.parametrize("path", ["/ldap", "/ldap/next", "/ldap/tls", "/radius", "/radius/next"])
def test_who_gets_in(login: Login, path: str) -> None:
    assert login.user(path) == "ann"
    wrong = login.ask(path, password="nopass")
    if path.endswith("/next"):
        assert (wrong.status, wrong.header("x-user")) == (200, "")
    else:
        assert (wrong.status, wrong.header("www-authenticate")) == (401, 'Basic realm="Realm"')


def test_tickets(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accepting one asks nobody: a frozen KDC changes nothing for those who have theirs."""
    for name, value in login.kdc.tickets().items():
        monkeypatch.setenv(name, value)
    headers = [negotiate() for _ in range(21)]
    with login.kdc.frozen():
        assert login.user("/krb", header=headers[0]) == "ann@EXAMPLE.ORG"
        assert login.ask("/krb", header=headers[0]).status == 401, "a ticket is good once"
        with ThreadPoolExecutor(5) as pool:
            assert set(pool.map(lambda header: login.user("/krb", header=header), headers[1:])) == {"ann@EXAMPLE.ORG"}


@pytest.mark.parametrize("path", ["/ldap", "/radius"])
def test_a_server_that_is_stopped(login: Login, path: str) -> None:
    server = login.server(path)
    assert login.user(path) == "ann"
    server.stop()
    try:
        for _ in range(4):
            reply = login.ask(path)
            assert (reply.status, reply.header("x-user")) == (502, None)
        reply = login.ask(f"{path}/next")
        assert (reply.status, reply.header("x-user")) == (200, "")
        assert login.ask("/quick").status == 204
    finally:
        server.start()
    wait_until(lambda: login.user(path) == "ann", 20, "it is asked again")


def test_servers_that_are_frozen_under_load(login: Login) -> None:
    """Nothing hangs, and whoever does not need them goes on."""
    paths = ["/ldap/tls", "/radius"]
    assert {login.user(path) for path in paths} == {"ann"}
    with ThreadPoolExecutor(36) as pool:
        with login.slapd.frozen(), login.radius.frozen():
            began = time.monotonic()
            asked = [pool.submit(login.ask, path) for path in paths * 9]
            forgiven = [pool.submit(login.ask, path) for path in ("/ldap/next", "/radius/next") * 9]
            quick = 0
            while not all(one.done() for one in asked + forgiven) or quick < 10:
                assert login.ask("/quick").status == 204
                quick += 1
            assert time.monotonic() - began < 20
        answers = {(reply.status, reply.header("x-user")) for reply in (one.result() for one in asked)}
        assert answers <= {(502, None), (503, None)}
        assert {(one.result().status, one.result().header("x-user")) for one in forgiven} == {(200, "")}
    for path in (*paths, "/ldap"):
        wait_until(lambda path=path: login.user(path) == "ann", 20, "it is asked again")  # type: ignore[misc]


class Slowly:
    """A relay in front of a server: each piece of an answer comes a moment later."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                one, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._relay, args=(one,)))
                self._threads[-1].start()

    def _relay(self, one: socket.socket) -> None:
        with one, socket.create_connection(("127.0.0.1", self._port), 20) as other:
            asking = threading.Thread(target=self._pump, args=(one, other, 0.0))
            asking.start()
            self._pump(other, one, 0.2)
            asking.join(20)

    def _pump(self, source: socket.socket, target: socket.socket, delay: float) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                time.sleep(delay)
                target.sendall(data)
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(20)


def test_a_server_that_is_slow(login: Login) -> None:
    """Four can ask at once; the others wait for them, and whoever does not ask waits for nobody."""
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(login.user, "/ldap/slow") for _ in range(5)]
        quick = 0
        while not all(one.done() for one in asked):
            assert login.ask("/quick").status == 204
            quick += 1
        assert [one.result() for one in asked] == ["ann"] * 5
    assert quick > 5


def test_nothing_is_left_over(login: Login) -> None:
    paths = ["/ldap", "/ldap/tls", "/radius"] * 60
    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(login.user, paths)) == {"ann"}
    before, threads = login.site.descriptors(), _threads(login.site.worker)
    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(lambda path: login.ask(path, password="nopass").status, paths)) == {401}
    wait_until(lambda: login.site.descriptors() <= before + 4, 10, "no more descriptors than before")
    assert _threads(login.site.worker) <= threads + 4
    wait_until(lambda: login.slapd.connections() <= 12, 10, "service-connections to each of three services")


def _threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def test_no_password_is_told(login: Login) -> None:
    log = login.site.router.log()
    assert "ldapauth: uid=ann,ou=people,dc=example,dc=org is in" in log
    assert "bindpw=***" in log and "secret=***" in log
    titles = b"".join(
        Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (login.site.router.pid, *login.site.router.workers())
    ).decode()
    for secret in SECRETS:
        assert secret not in log
        assert secret not in titles


def test_where_scripts_made_sockets_cooperative(started: Servers, tmp_path: Path) -> None:
    """gevent's patches are in force: a thread's sockets wait in a loop of the thread's own."""
    (tmp_path / "hello.py").write_text("import socket\nprint('SOCKET', socket.socket, flush=True)\n")
    login = Login(started, f"import = {tmp_path}/hello.py", "route = ^/script rpc:nobody")
    wait_until(lambda: "SOCKET <class 'gevent." in login.site.router.log(), 10, "a worker's sockets are gevent's")
    paths = ["/ldap", "/ldap/tls", "/radius"] * 20
    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(login.user, paths)) == {"ann"}
    with login.slapd.frozen(), login.radius.frozen():
        with ThreadPoolExecutor(3) as pool:
            frozen = [pool.submit(login.ask, path) for path in ("/ldap", "/ldap/tls", "/radius")]
            while not all(one.done() for one in frozen):
                assert login.ask("/quick").status == 204
        assert {one.result().status for one in frozen} == {502}
    wait_until(lambda: login.user("/ldap") == "ann", 20, "it is asked again")
    wait_until(lambda: login.user("/radius") == "ann", 20, "it is asked again")
    login.slowly.close()
