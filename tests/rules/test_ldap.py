"""ldapauth against a real slapd: who gets in and who does not, whatever is tried; TLS; what is told."""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rules.made import Playground, PlayHost, Reply
from tests.servers import Servers
from tests.servers.logins import Slapd, certified
from uwsgirouter.errors import ConfigError

PEOPLE = "basedn=ou=people,dc=example,dc=org"
ROUTER = r"binddn=cn=router,dc=example,dc=org;bindpw=router\;pw"


@pytest.fixture(scope="module")
def started() -> Iterator[Servers]:
    servers = Servers()
    try:
        yield servers
    finally:
        servers.close()


@pytest.fixture(scope="module")
def slapd(started: Servers) -> Slapd:
    return started.daemon(Slapd)


def rule(slapd: Slapd, *options: str, action: str = "ldapauth", url: str = "", base: str = PEOPLE) -> Playground:
    return Playground(f"route-run = {action}:My Realm,{';'.join([f'url={url or slapd.url}', base, *options])}")


def login(play: Playground, user: str | bytes, password: str | bytes) -> Reply:
    pair = b":".join(one.encode() if isinstance(one, str) else one for one in (user, password))
    return play.get("/", {"Authorization": f"Basic {base64.b64encode(pair).decode()}"})


def test_a_right_password(slapd: Slapd) -> None:
    reply = login(rule(slapd), "ann", "annpw")
    assert (reply.status, reply.variables["REMOTE_USER"]) == (200, "ann")
    assert reply.log == []


def test_a_refusal(slapd: Slapd) -> None:
    for reply in (rule(slapd).get(), login(rule(slapd), "ann", "no")):
        assert reply.raw == (
            b'HTTP/1.1 401 Authorization Required\r\nWWW-Authenticate: Basic realm="My Realm"\r\n\r\nUnauthorized'
        )
        assert not reply.asked


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("ann", "annpw "), ("ann", "ANNPW"), ("ann", "annpw\0"), ("ann", ""), ("ann", "\0"), ("ANN", "annpw"),
        ("nopw", ""), ("nopw", "x"), ("nobody", ""), ("", ""), ("", "annpw"), ("*", "annpw"), ("a*", "annpw"),
        ("ann)(uid=*", "annpw"), ("*)(uid=*))(|(uid=*", "annpw"), ("ann\0", "annpw"), ("\\61nn", "annpw"),
        ("ann ", "annpw"), (" ann", "annpw"), ("uid=ann,ou=people,dc=example,dc=org", "annpw"), ("ann\n", "annpw"),
        ("x" * 5000, "annpw"), ("ann", "x" * 20_000), (b"\xff\xfe", "annpw"), ("ann", b"\xff"), ("()&|!=~><", "x"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["plain", "lax"])
def test_who_does_not_get_in(request: pytest.FixtureRequest, kind: str, user: str, password: str) -> None:
    """Not even at a server that says yes to anybody without a password."""
    server: Slapd = request.getfixturevalue("slapd" if kind == "plain" else "lax")
    reply = login(rule(server), user, password)
    assert (reply.status, reply.asked) == (401, False)
    assert reply.variables.get("REMOTE_USER", "") == ""


@pytest.fixture(scope="module")
def lax(started: Servers) -> Slapd:
    return started.daemon(Slapd, "lax")


def test_a_server_may_say_yes_to_an_empty_password(lax: Slapd) -> None:
    """(What the invariant is against is there.)"""
    with socket.create_connection(("127.0.0.1", lax.port), 10) as sock:
        dn = b"uid=ann,ou=people,dc=example,dc=org"
        inside = b"\x02\x01\x03\x04" + bytes([len(dn)]) + dn + b"\x80\x00"
        sock.sendall(bytes([0x30, len(inside) + 5, 2, 1, 1, 0x60, len(inside)]) + inside)
        assert b"\x61\x07\x0a\x01\x00" in sock.recv(1024), "a bindResponse, success"


def test_names_and_passwords_with_anything_in_them(slapd: Slapd) -> None:
    play = rule(slapd)
    assert login(play, "w*(e)\\", "pöpel").variables["REMOTE_USER"] == "w*(e)\\"
    assert login(play, "bob", "b:ob (pw)*").status == 200
    assert login(play, "robert", "b:ob (pw)*").variables["REMOTE_USER"] == "robert"


def test_a_name_that_two_have_is_nobodys(slapd: Slapd) -> None:
    reply = login(rule(slapd, base="basedn=dc=example,dc=org"), "twice", "twice")
    assert reply.status == 401
    assert "several entries have this name: uid=twice,ou=people,dc=example,dc=org, uid=twice,ou=f" in reply.log[0]
    assert login(rule(slapd), "twice", "twice").status == 200


def test_groups_and_filters(slapd: Slapd) -> None:
    admins = rule(slapd, "filter=(memberOf=cn=admins,dc=example,dc=org)")
    assert login(admins, "ann", "annpw").status == 200
    assert login(admins, "bob", "b:ob (pw)*").status == 401
    several = rule(slapd, "filter=(&(objectClass=person)(!(uid=ann))(cn=*))")
    assert login(several, "ann", "annpw").status == 401
    assert login(several, "bob", "b:ob (pw)*").status == 200


def test_another_attribute(slapd: Slapd) -> None:
    play = rule(slapd, "attr=mail")
    assert login(play, "ann@example.org", "annpw").variables["REMOTE_USER"] == "ann@example.org"
    assert login(play, "ann", "annpw").status == 401


def test_searching_as_somebody(slapd: Slapd) -> None:
    assert login(rule(slapd, "filter=(description=staff)"), "ann", "annpw").status == 401
    play = rule(slapd, "filter=(description=staff)", ROUTER)
    assert login(play, "ann", "annpw").status == 200
    assert login(play, "bob", "b:ob (pw)*").status == 401


@pytest.mark.parametrize("action", ["ldapauth", "ldapauth-next"])
def test_a_directory_that_does_not_do_what_it_is_asked_for(slapd: Slapd, started: Servers, action: str) -> None:
    closed = started.daemon(Slapd, "closed") if action == "ldapauth" else None
    wrong = "binddn=cn=router,dc=example,dc=org;bindpw=wrong-secret"
    plays = {
        "refuses cn=router,dc=example,dc=org: invalidCredentials": rule(slapd, wrong, action=action),
        "does not search dc=elsewhere: noSuchObject": rule(slapd, base="basedn=dc=elsewhere", action=action),
    }
    if closed is not None:
        plays["refuses to be asked by nobody: inappropriateAuthentication"] = rule(closed, action=action)
    for reason, play in plays.items():
        reply = login(play, "ann", "annpw")
        assert reply.status == (502 if action == "ldapauth" else 200)
        assert reply.variables.get("REMOTE_USER", "") == ""
        assert reason in reply.log[-1]
        assert ("going on without a user" in reply.log[-1]) is (reply.status == 200)
        assert "secret" not in "".join(reply.log)


def test_next(slapd: Slapd) -> None:
    rules = f"""
        route-run = ldapauth-next:R,url={slapd.url};{PEOPLE}
        route-run = basicauth:R,other:pw
    """
    play = Playground(rules)
    assert login(play, "ann", "annpw").variables["REMOTE_USER"] == "ann"
    assert login(play, "other", "pw").variables["REMOTE_USER"] == "other"
    assert login(play, "other", "no").status == 401
    assert play.get().status == 401
    assert play.get("/", REMOTE_USER="known").asked


def test_what_is_told(slapd: Slapd) -> None:
    reply = login(rule(slapd, "loglevel=1"), "ann", "word1")
    assert reply.log == ["ldapauth: ann is not in: refused: uid=ann,ou=people,dc=example,dc=org: invalidCredentials"]
    assert login(rule(slapd, "loglevel=1"), "eve", "word1").log == ["ldapauth: eve is not in: no such user"]
    assert login(rule(slapd, "loglevel=1"), "ann", "annpw").log == []
    assert login(rule(slapd, "loglevel=2"), "ann", "annpw").log == [
        "ldapauth: uid=ann,ou=people,dc=example,dc=org is in"
    ]


def test_tls_with_a_verified_certificate(slapd: Slapd, tmp_path: Path) -> None:
    ours = f"cafile={slapd.authority}"
    other = f"cafile={certified(tmp_path, 'other').authority}"
    named = slapd.url.replace("127.0.0.1", "localhost")
    for url, more in ((slapd.tls_url, ""), (slapd.url, "starttls=1"), (named, "starttls=1")):
        assert login(rule(slapd, more, ours, url=url), "ann", "annpw").status == 200
        assert login(rule(slapd, more, ours, url=url), "ann", "no").status == 401
        for wrong in (other, ""):
            reply = login(rule(slapd, more, wrong, url=url), "ann", "annpw")
            assert reply.status == 502
            assert "its certificate is not right" in reply.log[-1]


def test_a_certificate_for_another_name(slapd: Slapd) -> None:
    url = slapd.tls_url.replace("127.0.0.1", "[::ffff:127.0.0.1]")
    reply = login(rule(slapd, f"cafile={slapd.authority}", url=url), "ann", "annpw")
    assert reply.status == 502
    assert "IP address mismatch" in reply.log[-1]


def test_a_unix_socket(slapd: Slapd) -> None:
    assert login(rule(slapd, url=slapd.socket_url), "ann", "annpw").status == 200


@pytest.mark.parametrize("frame", ["[::1]", "localhost"])
def test_addresses(slapd: Slapd, frame: str) -> None:
    """A name has two addresses; slapd listens on one of them."""
    reply = login(rule(slapd, url=f"ldap://{frame}:{slapd.port}"), "ann", "annpw")
    assert reply.status == (502 if frame == "[::1]" else 200)


def scripted(answer: Callable[[socket.socket], None]) -> tuple[socket.socket, str, threading.Thread]:
    """A server that does one thing with its first connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        listener.settimeout(20)
        one, _ = listener.accept()
        with one:
            one.settimeout(20)
            answer(one)

    thread = threading.Thread(target=serve)
    thread.start()
    return listener, f"ldap://127.0.0.1:{listener.getsockname()[1]}", thread


def answered(one: socket.socket, answer: str) -> bytes:
    """Read a request (of less than 128 bytes) and answer with its number and ``answer``, in hexadecimal digits."""
    asked = one.recv(4096)
    body = asked[2 : 4 + asked[3]] + bytes.fromhex(answer)
    one.sendall(b"\x30" + bytes([len(body)]) + body)
    return asked


@pytest.mark.parametrize(
    "said",
    [b"", b"\x30", b"HTTP/1.1 400 Bad\r\n\r\n", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80" + b"\0" * 100, b"\x30\x03abc",
     b"\x00\x00\x00\x00", b"\x30\x05\x02\x01\x01\x61\x00", b"\x30\x0c\x02\x01\x63\x61\x07\x0a\x01\x00\x04\x00\x04\x00",
     b"\x30\x0c\x02\x01\x00\x61\x07\x0a\x01\x00\x04\x00\x04\x00", bytes(range(256)) * 8000],
    ids=lambda said: said[:12].hex() or "nothing",
)  # fmt: skip
def test_a_server_that_says_no_ldap(said: bytes) -> None:
    def answer(one: socket.socket) -> None:
        one.recv(4096)
        try:
            one.sendall(said)
            one.shutdown(socket.SHUT_WR)
            while one.recv(4096):
                pass
        except OSError:
            pass

    listener, url, thread = scripted(answer)
    with listener:
        reply = login(Playground(f"route-run = ldapauth:R,url={url};{PEOPLE}"), "ann", "annpw")
        thread.join(20)
    assert (reply.status, reply.asked) == (502, False)


def test_a_server_that_ends_before_the_users_bind_gets_no_password() -> None:
    """Nothing is opened anew behind the back of a login."""
    heard = bytearray()

    def answer(one: socket.socket) -> None:
        answered(one, "61070a010004000400")  # bound as nobody
        heard.extend(one.recv(4096))

    listener, url, thread = scripted(answer)
    with listener:
        reply = login(Playground(f"route-run = ldapauth:R,url={url};{PEOPLE}"), "ann", "annpw")
        thread.join(20)
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert reply.status == 502
    assert heard and b"annpw" not in heard


def test_starttls_that_is_refused_sends_no_password() -> None:
    heard = bytearray()

    def answer(one: socket.socket) -> None:
        heard.extend(answered(one, "78070a010204000400"))  # protocolError
        while data := one.recv(4096):
            heard.extend(data)

    listener, url, thread = scripted(answer)
    with listener:
        reply = login(Playground(f"route-run = ldapauth:R,url={url};{PEOPLE};starttls=1"), "ann", "annpw")
        thread.join(20)
    assert reply.status == 502
    assert "it does not start TLS: protocolError" in reply.log[-1]
    assert b"1.3.6.1.4.1.1466.20037" in heard
    assert b"ann" not in heard


def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"ldap://127.0.0.1:{free.getsockname()[1]}"
    reply = login(Playground(f"route-run = ldapauth:R,url={url};{PEOPLE}"), "ann", "annpw")
    assert reply.status == 502
    assert "Connection refused" in reply.log[-1] or "connection refused" in reply.log[-1]
    nobody = Playground(f"route-run = ldapauth:R,url={url};{PEOPLE}")
    assert [login(nobody, *pair).status for pair in (("ann", ""), ("", "x"))] == [401, 401], "nobody is asked"
    unknown = Playground(f"route-run = ldapauth:R,url=ldap://no.such.host.invalid;{PEOPLE}")
    assert login(unknown, "ann", "annpw").status == 502


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("", "expected REALM,url="),
        ("R", "expected REALM,url="),
        ("R,basedn=x", "url= is missing"),
        ("R,url=ldap://x", "basedn= is missing"),
        ("R,url=http://x;basedn=x", "expected ldap://HOST"),
        ("R,url=ldap://x:port;basedn=x", "expected ldap://HOST"),
        ("R,url=ldap://x/dc=org?uid;basedn=x", "expected ldap://HOST"),
        ("R,url=ldap://me:pw@x;basedn=x", "expected ldap://HOST"),
        ("R,url=ldapi://nopath;basedn=x", "expected ldap://HOST"),
        ("R,url=ldaps://x;basedn=x;starttls=1", "starttls= is for ldap:// alone"),
        ("R,url=ldaps://x;basedn=x;cafile=/nowhere", "cafile=/nowhere: No such file"),
        ("R,url=ldap://x;basedn=x;filter=objectClass=*", "expected as in"),
        ("R,url=ldap://x;basedn=x;filter=(a=b", "expected as in"),
        ('"R",url=ldap://x;basedn=x', "the realm holds"),
    ],
)
def test_bad_arguments(options: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Playground(f"route-run = ldapauth:{options}")
    assert reason in str(caught.value)


def test_no_password_is_told_at_start() -> None:
    hidden = "hid;den=x,y"
    with pytest.raises(ConfigError) as caught:
        Playground(f"route-run = ldapauth:R,url=ldap://x;binddn=cn=x;bindpw={hidden};filter=(")
    assert "bindpw=***;filter=(" in str(caught.value)
    assert "hid" not in str(caught.value) and "den" not in str(caught.value)
    play = Playground(f"route-run = ldapauth:R,url=ldap://127.0.0.1;basedn=x;binddn=cn=x;bindpw={hidden};atr=uid")
    told = "\n".join([*play.warnings, *play.table.describe(), *play.table.notices])
    assert "hid" not in told and "den" not in told
    assert "something behind bindpw= means nothing" in told
    assert "atr= means nothing here; did you mean attr=?" in told
    assert "bindpw=***" in told


def test_what_is_told_at_start() -> None:
    def told(options: str) -> str:
        play = Playground(f"route-run = ldapauth:R,basedn=x;{options}")
        return "\n".join([*play.warnings, *play.table.notices])

    assert "passwords go to ldap://ldap.example:389 unencrypted" in told("url=ldap://ldap.example")
    for safe in ("ldap://127.0.0.1", "ldap://localhost:3890", "ldap://[::1]", "ldaps://ldap.example", "ldapi://%2Frun"):
        assert told(f"url={safe}") == ""
    assert told("url=ldap://ldap.example;starttls=1") == ""
    assert "of use only together" in told("url=ldap://localhost;binddn=cn=x")
    assert "cafile= does nothing" in told("url=ldap://localhost;cafile=/etc/hosts")


def test_rules_that_name_the_same_server_share_it(slapd: Slapd) -> None:
    asked: list[object] = []

    class Host(PlayHost):
        def ask(self, service, call, once=False):  # type: ignore[no-untyped-def]
            asked.append(service)
            return super().ask(service, call, once)

    url = f"url={slapd.url};{PEOPLE}"
    lines = [f"route-run = ldapauth-next:R,{url};{more}" for more in ("", "attr=mail", "starttls=1")]
    login(Playground("\n".join(lines), Host()), "eve", "x")
    assert asked[0] is asked[1] is not asked[2]


def test_without_the_extra() -> None:
    code = """
import sys
sys.modules["ldap3"] = None
from uwsgirouter.rules.table import Table
from uwsgirouter.settings.settings import Settings
assert Table.build(Settings.listed([("route-run", "basicauth:R,a:b", "x:1")], "x"), print)
try:
    Table.build(Settings.listed([("route-run", "ldapauth:R,url=ldap://x;basedn=y", "x:1")], "x"), print)
except Exception as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "it needs ldap3, which is not installed: pip install 'uwsgirouter[ldap]'" in done.stdout, done.stderr


def test_no_library_is_loaded_without_a_rule_that_names_it() -> None:
    code = """
import sys
from uwsgirouter.rules import parts
parts.load()
print([name for name in ("ldap3", "pyasn1", "pyrad", "netaddr", "gssapi", "ssl") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
