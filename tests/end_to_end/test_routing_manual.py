"""The examples of uWSGI's page on internal routing, each from its file in conf/routing, through nginx.

The files are run as they are. What the page prints stands here once more, so that no file can drift from it.
"""

from __future__ import annotations

import base64
import gzip
import http.client
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.servers import Connection, Memcached, Redis, Servers, free_port, wait_until
from uwsgirouter.protocol.packet import decode_vars

FIRST = r"""[uwsgi]
route-user-agent = .*curl.* redirect:http://uwsgi.it
route-remote-addr = ^127\.0\.0\.1$ break:403 Forbidden
route = ^/test log:someone called /test
route = \.php$ rewrite:/index.php
route = .* addheader:Server: my uWSGI server
route-host = ^localhost$ logvar:local=1
route-uri = ^/foo/(.*)\.jpg$ cache:key=$1.jpg
route-if = equal:${PATH_INFO};/bad break:500 Internal Server Error
"""

BY_LABEL = r"""[uwsgi]
route-host = ^localhost$ goto:localhost
route-host = ^sid\.local$ goto:sid.local
route = .* last:

route-label = sid.local
route-user-agent = .*curl.* redirect:http://uwsgi.it
route-remote-addr = ^192\.168\..* break:403 Forbidden
route = ^/test log:someone called /test
route = \.php$ rewrite:/index.php
route = .* addheader:Server: my sid.local server
route = .* logvar:local=0
route-uri = ^/foo/(.*)\.jpg$ cache:key=$1.jpg
route = .* last:

route-label = localhost
route-user-agent = .*curl.* redirect:http://uwsgi.it
route-remote-addr = ^127\.0\.0\.1$ break:403 Forbidden
route = ^/test log:someone called /test
route = \.php$ rewrite:/index.php
route = .* addheader:Server: my uWSGI server
route = .* logvar:local=1
route-uri = ^/foo/(.*)\.jpg$ cache:key=$1.jpg
route = .* last:
"""

TWO_RULES, ONE_RULE = BY_LABEL[8 : BY_LABEL.index("route = .* last:")], "route-host = (.*) goto:$1\n"

HEADERS = r"""[uwsgi]
; store Content-Type response header in MY_CONTENT_TYPE var
collect-header = Content-Type MY_CONTENT_TYPE
; if response is text/html, and client supports it, gzip it
response-route-if = equal:${MY_CONTENT_TYPE};text/html goto:gzipme
response-route-run = last:

response-route-label = gzipme
; gzip only if the client support it
response-route-if = contains:${HTTP_ACCEPT_ENCODING};gzip gzip:
"""

TRAC = """[uwsgi]
; load plugins (if required)
plugins = python,router_basicauth

; bind to port 9090 using http protocol
http-socket = :9090

; set trac instance path
env = TRAC_ENV=myinstance
; load trac
module = trac.web.main:dispatch_request

; trigger authentication on /login
route = ^/login basicauth-next:Trac Realm,pippo:pluto
route = ^/login basicauth:Trac Realm,foo:bar

;high performance file serving
static-map = /chrome/common=/usr/local/lib/python2.7/dist-packages/trac/htdocs
"""

PRINTED = {
    "first-example.ini": FIRST,
    "goto.ini": BY_LABEL,
    "goto-by-host.ini": BY_LABEL.replace(TWO_RULES, ONE_RULE),
    "collect-header.ini": HEADERS,
    "basicauth.ini": TRAC,
}

LOCAL, OTHER = "127.0.0.1", "127.0.0.2"
"""Where a client may come from."""

Answer = tuple[int, dict[str, str], bytes]


class Site:
    """nginx, a router with one of the files, and a node that keeps what it is asked. ``places``: what stands for an
    address of the file.
    """

    def __init__(self, servers: Servers, project: Path, name: str, places: Mapping[str, str] | None = None) -> None:
        self.asked: list[dict[bytes, bytes]] = []
        self.type = b"text/html"
        self.more = b""
        self.http = free_port()
        node = servers.node(self._answer)
        config = (project / "conf" / "routing" / "manual.ini").read_text()
        router = f"127.0.0.1:{free_port()}"
        config = config.replace("127.0.0.1:3017", router).replace("127.0.0.1:3031", node.address)
        rules = project / "conf" / "routing" / name
        if places:
            text, rules = rules.read_text(), servers.directory / name
            for address, place in places.items():
                text = text.replace(address, place)
            rules.write_text(text)
        self.router = servers.router("--include", str(rules), config=config)
        servers.nginx(
            f"""daemon off; pid nginx.pid; error_log error.log; events {{ }}
            http {{
                access_log off;
                client_body_temp_path body; uwsgi_temp_path uwsgi; proxy_temp_path proxy;
                fastcgi_temp_path fastcgi; scgi_temp_path scgi;
                server {{
                    listen 127.0.0.1:{self.http};
                    location / {{ include /etc/nginx/uwsgi_params; uwsgi_pass {router}; }}
                }}
            }}""",
            f"127.0.0.1:{self.http}",
        )

    def _answer(self, connection: Connection) -> None:
        self.asked.append(dict(decode_vars(connection.read_packet().raw)))
        body = b"hello " * 50
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n" % (self.type, self.more) + body)

    def get(self, path: str = "/", source: str = OTHER, **headers: str) -> Answer:
        """One request to nginx, from ``source``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=20, source_address=(source, 0))
        try:
            connection.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def logged(self, text: str) -> None:
        """The router's log has the line."""
        wait_until(lambda: text in self.router.log(), 10, f"{text} is logged")


@pytest.mark.parametrize("name", PRINTED)
def test_the_files_are_the_pages_own_lines(project: Path, name: str) -> None:
    assert (project / "conf" / "routing" / name).read_text() == PRINTED[name]


def test_the_first_example(servers: Servers, project: Path) -> None:
    site = Site(servers, project, "first-example.ini")
    status, headers, body = site.get("/a", User_Agent="curl/8")
    assert (status, headers["Location"], body) == (302, "http://uwsgi.it", b"Moved")
    assert site.get("/a", LOCAL)[0] == 403
    assert site.get("/bad")[0] == 500
    assert site.asked == []
    status, headers, body = site.get("/test/x.php?a=b", Host="localhost")
    assert (status, headers["Server"], body) == (200, "my uWSGI server", b"hello " * 50)
    (seen,) = site.asked
    assert (seen[b"PATH_INFO"], seen[b"QUERY_STRING"]) == (b"/index.php", b"a=b")
    assert site.get("/foo/picture.jpg")[0] == 200
    site.logged("someone called /test")
    site.logged("[rule: 6] subject: request_uri regexp: ^/foo/(.*)\\.jpg$ action: cache:key=$1.jpg")


@pytest.mark.parametrize("name", ["goto.ini", "goto-by-host.ini"])
def test_jumps(servers: Servers, project: Path, name: str) -> None:
    site = Site(servers, project, name)
    assert site.get("/", LOCAL, Host="localhost")[0] == 403
    status, headers, _ = site.get("/", Host="localhost")
    assert (status, headers["Server"]) == (200, "my uWSGI server")
    status, headers, _ = site.get("/", LOCAL, Host="sid.local")
    assert (status, headers["Server"]) == (200, "my sid.local server")
    status, headers, _ = site.get("/", Host="other.local")
    if name == "goto.ini":
        assert status == 200 and headers["Server"].startswith("nginx")
    else:
        assert status == 500
        site.logged('"goto" instruction can only jump forward')


def test_collected_headers(servers: Servers, project: Path) -> None:
    site = Site(servers, project, "collect-header.ini")
    status, headers, body = site.get(Accept_Encoding="deflate, gzip")
    assert (status, headers["Content-Encoding"], gzip.decompress(body)) == (200, "gzip", b"hello " * 50)
    status, headers, body = site.get()
    assert (status, body) == (200, b"hello " * 50) and "Content-Encoding" not in headers
    site.type = b"text/plain"
    status, headers, body = site.get(Accept_Encoding="gzip")
    assert (status, body) == (200, b"hello " * 50) and "Content-Encoding" not in headers


def test_passwords(servers: Servers, project: Path) -> None:
    site = Site(servers, project, "basicauth.ini")
    status, headers, _ = site.get("/login")
    assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="Trac Realm"')
    for word, expected in ((b"foo:bar", 200), (b"pippo:pluto", 200), (b"foo:pluto", 401), (b"x", 401)):
        assert site.get("/login", Authorization="Basic " + base64.b64encode(word).decode())[0] == expected
    assert site.get("/wiki")[0] == 200
    assert [seen.get(b"REMOTE_USER") for seen in site.asked] == [b"foo", b"pippo", None]
    for name in ("http-socket", "module", "static-map"):
        site.logged(name)


def test_services(servers: Servers, project: Path) -> None:
    site = Site(servers, project, "services.ini")
    site.more = b"X-Team: red\r\n"
    counts = [site.get("/login")[1]["X-Logins"] for _ in range(3)]
    assert counts == ["1", "2", "0"], "the third one raises the alarm"
    site.logged("many logins")
    status, headers, body = site.get("/page")
    assert (status, headers["Content-Length"], body) == (200, "300", b"hello " * 50)
    assert "X-Team" not in headers
    site.logged("answered by team red")


def test_stores(servers: Servers, project: Path) -> None:
    redis, memcached = servers.daemon(Redis), servers.daemon(Memcached)
    site = Site(servers, project, "stores.ini", {"127.0.0.1:6379": redis.address, "127.0.0.1:11211": memcached.address})
    body = b"hello " * 50
    for path, store, key in (
        ("/pages/one?a=b", redis, "host/pages/one?a=b"),
        ("/logo.png", memcached, "/logo.png"),
    ):
        assert site.get(path, Host="host")[::2] == (200, body)
        wait_until(lambda store=store, key=key: store.get(key) == body, 20, f"{key} is kept")
        site.asked.clear()
        assert site.get(path, Host="host")[::2] == (200, body)
        assert site.asked == []
        assert site.get(path, Host="host", Cookie="user=ann")[0] == 200
        assert len(site.asked) == 1
        store.stop()
        assert site.get(path, Host="host")[::2] == (200, body)
        assert len(site.asked) == 2


def test_limits(servers: Servers, project: Path) -> None:
    site = Site(servers, project, "limits.ini")
    answers = [site.get("/login") for _ in range(6)]
    assert [status for status, _, _ in answers] == [200] * 5 + [429]
    assert 1 <= int(answers[5][1]["Retry-After"]) <= 12
    assert [headers["RateLimit-Limit"] for _, headers, _ in answers] == ["100"] * 5 + ["5"]
    assert [site.get(path)[0] for path in ("/search", "/search", "/report", "/static/x")] == [200] * 4
    site.logged("(log_only: it goes on)")
