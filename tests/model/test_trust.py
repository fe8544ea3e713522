"""Trust: each rule lets through what it should and nothing else; what is refused leaves no trace."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.keys import pair
from uwsgirouter.errors import ProtocolError
from uwsgirouter.model.trust import Credentials, Trust, first_rule
from uwsgirouter.protocol.replay import Replays
from uwsgirouter.protocol.signing import PublicKey, encode_signed
from uwsgirouter.protocol.subscription import Announce, decode_announce, encode_announce
from uwsgirouter.settings.address import NOWHERE, parse_peer
from uwsgirouter.settings.senders import KeyRule, Rules, key_rule, networks

NOW = 1_700_000_000
NODE = Announce(b"foo.com", parse_peer("127.0.0.1:3031"))
UDP = ("10.1.2.3", 5555)
UNIX = "/run/sender"
SIGNED = Rules(digest="SHA256", keys="/etc/keys")


class Court:
    """A Trust with a key for foo.com, and files of other keys by owner."""

    def __init__(self, rules: Rules, owners: dict[bytes, list[tuple[int, int]]] | None = None) -> None:
        self.replays = Replays()
        self.asked = 0
        self._owners = owners or {}
        self.trust = Trust(rules, self.replays, self._key, self._owners_of)

    def _key(self, key: bytes) -> PublicKey | None:
        self.asked += 1
        return pair("rsa").public if key == b"foo.com" else None

    def _owners_of(self, key: bytes) -> Iterable[tuple[int, int]]:
        return self._owners.get(key, [])

    def judge(
        self,
        announce: Announce = NODE,
        sender: object = UDP,
        credentials: Credentials | None = None,
        datagram: bytes = b"",
        now: float = NOW,
    ) -> str:
        """The reason of the refusal, or nothing."""
        datagram = datagram or encode_announce(announce)
        try:
            self.trust.judge(datagram, decode_announce(datagram), sender, credentials, now)
        except ProtocolError as error:
            return error.reason
        return ""

    def signed(self, announce: Announce = NODE, unix: int = NOW, number: int = 0, sender: object = UDP) -> str:
        return self.judge(sender=sender, datagram=encode_signed(announce, pair("rsa", number).private, "SHA256", unix))


def test_without_rules_all_is_let_through() -> None:
    court = Court(Rules())
    assert court.judge() == court.judge(sender=UNIX) == court.judge(sender=("fe80::1%eth0", 1, 0, 2)) == ""


# -- networks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "reason"),
    [
        (("10.0.0.0", 1), ""),
        (("10.255.255.255", 1), ""),
        (("11.0.0.0", 1), "sender not allowed"),
        (("::1", 1, 0, 0), ""),
        (("::2", 1, 0, 0), "sender not allowed"),
        (("::ffff:10.0.0.7", 1, 0, 0), ""),
        (("::ffff:11.0.0.7", 1, 0, 0), "sender not allowed"),
        (("fe80::1%eth0", 1, 0, 2), ""),
        (UNIX, ""),
        (None, ""),
        (b"\0abstract", ""),
    ],
)
def test_networks_of_senders(sender: object, reason: str) -> None:
    court = Court(Rules(allow=networks("10.0.0.0/8,::1,fe80::/10")))
    assert court.judge(sender=sender) == reason
    try:
        court.trust.judge_sender(sender)
    except ProtocolError as error:
        assert error.reason == reason
    else:
        assert not reason


def ruled(*texts: str) -> Court:
    return Court(Rules(key_rules=tuple(map(key_rule, texts))))


@pytest.mark.parametrize(
    "key",
    [
        b"www.example.com",
        b"WWW.Example.COM",
        b".example.com",
        b"www.example.com:8000",
        b"www.example.com.",
        b"www.example.com.:80",
        b"www.example.com/shop",
        b"www.example.com:80/shop",
        b"a\nb.example.com",
    ],
)
def test_a_rule_for_keys_holds_for_every_way_to_write_a_host(key: bytes) -> None:
    announce = NODE._replace(key=key)
    assert ruled("*.example.com 10.0.0.0/8").judge(announce) == ""
    assert ruled("*.example.com 192.168.0.0/16").judge(announce) == "key not allowed"


@pytest.mark.parametrize("key", [b"example.com", b"www.example.org", b"example.com.evil", b"foo"])
def test_other_keys_are_free(key: bytes) -> None:
    assert ruled("*.example.com 192.168.0.0/16").judge(NODE._replace(key=key)) == ""


def test_the_first_pattern_that_matches_counts() -> None:
    court = ruled("www.a.com 192.168.0.0/16", "*.a.com 10.0.0.0/8", "* 127.0.0.0/8")
    keys = (b"www.a.com", b"api.a.com", b"b.com")
    assert [court.judge(NODE._replace(key=key)) for key in keys] == ["key not allowed", "", "key not allowed"]


def test_a_pattern_is_no_expression() -> None:
    assert ruled("a.c 192.168.0.0/16").judge(NODE._replace(key=b"abc")) == ""
    assert ruled("a?c 192.168.0.0/16").judge(NODE._replace(key=b"abc")) == "key not allowed"
    assert ruled("[ab] 192.168.0.0/16").judge(NODE._replace(key=b"a")) == ""
    assert ruled("[ab] 192.168.0.0/16").judge(NODE._replace(key=b"[ab]")) == "key not allowed"


def test_keys_over_a_unix_socket_are_not_a_matter_of_networks() -> None:
    assert ruled("* 192.168.0.0/16").judge(sender=UNIX) == ""


# -- credentials ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credentials", "reason"),
    [
        ((7, 1000, 100), ""),
        ((8, 1001, 101), ""),
        ((7, 1000, 101), "wrong owner"),
        ((7, 0, 0), "wrong owner"),
        (None, "no credentials"),
    ],
)
def test_the_file_of_a_key_says_who_may_announce_it(credentials: Credentials | None, reason: str) -> None:
    court = Court(Rules(owners=("/etc/c",)), {b"foo.com": [(1000, 100), (1001, 101)]})
    assert court.judge(sender=UNIX, credentials=credentials) == reason
    assert court.judge(NODE._replace(key=b"bar.com"), UNIX, credentials) == (reason or "wrong owner")


def test_a_vassal_may_be_required() -> None:
    court = Court(Rules(vassal_required=True))
    assert court.judge() == "vassal required"
    assert court.judge(NODE._replace(vassal=b"one.ini")) == ""
    assert court.judge(NODE._replace(leaving=True)) == "", "who was there before may leave"


# -- signatures -----------------------------------------------------------------------------------------------------


def test_signed_by_the_right_key() -> None:
    court = Court(SIGNED)
    assert court.signed() == ""
    assert court.signed(unix=NOW + 10) == ""
    assert court.signed(NODE._replace(leaving=True), NOW + 10) == ""
    assert court.signed(unix=NOW + 12) == ""


def test_not_signed_or_by_another() -> None:
    court = Court(SIGNED)
    assert court.judge() == "not signed"
    assert court.signed(number=1) == "bad signature"
    assert court.signed(NODE._replace(key=b"bar.com")) == "no public key"
    assert court.signed(unix=NOW - 86401) == "bad time"
    assert court.judge(sender=UNIX, credentials=(1, 0, 0)) == "not signed", "root has no privilege unless it is given"
    assert len(court.replays) == 0, "what is refused leaves no trace"


def test_another_digest_than_the_one_asked_for() -> None:
    court = Court(replace(SIGNED, digest="SHA1"))
    assert court.signed() == "bad signature"


def test_a_replay_is_refused_whatever_happened_in_between() -> None:
    """Also after its unsubscribe, with the header changed, and from another sender."""
    court = Court(SIGNED)
    here = encode_signed(NODE, pair("rsa").private, "SHA256", NOW)
    gone = encode_signed(NODE._replace(leaving=True), pair("rsa").private, "SHA256", NOW + 5)
    assert court.judge(datagram=here) == ""
    as_leave = here[:3] + b"\1" + here[4:]
    assert court.judge(datagram=as_leave) == "replayed"
    assert court.judge(datagram=here, sender=("10.9.9.9", 1)) == "replayed"
    assert court.judge(datagram=gone) == ""
    assert [court.judge(datagram=text, now=NOW + 60) for text in (here, gone)] == ["replayed"] * 2


def test_a_reload_forgets_nothing() -> None:
    court = Court(SIGNED)
    assert court.signed() == ""
    court.trust = Trust(SIGNED, court.replays, court._key, court._owners_of)
    assert court.signed() == "replayed"


def test_a_replay_is_refused_before_any_key_is_looked_up() -> None:
    court = Court(SIGNED)
    court.signed()
    assert court.asked == 1
    court.signed()
    court.signed(unix=5)
    assert court.asked == 1


@pytest.mark.parametrize("address", [":3031", "0.0.0.0:3031", "[::]:3031"])
def test_an_address_that_means_the_sender_cannot_be_signed_for(address: str) -> None:
    """Whoever sniffed the datagram could send it as his own."""
    assert Court(SIGNED).signed(NODE._replace(address=parse_peer(address))) == "open address"
    assert Court(Rules()).judge(NODE._replace(address=parse_peer(address))) == ""


def test_vassals_without_an_address_have_clocks_of_their_own() -> None:
    court = Court(SIGNED)
    one = Announce(b"foo.com", NOWHERE, vassal=b"one.ini", inactive=True)
    assert court.signed(one) == ""
    assert court.signed(one._replace(vassal=b"two.ini"), NOW - 100) == ""
    assert court.signed(one) == "replayed"


@pytest.mark.parametrize(
    ("credentials", "reason"), [((9, 33, 33), ""), ((9, 0, 0), ""), ((9, 34, 33), "not signed"), (None, "not signed")]
)
def test_users_who_need_not_sign(credentials: Credentials | None, reason: str) -> None:
    court = Court(replace(SIGNED, skip_uids=frozenset({0, 33})))
    assert court.judge(sender=UNIX, credentials=credentials) == reason
    assert court.judge(sender=UNIX, credentials=credentials) == reason, "nor is it a replay"


def test_every_rule_must_be_kept() -> None:
    court = Court(
        replace(SIGNED, allow=networks("10.0.0.0/8"), key_rules=(key_rule("foo.com 10.1.0.0/16"),)),
    )
    assert court.signed() == ""
    assert court.signed(unix=NOW + 5, sender=("10.2.0.1", 1)) == "key not allowed"
    assert court.signed(unix=NOW + 5, sender=("11.2.0.1", 1)) == "sender not allowed"
    assert court.judge() == "not signed"
    assert court.signed(unix=NOW + 5) == ""


@pytest.mark.parametrize(
    ("rules", "asks"),
    [
        (Rules(), False),
        (Rules(use_credentials=True, mount_points=True, skip_uids=frozenset({0}), keys="/etc/keys"), False),
        (SIGNED, True),
        (Rules(allow=networks("10.0.0.0/8")), True),
        (Rules(key_rules=(key_rule("*.com 10.0.0.0/8"),)), True),
        (Rules(owners=("/etc/owners",)), True),
        (Rules(vassal_required=True), True),
    ],
)
def test_whether_anything_is_asked(rules: Rules, asks: bool) -> None:
    """If not, announcements that are known by heart are taken without a question."""
    assert Court(rules).trust.asks is asks


# -- anything -------------------------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=255), st.sampled_from(["*.example.com", "?", "a*b", "*", "[", "\\", "é*"]))
def test_any_key_has_a_rule_or_none(key: bytes, pattern: str) -> None:
    found = first_rule([KeyRule(pattern, ())], key)
    assert found is None or found.pattern == pattern
    assert pattern != "*" or found is not None


@given(
    st.binary(min_size=1, max_size=40).filter(lambda key: b"/" not in key), st.sampled_from([b":80", b".", b"/x", b":"])
)
def test_no_ending_escapes_a_rule(key: bytes, ending: bytes) -> None:
    rule = KeyRule("*.example.com", ())
    host = key + b".example.com"
    assert first_rule([rule], host) is rule
    assert first_rule([rule], host + ending) is rule
