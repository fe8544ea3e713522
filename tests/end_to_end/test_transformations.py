"""The examples of uWSGI's page on transformations, each from its file in conf/routing, through nginx.

The files are run as they are, but for the addresses and the file's name. What the page prints stands here once more, so
that no file can drift from it.
"""

from __future__ import annotations

import gzip
import http.client
import signal
from pathlib import Path

import pytest

from tests.servers import Connection, Servers, free_port, is_listening, local, wait_until
from tests.servers.programs import uwsgi_command

PAGE = b"<title>a page</title>" + b"<p>with some text that can be compressed</p>" * 20

PRINTED = {
    "gzip.ini": """\
[uwsgi]
plugin = python,transformation_gzip
http-socket = :9090
; load the werkzeug test app
module = werkzeug.testapp:test_app
; if the client supports gzip encoding goto to the gzipper
route-if = contains:${HTTP_ACCEPT_ENCODING};gzip goto:mygzipper
route-run = last:

route-label = mygzipper
; pass the response to the gzip transformation
route = ^/$ gzip:
""",
    "gzip-and-cache.ini": """\
[uwsgi]
plugin = python,transformation_gzip
http-socket = :9090
; load the werkezeug test app
module = werkzeug.testapp:test_app
; create a cache of 100 items
cache = 100
; if the client support gzip encoding goto to the gzipper
route-if = contains:${HTTP_ACCEPT_ENCODING};gzip goto:mygzipper
route = ^/$ cache:key=werkzeug_homepage
route = ^/$ cachestore:key=werkzeug_homepage
route-run = last:

route-label = mygzipper
route = ^/$ cache:key=werkzeug_homepage.gz
; first cache the 'clean' response (for client not supporting gzip)
route = ^/$ cachestore:key=werkzeug_homepage
; then pass the response to the gzip transformation
route = ^/$ gzip:
; and cache it again in another item (gzipped)
route = ^/$ cachestore:key=werkzeug_homepage.gz
""",
    "gzip-and-chunked.ini": """\
[uwsgi]
plugins = transformation_gzip,transformation_chunked
route-run = gzip:
route-run = chunked:
""",
    "flush.ini": """\
[uwsgi]
plugins = transformation_toupper,transform_tofile
; convert each char to uppercase
route-run = toupper:
; after each chunk converted to upper case, flush to the client
route-run = flush:
; buffer the whole response in memory for finally storing it in a file
route-run = tofile:filename=/tmp/mycache
""",
}
"""The page leaves the rest of the last two files out with three dots."""

Answer = tuple[int, dict[str, str], bytes]


class Site:
    """nginx, a router with one of the files, and a node that answers in two pieces and counts.

    ``proxied``: between nginx and the router stands uWSGI's HTTP router, which passes chunks on as chunks. nginx itself
    takes what comes over uwsgi_pass for content.
    """

    def __init__(self, servers: Servers, project: Path, name: str, proxied: bool = False) -> None:
        self.asked = 0
        self.http = free_port()
        self.kept = servers.directory / "mycache"
        node = servers.node(self._answer)
        included = servers.directory / name
        included.write_text((project / "conf" / "routing" / name).read_text().replace("/tmp/mycache", str(self.kept)))
        config = (project / "conf" / "routing" / "transformations.ini").read_text()
        router = f"127.0.0.1:{free_port()}"
        config = config.replace("127.0.0.1:3017", router).replace("127.0.0.1:3031", node.address)
        self.router = servers.router("--include", str(included), config=config)
        way = f"include /etc/nginx/uwsgi_params; uwsgi_pass {router};"
        if proxied:
            between = local(free_port())
            front = servers.process(*uwsgi_command(), "--http", between, "--http-to", router, "--master")
            front.stop_signal = signal.SIGINT
            wait_until(lambda: is_listening(between), 10, "the HTTP router listens")
            way = f"proxy_http_version 1.1; proxy_pass http://{between};"
        servers.nginx(
            f"""daemon off; pid nginx.pid; error_log error.log; events {{ }}
            http {{
                access_log off;
                client_body_temp_path body; uwsgi_temp_path uwsgi; proxy_temp_path proxy;
                fastcgi_temp_path fastcgi; scgi_temp_path scgi;
                server {{
                    listen 127.0.0.1:{self.http};
                    location / {{ {way} }}
                }}
            }}""",
            f"127.0.0.1:{self.http}",
        )

    def _answer(self, connection: Connection) -> None:
        connection.read_packet()
        self.asked += 1
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(PAGE))
        connection.send(PAGE[:300])
        connection.send(PAGE[300:])

    def get(self, path: str = "/", **headers: str) -> Answer:
        """One request to nginx."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=20)
        try:
            connection.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()


@pytest.mark.parametrize("name", PRINTED)
def test_the_files_are_the_pages_own_lines(project: Path, name: str) -> None:
    assert (project / "conf" / "routing" / name).read_text() == PRINTED[name]


def test_gzip_for_those_who_take_it(servers: Servers, project: Path) -> None:
    site = Site(servers, project, "gzip.ini")
    status, headers, body = site.get(Accept_Encoding="deflate, gzip")
    assert (status, headers["Content-Encoding"], gzip.decompress(body)) == (200, "gzip", PAGE)
    assert len(body) < len(PAGE)
    status, headers, body = site.get()
    assert (status, body) == (200, PAGE) and "Content-Encoding" not in headers
    status, headers, body = site.get("/other", Accept_Encoding="gzip")
    assert (status, body) == (200, PAGE) and "Content-Encoding" not in headers
    assert "module" in site.router.log() and "http-socket" in site.router.log()


def test_a_page_is_kept_plain_and_compressed(servers: Servers, project: Path) -> None:
    site = Site(servers, project, "gzip-and-cache.ini")
    _, headers, body = site.get(Accept_Encoding="gzip")
    assert (headers["Content-Encoding"], gzip.decompress(body)) == ("gzip", PAGE)
    _, headers, plain = site.get()
    assert (headers["Content-Type"], plain) == ("text/html", PAGE)
    # The page's own rule says nothing of content_encoding=gzip, so a client is not told (as in uWSGI).
    _, headers, kept = site.get(Accept_Encoding="gzip")
    assert (headers.get("Content-Encoding"), kept) == (None, body)
    assert site.asked == 1
    site.get("/other")
    assert site.asked == 2


def test_gzip_in_chunks(servers: Servers, project: Path) -> None:
    site = Site(servers, project, "gzip-and-chunked.ini", proxied=True)
    _, headers, body = site.get()
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == PAGE


def test_a_stream_is_kept_in_a_file(servers: Servers, project: Path) -> None:
    site = Site(servers, project, "flush.ini")
    status, _, body = site.get()
    assert (status, body) == (200, PAGE.upper())
    assert site.kept.read_bytes() == PAGE.upper()
