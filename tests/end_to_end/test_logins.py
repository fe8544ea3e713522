"""Who gets in beside a real uWSGI that asks the same directory and the same RADIUS server, and with a real client.

Each difference has its reason in docs/routing/auth.md.
"""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator

import pytest

from tests.rules.made import Playground
from tests.servers import Servers, UwsgiApp, free_port, local
from tests.servers.logins import Freeradius, Kdc, Slapd
from tests.servers.programs import program, system_uwsgi

APP = """\
def application(environ, start_response):
    start_response("200 OK", [])
    return [("user " + environ.get("REMOTE_USER", "nobody")).encode("latin-1")]
"""
PEOPLE = "basedn=ou=people,dc=example,dc=org"
RULES = {
    "/ldap": "ldapauth:R,url={slapd};{people}",
    "/ldap-next": "ldapauth-next:R,url={slapd};{people}",
    "/bound": r"ldapauth:R,url={slapd};{people};binddn=cn=router,dc=example,dc=org;bindpw=router\;pw;"
    "filter=(description=staff)",
    "/mail": "ldapauth:R,url={slapd};{people};attr=mail",
    "/lax": "ldapauth:R,url={lax};{people}",
    "/everywhere": "ldapauth:R,url={slapd};basedn=dc=example,dc=org",
    "/away": "ldapauth:R,url=ldap://127.0.0.1:1;{people}",
    "/away-next": "ldapauth-next:R,url=ldap://127.0.0.1:1;{people}",
    "/radius": r"radius:realm=R,server={radius},secret=se\,cret=1",
    "/radius-next": r"radius-next:realm=R,server={radius},secret=se\,cret=1",
    "/port": r"radius:realm=R,server={radius},secret=se\,cret=1,nas_port=7,nas_address=192.0.2.7",
}
USERS = [
    ("ann", "annpw"), ("ann", "no"), ("ann", ""), ("ANN", "annpw"), ("nopw", ""), ("bob", "b:ob (pw)*"),
    ("robert", "b:ob (pw)*"), ("a*", "annpw"), ("ann)(uid=*", "annpw"), ("w*(e)\\", "pöpel"), ("twice", "twice"),
    ("ann@example.org", "annpw"), ("", ""), ("", "x"), ("ann", "annpw\0"), ("ann\0", "annpw"), ("long", "x" * 128),
    ("long", "x" * 129), ("port", "pw"), ("pöpel", "pöpel"), ("empty", ""), ("eve", "x"), None,
]  # fmt: skip
NUL = {("ann", "annpw\0"), ("ann\0", "annpw")}
SEVERAL = {("robert", "b:ob (pw)*"), ("w*(e)\\", "pöpel")}
DIFFERENT = {
    "/ldap": SEVERAL | NUL,
    "/ldap-next": SEVERAL | NUL,
    "/bound": NUL,
    "/lax": SEVERAL | NUL | {("ann", ""), ("nopw", "")},
    "/everywhere": SEVERAL | NUL | {("twice", "twice")},
    "/radius": NUL | {("long", "x" * 128)},
    "/radius-next": NUL | {("long", "x" * 128)},
    "/port": NUL | {("long", "x" * 128)},
}
"""Whom uWSGI and this router may treat differently; all others get the same answer, to the byte."""


class Uwsgi(UwsgiApp):
    """That of the system's packages, with the plugins."""

    def command(self) -> list[str]:
        return [system_uwsgi(), "--plugins", "python3,ldap,router_radius"]


class Both:
    """The same rules in uWSGI, and here."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        slapd, lax = servers.daemon(Slapd), servers.daemon(Slapd, "lax")
        radius = servers.daemon(Freeradius)
        self.rules = {
            path: rule.format(slapd=slapd.url, lax=lax.url, radius=radius.address, people=PEOPLE)
            for path, rule in RULES.items()
        }
        app = servers.directory / "app.py"
        app.write_text(APP)
        routes = [word for path, rule in self.rules.items() for word in ("--route", f"^{path}$ {rule}")]
        fixed = ["--master", "--socket", "127.0.0.1:0", "--wsgi-file", str(app)]
        self.uwsgi = servers._started(Uwsgi(servers.directory, *fixed, *routes))

    def theirs(self, path: str, header: str) -> bytes:
        variables = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "REQUEST_URI": path, "SERVER_PROTOCOL": "HTTP/1.1",
                     "QUERY_STRING": "", "SERVER_NAME": "x", "SERVER_PORT": "80"}  # fmt: skip
        if header:
            variables["HTTP_AUTHORIZATION"] = header
        with self.servers.client(self.uwsgi.address) as client:
            client.send_packet([(name.encode(), value.encode()) for name, value in variables.items()])
            return client.read_all()[0]

    def ours(self, path: str, header: str) -> bytes:
        play = Playground(f"route = ^{path}$ {self.rules[path]}")
        reply = play.get(path, {"Authorization": header} if header else {})
        if not reply.asked:
            return reply.raw
        user = reply.variables.get("REMOTE_USER", "nobody")
        return b"HTTP/1.1 200 OK\r\n\r\nuser " + user.encode("latin-1")


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    servers = Servers()
    try:
        yield Both(servers)
    finally:
        servers.close()


@pytest.mark.parametrize("path", RULES)
def test_beside_uwsgi(both: Both, path: str) -> None:
    found = set()
    for user in USERS:
        header = "" if user is None else "Basic " + base64.b64encode(":".join(user).encode()).decode()
        theirs, ours = both.theirs(path, header), both.ours(path, header)
        if path == "/away" and user is not None and all(user) and len(user[0]) < 100:
            assert theirs.startswith(b"HTTP/1.1 401 ") and ours.startswith(b"HTTP/1.1 502 "), user
        elif theirs != ours:
            found.add(user)
    assert found <= DIFFERENT.get(path, set())


def test_curl_with_a_ticket_through_nginx(servers: Servers) -> None:
    """A whole way: the client gets its ticket from the KDC, nginx hands its header on, the router lets it in."""
    kdc = servers.daemon(Kdc)
    address, http = local(), free_port()
    environment = [f"env = {name}={value}" for name, value in kdc.environment.items()]
    rules = [f"route-run = spnego:HTTP@localhost,keytab={kdc.keytab}", "route-run = addheader:X-User: ${REMOTE_USER}"]
    lines = ["[uwsgirouter]", f"fastrouter = {address}", "fastrouter-to = 127.0.0.1:1", *environment, *rules]
    router = servers.router(config="\n".join([*lines, "route-run = return:200", ""]))
    location = f"include /etc/nginx/uwsgi_params; uwsgi_pass {address};"
    site = f"server {{ listen 127.0.0.1:{http}; location / {{ {location} }} }}"
    top = "daemon off; pid nginx.pid; error_log nginx-error.log; events { }"
    servers.nginx(f"{top}\nhttp {{ access_log off; {site} }}\n", f"127.0.0.1:{http}")

    def curl(*options: str) -> str:
        argv = [program("curl"), "-s", "-i", *options, f"http://localhost:{http}/"]
        env = {**kdc.tickets(), "PATH": "/usr/bin:/bin"}
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=30).stdout

    said = curl("--negotiate", "-u", ":")
    assert "X-User: ann@EXAMPLE.ORG" in said
    assert "WWW-Authenticate: Negotiate " in said
    assert curl().startswith("HTTP/1.1 401 ")
    assert "spnego" not in router.log().replace("spnego:HTTP", "")
