"""Signed announcements: what a real uWSGI signs is verified, and nothing else is."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.blocks import framed, mutated, string
from tests.protocol.keys import Pair, pair
from tests.servers import Servers
from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.packet import HEADER_SIZE, decode_vars, encode_packet
from uwsgirouter.protocol.signing import PrivateKey, PublicKey, encode_signed, key_file, split_signed
from uwsgirouter.protocol.subscription import DATAGRAM_MAX, Announce, decode_announce
from uwsgirouter.settings.address import parse_peer
from uwsgirouter.settings.senders import DIGESTS

NODE = Announce(b"foo.com", parse_peer("127.0.0.1:3031"), weight=3, cores=4)


def is_good(datagram: bytes, key: Pair, digest: str = "SHA256") -> bool:
    signed, signature = split_signed(datagram)
    return key.public.verifies(signature, signed, digest)


def refusal(datagram: bytes) -> str:
    with pytest.raises(ProtocolError) as caught:
        split_signed(datagram)
    return caught.value.reason


# -- a real uWSGI ---------------------------------------------------------------------------------------------------


def uwsgi_with_signatures() -> str:
    """A uWSGI that was built with OpenSSL (the wheel is not)."""
    for directory in os.get_exec_path():
        found = os.path.join(directory, "uwsgi")
        if os.access(found, os.X_OK):
            shown = subprocess.run([found, "--help"], capture_output=True, text=True, timeout=20, check=True).stdout
            if "--subscriptions-sign-check" in shown:
                return found
    raise AssertionError("no uwsgi with OpenSSL on PATH: run `make test`, which installs Debian's")


@pytest.mark.parametrize(("kind", "digest"), [("rsa", "SHA1"), ("rsa", "SHA256"), ("ec", "SHA256")])
def test_a_real_uwsgi_signs(servers: Servers, kind: str, digest: str) -> None:
    """What it sends when it starts and when it stops; every field that its subscribe2 has in version 2.0."""
    key, other = pair(kind), pair(kind, 1)
    private = Path(servers.path("private.pem"))
    private.write_bytes(key.private_pem)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        fields = f"server=127.0.0.1:{server.getsockname()[1]},key=foo.com:8000,weight=3,modifier1=5,modifier2=6"
        sni = "sni_key=/a/key,sni_crt=/a/crt,sni_ca=/a/ca"
        arguments = ("--master", "--socket", "127.0.0.1:0", "--subscription-notify-socket", "/run/told")
        subscribe2 = f"{fields},{sni},sign={digest}:{private}"
        app = servers.process(uwsgi_with_signatures(), *arguments, "--subscribe2", subscribe2)
        coming = server.recv(DATAGRAM_MAX)
        app.signal(signal.SIGINT)
        datagrams = [coming]
        while not datagrams[-1][3]:
            datagrams.append(server.recv(DATAGRAM_MAX))
    here, gone = decode_announce(coming), decode_announce(datagrams[-1])
    assert (here.key, here.weight, here.modifier1, here.modifier2) == (b"foo.com:8000", 3, 5, 6)
    assert (here.sni_key, here.sni_crt, here.sni_ca) == (b"/a/key", b"/a/crt", b"/a/ca")
    assert (here.notify, here.cores) == (parse_peer("/run/told"), 1)
    assert f"address {here.address.text}" in app.log()
    assert (here.leaving, gone.leaving) == (False, True)
    assert here.unix < gone.unix
    for datagram in datagrams:
        assert is_good(datagram, key, digest)
        assert not is_good(datagram, other, digest)
        assert not is_good(datagram, key, "SHA384")


# -- examples -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rsa", "ec"])
@pytest.mark.parametrize("digest", DIGESTS)
def test_round_trip(kind: str, digest: str) -> None:
    datagram = encode_signed(NODE, pair(kind).private, digest, 1_700_000_000)
    assert is_good(datagram, pair(kind), digest)
    assert decode_announce(datagram).unix == 1_700_000_000
    assert decode_vars(datagram)[-1][0] == b"sign"


def test_what_is_signed_is_all_before_the_signature_without_the_header() -> None:
    datagram = encode_signed(NODE, pair("rsa").private, "SHA256", 7)
    signed, signature = split_signed(datagram)
    assert datagram == datagram[:HEADER_SIZE] + signed + string(b"sign") + string(signature)
    assert signed.endswith(string(b"unix") + string(b"7"))
    assert len(signature) == 256


def test_an_unsubscribe_outdoes_the_announcement_of_its_second() -> None:
    leaving = Announce(b"foo.com", parse_peer("127.0.0.1:3031"), leaving=True)
    datagram = encode_signed(leaving, pair("rsa").private, "SHA256", 100)
    assert (decode_announce(datagram).unix, decode_announce(datagram).leaving) == (101, True)
    assert is_good(datagram, pair("rsa"))


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ([(b"key", b"k")], "not signed"),
        ([(b"key", b"k"), (b"sign", b"")], "not signed"),
        ([(b"key", b"sign")], "not signed"),
        ([(b"key", string(b"sign") + string(b"x"))], "not signed"),
        ([(b"sign", b"s"), (b"key", b"k")], "sign not last"),
        ([(b"key", b"k"), (b"sign", b"s"), (b"sign", b"s")], "sign not last"),
        ([(b"key", b"k"), (b"Sign", b"s")], "not signed"),
        ([], "not signed"),
    ],
)
def test_where_a_signature_stands(variables: list[tuple[bytes, bytes]], reason: str) -> None:
    assert refusal(encode_packet(variables, 224)) == reason


def test_a_signature_alone_signs_nothing_and_is_split_all_the_same() -> None:
    assert split_signed(encode_packet([(b"sign", b"s")], 224)) == (b"", b"s")


@pytest.mark.parametrize("signature", [b"s", b"\0" * 256, b"\xff" * 256, b"\x30" * 70, b"s" * 3000])
@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_junk_is_no_signature(kind: str, signature: bytes) -> None:
    assert pair(kind).public.verifies(signature, b"text", "SHA256") is False


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (b"foo.com", "foo.com.pem"),
        (b"test.uwsgi.it:8000", "test.uwsgi.it_8000.pem"),
        (b"A-z_0.9", "A-z_0.9.pem"),
        (b"../../etc/passwd", ".._.._etc_passwd.pem"),
        (b"/", "_.pem"),
        (b"a\0b", "a_b.pem"),
        ("é".encode(), "__.pem"),
    ],
)
def test_names_of_key_files(key: bytes, name: str) -> None:
    assert key_file(key) == name


@given(st.binary(min_size=1, max_size=255))
def test_no_key_leads_out_of_the_directory(key: bytes) -> None:
    name = key_file(key)
    assert re.fullmatch(r"[0-9A-Za-z._-]+\.pem", name)
    assert len(name) == len(key) + 4


# -- keys -----------------------------------------------------------------------------------------------------------

BROKEN = b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"


@pytest.mark.parametrize("text", [b"", b"no key", BROKEN, b"\xff" * 99])
def test_text_that_is_no_key(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        PublicKey(text)
    with pytest.raises(ValueError, match=r"."):
        PrivateKey(text)


def test_keys_of_another_sort() -> None:
    with pytest.raises(ValueError, match="neither an RSA key"):
        PublicKey(pair("dsa").public_pem)
    with pytest.raises(ValueError, match="neither an RSA key"):
        PrivateKey(pair("dsa").private_pem)


def test_a_private_key_has_no_passphrase() -> None:
    with pytest.raises(ValueError, match="passphrase"):
        PrivateKey(pair("rsa", 0, b"secret").private_pem)


def test_the_library_is_loaded_by_the_first_key() -> None:
    """A router without signatures does not pay for it."""
    program = "import sys, uwsgirouter.master.registrar; print('cryptography' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert shown.stdout == "False\n"


# -- anything -------------------------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=60), st.integers(0, 400), st.integers(1, 255))
def test_one_changed_byte_breaks_it(key: bytes, position: int, change: int) -> None:
    datagram = bytearray(encode_signed(Announce(key, parse_peer("/a")), pair("ec").private, "SHA256", 5))
    signed, _ = split_signed(bytes(datagram))
    at = HEADER_SIZE + position % len(signed)
    datagram[at] ^= change
    try:
        decode_vars(bytes(datagram))
        found = is_good(bytes(datagram), pair("ec"))
    except ProtocolError:
        found = False
    assert found is False


@given(st.lists(st.tuples(st.sampled_from([b"key", b"sign", b"x"]), st.binary(max_size=20)), max_size=6))
def test_any_variables(variables: list[tuple[bytes, bytes]]) -> None:
    datagram = encode_packet(variables, 224)
    names = [name for name, _ in variables]
    good = names.count(b"sign") == 1 and names[-1] == b"sign" and bool(variables[-1][1])
    try:
        signed, signature = split_signed(datagram)
    except ProtocolError as error:
        assert error.reason in ("not signed", "sign not last")
        assert not good
    else:
        assert good
        assert signature == variables[-1][1]
        assert decode_vars(framed(signed, 224)) == variables[:-1]


def test_two_thousand_mutated_datagrams() -> None:
    """None raises anything else, and none of those that can be read is good any more."""
    dice = random.Random(4)
    original = encode_signed(NODE, pair("rsa").private, "SHA256", 5)
    readable = 0
    for _ in range(2000):
        data = framed(mutated(original, dice)[HEADER_SIZE:], 224)
        try:
            decode_announce(data)
            assert data[HEADER_SIZE:] == original[HEADER_SIZE:] or not is_good(data, pair("rsa"))
        except ProtocolError:
            continue
        readable += 1
    assert 20 < readable < 1900, "both sorts of outcome must have been seen"
