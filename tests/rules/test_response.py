"""What comes out of answers and rules on them, as seen on uWSGI 2.0.30 but where a comment says otherwise."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rules.made import Playground, Reply, packet_for
from uwsgirouter.protocol.answers import Cause, encode_answer
from uwsgirouter.rules.base import Broken, ChainName
from uwsgirouter.rules.reasons import reason, whole_status
from uwsgirouter.rules.response import Piece, Response, Stage

LINES = b"Content-Type: text/plain\r\nContent-Length: 5\r\nX-A: 1\r\n"
LOGS = """
    error-route-run = log:error ${uwsgi[status]}
    response-route-run = log:response ${uwsgi[status]}
    final-route-run = log:final ${uwsgi[status]} ${uwsgi[rsize]}
"""


def node(status: str = "200 OK", lines: bytes = LINES, body: bytes = b"hello") -> bytes:
    return b"HTTP/1.1 " + status.encode() + b"\r\n" + lines + b"\r\n" + body


def ask(rules: str, app: bytes | list[bytes] = b"", **variables: str | bytes) -> Reply:
    return Playground(rules).get("/", app=app or node(), **variables)


def fresh(rules: str = "response-route-run = last:") -> Response:
    """The response of a request that no chain has seen yet."""
    return Playground(rules).exchange(packet_for("/")).response


def taken(response: Response) -> bytes:
    return b"".join(piece for piece in response.take() if isinstance(piece, bytes))


# -- what passes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        node(),
        node(body=b""),
        node("204 No Content", b"", b""),
        b"HTTP/1.0 200 Very Fine\r\nserver:x\r\nServer:  y\r\n\r\n\0\1\2",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x00",
    ],
)
def test_an_answer_that_no_rule_changes_is_the_same_bytes(answer: bytes) -> None:
    assert ask("response-route = ^/none log:x", answer).raw == answer


def test_interim_responses_are_out_at_once() -> None:
    response = fresh()
    response.feed(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 2")
    assert taken(response) == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    assert response.stage is Stage.NOTHING
    response.feed(b"00 OK\r\n\r\nhi")
    assert taken(response) == b"HTTP/1.1 200 OK\r\n\r\nhi"


def test_the_rest_is_nobodys_business_once_the_head_is_out() -> None:
    response = fresh()
    response.feed(b"HTTP/1.1 200 OK\r\n")
    assert not response.transparent
    response.feed(b"\r\n")
    assert response.transparent and response.stage is Stage.SENT


CASES = {
    "route-run = addheader:A: b|route-run = addheader:C d|route-run = delheader:x-a": (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nA: b\r\nC d\r\n\r\nhello"
    ),
    "route-run = addheader:A: 1|error-route-run = addheader:A: 2|response-route-run = addheader:A: 3": node(
        lines=LINES + b"A: 1\r\nA: 2\r\nA: 3\r\n"
    ),
    "response-route-run = delheader:X-A|route-run = addheader:X-A: 3": node(lines=LINES + b"X-A: 3\r\n"),
    "route-run = remheader:X-A": node(lines=LINES.replace(b"X-A: 1\r\n", b"")),
    "route-run = clearheaders:404 Not Found": node(),
    "response-route-run = addheader:B: 0|response-route-run = clearheaders:404|response-route-run = addheader:B: 1": (
        b"HTTP/1.1 404 Not Found\r\nB: 0\r\nB: 1\r\n\r\nhello"
    ),
    "response-route-run = resetheaders:799": b"HTTP/1.1 799 Unknown\r\n\r\nhello",
    "response-route-run = disableheaders:": b"hello",
    "route-run = send:abc|route-run = send-crnl:def": b"abcdef\r\nhello",
    "response-route-run = send:abc": node(body=b"abchello"),
    "route-run = redirect:http://x${PATH_INFO}": b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\nMoved",
    "route-run = redirect-302:/x": b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\nMoved",
    "route-run = redirect-301:/x": b"HTTP/1.1 301 Moved Permanently\r\nLocation: /x\r\n\r\nMoved Permanently",
    "route-run = redirect-permanent:/x": b"HTTP/1.1 301 Moved Permanently\r\nLocation: /x\r\n\r\nMoved Permanently",
    "route-run = addheader:A: b|route-run = break:404": (
        b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Type: text/plain\r\nA: b\r\n\r\n"
    ),
    "route-run = send:x|route-run = break:": b"x",
    "route-run = clearheaders:404|route-run = addheader:A: b|route-run = break:": (
        b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n"
    ),
    "route-run = clearheaders:404|route-run = send:foo|route-run = last:": b"HTTP/1.1 404 Not Found\r\n\r\nfoo",
    "route-run = clearheaders:403 Forbidden|route-run = addheader:Content-Type: text/plain"
    "|route-run = addheader:Content-Length: 9|route-run = send:Forbidden|route-run = break:": (
        b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nForbidden"
    ),
    "route-run = expires:unix=86400,value=60": node(lines=LINES + b"Expires: Fri, 02 Jan 1970 00:01:00 GMT\r\n"),
    "route-run = expires:value=-5": node(lines=LINES + b"Expires: Thu, 01 Jan 1970 00:00:00 GMT\r\n"),
    # Other than there: an empty line would end the head early.
    "route-run = addheader:${NOTHING}|route-run = addheader:A: b": node(lines=LINES + b"A: b\r\n"),
    # Other than there: Python's start_response refuses, and nothing comes.
    "route-run = disableheaders:": b"hello",
    "error-route-run = disableheaders:": b"hello",
    # Other than there: nothing is sent when all is over.
    "final-route-run = send:abc": node(),
}


@pytest.mark.parametrize("rules", CASES)
def test_actions_on_a_response(rules: str) -> None:
    assert ask(rules.replace("|", "\n")).raw == CASES[rules]


MISSING = node("404 Not Found")
GIVEN = {
    "redirect:/x": b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\nMoved",
    "return:403": b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nForbidden",
    "break:500": b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n",
}
CHAINS = {
    **{("error", action): (answer, "error 404|response {new}|final {new} {size}") for action, answer in GIVEN.items()},
    **{
        ("response", action): (answer, "error 404|response 404|error {new}|final {new} {size}")
        for action, answer in GIVEN.items()
    },
    ("response", "clearheaders:200 OK"): (
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        "error 404|response 404|error 200|final 200 5",
    ),
    ("error", "addheader:Z: 1"): (
        node("404 Not Found", LINES + b"Z: 1\r\n"),
        "error 404|response 404|final 404 5",
    ),
    ("error", "delheader:X-A"): (
        node("404 Not Found", LINES.replace(b"X-A: 1\r\n", b"")),
        "error 404|response 404|final 404 5",
    ),
    # Other than there: two status lines.
    ("error", "clearheaders:200 OK"): (node(), "error 404|response 200|final 200 5"),
    # Other than there: an empty line in place of a head.
    ("error", "break:"): (b"HTTP/1.1 404 Not Found\r\n\r\n", "error 404|response 404|final 404 0"),
    ("error", "send:abc"): (b"HTTP/1.1 404 Not Found\r\n\r\nabc", "error 404|response 404|final 404 3"),
    # Other than there: the head promises a body that does not come.
    ("response", "break:"): (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nX-A: 1\r\n\r\n",
        "error 404|response 404|final 404 0",
    ),
}


@pytest.mark.parametrize(("chain", "action"), CHAINS)
def test_the_chains_on_a_status(chain: str, action: str) -> None:
    answer, log = CHAINS[chain, action]
    reply = ask(f"{LOGS}\n{chain}-route-status = 404 {action}", MISSING)
    assert reply.raw == answer
    assert reply.log == log.format(new=reply.status, size=len(reply.body)).split("|")


@pytest.mark.parametrize("chain", ["error", "response"])
def test_an_operators_own_page(chain: str) -> None:
    rules = f"""{LOGS}
        {chain}-route-status = 404 goto:page
        {chain}-route-run = last:
        {chain}-route-label = page
        {chain}-route-run = clearheaders:404 Sorry
        {chain}-route-run = addheader:Content-Type: text/html
        {chain}-route-run = send:sorry
        {chain}-route-run = break:
    """
    assert ask(rules, MISSING).raw == b"HTTP/1.1 404 Sorry\r\nContent-Type: text/html\r\n\r\nsorry"


def test_each_status_that_a_rule_prepares_runs_the_error_chain() -> None:
    reply = ask(f"{LOGS}\nroute-run = clearheaders:404\nroute-run = clearheaders:405")
    assert reply.log == ["error 404", "error 405", "error 200", "response 200", "final 200 5"]


def test_an_error_page_for_a_break_with_a_status() -> None:
    reply = ask(f"{LOGS}\nerror-route-status = 403 redirect:/login\nroute-run = break:403")
    assert reply.raw == b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\nMoved"
    assert reply.log == ["error 403", "response 302", "final 302 5"]


def test_the_status_line_speaks_the_clients_version() -> None:
    assert ask("route-run = redirect:/x", SERVER_PROTOCOL="HTTP/1.0").raw.startswith(b"HTTP/1.0 302 Found\r\n")
    assert ask("route-run = redirect:/x", SERVER_PROTOCOL="").raw.startswith(b"HTTP/1.0 302 Found\r\n")
    assert ask("route-run = redirect:/x", SERVER_PROTOCOL="HTTP/1.1\r\nA: b").raw.startswith(b"HTTP/1.0 302 Found\r\n")


def test_the_status_line_of_an_http_server_speaks_the_clients_version_and_a_nodes_stays() -> None:
    rules = "route-run = addheader:A: b\nroute = ^/http http:127.0.0.1:1"
    play = Playground(rules)
    served = b"HTTP/1.0 200 Fine Indeed\r\n\r\nhello"
    assert play.get("/http", app=served).raw.startswith(b"HTTP/1.1 200 Fine Indeed\r\n")
    assert play.get("/", app=served).raw.startswith(b"HTTP/1.0 200 Fine Indeed\r\n")
    assert play.get("/http", app=b"nonsense").header("X-Uwsgirouter-Cause") == "bad-answer"


def test_expires_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "page").touch()
    os.utime(tmp_path / "page", (100, 100))
    assert ask(f"route-run = expires:filename={tmp_path}/page,value=20").header("Expires") == (
        "Thu, 01 Jan 1970 00:02:00 GMT"
    )
    assert ask(f"route-run = chdir:{tmp_path}\nroute-run = expires:file=page").header("Expires") is not None
    assert ask(f"route-run = expires:filename={tmp_path}/none").status == 500


def test_what_names_no_header_removes_none() -> None:
    assert ask("route-run = delheader:${NOTHING}").raw == node()


def test_a_header_that_no_delheader_removes() -> None:
    response = fresh()
    response.remove_header(b"A")
    assert response.prepare(b"200")
    response.header(b"a", b"1")
    response.force_header(b"A", b"2")
    response.force_header(b"a", b"3")
    response.complete()
    assert taken(response) == b"HTTP/1.1 200 OK\r\na: 3\r\n\r\n"


# -- client data stays data ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("evil", [b"a\r\nB: c", b"a\nB: c", b"a\rb", b"a\0b"])
@pytest.mark.parametrize(
    "rule",
    [
        "route-run = redirect:${HTTP_X}",
        "route-run = addheader:A: ${HTTP_X}",
        "error-route-run = addheader:A: ${HTTP_X}",
        "response-route-run = addheader:A: ${HTTP_X}",
        "route-run = clearheaders:200 ${HTTP_X}",
        "response-route-run = clearheaders:200 ${HTTP_X}",
    ],
)
def test_a_line_end_of_a_client_begins_no_header(rule: str, evil: bytes) -> None:
    reply = ask(rule, HTTP_X=evil)
    assert reply.status in (400, 500)
    assert b"B: c" not in reply.raw and b"a\rb" not in reply.raw and b"\0" not in reply.raw
    assert reply.exchange.response.failure in (Cause.BAD_HEADER, Cause.RULE_FAILED)


def test_a_refused_header_leaves_nothing_prepared() -> None:
    response = fresh()
    assert response.prepare(b"200 OK")
    with pytest.raises(Broken):
        response.header(b"A", b"b\nc")
    assert response.stage is Stage.NOTHING and not response.take()


# -- collected headers -----------------------------------------------------------------------------------------------


def test_headers_become_variables_and_pulled_ones_leave() -> None:
    reply = ask("""
        collect-header = content-TYPE CT
        pull-header = X-A XA
        response-route-run = addheader:Got: ${CT} ${XA}
        error-route-run = addheader:Early: [${CT}]
    """)
    assert reply.header("X-A") is None
    assert reply.header("Got") == "text/plain 1"
    assert reply.header("Early") == "[]"


def test_the_last_value_is_collected_and_removed_or_added_ones_are_not() -> None:
    reply = ask(
        """
        collect-header = X-B XB
        collect-header = X-C XC
        route-run = delheader:x-c
        route-run = addheader:X-B: added
        response-route-run = addheader:Got: ${XB}/${XC}
        """,
        node(lines=b"X-B: 1\r\nx-b: 2\r\nX-C: 3\r\n"),
    )
    assert reply.header("Got") == "2/"


def test_headers_of_a_redirect_are_collected() -> None:
    reply = ask("collect-header = Location L\nresponse-route-run = addheader:To: ${L}\nroute-run = redirect:/x")
    assert reply.header("To") == "/x"


# -- nodes that do not answer as they should -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"hello", Cause.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70000, Cause.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\nA: b", Cause.NODE_CLOSED),
        (b"HTTP/1.1 103 Early\r\n\r\n", Cause.NODE_CLOSED),
    ],
)
def test_half_an_answer_is_a_failure(answer: bytes, cause: Cause) -> None:
    reply = ask(LOGS, answer)
    assert reply.raw.endswith(encode_answer(cause))
    assert reply.exchange.response.failure is cause
    assert reply.log[:2] == [f"error {cause.value.status}", f"response {cause.value.status}"]


def test_raw_bytes_go_before_an_answer_that_is_no_http() -> None:
    reply = ask("route-run = send:abc", b"hello")
    assert reply.raw == b"abc"
    assert reply.exchange.response.cut


# -- the router's failures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", list(Cause))
def test_a_failure_is_the_answer_that_it_was_without_rules(cause: Cause) -> None:
    response = fresh()
    response.fail(cause)
    assert taken(response) == encode_answer(cause)
    assert response.stage is Stage.ENDED


def test_a_failure_to_a_head_request_has_no_body() -> None:
    response = fresh()
    response.fail(Cause.NO_NODE, head_only=True)
    assert taken(response) == encode_answer(Cause.NO_NODE, head_only=True)


def test_rules_serve_the_page_of_a_failure() -> None:
    response = fresh("""
        error-route-status = 503 clearheaders:503 Later
        error-route-status = 503 addheader:Retry-After: 9
        error-route-status = 503 send:come back
        error-route-status = 503 break:
        response-route-run = addheader:X-R: 1
    """)
    response.fail(Cause.NO_NODE)
    assert taken(response) == b"HTTP/1.1 503 Later\r\nRetry-After: 9\r\nX-R: 1\r\n\r\ncome back"
    assert response.failure is Cause.NO_NODE


def test_headers_of_rules_are_in_a_failure_too() -> None:
    reply = ask("route-run = delheader:Cache-Control\nroute-run = addheader:A: b\nroute-run = break:")
    assert (reply.status, reply.header("A"), reply.header("Cache-Control")) == (403, "b", None)
    assert reply.header("X-Uwsgirouter-Cause") == "rule-break"


def test_without_pages_only_what_rules_answer_goes_out() -> None:
    response = fresh("error-route-status = 502 redirect:/sorry")
    response.fail(Cause.NO_NODE, page=False)
    assert taken(response) == b""
    response = fresh("error-route-status = 502 redirect:/sorry")
    response.fail(Cause.NODE_CLOSED, page=False)
    assert taken(response).startswith(b"HTTP/1.1 302 Found")


@pytest.mark.parametrize(
    "rules",
    [
        "error-route-run = clearheaders:4O4",
        "error-route-run = addheader:${HTTP_X}",
        "response-route-run = addheader:${HTTP_X}",
        "error-route-run = redirect:${HTTP_X}",
        "error-route-run = clearheaders:500",
        "error-route-run = break:",
        "error-route-run = break:500\nresponse-route-run = break:501",
        "response-route-run = return:404\nerror-route-run = return:403",
    ],
)
def test_no_rule_answers_its_own_answers_for_ever(rules: str) -> None:
    reply = ask(rules, HTTP_X="a\nb")
    assert reply.raw.count(b"HTTP/1.1 ") == 1
    assert reply.exchange.depth < 8


def test_a_failure_after_the_head_cuts_the_answer() -> None:
    response = fresh()
    response.feed(node())
    taken(response)
    response.fail(Cause.NODE_RESET)
    assert response.cut and response.stage is Stage.ENDED and not response.take()


def test_a_rule_that_fails_behind_bytes_of_its_own_cuts_the_answer() -> None:
    response = fresh("response-route-run = send:abc\nresponse-route-run = goto:x")
    response.feed(node())
    assert taken(response) == node(body=b"abc")
    assert response.cut and response.stage is Stage.ENDED and response.failure is Cause.RULE_FAILED


# -- from one node to the next ---------------------------------------------------------------------------------------


def test_another_node_begins_anew() -> None:
    response = fresh()
    assert response.prepare(b"404")
    response.reset()
    response.feed(b"HTTP/1.1 2")
    response.reset()
    assert (response.stage, response.status) == (Stage.NOTHING, 500)
    response.own_line = b"Set-Cookie: node=2"
    response.feed(node())
    assert taken(response) == node(lines=b"Set-Cookie: node=2\r\n" + LINES)


def test_a_line_of_the_router_is_not_in_its_failures() -> None:
    response = fresh()
    response.own_line = b"Set-Cookie: node=2"
    response.feed(b"no http")
    assert taken(response) == encode_answer(Cause.BAD_ANSWER)


# -- files -----------------------------------------------------------------------------------------------------------


def opened(tmp_path: Path, data: bytes) -> Piece:
    path = tmp_path / "file"
    path.write_bytes(data)
    return Piece(os.open(path, os.O_RDONLY), 0, len(data))


def is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


def test_a_file_goes_out_behind_the_head(tmp_path: Path) -> None:
    response = fresh()
    piece = opened(tmp_path, b"data")
    assert response.prepare(b"200")
    response.write_file(piece)
    assert response.take() == [b"HTTP/1.1 200 OK\r\n\r\n", piece]
    assert response.body_size == 4
    os.close(piece.descriptor)


def test_a_file_that_comes_too_late_is_closed(tmp_path: Path) -> None:
    response = fresh()
    response.fail(Cause.NO_NODE)
    piece = opened(tmp_path, b"data")
    response.write_file(piece)
    assert is_closed(piece.descriptor)


def test_a_file_is_read_through_transformations_when_it_may_be(tmp_path: Path) -> None:
    play = Playground("route-run = toupper:")
    exchange = play.exchange(packet_for("/"))
    play.table.run(ChainName.REQUEST, exchange)
    response = exchange.response
    assert response.prepare(b"200")
    piece = opened(tmp_path, b"data" * 50000)
    response.write_file(piece, changes=True)
    response.complete()
    assert taken(response).partition(b"\r\n\r\n")[2] == b"DATA" * 50000
    assert is_closed(piece.descriptor)


def test_a_file_without_a_status_is_raw(tmp_path: Path) -> None:
    response = fresh()
    piece = opened(tmp_path, b"data")
    response.write_file(piece)
    assert (response.take(), response.stage) == ([piece], Stage.RAW)
    os.close(piece.descriptor)


def test_a_file_that_becomes_shorter_cuts_the_answer(tmp_path: Path) -> None:
    play = Playground("route-run = toupper:")
    exchange = play.exchange(packet_for("/"))
    play.table.run(ChainName.REQUEST, exchange)
    response = exchange.response
    assert response.prepare(b"200")
    piece = opened(tmp_path, b"data")
    response.write_file(Piece(piece.descriptor, 0, 10), changes=True)
    response.complete()
    assert taken(response) == b"HTTP/1.1 200 OK\r\n\r\nDATA"
    assert response.cut and is_closed(piece.descriptor)


def test_a_large_file_goes_out_as_it_is(tmp_path: Path) -> None:
    play = Playground("route-run = toupper:")
    exchange = play.exchange(packet_for("/"))
    play.table.run(ChainName.REQUEST, exchange)
    response = exchange.response
    assert response.prepare(b"200")
    piece = opened(tmp_path, b"x" * ((1 << 20) + 1))
    response.write_file(piece, changes=True)
    response.complete()
    assert response.take() == [b"HTTP/1.1 200 OK\r\n\r\n", piece]
    os.close(piece.descriptor)


# -- any pieces ------------------------------------------------------------------------------------------------------

TABLES = [
    "response-route-run = addheader:A: b",
    "response-route-status = 404 redirect:/x",
    "error-route-status = 404 break:",
    "route-run = send:abc",
    "route-run = toupper:\nroute-run = fixcl:",
    "route-run = template:",
    "response-route-run = clearheaders:200",
    "pull-header = X-A XA\nresponse-route-run = addheader:Got: ${XA}",
]
ANSWERS = [
    node(),
    MISSING,
    b"HTTP/1.1 100 Continue\r\n\r\n" + node(),
    node(lines=b"Transfer-Encoding: chunked\r\n", body=b"5\r\nhello\r\n3;a=b\r\n${X\r\n0\r\n\r\n"),
    node(lines=b"Content-Length: 50\r\n"),
    b"nonsense",
    b"HTTP/1.1 200 OK\r\nA: b",
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(TABLES), st.sampled_from(ANSWERS), st.lists(st.integers(0, 120), max_size=10))
def test_the_same_answer_comes_out_of_any_pieces(rules: str, answer: bytes, cuts: list[int]) -> None:
    marks = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    pieces = [answer[start:end] for start, end in itertools.pairwise(marks)]
    assert ask(rules, pieces).raw == ask(rules, answer).raw


# -- reasons ---------------------------------------------------------------------------------------------------------


def test_reasons_are_uwsgis() -> None:
    assert reason(b"413") == b"Request Entity Too Large"
    assert reason(b"418") == b"I'm a teapot"
    assert reason(b"308") is None and reason(b"abc") is None and reason(b"4") is None
    assert whole_status(b"404 ") == (404, b"404 Not Found")
    assert whole_status(b"2000") == (200, b"200 OK")
    assert whole_status(b"404 A B") == (404, b"404 A B")


@pytest.mark.parametrize("status", [b"", b"40", b"abc", b"099", b"4 4 x", b"200 A\nB: c", b"200 \0"])
def test_what_is_no_status(status: bytes) -> None:
    with pytest.raises(Broken):
        whole_status(status)
