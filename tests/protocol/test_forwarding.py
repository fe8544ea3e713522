"""Announcements that are passed on: never in circles, never back; and the acknowledgement's text."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.acknowledgement import encode_acknowledgement
from uwsgirouter.protocol.forwarding import (
    ID_BYTES,
    NEAR_MOST,
    backup_of,
    check_route,
    forwarded,
    receivers,
    router_id,
)
from uwsgirouter.protocol.subscription import BACKUP_MAX, HOPS_MAX, Announce, decode_announce, encode_announce
from uwsgirouter.settings.address import NOWHERE, parse_peer

NODE = Announce(
    b"foo.com",
    parse_peer("127.0.0.1:3031"),
    5,
    6,
    weight=9,
    cores=4,
    load=2,
    unix=7,
    algo="lrc",
    backup=2,
    sni_crt=b"/c",
)
HERE = parse_peer("10.0.0.1:3017")


def id_of(number: int) -> bytes:
    return router_id(number.to_bytes(ID_BYTES, "big"))


def test_what_is_passed_on() -> None:
    assert forwarded(NODE, id_of(1), HERE) == Announce(
        b"foo.com", HERE, 5, 6, algo="lrc", sni_crt=b"/c", route=(b"0000000000000001",)
    )


def test_each_router_writes_its_id_behind_the_others() -> None:
    first = forwarded(NODE, id_of(1), HERE)
    assert first is not None
    second = forwarded(decode_announce(encode_announce(first)), id_of(2), HERE)
    assert second is not None
    assert (second.origin, second.hops, second.route) == (id_of(1), 2, (id_of(1), id_of(2)))


def test_a_leave_is_passed_on_as_one() -> None:
    passed = forwarded(Announce(b"foo.com", NODE.address, leaving=True), id_of(1), HERE)
    assert passed is not None
    assert decode_announce(encode_announce(passed)).leaving


@pytest.mark.parametrize(
    "announce",
    [
        Announce(b"k", NOWHERE, vassal=b"one.ini", inactive=True),
        Announce(b"k", NODE.address, vassal=b"one.ini", cleared=True),
        Announce(b"k", NODE.address, route=(id_of(1),)),
        Announce(b"k", NODE.address, route=(id_of(2), id_of(1), id_of(3))),
        Announce(b"k", NODE.address, route=tuple(map(id_of, range(2, 2 + HOPS_MAX)))),
    ],
)
def test_what_is_not_passed_on(announce: Announce) -> None:
    assert forwarded(announce, id_of(1), HERE) is None


def test_what_came_back_is_refused() -> None:
    check_route(NODE, id_of(1))
    check_route(Announce(b"k", NODE.address, route=(id_of(2),)), id_of(1))
    with pytest.raises(ProtocolError) as caught:
        check_route(Announce(b"k", NODE.address, route=(id_of(1), id_of(2))), id_of(1))
    assert caught.value.reason == "came back"


def test_nothing_goes_back_where_it_came_from() -> None:
    routers = [parse_peer(text) for text in ("10.0.0.2:2626", "[::1]:2626", "/run/other", "10.0.0.3:2626")]
    assert receivers(routers, ("10.0.0.2", 2626)) == routers[1:]
    assert receivers(routers, ("::1", 2626, 0, 0)) == [routers[0], *routers[2:]]
    assert receivers(routers, ("10.0.0.2", 40000)) == routers
    assert receivers(routers, "/run/other") == [routers[0], routers[1], routers[3]]
    assert receivers(routers, "") == receivers(routers, None) == routers
    assert receivers([parse_peer("@one"), parse_peer("@two")], b"\0one\0") == [parse_peer("@two")]


def test_routers_come_after_all_nodes_of_our_own_and_the_nearest_first() -> None:
    assert [backup_of(hops) > NEAR_MOST for hops in range(1, HOPS_MAX + 1)] == [True] * HOPS_MAX
    assert backup_of(1) < backup_of(2) < backup_of(HOPS_MAX) <= BACKUP_MAX


@given(st.integers(2, 12), st.data())
def test_any_network_of_routers_comes_to_rest(count: int, data: st.DataObject) -> None:
    """Whoever passes on to whomever: of one announcement, no router takes in more than once from each way round."""
    links = {
        router: data.draw(st.sets(st.integers(0, count - 1), max_size=3), label=f"{router} passes on to")
        for router in range(count)
    }
    waiting = deque([(0, NODE)])
    taken = 0
    while waiting:
        router, announce = waiting.popleft()
        try:
            check_route(announce, id_of(router))
        except ProtocolError:
            continue
        taken += 1
        assert len(set(announce.route)) == announce.hops <= HOPS_MAX
        passed = forwarded(announce, id_of(router), HERE)
        if passed is not None:
            waiting.extend((other, passed) for other in links[router])
        assert taken < 3 ** (HOPS_MAX + 1)


def test_two_routers_that_point_at_each_other_stay_quiet() -> None:
    first = forwarded(NODE, id_of(1), HERE)
    assert first is not None
    second = forwarded(first, id_of(2), HERE)
    assert second is not None
    with pytest.raises(ProtocolError, match="came back"):
        check_route(second, id_of(1))


def test_a_real_server_can_read_what_is_passed_on() -> None:
    """The route is one more variable, which uWSGI reads over; the datagram stays small."""
    announce = Announce(b"k" * 255, parse_peer("@" + "a" * 100), route=tuple(map(id_of, range(HOPS_MAX - 1))))
    passed = forwarded(announce, id_of(99), HERE)
    assert passed is not None
    assert len(encode_announce(passed)) < 1000


def test_the_acknowledgement_in_the_words_of_uwsgi() -> None:
    assert encode_acknowledgement(NODE) == b"[subscription ack] foo.com => new node: 127.0.0.1:3031"
    odd = Announce(b"\xff\n", parse_peer("/tmp/\udcff"))
    assert encode_acknowledgement(odd) == b"[subscription ack] \xff\n => new node: /tmp/\xff"
