"""The servers that rules ask for passwords: OpenLDAP, FreeRADIUS, and a Kerberos realm; each a process of its own.

All that they need is written into the daemon's directory: nothing of the system's configuration is read or changed.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import ipaddress
import os
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.servers.ports import free_port, free_udp_port
from tests.servers.programs import program
from tests.servers.services import Daemon


def run(*argv: str, cwd: Path, env: dict[str, str] | None = None, given: str = "") -> str:
    """Run a program to its end; what it said."""
    done = subprocess.run(
        argv, cwd=cwd, env={**os.environ, **(env or {})}, input=given, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Certified:
    """Files of a certificate: of the authority, of the server, and the server's key."""

    authority: Path
    certificate: Path
    key: Path


def certified(directory: Path, *names: str) -> Certified:
    """A certificate for ``names`` by an authority of its own."""
    now = datetime.datetime.now(datetime.timezone.utc)
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority of {names[0]}")])

    def builder(subject: x509.Name, owner: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder(authority_name, subject, owner.public_key(), x509.random_serial_number())
        identity = x509.SubjectKeyIdentifier.from_public_key(owner.public_key())
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        made = made.add_extension(identity, False).add_extension(signer, False)
        return made.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(2))

    root = builder(authority_name, authority_key).add_extension(x509.BasicConstraints(True, None), True)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    listed = [_general(name) for name in names]
    server = builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]), key)
    server = server.add_extension(x509.SubjectAlternativeName(listed), False)
    made = Certified(directory / "authority.pem", directory / "server.pem", directory / "server.key")
    pem = serialization.Encoding.PEM
    made.authority.write_bytes(root.add_extension(usage, True).sign(authority_key, hashes.SHA256()).public_bytes(pem))
    made.certificate.write_bytes(server.sign(authority_key, hashes.SHA256()).public_bytes(pem))
    plain = serialization.NoEncryption()
    made.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return made


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


PEOPLE = """\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: cn=router,dc=example,dc=org
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: router
userPassword: router;pw

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=former,dc=example,dc=org
objectClass: organizationalUnit
ou: former

dn: uid=ann,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: A
mail: ann@example.org
description: staff
userPassword: annpw
memberOf: cn=admins,dc=example,dc=org

dn: uid=bob,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
uid: robert
cn: Bob
sn: B
userPassword: b:ob (pw)*

dn: uid=nopw,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: nopw
cn: Nobody
sn: N

dn: uid=twice,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: twice
cn: Twice
sn: T
userPassword: twice

dn: uid=twice,ou=former,dc=example,dc=org
objectClass: inetOrgPerson
uid: twice
cn: Twice
sn: T
userPassword: twice

dn: cn=we\\, (all) *,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
cn: we, (all) *
uid: w*(e)\\
sn: W
userPassword:: cMO2cGVs

dn: cn=admins,dc=example,dc=org
objectClass: groupOfNames
cn: admins
member: uid=ann,ou=people,dc=example,dc=org
"""
"""The users of :class:`Slapd`; the password of ``w*(e)\\`` is pöpel, nopw has none, and there are two called twice."""


class Slapd(Daemon):
    """OpenLDAP's slapd with PEOPLE, over ldap://, ldaps:// and ldapi://.

    Passwords cannot be read, ``description`` by ``cn=router`` alone (password ``router;pw``). Arguments: ``lax`` lets
    anybody bind without a password, as some servers do; ``closed`` lets nobody search who has not bound as somebody.
    """

    name = "slapd"

    def prepare(self) -> None:
        self.tls_port = free_port()
        made = certified(self.directory, "localhost", "127.0.0.1")
        self.authority = made.authority
        (self.directory / "db").mkdir()
        lines = [
            "modulepath /usr/lib/ldap",
            "moduleload back_mdb",
            "moduleload memberof",
            *(f"include /etc/ldap/schema/{name}.schema" for name in ("core", "cosine", "inetorgperson")),
            f"pidfile {self.directory}/slapd.pid",
            f"TLSCertificateFile {made.certificate}",
            f"TLSCertificateKeyFile {made.key}",
            *(["allow bind_anon_cred bind_anon_dn"] if "lax" in self.args else []),
            *(["disallow bind_anon"] if "closed" in self.args else []),
            "threads 4",
            "database mdb",
            "maxsize 10485760",
            "dbnosync",
            'suffix "dc=example,dc=org"',
            f"directory {self.directory}/db",
            "index uid eq",
            "overlay memberof",
            "access to attrs=userPassword by anonymous auth by * none",
            "access to attrs=description by dn.base=cn=router,dc=example,dc=org read by * none",
            "access to * by * read",
        ]
        (self.directory / "slapd.conf").write_text("\n".join(lines) + "\n")
        (self.directory / "people.ldif").write_text(PEOPLE)
        run(program("slapadd"), "-q", "-f", "slapd.conf", "-l", "people.ldif", cwd=self.directory)

    @property
    def url(self) -> str:
        """``ldap://127.0.0.1:port``."""
        return f"ldap://{self.address}"

    @property
    def tls_url(self) -> str:
        """``ldaps://127.0.0.1:port``."""
        return f"ldaps://127.0.0.1:{self.tls_port}"

    @property
    def socket_url(self) -> str:
        """``ldapi://%2F...``."""
        return f"ldapi://{quote(str(self.directory / 'ldapi'), safe='')}"

    def argv(self) -> list[str]:
        urls = f"{self.url}/ {self.tls_url}/ {self.socket_url}/"
        return [program("slapd"), "-h", urls, "-f", str(self.directory / "slapd.conf"), "-d", "0"]

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 10) as sock:
            sock.settimeout(10)
            sock.sendall(bytes.fromhex("300c020101600702010304008000"))  # an anonymous bind
            return sock.recv(1024).startswith(b"\x30")


RADIUS = """\
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = {directory}
run_dir = {directory}
logdir = {directory}
name = radius
max_requests = 65536
cleanup_delay = 2
log {{
	destination = stdout
	auth = no
}}
security {{
	reject_delay = {delay}
	status_server = yes
}}
thread pool {{
	start_servers = 2
	max_servers = 4
	min_spare_servers = 1
	max_spare_servers = 3
	max_requests_per_server = 0
}}
client local {{
	ipaddr = 127.0.0.1
	secret = "{secret}"
}}
modules {{
	pap {{
	}}
	files {{
		usersfile = {directory}/users
	}}
}}
server default {{
	listen {{
		type = auth
		ipaddr = 127.0.0.1
		port = {port}
	}}
	authorize {{
		files
		pap
	}}
	authenticate {{
		Auth-Type PAP {{
			pap
		}}
	}}
	post-auth {{
		if (&User-Name == "signed") {{
			update reply {{
				Message-Authenticator := 0x00
			}}
		}}
	}}
}}
"""
RADIUS_USERS = """\
ann Cleartext-Password := "annpw"
	Reply-Message := "hello"
bob Cleartext-Password := "b:ob (pw)*"
empty Cleartext-Password := ""
signed Cleartext-Password := "pw"
port Cleartext-Password := "pw", NAS-Port == 7, NAS-IP-Address == 192.0.2.7
long Cleartext-Password := "{long}"
pöpel Cleartext-Password := "pöpel"
"""


class Freeradius(Daemon):
    """FreeRADIUS. Its secret is ``se,cret=1``; answers for the user ``signed`` have a Message-Authenticator, ``port``
    is known at NAS-Port 7 of 192.0.2.7 alone, and the password of ``long`` has 128 bytes. With the argument ``slow`` it
    says no a second later.
    """

    name = "freeradius"
    SECRET = "se,cret=1"

    def __init__(self, directory: Path, *args: str) -> None:
        super().__init__(directory, *args, port=free_udp_port())

    def prepare(self) -> None:
        config = RADIUS.format(
            directory=self.directory, port=self.port, secret=self.SECRET, delay=int("slow" in self.args)
        )
        (self.directory / "radiusd.conf").write_text(config)
        (self.directory / "users").write_text(RADIUS_USERS.format(long="x" * 128))

    def argv(self) -> list[str]:
        return [program("freeradius"), "-f", "-d", str(self.directory), "-n", "radiusd", "-l", "stdout"]

    def answers(self) -> bool:
        head = b"\x0c\x01" + (38).to_bytes(2, "big") + os.urandom(16) + b"\x50\x12"  # Status-Server
        signature = hmac.new(self.SECRET.encode(), head + bytes(16), hashlib.md5).digest()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.2)
            sock.connect(("127.0.0.1", self.port))
            sock.send(head + signature)
            return sock.recv(4096)[:1] == b"\x02"


class Kdc(Daemon):
    """A Kerberos realm EXAMPLE.ORG with the user ann (password annpw) and the service HTTP/localhost.

    ``keytab`` holds the service's key, ``other_keytab`` that of a service nobody has tickets for; ``environment`` is
    what a process needs to be in the realm.
    """

    name = "kdc"
    stop_signal = signal.SIGTERM
    REALM = "EXAMPLE.ORG"

    def prepare(self) -> None:
        self.keytab = self.directory / "http.keytab"
        self.other_keytab = self.directory / "other.keytab"
        (self.directory / "krb5.conf").write_text(
            f"[libdefaults]\n default_realm = {self.REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n"
            f" dns_canonicalize_hostname = false\n rdns = false\n udp_preference_limit = 1\n"
            f"[realms]\n {self.REALM} = {{\n  kdc = 127.0.0.1:{self.port}\n }}\n"
            f"[domain_realm]\n localhost = {self.REALM}\n"
        )
        (self.directory / "kdc.conf").write_text(
            f"[kdcdefaults]\n kdc_listen = 127.0.0.1:{self.port}\n kdc_tcp_listen = 127.0.0.1:{self.port}\n"
            f"[realms]\n {self.REALM} = {{\n  database_name = {self.directory}/principal\n"
            f"  key_stash_file = {self.directory}/stash\n  acl_file = {self.directory}/acl\n"
            f"  supported_enctypes = aes256-cts-hmac-sha1-96:normal\n }}\n"
            f"[logging]\n kdc = STDERR\n admin_server = STDERR\n"
        )
        run(program("kdb5_util"), "create", "-s", "-r", self.REALM, "-P", "master", cwd=self.directory, env=self.env())
        commands = [
            "addprinc -pw annpw ann",
            "addprinc -randkey HTTP/localhost",
            "addprinc -randkey HTTP/other",
            f"ktadd -k {self.keytab} HTTP/localhost",
            f"ktadd -k {self.other_keytab} HTTP/other",
        ]
        run(program("kadmin.local"), cwd=self.directory, env=self.env(), given="\n".join([*commands, "quit", ""]))

    @property
    def environment(self) -> dict[str, str]:
        """For a client or a service."""
        return {"KRB5_CONFIG": str(self.directory / "krb5.conf"), "KRB5RCACHENAME": f"file2:{self.directory}/replays"}

    def env(self) -> dict[str, str]:
        return {**self.environment, "KRB5_KDC_PROFILE": str(self.directory / "kdc.conf")}

    def argv(self) -> list[str]:
        return [program("krb5kdc"), "-n", "-r", self.REALM]

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 10):
            return True

    def tickets(self, user: str = "ann", password: str = "annpw") -> dict[str, str]:
        """Log a user in: the variables of a process that has their tickets."""
        cache = {**self.environment, "KRB5CCNAME": f"FILE:{self.directory}/tickets-{user}"}
        run(program("kinit"), user, cwd=self.directory, env=cache, given=f"{password}\n")
        return cache


def negotiate(service: str = "HTTP@localhost") -> str:
    """An Authorization header with a ticket, of a process that is in a realm and has tickets."""
    import gssapi

    name = gssapi.Name(service, gssapi.NameType.hostbased_service)
    spnego = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")
    token = gssapi.SecurityContext(name=name, usage="initiate", mech=spnego).step()
    return f"Negotiate {base64.b64encode(token).decode()}"
