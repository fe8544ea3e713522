"""What the log says of the registry's changes: the FastRouter's words, since people grep them."""

from __future__ import annotations

import os

import pytest

from uwsgirouter.master.subscriptions import describe, hash_key
from uwsgirouter.model.changes import Change, Happening
from uwsgirouter.model.events import Gone
from uwsgirouter.model.table import FALLBACK_KEY, STATIC_KEY
from uwsgirouter.settings.address import NOWHERE, parse_peer

PREFIX = f"[uwsgi-subscription for pid {os.getpid()}] "


def described(happening: Happening, key: bytes = b"foo.com", reason: str = "") -> str | None:
    return describe(Change(happening, key, parse_peer("127.0.0.1:3031")), reason, 17.0)


@pytest.mark.parametrize(
    ("happening", "line"),
    [
        (Happening.NEW_POOL, "new pool: foo.com (hash key: 11571)"),
        (Happening.NEW, "foo.com => new node: 127.0.0.1:3031"),
        (Happening.BACK, "foo.com => node is back: 127.0.0.1:3031"),
        (Happening.EXPIRED, "foo.com => marking 127.0.0.1:3031 as failed (no announce received in 17 seconds)"),
        (Happening.LEFT, "foo.com => removing node: 127.0.0.1:3031 (unsubscribed)"),
        (Happening.LEAVING, "foo.com => draining node: 127.0.0.1:3031 (unsubscribed)"),
        (Happening.DRAINED, "foo.com => removing node: 127.0.0.1:3031 (drained)"),
        (Happening.FULL, "foo.com => refusing node: 127.0.0.1:3031 (the registry is full)"),
    ],
)
def test_the_words(happening: Happening, line: str) -> None:
    assert described(happening) == PREFIX + line


def test_a_failure_says_why() -> None:
    line = described(Happening.FAILED, reason="Connection refused")
    assert line == PREFIX + "foo.com => marking 127.0.0.1:3031 as failed (Connection refused)"


def test_other_values_are_not_worth_a_line() -> None:
    assert described(Happening.UPDATED) is None


def test_static_nodes_have_words_of_their_own() -> None:
    failed = described(Happening.FAILED, STATIC_KEY, "Connection refused")
    assert failed is not None and failed.endswith("] marking static node 127.0.0.1:3031 as failed (Connection refused)")
    back = described(Happening.BACK, STATIC_KEY)
    assert back is not None and back.endswith("] static node 127.0.0.1:3031 is tried again")
    assert described(Happening.CONFIGURED, STATIC_KEY) is None
    assert described(Happening.DISCARDED, STATIC_KEY) is None


def test_fallback_nodes_too() -> None:
    failed = described(Happening.FAILED, FALLBACK_KEY, "Connection refused")
    assert failed is not None
    assert failed.endswith("] marking fallback node 127.0.0.1:3031 as failed (Connection refused)")
    back = described(Happening.BACK, FALLBACK_KEY)
    assert back is not None and back.endswith("] fallback node 127.0.0.1:3031 is tried again")
    full = described(Happening.FULL, FALLBACK_KEY)
    assert full is not None and full.endswith("] refusing fallback node 127.0.0.1:3031 (the registry is full)")


@pytest.mark.parametrize(
    ("happening", "address", "line"),
    [
        (Happening.NEW_VASSAL, "127.0.0.1:3031", "new vassal node: one.ini (127.0.0.1:3031)"),
        (Happening.NEW_VASSAL, "", "new vassal node: one.ini (no address yet)"),
        (Happening.AWAKE, "/run/one.sock", "vassal is running: one.ini at /run/one.sock"),
        (Happening.ASLEEP, "/run/one.sock", "vassal stopped: one.ini (/run/one.sock); it is started when it is needed"),
        (Happening.FAILED, "/run/one.sock", "marking /run/one.sock as failed (refused)"),
        (Happening.LEFT, "", "removing node: vassal one.ini (unsubscribed)"),
        (Happening.FORGOTTEN, "", "removing vassal node: one.ini (nobody announced it for hours)"),
    ],
)
def test_vassals_are_named(happening: Happening, address: str, line: str) -> None:
    where = parse_peer(address) if address else NOWHERE
    change = Change(happening, b"foo.com", where, Gone(1), b"one.ini")
    assert describe(change, "refused", 17.0) == f"{PREFIX}foo.com => {line}"


def test_a_key_cannot_forge_a_line() -> None:
    line = described(Happening.NEW, b"a\n\x1b[2Jb")
    assert line is not None and line.isprintable() and "a\\n\\x1b[2Jb => new node" in line


def test_the_hash_is_the_one_in_uwsgis_log() -> None:
    assert hash_key(b"foo.com") == 11571
    assert hash_key(b"") == 5381
    assert hash_key(b"\xff" * 255) < 0xFFFF


@pytest.mark.parametrize(
    ("key", "prefix"), [(b"foo.com", "foo.com => leaving "), (STATIC_KEY, "] leaving static node ")]
)
def test_an_ejected_node_says_for_how_long_and_why(key: bytes, prefix: str) -> None:
    change = Change(Happening.EJECTED, key, parse_peer("127.0.0.1:3031"), detail="2")
    line = describe(change, "", 17.0)
    assert line is not None
    reason = "3 requests reset, closed or not answered in time within 10 s"
    assert line.endswith(f"{prefix}127.0.0.1:3031 alone for 2 s ({reason})")


def test_an_algorithm_that_does_not_exist_is_named_with_those_that_do() -> None:
    change = Change(Happening.ODD_ALGO, b"foo.com", parse_peer("127.0.0.1:3031"), detail="rr")
    expected = "foo.com => ignoring algo rr of 127.0.0.1:3031: not one of wrr, lrc, wlrc, iphash, p2c"
    assert describe(change, "", 17.0) == PREFIX + expected
