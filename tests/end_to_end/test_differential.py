"""The same packets to the C FastRouter and to the router under test: the same bytes at the nodes and at the client.

Every way to find a node has a configuration that both read, and keys that lead to nodes, to nothing, or are no keys.
Where the C FastRouter closes without a byte, so must ours (``fastrouter-error-pages = false``). What differs on purpose
(docs/differences.md) is left out here; test_differences.py shows it.
"""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Callable, Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests import hypothesis_profiles
from tests.end_to_end.twins import LISTENERS, Outcome, Request
from tests.end_to_end.ways import (
    ORDER,
    WAYS,
    Way,
    code_string,
    in_order,
    post_buffering,
    small_buffers,
    subscription,
    to_tcp,
    to_unix,
)
from tests.servers import End, Servers, packet
from tests.servers.wire import Variables, unpack

hypothesis_profiles.load()
FEWER = settings(max_examples=settings.default.max_examples // 2)

NAMES = (b"HTTP_HOST", b"SERVER_NAME", b"UWSGI_FASTROUTER_KEY")
LARGE = 20 * 1000 * 1000


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.__name__)
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    """Both routers with one way's configuration, stopped after the last test of that way."""
    servers = Servers()
    try:
        yield request.param(servers)
    finally:
        servers.close()


def of(*ways: Callable[[Servers], Way]) -> pytest.MarkDecorator:
    """These ways only: for what does not depend on how a node is found."""
    return pytest.mark.parametrize("way", ways, ids=lambda way: way.__name__, indirect=True)


# -- requests ---------------------------------------------------------------------------------------------------------

SIZES = st.sampled_from([0, 1, 2, 4095, 4096, 4097, 8191, 8192, 8193, 65535, 65536, 65537, 131073, 300_000])
BLOCKS = st.one_of(
    st.integers(0, 400),
    st.integers(400, 65535),
    st.sampled_from([4091, 4092, 4093, 32764, 65530, 65531, 65532, 65533, 65534, 65535]),
)
"""Bytes of variables; a packet whose variables need more is as large as they are."""


@st.composite
def key_variables(draw: st.DrawFn, way: Way) -> Variables:
    """The variables that can hold a key, in any order, any of them repeated."""
    values = st.sampled_from([*way.known * 3, *way.unknown, b"z" * 256, b"z" * 300])
    if way.any_key:
        values |= st.binary(min_size=1, max_size=257)
    variable = st.tuples(st.sampled_from(NAMES), values) | st.just((b"SERVER_NAME", b""))
    return draw(st.lists(variable, min_size=1, max_size=5))


@st.composite
def requests(draw: st.DrawFn, way: Way) -> Request:
    """One request with everything that may vary."""
    variables = draw(key_variables(way))
    seed = draw(st.integers(0, 1 << 16))
    chance = random.Random(seed)
    body = chance.randbytes(draw(SIZES))
    length = draw(st.sampled_from(way.lengths))
    others = [(b"X_BODY", b"%d" % len(body)), (b"X_SEED", b"%d" % seed), (b"X_ANSWER", b"%d" % draw(SIZES))]
    if length != b"absent":
        others.append((b"CONTENT_LENGTH", b"%d" % len(body) if length == b"exact" else length))
    for variable in filled(variables + others, draw(BLOCKS), chance):
        variables.insert(chance.randrange(len(variables) + 1), variable)
    whole = packet(variables, draw(st.integers(0, 255)), draw(st.integers(0, 255)))
    cuts = draw(st.lists(st.sampled_from(places(len(whole), len(body), chance)), max_size=4))
    return Request(whole, body, cuts, draw(st.sampled_from(LISTENERS)))


def filled(variables: Variables, size: int, chance: random.Random) -> Variables:
    """The variables after the key's, and more of them up to ``size`` bytes in all, as far as that is possible."""
    missing = size - (len(packet(variables)) - 4)
    ours = [variable for variable in variables if variable[0] not in NAMES]
    while missing > 5:
        value = min(missing - 5, chance.choice((0, 1, 255, 256, 4000, 65000)))
        value = missing - 5 if missing - 5 - value < 5 else value
        ours.append((b"F", chance.randbytes(value)))
        missing -= 5 + value
    return ours


def places(packet_size: int, body_size: int, chance: random.Random) -> list[int]:
    """Where a request may be cut: in the header, around the packet's end, and anywhere."""
    around = [packet_size + step for step in (-1, 0, 1)]
    return [1, 2, 3, 4, 5, 6, *around, *(chance.randrange(1, packet_size + body_size) for _ in range(3))]


def agree(way: Way, request: Request) -> Outcome:
    """Both routers did the same, and this is what."""
    theirs, ours = way.twins.outcomes(request)
    if not theirs.nodes:
        # A refusal: nobody promises how the connection ends when bytes of the client were not read.
        theirs, ours = theirs._replace(end=End.EOF), ours._replace(end=End.EOF)
    assert ours == theirs
    return theirs


@settings(max_examples=settings.default.max_examples * 2 // 3)
@given(data=st.data())
def test_the_same_bytes(way: Way, data: st.DataObject) -> None:
    agree(way, data.draw(requests(way)))


@of(to_tcp, subscription, post_buffering, code_string)
@FEWER
@given(data=st.data())
def test_the_same_refusals(way: Way, data: st.DataObject) -> None:
    """Packets with bytes changed, most of them in lengths: both refuse, or both pass the same on."""
    seed = data.draw(st.integers(0, 1 << 16))
    variables = [(b"HTTP_HOST", way.known[0]), (b"X_SEED", b"%d" % seed), *data.draw(key_variables(way))]
    damaged = bytearray(packet(variables))
    for place in data.draw(st.lists(st.sampled_from(lengths_in(variables)), min_size=1, max_size=2)):
        damaged[place] = data.draw(st.integers(0, 255) | st.sampled_from(near(damaged[place])))
    assume(not wipes_the_key(bytes(damaged[4:])))
    agree(way, Request(bytes(damaged)))


@of(to_tcp)
def test_every_length_a_little_wrong(way: Way) -> None:
    """Each byte of each length in turn, and packets that end anywhere."""
    variables = [(b"A", b""), (b"SERVER_NAME", b"a.example"), (b"B", b"x" * 256), (b"HTTP_HOST", b"b.example")]
    whole = packet(variables)
    for place in lengths_in(variables):
        for value in near(whole[place]):
            agree(way, Request(whole[:place] + bytes((value,)) + whole[place + 1 :]))
    for size in range(len(whole) - 4):
        agree(way, Request(whole[:1] + struct.pack("<H", size) + whole[3 : 4 + size]))


@of(to_tcp)
@pytest.mark.parametrize("name", NAMES)
def test_every_size_of_a_key(way: Way, name: bytes) -> None:
    for size in range(1, 258):
        seen = agree(way, Request(packet([(name, b"k" * size)])))
        assert len(seen.nodes) == (1 if size < 256 else 0)


@of(subscription)
def test_every_order_of_two_variables_and_some_of_more(way: Way) -> None:
    """Which of several keys counts: their nodes differ."""
    values = (b"a.example", b"a.example:8000", b"nobody.example", b"z" * 256)
    variables = [*itertools.product(NAMES, values), (b"SERVER_NAME", b"")]
    orders = [order for count in (1, 2) for order in itertools.product(variables, repeat=count)]
    orders += random.Random(3).sample([*itertools.product(variables, repeat=3)], 200)
    for order in orders:
        agree(way, Request(packet(order)))


@of(to_tcp, to_unix, small_buffers)
@pytest.mark.parametrize("length", [b"", b"0", b"999", b"1001", b"12abc", b"-1", b" 1000", None])
def test_a_body_that_is_not_what_was_announced(way: Way, length: bytes | None) -> None:
    """It comes after the packet; a router that takes the request for complete must pass it on all the same."""
    variables = [(b"HTTP_HOST", b"a.example"), (b"X_BODY", b"1000"), (b"X_ANSWER", b"3000")]
    whole = packet([*variables, *([] if length is None else [(b"CONTENT_LENGTH", length)])])
    seen = agree(way, Request(whole, b"x" * 1000, [len(whole)]))
    assert [arrived.size for _, arrived in seen.nodes] == [len(whole) + 1000]


@pytest.mark.parametrize("first", ORDER)
def test_one_of_several_ways_is_used(servers: Servers, first: str) -> None:
    """The same one, whatever the order in the file."""
    theirs, ours = in_order(servers, first).outcomes(Request(packet([(b"HTTP_HOST", b"a.example")])))
    assert [name for name, _ in theirs.nodes] == [first]
    assert ours == theirs


def near(value: int) -> list[int]:
    """Other values of a byte, the ones next to it among them."""
    return sorted({(value + 1) % 256, (value - 1) % 256, 0, 255} - {value})


def lengths_in(variables: Variables) -> list[int]:
    """Where in a packet the bytes of its lengths are, and the first bytes of its names."""
    found = []
    position = 4
    for name, value in variables:
        found += [position, position + 1, position + 2, position + 2 + len(name), position + 3 + len(name)]
        position += 4 + len(name) + len(value)
    return found


def wipes_the_key(block: bytes) -> bool:
    """What differs on purpose: there an empty variable wipes the key that another one gave."""
    try:
        return any(not value and name in NAMES for name, value in unpack(block))
    except (AssertionError, ValueError, struct.error):
        return False


@of(to_tcp, post_buffering)
@FEWER
@given(data=st.data())
def test_a_packet_that_is_cut_reaches_nobody(way: Way, data: st.DataObject) -> None:
    whole = data.draw(requests(way)).packet
    cut = data.draw(st.integers(0, len(whole) - 1) | st.sampled_from([0, 1, 3, 4, len(whole) - 1]))
    request = Request(whole[:cut], half_close=True)
    assert agree(way, request).nodes == ()


@of(to_tcp, to_unix, post_buffering)
def test_twenty_megabytes_up_and_down(way: Way) -> None:
    chance = random.Random(20)
    variables = [(b"HTTP_HOST", b"a.example"), (b"CONTENT_LENGTH", b"%d" % LARGE), (b"X_BODY", b"%d" % LARGE)]
    whole = packet([*variables, (b"X_ANSWER", b"%d" % LARGE), (b"X_SEED", b"3")])
    cuts = sorted(chance.sample(range(LARGE), 40))
    seen = agree(way, Request(whole, chance.randbytes(LARGE), cuts, "unix" if "path" in way.twins.nodes[0] else "tcp"))
    assert seen.answer.size == LARGE
    assert [arrived.size for _, arrived in seen.nodes] == [len(whole) + LARGE]
