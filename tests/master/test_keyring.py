"""The keyring: keys are found by name, read anew when they change, and never looked for elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.protocol.keys import pair
from uwsgirouter.errors import ProtocolError
from uwsgirouter.master import keyring
from uwsgirouter.master.keyring import Keyring, owners


def is_key_of(ring: Keyring, key: bytes, number: int) -> bool:
    found = ring.find(key)
    assert found is not None
    return found.verifies(pair("ec", number).private.sign(b"x", "SHA256"), b"x", "SHA256")


def test_a_key_is_found_by_its_name_and_its_changes_count_at_once(tmp_path: Path) -> None:
    ring = Keyring(str(tmp_path))
    assert ring.find(b"foo.com:8000") is None
    file = tmp_path / "foo.com_8000.pem"
    file.write_bytes(pair("ec").public_pem)
    assert is_key_of(ring, b"foo.com:8000", 0)
    assert ring.find(b"foo.com:8000") is ring.find(b"foo.com:8000"), "parsed once"
    other = tmp_path / "new"
    other.write_bytes(pair("ec", 1).public_pem)
    other.replace(file)
    assert is_key_of(ring, b"foo.com:8000", 1)
    file.unlink()
    assert ring.find(b"foo.com:8000") is None


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    ring = Keyring(str(tmp_path))
    (tmp_path / "a.pem").write_bytes(b"no key")
    (tmp_path / "b.pem").mkdir()
    os.mkfifo(tmp_path / "c.pem")
    for key in (b"a", b"b", b"c"):
        with pytest.raises(ProtocolError, match=f"bad public key: {tmp_path}/{key.decode()}.pem: .") as caught:
            ring.find(key)
        assert caught.value.reason == "bad public key"


def test_names_too_long_for_a_file_system_have_no_key(tmp_path: Path) -> None:
    assert Keyring(str(tmp_path)).find(b"k" * 255) is None


def test_only_so_many_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "KEPT_MAX", 2)
    ring = Keyring(str(tmp_path))
    for name in "abc":
        (tmp_path / f"{name}.pem").write_bytes(pair("ec").public_pem)
    first, last = ring.find(b"a"), (ring.find(b"b"), ring.find(b"c"))[1]
    assert ring.find(b"c") is last
    assert ring.find(b"a") is not first


def test_owners_of_the_files_of_a_key(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    (one / "sub").mkdir(parents=True)
    two.mkdir()
    for file in (one / "foo.com", two / "foo.com", one / "sub" / "shop", tmp_path / "outside"):
        file.touch()
    mine = (os.getuid(), os.getgid())
    both = (str(one), f"{two}/")
    assert list(owners(both, b"foo.com")) == [mine, mine]
    assert list(owners(both, b"sub/shop")) == [mine], "a key with a mount point"
    assert list(owners(both, b"bar.com")) == []
    for key in (
        b"../outside",
        b"sub/../../outside",
        b"/etc/passwd",
        b"sub/",
        b".",
        b"..",
        b"foo\0",
        b"\xff",
        b"k" * 255,
    ):
        assert list(owners(both, key)) == [], key


def test_what_is_mounted_on_a_host_may_have_the_hosts_key(tmp_path: Path) -> None:
    (tmp_path / "foo.com.pem").write_bytes(pair("ec").public_pem)
    (tmp_path / "foo.com_own.pem").write_bytes(pair("ec", 1).public_pem)
    ring = Keyring(str(tmp_path), mount_points=True)
    assert is_key_of(ring, b"foo.com", 0)
    assert is_key_of(ring, b"foo.com/one/two", 0)
    assert is_key_of(ring, b"foo.com/own", 1)
    assert ring.find(b"bar.com/one") is None
    assert ring.find(b"/foo.com") is None
    assert Keyring(str(tmp_path)).find(b"foo.com/one") is None
