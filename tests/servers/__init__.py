"""Real servers and scripted peers for the tests.

Use the ``servers`` fixture (tests/conftest.py): whatever it starts it stops, in reverse order, and the test
fails if a process is left behind, if a router had to be killed, or if a scripted node's handler raised.

    servers.router("--fastrouter", address, ...)      python -m uwsgirouter; config="[uwsgirouter]\\n..."
    writes a file servers.fastrouter("--fastrouter", address, ...)  the C FastRouter with the same options:
    the oracle servers.uwsgi("--wsgi-file", path, ...)           a real uWSGI application server (pyuwsgi),
    .address once bound servers.gunicorn("module:app", directory)         gunicorn --protocol uwsgi,
    .address servers.nginx(config_text)                        nginx with the text as its configuration
    servers.announcer(server, key, address, ...)      uwsgirouterctl subscribe servers.node(handler,
    address=None)               a scripted node: every connection is handed to ``handler``
    servers.client(address)                           a scripted uwsgi client: a raw socket with a
    vocabulary servers.directory                                 a short temporary directory (unix socket
    names are limited)

``servers.uwsgi(..., system=True)``, ``servers.fastrouter(..., system=True)``: those of the system's packages, which
know signatures; the wheel's do not. ``Tap`` (tests.servers.tap) keeps every datagram that is sent to it.

``servers.daemon(Redis)``, ``servers.daemon(Memcached)`` (tests.servers.services): the servers that rules ask, with
``stop()``, ``start()`` at the same address, and ``with redis.frozen():``.

Every started process (:class:`Process`) has ``pid``, ``log()``, ``wait_for_log(text)``, ``signal(number)``,
``stop(signal, deadline)`` -> exit code, ``kill()``, ``running``, ``children()``. :class:`Router` adds
``address`` (of the first listener), ``workers()`` (pids), ``wait_for_workers(n)``, ``hup()``,
``config_file`` and ``rewrite(config)``. ``stop()`` sends SIGTERM, waits until the deadline, and raises when
SIGKILL was needed or any process of the session lives on.

Addresses and time: ``free_port()``, ``free_udp_port()``, ``local(port)``, ``is_listening(address)``,
``is_bound_udp(address)``, ``wait_until(predicate, deadline, what)`` which returns the predicate's value.

Bytes (tests.servers.wire, independent of the package under test): ``packet(variables, modifier1,
modifier2)``, ``get(key, path)`` and ``post(key, length, path)`` make variables, ``unpack(block)``,
``announcement(key, address, ...)``, ``announce(server, key, address, ...)`` sends one datagram,
``Reply.parse(bytes)`` reads an HTTP response.

Scripted client: ``send(data)``, ``send_packet(variables, body, pieces=[...])``, ``half_close()``,
``reset()``, ``read(n)``, ``read_all()`` -> (bytes, End.EOF | End.RESET | End.SILENT), ``reply()`` -> Reply,
``abandon()``. ``fetch(address, key, ...)`` -> Reply is the whole of it in one call.

Scripted node: a handler takes a :class:`Connection`: ``read_packet()`` -> Received (modifiers, variables),
``read_body(n)``, ``read_until_eof()``, ``send(data)``, ``answer(body, status)``, ``half_close()``,
``reset()``, ``received`` (all bytes so far). Ready handlers: ``answer(body)``, ``echo``, ``hang``,
``close_at_once``, ``reset_at_once``, ``reset_after_packet``. ``node.connections``, ``node.wait_for(n)``,
``node.refuse()`` / ``node.accept_again()``.

Load: ``SteadyLoad(http_get(port, host), rate=100)`` as a context manager; ``results``, ``failures``,
``share()`` (answers by body), ``since(moment)``; ``uwsgi_get(address, key)`` asks a router without a web
server.
"""

from tests.servers.client import Client, End, fetch
from tests.servers.load import Outcome, SteadyLoad, http_get, uwsgi_get
from tests.servers.node import (
    Connection,
    Handler,
    Node,
    Received,
    answer,
    close_at_once,
    echo,
    hang,
    reset_after_packet,
    reset_at_once,
)
from tests.servers.ports import free_port, free_udp_port, is_bound_udp, is_listening, local
from tests.servers.process import Process, wait_until
from tests.servers.programs import Announcer, FastRouter, Gunicorn, Nginx, Router, UwsgiApp
from tests.servers.services import Daemon, Detour, Memcached, Redis
from tests.servers.started import Servers
from tests.servers.wire import Reply, announce, announcement, get, packet, post, unpack

__all__ = [
    "Announcer",
    "Client",
    "Connection",
    "Daemon",
    "Detour",
    "End",
    "FastRouter",
    "Gunicorn",
    "Handler",
    "Memcached",
    "Nginx",
    "Node",
    "Outcome",
    "Process",
    "Received",
    "Redis",
    "Reply",
    "Router",
    "Servers",
    "SteadyLoad",
    "UwsgiApp",
    "announce",
    "announcement",
    "answer",
    "close_at_once",
    "echo",
    "fetch",
    "free_port",
    "free_udp_port",
    "get",
    "hang",
    "http_get",
    "is_bound_udp",
    "is_listening",
    "local",
    "packet",
    "post",
    "reset_after_packet",
    "reset_at_once",
    "unpack",
    "uwsgi_get",
    "wait_until",
]
