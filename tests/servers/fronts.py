"""The three web servers of docs/fronts.md, each with its file of conf/ in front of a router.

A front is started from the example as it stands (on ports of the test, plain and TLS), or with everything that is there
as a comment: the lines that begin with a # and no blank.
"""

from __future__ import annotations

import datetime
import re
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.servers.ports import free_port, is_listening
from tests.servers.process import Process
from tests.servers.programs import program
from tests.servers.started import Servers

MODULES = ["mpm_event", "authz_core", "headers", "proxy", "proxy_uwsgi", "remoteip", "setenvif", "ssl", "socache_shmcb"]
"""What a2enmod would enable."""


def certificate(directory: Path) -> Path:
    """A file with a key and a certificate for localhost, good for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - datetime.timedelta(hours=1))
    signed = made.not_valid_after(now + datetime.timedelta(hours=1)).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / "localhost.pem"
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


def uncommented(text: str) -> str:
    """The example with all that it shows as comments in force."""
    changed, count = re.subn(r"^( *)#(?=[a-zA-Z])", r"\1", text, flags=re.MULTILINE)
    assert count, "the example shows something in comments"
    return changed


def _pointed_at(router: str, text: str) -> str:
    """The example with this router's address, for a unix socket in the way that its comments show."""
    if router.startswith("/"):
        shown = "/run/uwsgirouter/router.sock"
        assert shown in text
        text = text.replace("server 127.0.0.1:3017;", f"server unix:{shown};")
        text = text.replace('"uwsgi://127.0.0.1:3017/"', f'"unix:{shown}|uwsgi://uwsgirouter/"')
        text = re.sub(r'"host" => "127.0.0.1",\s+"port" => 3017,', f'"socket" => "{shown}",', text)
        return text.replace(shown, router)
    port = router.rpartition(":")[2]
    return text.replace("127.0.0.1:3017", router).replace('"port" => 3017', f'"port" => {port}')


class Front:
    """A started web server: ``port`` speaks HTTP, ``tls`` HTTPS. ``everything``: with what the comments show."""

    def __init__(self, servers: Servers, project: Path, name: str, router: str, everything: bool = False) -> None:
        self.name = name
        self.port = free_port()
        self.tls = free_port()
        self.directory = servers.directory
        self.label = f"{name}-{'everything' if everything else 'plain'}"
        self._pem = self.directory / "localhost.pem"
        if not self._pem.exists():
            certificate(self.directory)
        text = (project / "conf" / f"{name}.conf.example").read_text()
        text = _pointed_at(router, text)
        made = {"nginx": self._nginx, "apache": self._apache, "lighttpd": self._lighttpd}[name]
        path = self.directory / f"{self.label}.conf"
        path.write_text(made(uncommented(text) if everything else text))
        self.process: Process = servers.process(*self._command(path))
        self.process.wait_ready(lambda: is_listening(self.address) and is_listening(f"127.0.0.1:{self.tls}"))

    @property
    def address(self) -> str:
        """Where it speaks HTTP."""
        return f"127.0.0.1:{self.port}"

    def _command(self, path: Path) -> list[str]:
        if self.name == "nginx":
            return [program("nginx"), "-p", f"{self.directory}/", "-c", str(path)]
        if self.name == "apache":
            return [program("apache2"), "-D", "FOREGROUND", "-f", str(path)]
        return [program("lighttpd"), "-D", "-f", str(path)]

    def _nginx(self, site: str) -> str:
        listen = f"listen {self.address}; listen 127.0.0.1:{self.tls} ssl;"
        tls = f"ssl_certificate {self._pem}; ssl_certificate_key {self._pem};"
        site = site.replace("listen 80;", f"{listen} {tls}").replace("uwsgi_params", "/etc/nginx/uwsgi_params")
        top = f"daemon off; pid {self.label}.pid; error_log {self.directory}/{self.label}.log; events {{}}"
        return f"{top}\nhttp {{ access_log off;\n{site}\n}}\n"

    def _apache(self, site: str) -> str:
        top = [f"ServerRoot {self.directory}", f"PidFile {self.directory}/{self.label}.pid"]
        top += [f"ErrorLog {self.directory}/{self.label}.log", f"DefaultRuntimeDir {self.directory}"]
        top += ["User www-data", "Group www-data", f"Listen {self.address}", f"Listen 127.0.0.1:{self.tls}"]
        top += [f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in MODULES]
        plain = site.replace("*:80", f"*:{self.port}")
        tls = site.replace("*:80>", f"*:{self.tls}>\nSSLEngine on\nSSLCertificateFile {self._pem}")
        return "\n".join([*top, plain, tls])

    def _lighttpd(self, site: str) -> str:
        top = [f'server.document-root = "{self.directory}"', 'server.bind = "127.0.0.1"', f"server.port = {self.port}"]
        top += ['server.username = "www-data"', 'server.groupname = "www-data"', 'server.modules = ( "mod_openssl" )']
        tls = [f'$SERVER["socket"] == "127.0.0.1:{self.tls}" {{', 'ssl.engine = "enable"']
        return "\n".join([*top, site, *tls, f'ssl.pemfile = "{self._pem}"', "}\n"])


def trusting_nobody() -> ssl.SSLContext:
    """For a client that takes the test's certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
