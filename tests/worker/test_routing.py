"""Rules in a worker: what a chain decides happens to the session, byte for byte, and nothing of it leaks."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from tests.servers import Connection, End, Node, Servers, answer, echo, get, hang, post, reset_after_packet, wait_until
from tests.servers.node import Received
from tests.servers.wire import Reply, Variables
from tests.worker.site import Site

MEGABYTE = 1 << 20
BIG = os.urandom(8 * MEGABYTE)

RULES = """\
route-host = ^(k\\d+\\.example)$ addvar:RULED=yes
route = ^/old/(.*) redirect:http://new.example/$1
route = ^/moved setkey:${qs[to]}
route = ^/direct node:${HTTP_X_NODE}
route = ^/rewritten rewrite:/index?from=rewritten
route = ^/uwsgi uwsgi:${HTTP_X_NODE},7,3
route = ^/http httpdumb:${HTTP_X_NODE}
route = ^/tunnel httpconnect:${HTTP_X_NODE}
route = ^/file file:filename=${HTTP_X_FILE}
route = ^/nothing break:
route = ^/broken goto:nowhere-${HTTP_X_NODE}
route = ^/many addvar:MANY=${HTTP_X_MANY}
route = ^/slow harakiri:1
route = ^/gzip gzip:
route = ^/plain last:
response-route = ^/headed addheader:X-Ruled: response
response-route = ^/gzip addheader:Content-Encoding: gzip
error-route-status = 503 goto:sorry
error-route-run = last:
error-route-label = sorry
error-route = ^/paged clearheaders:503 Sorry
error-route = ^/paged addheader:Content-Type: text/plain
error-route = ^/paged send:we are sorry
error-route = ^/paged break:
final-route = ^/logged log:final ${uwsgi[status]} ${PATH_INFO}
"""


@pytest.fixture(scope="module")
def ruled(started: Servers) -> Site:
    return Site(started, "fastrouter-timeout = 4", "no-fd-passing = true", *RULES.splitlines())


def ask(site: Site, key: str, path: str, extra: Variables | None = None, kind: str = "tcp") -> Reply:
    """One request without a body."""
    with site.servers.client(site.address(kind)) as client:
        client.send_packet(get(key, path, extra=extra))
        return client.reply()


def node_header(address: str) -> Variables:
    return [(b"HTTP_X_NODE", address.encode())]


def packet_of(node: Node) -> Received:
    """The packet of the last connection."""
    packet = node.connections[-1].packet
    assert packet is not None
    return packet


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_rules_answer_without_a_node(ruled: Site, kind: str) -> None:
    reply = ask(ruled, ruled.key(), "/old/page", kind=kind)
    assert (reply.status, reply.header("location")) == (302, "http://new.example/page")


def test_an_answer_leaves_a_body_unread_and_reaches_its_client(ruled: Site) -> None:
    baseline = ruled.descriptors()
    with ruled.servers.client(ruled.tcp) as client:
        client.send_packet(post(ruled.key(), 4 * MEGABYTE, "/old/x"), b"x" * MEGABYTE)
        reply = client.reply()
    assert reply.status == 302
    wait_until(lambda: ruled.descriptors() <= baseline, 10, "nothing is left")


def test_a_node_sees_what_rules_made_of_the_request(ruled: Site) -> None:
    key, node = ruled.serve(answer(b"ok"))
    assert ask(ruled, key, "/rewritten", [(b"QUERY_STRING", b"a=b")]).status == 200
    seen = dict(packet_of(node).variables)
    assert (seen[b"PATH_INFO"], seen[b"QUERY_STRING"], seen[b"RULED"]) == (b"/index", b"from=rewritten&a=b", b"yes")


def test_another_key(ruled: Site) -> None:
    key, _ = ruled.serve(answer(b"the other"))
    assert ask(ruled, "nobody.example", "/moved", [(b"QUERY_STRING", f"to={key}".encode())]).body == b"the other"


def test_a_node_that_a_rule_names(ruled: Site) -> None:
    node = ruled.node(answer(b"named"))
    assert ask(ruled, "nobody.example", "/direct", node_header(node.address)).body == b"named"
    name = node.address.replace("127.0.0.1", "localhost")
    assert ask(ruled, "nobody.example", "/direct", node_header(name)).body == b"named", "names are looked up"


def test_a_named_node_that_is_not_there(ruled: Site) -> None:
    node = ruled.node(answer(b"x"))
    node.refuse()
    reply = ask(ruled, "nobody.example", "/direct", node_header(node.address))
    assert (reply.status, reply.header("x-uwsgirouter-cause")) == (502, "connect-failed")


def test_modifiers_of_a_rule_count_more_than_those_of_a_node(ruled: Site) -> None:
    node = ruled.node(answer(b"app"))
    assert ask(ruled, "nobody.example", "/uwsgi", node_header(node.address)).body == b"app"
    received = packet_of(node)
    assert (received.modifier1, received.modifier2) == (7, 3)


def test_an_http_server_gets_http(ruled: Site) -> None:
    got: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            data = b""
            while not data.endswith(b"\r\n\r\nhello"):
                data += connection.recv(65536)
            got.append(data)
            connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with ruled.servers.client(ruled.tcp) as client:
            client.send_packet(post("nobody.example", 5, "/http?x=1", node_header(address)), b"hello")
            reply = client.reply()
        thread.join(10)
    assert (reply.status, reply.body) == (201, b"hi")
    assert got[0].startswith(b"POST /http?x=1 HTTP/1.")


def test_a_tunnel_carries_both_ways(ruled: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with ruled.servers.client(ruled.tcp) as client:
            client.send_packet(get("nobody.example", "/tunnel", method="CONNECT", extra=node_header(address)))
            peer, _ = listener.accept()
            with peer:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += client.read_some()
                assert b" 200 Connection established\r\n" in head
                client.send(b"ping")
                assert peer.recv(4) == b"ping"
                peer.sendall(b"pong")
                assert client.read(4) == b"pong"
                client.half_close()
                assert peer.recv(1) == b""


@pytest.mark.parametrize(("path", "size"), [("/headed", 100), ("/headed", len(BIG)), ("/plain", len(BIG))])
def test_a_response_that_rules_see_arrives_whole(ruled: Site, path: str, size: int) -> None:
    key, _ = ruled.serve(answer(BIG[:size]))
    reply = ask(ruled, key, path)
    assert reply.header("x-ruled") == ("response" if path == "/headed" else None)
    assert hashlib.sha256(reply.body).digest() == hashlib.sha256(BIG[:size]).digest()


def test_a_slow_reader_holds_up_the_node_and_not_the_memory(ruled: Site) -> None:
    def pour(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(64):
            connection.send(BIG[:MEGABYTE])

    key, _ = ruled.serve(pour)
    memory = ruled.memory()
    with ruled.servers.client(ruled.tcp, receive_buffer=65536) as client:
        client.send_packet(get(key, "/gzip"))
        total = len(client.read(20 * MEGABYTE))
        assert ruled.memory() - memory < 8 * MEGABYTE
        data, end = client.read_all()
        total += len(data)
    assert end is End.EOF
    assert total > 60 * MEGABYTE, "random bytes do not shrink"


def test_an_operator_serves_pages_of_their_own_for_failures(ruled: Site) -> None:
    reply = ask(ruled, "unknown.example", "/paged")
    assert (reply.status, reply.body) == (503, b"we are sorry")
    assert ask(ruled, "unknown.example", "/other").header("x-uwsgirouter-cause") == "no-node"


def test_a_break_without_an_answer_is_told(ruled: Site) -> None:
    reply = ask(ruled, ruled.key(), "/nothing")
    assert (reply.status, reply.header("x-uwsgirouter-cause")) == (403, "rule-break")


def test_a_rule_that_cannot_go_on_is_told(ruled: Site) -> None:
    reply = ask(ruled, ruled.key(), "/broken", node_header("x"))
    assert (reply.status, reply.header("x-uwsgirouter-cause")) == (500, "rule-failed")
    ruled.router.wait_for_log("goto can only jump forward")
    reply = ask(ruled, ruled.key(), "/many", [(b"HTTP_X_MANY", b"x" * 40000)])
    assert (reply.status, reply.header("x-uwsgirouter-cause")) == (500, "rule-failed"), "no room for it twice"


def test_harakiri(ruled: Site) -> None:
    key, _ = ruled.serve(hang)
    reply = ask(ruled, key, "/slow")
    assert (reply.status, reply.header("x-uwsgirouter-cause")) == (504, "harakiri")


def test_the_final_chain_runs_once_after_each_end(ruled: Site) -> None:
    key, _ = ruled.serve(answer(b"ok"))
    ask(ruled, key, "/logged")
    ask(ruled, "unknown.example", "/logged")
    ruled.router.wait_for_log("final 200 /logged")
    ruled.router.wait_for_log("final 503 /logged")
    assert ruled.router.log().count("final 200 /logged") == 1


def test_a_node_that_ends_within_its_head_has_not_answered(ruled: Site) -> None:
    def half(connection: Connection) -> None:
        connection.read_packet()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Ty")

    key, node = ruled.serve(half)
    reply = ask(ruled, key, "/headed")
    assert (reply.status, reply.header("x-uwsgirouter-cause")) == (502, "node-closed")
    assert len(node.connections) >= 1


def test_another_node_answers_when_one_dies_before_its_head_is_whole(ruled: Site) -> None:
    key, _ = ruled.serve(reset_after_packet)
    ruled.announce(key, ruled.node(answer(b"well")).address)
    for _ in range(4):
        reply = ask(ruled, key, "/headed")
        assert (reply.status, reply.header("x-ruled"), reply.body) == (200, "response", b"well")


def test_a_file_reaches_a_slow_reader_whole(ruled: Site, tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(BIG)
    baseline = ruled.descriptors()
    with ruled.servers.client(ruled.tcp, receive_buffer=65536) as client:
        client.send_packet(get(ruled.key(), "/file", extra=[(b"HTTP_X_FILE", str(path).encode())]))
        reply = client.reply()
    assert hashlib.sha256(reply.body).digest() == hashlib.sha256(BIG).digest()
    wait_until(lambda: ruled.descriptors() <= baseline, 10, "the file is closed")


def test_a_client_that_leaves_in_the_middle_of_a_file(ruled: Site, tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(BIG)
    baseline = ruled.descriptors()
    with ruled.servers.client(ruled.tcp, receive_buffer=65536) as client:
        client.send_packet(get(ruled.key(), "/file", extra=[(b"HTTP_X_FILE", str(path).encode())]))
        client.read(1000)
        client.reset()
    wait_until(lambda: ruled.descriptors() <= baseline, 10, "the file is closed")


def test_a_client_that_leaves_while_its_response_is_changed(ruled: Site) -> None:
    key, node = ruled.serve(echo)
    baseline = ruled.descriptors()
    with ruled.servers.client(ruled.tcp, receive_buffer=65536) as client:
        client.send_packet(post(key, 2 * MEGABYTE, "/gzip"), BIG[:MEGABYTE])
        client.reset()
    ruled.assert_released(key, node, baseline)
    wait_until(node.connections[-1].finished.is_set, 10, "the node has noticed")
    node.expect_errors()  # it may have met a reset, or an end


def test_a_reload_with_a_bad_rule_keeps_the_rules(ruled: Site) -> None:
    text = ruled.router.config_file.read_text()
    try:
        ruled.router.rewrite(text + "route = ^/x nothing-like-this:\n")
        ruled.router.signal(signal.SIGHUP)
        ruled.router.wait_for_log("unknown action 'nothing-like-this'")
        ruled.router.wait_for_log("the old configuration stays in use")
        assert ask(ruled, ruled.key(), "/old/x").status == 302
    finally:
        ruled.router.rewrite(text)
