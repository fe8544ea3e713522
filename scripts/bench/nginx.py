"""The web server in front: one nginx process with one listener per router, all else equal.

A second form, ``relay``, has nginx pass connections on without looking into them (``stream``).

Its configuration, prefix, pid and temporary files are in the run's own directory; the system's nginx is not
touched.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

PARAMETERS = {
    "QUERY_STRING": "$query_string",
    "REQUEST_METHOD": "$request_method",
    "CONTENT_TYPE": "$content_type",
    "CONTENT_LENGTH": "$content_length",
    "REQUEST_URI": "$request_uri",
    "PATH_INFO": "$document_uri",
    "DOCUMENT_ROOT": "$document_root",
    "SERVER_PROTOCOL": "$server_protocol",
    "REQUEST_SCHEME": "$scheme",
    "HTTPS": "$https if_not_empty",
    "REMOTE_ADDR": "$remote_addr",
    "REMOTE_PORT": "$remote_port",
    "SERVER_PORT": "$server_port",
    "SERVER_NAME": "$server_name",
}
"""What people's uwsgi_params files send; the size of the packet is part of the work."""

TEMPLATE = """\
{user}daemon off;
worker_processes 1;
pid {prefix}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {prefix}/client_body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 75s;
    client_max_body_size 0;
    uwsgi_request_buffering off;
    uwsgi_buffering off;
    uwsgi_buffer_size {buffer_size};
    uwsgi_buffers 8 {buffer_size};
{parameters}
{servers}}}
"""

SERVER = """\
    server {{
        listen {listen};
        server_name bench.example;
        location / {{ uwsgi_pass {router}; }}
    }}
"""


def configuration(prefix: Path, routers: Mapping[str, str], buffer_size: str) -> str:
    """The whole nginx.conf. ``routers`` maps each address nginx listens on to the router it passes to."""
    parameters = "\n".join(f"    uwsgi_param {name} {value};" for name, value in PARAMETERS.items())
    servers = "".join(SERVER.format(listen=listen, router=named(router)) for listen, router in routers.items())
    return TEMPLATE.format(
        user=user_line(), prefix=prefix, buffer_size=buffer_size, parameters=parameters, servers=servers
    )


RELAY = """\
{load}{user}daemon off;
worker_processes {processes};
pid {prefix}/relay.pid;
error_log stderr warn;
events {{ worker_connections {connections}; }}
stream {{
    access_log off;
    server {{ listen {listen} backlog=1024; proxy_pass {node}; proxy_timeout 600s; }}
}}
"""


def relay(prefix: Path, load: str, listen: str, node: str, processes: int, connections: int) -> str:
    """The nginx.conf of a relay; ``load``: the line that loads the stream module, if it is one by itself."""
    return RELAY.format(
        user=user_line(), prefix=prefix, load=load, listen=named(listen), node=named(node), processes=processes,
        connections=connections,
    )  # fmt: skip


def named(address: str) -> str:
    """An address as nginx writes it: ``unix:`` before a path."""
    return f"unix:{address}" if address.startswith("/") else address


def user_line() -> str:
    """As root, nginx would drop to a user that may not enter the run's private directory."""
    if os.geteuid() != 0:
        return ""
    return f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(0).gr_name};\n"


def command(binary: str, prefix: Path) -> list[str]:
    """nginx in the foreground, with the configuration that stands in ``prefix``."""
    return [binary, "-p", str(prefix), "-c", str(prefix / "nginx.conf"), "-e", "stderr"]
