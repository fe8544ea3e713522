"""Transformations: what goes out, in which pieces, and what the head says of it.

As seen on uWSGI 2.0.30 but where a comment says otherwise.
"""

from __future__ import annotations

import errno
import gzip
import itertools
import os
from collections.abc import Sequence
from http.client import HTTPResponse
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cache.made import spec
from tests.rules.made import Playground, PlayHost, Reply, packet_for
from uwsgirouter.cache.cache import Cache
from uwsgirouter.cache.caches import Caches
from uwsgirouter.errors import ConfigError
from uwsgirouter.protocol.answers import Cause, encode_answer
from uwsgirouter.rules.base import ChainName
from uwsgirouter.rules.response import Response, Stage
from uwsgirouter.rules.transforms import storing

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
EMPTY = HEAD + b"\r\n"
TWO = [HEAD + b"\r\n", b"hello", b"world"]
WITH_LENGTH = [HEAD + b"Content-Length: 10\r\n\r\n", b"hello", b"world"]
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5;x=y\r\nworld\r\n0\r\n\r\n"


def rules_of(*actions: str) -> str:
    return "\n".join(f"route-run = {action}" for action in actions)


def ask(actions: Sequence[str], app: bytes | Sequence[bytes] = WITH_LENGTH, **variables: str) -> Reply:
    return Playground(rules_of(*actions)).get("/", app=app, **variables)


def begun(rules: str, host: PlayHost | None = None) -> Response:
    """The response of a request whose chain has run."""
    play = Playground(rules, host)
    exchange = play.exchange(packet_for("/page"))
    play.table.run(ChainName.REQUEST, exchange)
    return exchange.response


def taken(response: Response) -> bytes:
    return b"".join(piece for piece in response.take() if isinstance(piece, bytes))


class Wire:
    """Stands where http.client wants a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> BytesIO:
        return BytesIO(self._data)


def body_of(raw: bytes) -> bytes:
    """What a client makes of an answer."""
    response = HTTPResponse(Wire(raw))  # type: ignore[arg-type]
    response.begin()
    body = response.read()
    return gzip.decompress(body) if response.getheader("Content-Encoding") == "gzip" else body


# -- gzip ----------------------------------------------------------------------------------------------------------


def test_gzip_makes_uwsgis_bytes_of_each_piece() -> None:
    assert ask(["gzip:"], TWO).body == (
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcaH\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff"
        b"*\xcf/\xcaI\x01\x00\x00\x00\xff\xff\x03\x00\xad \xeb\xf9\n\x00\x00\x00"
    )


def test_gzip_passes_each_piece_on_at_once() -> None:
    response = begun(rules_of("gzip:"))
    response.feed(TWO[0])
    assert not response.take()  # there may be no body, and then no gzip
    response.feed(TWO[1])
    out = taken(response)
    assert out.startswith(b"HTTP/1.1 200 OK\r\n") and out.endswith(b"\x00\x00\xff\xff")


def test_gzip_says_what_it_did() -> None:
    """Other than there: what the node said of its own bytes does not stay."""
    reply = ask(["gzip:"], [HEAD + b'ETag: "x"\r\nContent-Length: 5\r\nAccept-Ranges: bytes\r\n\r\nhello'])
    assert reply.headers == [
        ("Content-Type", "text/plain"),
        ("ETag", 'W/"x"'),
        ("Content-Encoding", "gzip"),
    ]


@pytest.mark.parametrize(
    "app",
    [
        EMPTY,
        HEAD + b"Content-Encoding: br\r\nContent-Length: 5\r\n\r\nhello",
        HEAD.replace(b"200 OK", b"206 Partial") + b"Content-Range: bytes 0-4/10\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\nraw",
    ],
)
def test_gzip_leaves_alone_what_it_cannot_compress(app: bytes) -> None:
    assert ask(["gzip:"], app).raw == app


def test_gzip_without_its_header_is_no_gzip() -> None:
    assert ask(["delheader:Content-Encoding", "gzip:"]).body == b"helloworld"
    assert ask(["gzip:", "send:abc"], TWO).raw == b"abchelloworld"


def test_gzip_from_the_response_chain() -> None:
    """The manual's own example."""
    rules = """
        collect-header = Content-Type MY_CONTENT_TYPE
        response-route-if = equal:${MY_CONTENT_TYPE};text/plain goto:gzipme
        response-route-run = last:
        response-route-label = gzipme
        response-route-if = contains:${HTTP_ACCEPT_ENCODING};gzip gzip:
    """
    play = Playground(rules)
    assert gzip.decompress(play.get("/", {"Accept-Encoding": "gzip"}).body) == b"hello"
    assert play.get("/").body == b"hello"
    html = play.get("/", {"Accept-Encoding": "gzip"}, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nhello")
    assert html.body == b"hello"


# -- chunked -------------------------------------------------------------------------------------------------------


def test_chunked_makes_a_chunk_of_each_piece() -> None:
    reply = ask(["chunked:"], [HEAD + b"\r\n", b"hello", b"world", b"x" * 26])
    assert reply.body == b"5\r\nhello\r\n5\r\nworld\r\n1A\r\n" + b"x" * 26 + b"\r\n0\r\n\r\n"
    assert reply.header("Transfer-Encoding") == "chunked"


def test_chunked_leaves_no_length() -> None:
    """Other than there, where both stay."""
    assert ask(["chunked:"]).header("Content-Length") is None


def test_gzip_and_chunked_in_turn() -> None:
    reply = ask(["gzip:", "chunked:"], TWO)
    assert reply.body.startswith(b"15\r\n\x1f\x8b") and reply.body.endswith(b"\r\n0\r\n\r\n")
    assert body_of(reply.raw) == b"helloworld"


def test_no_chunks_for_those_who_do_not_know_them() -> None:
    """Other than there."""
    assert ask(["chunked:"], TWO, SERVER_PROTOCOL="HTTP/1.0").body == b"helloworld"
    assert ask(["delheader:Transfer-Encoding", "chunked:"], TWO).body == b"helloworld"
    assert ask(["chunked:"], EMPTY).raw == EMPTY


@pytest.mark.parametrize(
    "actions", [("gzip:",), ("fixcl:",), ("toupper:",), ("template:",), ("chunked:",), ("gzip:", "chunked:")]
)
def test_chunks_of_a_node_are_taken_off_before_its_body_is_changed(actions: tuple[str, ...]) -> None:
    """Other than there, where the chunks' sizes are compressed with the rest."""
    assert body_of(ask(actions, CHUNKED).raw).lower() == b"helloworld"


def test_chunks_of_a_node_stay_where_nothing_is_changed_and_go_with_their_header() -> None:
    assert ask(["addheader:A: b"], CHUNKED).body == CHUNKED.partition(b"\r\n\r\n")[2]
    assert ask(["delheader:Transfer-Encoding"], CHUNKED).raw == EMPTY + b"helloworld"
    assert Playground("response-route-run = clearheaders:200").get("/", app=CHUNKED).body == b"helloworld"


# -- lengths -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["fixcl:", "forcecl:"])
def test_the_length_of_a_body_that_had_none(action: str) -> None:
    assert ask([action], TWO).raw == HEAD + b"Content-Length: 10\r\n\r\nhelloworld"
    assert ask([action], EMPTY).raw == HEAD + b"Content-Length: 0\r\n\r\n"
    assert Playground(f"response-route-run = {action}").get("/", app=EMPTY).raw == EMPTY


@pytest.mark.parametrize("action", ["fixcl:", "forcecl:"])
def test_there_is_one_length_only(action: str) -> None:
    """Other than there: a second one comes."""
    assert ask([action]).raw == HEAD + b"Content-Length: 10\r\n\r\nhelloworld"


def test_delheader_removes_what_fixcl_adds_and_not_what_forcecl_adds() -> None:
    assert ask(["fixcl:", "delheader:Content-Length"]).header("Content-Length") is None
    assert ask(["forcecl:", "delheader:Content-Length"]).header("Content-Length") == "10"


@pytest.mark.parametrize(
    ("app", "variables"),
    [
        (HEAD + b"Content-Length: 9\r\n\r\n", {"REQUEST_METHOD": "HEAD"}),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", {}),
        (b"HTTP/1.1 204 No Content\r\n\r\n", {}),
    ],
)
def test_no_length_is_made_up_where_there_is_no_body(app: bytes, variables: dict[str, str]) -> None:
    """Other than there: a length of 0 comes."""
    assert ask(["fixcl:"], app, **variables).raw == app


def test_the_length_is_that_of_what_goes_out() -> None:
    reply = ask(["gzip:", "fixcl:"])
    assert reply.header("Content-Length") == str(len(reply.body))
    assert ask(["fixcl:", "gzip:"]).header("Content-Length") is None
    assert ask(["chunked:", "fixcl:"]).header("Content-Length") is None


# -- flush and toupper ---------------------------------------------------------------------------------------------


def test_toupper() -> None:
    assert ask(["toupper:"], [EMPTY, "straße".encode()]).body == "STRAßE".encode()


@pytest.mark.parametrize("behind", ["fixcl:", "gzip:", "template:", "chunked:"])
def test_what_stands_behind_a_flush_only_looks_on(behind: str) -> None:
    """Other than there, where the body comes twice."""
    reply = ask(["toupper:", "flush:", behind], TWO)
    assert reply.raw == HEAD + b"\r\nHELLOWORLD"


def test_what_is_flushed_is_what_the_client_gets() -> None:
    assert gzip.decompress(ask(["gzip:", "flush:"], TWO).body) == b"helloworld"
    response = begun(rules_of("flush:", "fixcl:"))
    response.feed(TWO[0] + b"hello")
    assert taken(response) == TWO[0] + b"hello"


# -- template ------------------------------------------------------------------------------------------------------


def test_template_fills_the_page_in_once() -> None:
    page = b"a ${PATH_INFO} $0 $1 ${cookie[x]} ${nofunction[x]} ${} ${HTTP_X} $$ $x ${open"
    app = HEAD + b"Content-Length: %d\r\n\r\n" % len(page) + page
    reply = Playground("route = ^/(.*)$ template:").get("/p", {"X": "${PATH_INFO} $1", "Cookie": "x=${PATH_INFO}"}, app)
    assert reply.body == b"a /p /p p ${PATH_INFO}   ${PATH_INFO} $1 $$ $x ${open"
    assert reply.header("Content-Length") == str(len(reply.body))


def test_template_leaves_nothing_behind_in_the_table() -> None:
    play = Playground("route-run = template:")
    before = play.table.wanted
    for number in range(3):
        play.get("/", app=EMPTY + b"${mime[N%d]} ${N%d}" % (number, number))
    assert play.table.wanted == before


def test_a_compressed_page_is_not_filled_in() -> None:
    app = HEAD + b"Content-Encoding: gzip\r\n\r\n${PATH_INFO}"
    assert ask(["template:"], app).raw == app


# -- bounds --------------------------------------------------------------------------------------------------------

SMALL = "transformation-buffer = 4096\n"


@pytest.mark.parametrize("action", ["fixcl:", "forcecl:"])
def test_a_body_too_large_to_hold_passes_as_it_is(action: str) -> None:
    response = begun(SMALL + rules_of(action))
    response.feed(EMPTY + b"x" * 4096)
    assert not response.take()
    response.feed(b"y")
    assert taken(response) == EMPTY + b"x" * 4096 + b"y"
    response.feed(b"z")
    response.feed_end()
    assert taken(response) == b"z"


def test_a_page_too_large_to_fill_in_is_a_failure() -> None:
    response = begun(SMALL + rules_of("template:"))
    response.feed(EMPTY + b"x" * 4097)
    response.feed(b"more")
    assert taken(response) == encode_answer(Cause.ANSWER_TOO_LARGE)
    assert response.stage is Stage.ENDED and response.failure is Cause.ANSWER_TOO_LARGE


def test_a_page_with_too_many_places_is_a_failure() -> None:
    response = begun(rules_of("template:"))
    response.feed(EMPTY + b"$1" * 10_001)
    response.feed_end()
    assert taken(response) == encode_answer(Cause.ANSWER_TOO_LARGE)


# -- half a body ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("app", [HEAD + b"Content-Length: 11\r\n\r\nhelloworld", CHUNKED[:-7]])
def test_half_a_body_that_was_held_is_a_failure(app: bytes) -> None:
    reply = ask(["fixcl:"], app)
    assert reply.raw == encode_answer(Cause.NODE_CLOSED)


@pytest.mark.parametrize("app", [HEAD + b"Content-Length: 11\r\n\r\nhelloworld", CHUNKED[:-7]])
def test_half_a_body_that_is_out_does_not_look_whole(app: bytes) -> None:
    reply = ask(["gzip:", "chunked:"], app)
    assert not reply.raw.endswith(b"0\r\n\r\n")
    assert reply.exchange.response.cut


def test_broken_chunks_are_a_failure() -> None:
    app = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloo\r\n0\r\n\r\n"
    assert ask(["fixcl:"], app).raw == encode_answer(Cause.BAD_ANSWER)


def test_a_transformation_that_comes_after_the_head_does_nothing() -> None:
    rules = "response-route-run = send:abc\nresponse-route-run = toupper:\nresponse-route-run = tofile:filename=/none/x"
    assert Playground(rules).get("/", app=TWO).raw == EMPTY + b"abchelloworld"


# -- answers of rules ----------------------------------------------------------------------------------------------


def test_answers_of_rules_are_transformed_and_heads_and_failures_are_not() -> None:
    assert ask(["fixcl:", "redirect:/x"]).raw == b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 5\r\n\r\nMoved"
    assert body_of(ask(["gzip:", "redirect:/x"]).raw) == b"Moved"
    assert ask(["gzip:", "break:404"]).header("Content-Encoding") is None
    assert ask(["gzip:", "toupper:", "break:"]).raw == encode_answer(Cause.RULE_BREAK)


# -- tofile --------------------------------------------------------------------------------------------------------


def test_the_documentations_example_of_flush(tmp_path: Path) -> None:
    reply = ask(["toupper:", "flush:", f"tofile:filename={tmp_path}/mycache"])
    assert reply.body == b"HELLOWORLD"
    assert (tmp_path / "mycache").read_bytes() == b"HELLOWORLD"
    assert os.listdir(tmp_path) == ["mycache"]


def test_a_file_appears_when_it_is_whole_and_in_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "page"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"untouched")
    target.symlink_to(elsewhere)
    response = begun(rules_of(f"tofile:filename={tmp_path}${{PATH_INFO}},mode=600"))
    response.feed(WITH_LENGTH[0] + b"hello")
    assert taken(response).endswith(b"hello")  # the client does not wait
    assert target.is_symlink()
    response.feed(b"world")
    response.feed_end()
    assert target.read_bytes() == b"helloworld" and not target.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o600
    assert elsewhere.read_bytes() == b"untouched"


@pytest.mark.parametrize(
    "app",
    [
        [HEAD + b"Content-Length: 11\r\n\r\n", b"helloworld"],
        [EMPTY],
        [HEAD.replace(b"200 OK", b"404 Not Found") + b"\r\nhello"],
        [CHUNKED[:-7]],
    ],
)
def test_half_or_empty_or_other_answers_are_not_kept(tmp_path: Path, app: list[bytes]) -> None:
    ask([f"tofile:filename={tmp_path}/page"], app)
    assert os.listdir(tmp_path) == []


def test_a_body_that_nobody_wants_any_more_is_not_kept(tmp_path: Path) -> None:
    response = begun(rules_of(f"tofile:filename={tmp_path}/page"))
    response.feed(EMPTY + b"hello")
    assert len(os.listdir(tmp_path)) == 1
    response.finish()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["/../page", "/none/page", "/", "/a/../../page", "/\0"])
def test_where_no_file_can_be_the_client_gets_its_answer_all_the_same(tmp_path: Path, name: str) -> None:
    (tmp_path / "below").mkdir()
    play = Playground(rules_of(f"tofile:filename={tmp_path}/below${{HTTP_X}}"))
    reply = play.get("/", app=TWO, HTTP_X=name)
    assert reply.body == b"helloworld"
    assert len(reply.log) == 1 and reply.log[0].startswith("tofile: cannot write")
    assert os.listdir(tmp_path) == ["below"] and os.listdir(tmp_path / "below") == []


def test_a_full_disk_is_a_line_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storing.os, "write", full)
    reply = ask([f"tofile:filename={tmp_path}/page"], TWO)
    assert reply.body == b"helloworld"
    assert reply.log == [f"tofile: cannot write {tmp_path}/page: No space left on device"]
    assert os.listdir(tmp_path) == []


def test_a_directory_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    reply = ask([f"to-file:name={tmp_path}/page"])
    assert (reply.body, len(reply.log), os.listdir(tmp_path)) == (b"helloworld", 1, ["page"])


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("tofile:mode=600", "filename= is missing"),
        ("tofile:filename=x,mode=9", "expected octal digits"),
        ("cachestore:name=x", "key= is missing"),
    ],
)
def test_bad_arguments_are_told_at_start(action: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Playground(f"route-run = {action}")


# -- cachestore ----------------------------------------------------------------------------------------------------


class Site:
    """A playground with a cache."""

    def __init__(self, directory: Path) -> None:
        self.host = PlayHost()
        self.host.caches = self.caches = Caches((spec(blocksize=4096, blocks=100),), str(directory))
        self.cache: Cache = self.caches.named("")

    def ask(self, actions: Sequence[str], app: bytes | Sequence[bytes] = TWO) -> Reply:
        return Playground(rules_of(*actions), self.host).get("/page", app=app)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_body_is_kept_in_a_cache_as_it_is_at_that_point(site: Site) -> None:
    reply = site.ask(["cachestore:key=plain${PATH_INFO}", "gzip:", "cache-store:key=zipped"])
    assert site.cache.get(b"plain/page") == b"helloworld"
    assert site.cache.get(b"zipped") == reply.body
    assert gzip.decompress(reply.body) == b"helloworld"


def test_the_arguments_of_cachestore(site: Site) -> None:
    site.ask(["cachestore:key=a,gzip=a.gz,expires=50"])
    assert gzip.decompress(site.cache.get(b"a.gz") or b"") == b"helloworld"
    assert all(ends for _, _, ends in site.cache.items())
    site.ask(["cachestore:key=v,value=at ${PATH_INFO}"], TWO)
    assert site.cache.get(b"v") == b"at /page"
    missing = HEAD.replace(b"200 OK", b"404 Not Found") + b"\r\nsorry"
    site.ask(["cachestore:key=m"], missing)
    assert site.cache.get(b"m") is None
    site.ask(["cachestore:key=m,status=404"], missing)
    assert site.cache.get(b"m") == b"sorry"


def test_what_a_cache_cannot_hold_is_not_kept(site: Site) -> None:
    most = site.cache.spec.value_most
    site.ask(["cachestore:key=big"], [EMPTY, *itertools.repeat(b"x" * 1024, most // 1024), b"x"])
    site.ask(["cachestore:key=cut"], HEAD + b"Content-Length: 11\r\n\r\nhelloworld")
    site.ask(["cachestore:key=none"], EMPTY)
    site.ask(["cachestore:key=k,name=nocache"])
    site.ask(["cachestore:key=${NOTHING}"])
    assert site.cache.keys() == []
    assert ask(["cachestore:key=k"]).body == b"helloworld"  # no cache at all


# -- any pieces ----------------------------------------------------------------------------------------------------

ACTIONS = ["gzip:", "chunked:", "fixcl:", "forcecl:", "toupper:", "template:", "flush:"]
PLAYS: dict[tuple[str, ...], Playground] = {}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=4),
    st.sampled_from([b"".join(TWO), b"".join(WITH_LENGTH), CHUNKED, EMPTY, HEAD + b"\r\n${PATH_INFO} $1 x"]),
    st.lists(st.integers(0, 120), max_size=8),
)
def test_a_client_reads_the_same_of_any_pieces(actions: list[str], answer: bytes, cuts: list[int]) -> None:
    play = PLAYS.setdefault(tuple(actions), Playground(rules_of(*actions)))
    marks = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    pieces = [answer[start:end] for start, end in itertools.pairwise(marks)]
    whole, cut = play.get("/p", app=answer), play.get("/p", app=pieces)
    assert body_of(cut.raw) == body_of(whole.raw)
    assert not cut.exchange.response.cut and cut.exchange.response.failure is None
    different = {"Content-Length"} if "gzip:" in actions else set()
    assert [pair for pair in cut.headers if pair[0] not in different] == [
        pair for pair in whole.headers if pair[0] not in different
    ]
