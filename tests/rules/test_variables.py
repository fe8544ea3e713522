"""Each variable function."""

from __future__ import annotations

import base64
import builtins
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.rules.made import Playground, PlayHost
from tests.rules.maxmind import write
from uwsgirouter.errors import ConfigError
from uwsgirouter.rules.variables import geoip


def value(text: str, path: str = "/", host: PlayHost | None = None, **variables: str | bytes) -> str:
    (line,) = Playground(f"route-run = log:[{text}]", host).get(path, **variables).log
    return line[1:-1]


@pytest.mark.parametrize(
    ("cookies", "name", "found"),
    [
        ("a=1; b=2", "b", "2"),
        ("a=1;b=2", "b", "2"),
        ("b=; b=2; b=3", "b", "2"),
        ("bb=1", "b", ""),
        ("b = 4 ", "b", ""),
        ("a=1;  b=x%20y=z ", "b", "x%20y=z"),
        ('b="x;y"', "b", '"x'),
        ("", "b", ""),
    ],
)
def test_cookie(cookies: str, name: str, found: str) -> None:
    assert value(f"${{cookie[{name}]}}", HTTP_COOKIE=cookies) == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("b=1", "1"),
        ("a=1&b=2&b=3", "2"),
        ("b=&b=4", "4"),
        ("a=1;b=2", ""),
        ("b=%20+x", "%20+x"),
        ("b", ""),
        ("bb=1", ""),
    ],
)
def test_qs(query: str, found: str) -> None:
    assert value("${qs[b]}", "/?" + query) == found


def test_writings() -> None:
    assert value("${base64[X]}", X=b"\x00abc\xff") == base64.b64encode(b"\x00abc\xff").decode()
    assert value("${hex[X]}", X=b"\x0a\xff") == "0AFF"
    assert value("${upper[X]}${lower[X]}", X="aBé".encode("latin-1")).startswith("AB")
    assert value("${base64[N]}${hex[N]}${upper[N]}${lower[N]}") == ""


def test_time() -> None:
    host = PlayHost(time=1_700_000_000.5)
    assert value("${time[unix]} ${time[micros]}", host=host) == "1700000000 1700000000500000"
    assert value("${httptime[]}", host=host) == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert (
        value("${httptime[60]} ${httptime[-20]}", host=host)
        == "Tue, 14 Nov 2023 22:14:20 GMT Tue, 14 Nov 2023 22:13:00 GMT"
    )
    assert value("${httptime[99999999999999999]}", host=host).endswith("9999 23:59:59 GMT")
    assert value("${httptime[-99999999999999999]}", host=host) == "Thu, 01 Jan 1970 00:00:00 GMT"


def test_uwsgi() -> None:
    assert (
        value("${uwsgi[wid]} ${uwsgi[pid]} ${uwsgi[status]} ${uwsgi[rsize]}", host=PlayHost(worker=7)) == "7 4711 500 0"
    )
    play = Playground(
        "route-run = log:${uwsgi[uuid]}\nfinal-route-run = log:${uwsgi[uuid]} ${uwsgi[status]} ${uwsgi[rsize]}"
    )
    first, last = play.get().log
    assert last == f"{uuid.UUID(first)} 200 5"
    assert play.get().log[0] != first


def test_metric() -> None:
    class Metrics:
        def get(self, name: bytes) -> int:
            return {b"hits": -3}.get(name, 0)

    assert value("${metric[hits]} ${metric[none]}", host=PlayHost(metrics=Metrics())) == "-3 0"
    assert value("${metric[hits]}") == "0"


def test_mime(tmp_path: Path) -> None:
    types = tmp_path / "types"
    types.write_text("image/png png PNG2\ntext/x-odd odd\n")
    play = Playground(f"mime-file = {types}\nroute-run = log:[${{mime[PATH_INFO]}}] [${{mime[REQUEST_URI]}}]")
    assert play.get("/a.b/x.png?y").log == ["[image/png] []"]
    assert play.get("/x.PNG").log == ["[] []"]
    assert play.get("/odd").log == ["[] []"]


def test_extended_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def getxattr(path: bytes, name: bytes) -> bytes:
        asked.append((path, name))
        if name != b"user.a":
            raise OSError("none")
        return b"there"

    monkeypatch.setattr(os, "getxattr", getxattr)
    rules = "route-run = log:[${xattr[/tmp/foo:ATTR]}] [${xattr2[FILE:ATTR]}]"
    assert Playground(rules).get(ATTR="user.a", FILE="/x:y").log == ["[there] [there]"]
    assert asked == [(b"/tmp/foo", b"user.a"), (b"/x:y", b"user.a")]
    assert Playground(rules).get(ATTR="user.b", FILE="").log == ["[] []"]
    monkeypatch.undo()
    assert value("${xattr2[F:A]}", F=f"{tmp_path}/none\0", A="user.x") == ""
    for wrong in ("${xattr[/tmp/foo]}", "${xattr2[:A]}", "${xattr[/tmp/foo:]}"):
        with pytest.raises(ConfigError, match=r"expected \$\{xattr"):
            Playground(f"route-run = log:{wrong}")


SUMS = [
    ("1+2", "3"),
    ("CONTENT_LENGTH+1", "43"),
    ("CONTENT_LENGTH*2-(1-3)*4", "92"),
    ("2^3^2", "512"),
    ("-2^2", "-4"),
    ("--2", "2"),
    ("2*-3", "-6"),
    ("7/2", "3"),
    ("-7/2", "-3"),
    ("1/0", "0"),
    ("0^-1", "0"),
    ("10^400", "0"),
    ("(-8)^0.5", "0"),
    ("2^63", "0"),
    ("2^62", "4611686018427387904"),
    ("9^9^9^9", "0"),
    ("NOPE+WORD+4", "4"),
    ("sqrt(16)+abs(-2.5)", "6"),
    ("log(exp(3))+step(-1)+delta(0)", "4"),
    ("sqrt(0-1)", "0"),
    (" 1.5e1 ", "15"),
    ("sqrt", "0"),
    (".5+.5", "1"),
]


@pytest.mark.parametrize(("sum_", "outcome"), SUMS)
def test_math(sum_: str, outcome: str) -> None:
    assert value(f"${{math[{sum_}]}}", CONTENT_LENGTH="42", WORD="word") == outcome


@pytest.mark.parametrize(
    ("sum_", "said"),
    [
        ("", "is missing at the end"),
        ("1+", "is missing at the end"),
        ("*1", "is missing before '*'"),
        ("(1", "a ) is missing"),
        ("1)", "')' is left over"),
        ("1 2", "'2' is left over"),
        ("a;b", "';b' is no part of a sum"),
        ("__import__('os')", "\"'os')\" is no part"),
        ("(" * 60 + "1" + ")" * 60, "more than 50 parentheses"),
        ("2^" * 60 + "1", "more than 50"),
        ("1+" * 600 + "1", "1201 bytes, at most 1000"),
    ],
)
def test_what_is_no_sum(sum_: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Playground(f"route-run = log:${{math[{sum_}]}}")
    assert "math: " in str(caught.value) and said in str(caught.value)


def test_a_sum_that_a_request_brings() -> None:
    play = Playground("route = ^/(.*) log:${math[$1+1]}")
    assert play.get("/41").log == ["42"]
    reply = play.get("/(")
    assert reply.status == 500 and "math: a number or a variable is missing before '+'" not in reply.raw.decode()
    assert reply.log[0].startswith("rules:1: route = ^/(.*) log:${math[$1+1]}: math: ")


HOME = {
    "continent": {"code": "EU"},
    "country": {"iso_code": "DE", "names": {"en": "Germany"}},
    "subdivisions": [{"iso_code": "BE", "names": {"en": "Land Berlin"}}],
    "city": {"names": {"en": "Berlin"}},
    "postal": {"code": "10115"},
    "location": {"latitude": 52.5, "longitude": 13.25},
}


def test_geoip(tmp_path: Path) -> None:
    city = write(tmp_path / "city.mmdb", {"192.0.2.0/24": HOME, "2001:db8::/32": {"country": {"iso_code": "FR"}}})
    country = write(tmp_path / "country.mmdb", {"198.51.100.0/24": {"country": {"iso_code": "IT"}}})
    words = "continent country_code country_name region region_name city postal_code latitude longitude asn"
    text = " ".join(f"${{geoip[{word}]}}" for word in words.split())
    play = Playground(f"geoip-city = {city}\ngeoip-country = {country}\nroute-run = log:{text}.")
    assert play.get(REMOTE_ADDR="192.0.2.7").log == ["EU DE Germany BE Land Berlin Berlin 10115 52.5 13.25 ."]
    assert play.get(REMOTE_ADDR="2001:db8::9").log == [" FR        ."]
    assert play.get(REMOTE_ADDR="198.51.100.1").log == [" IT        ."]
    for nowhere in ("203.0.113.1", "::1", "", "nonsense", "192.0.2.300"):
        assert play.get(REMOTE_ADDR=nowhere).log == ["         ."]


def test_geoip_without_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"geoip: no database; write geoip-city = FILE\.mmdb"):
        Playground("route-run = log:${geoip[city]}")
    with pytest.raises(ConfigError, match="geoip: unknown word 'town'; there are continent, country_code"):
        Playground("route-run = log:${geoip[town]}")
    for missing, said in ((tmp_path / "none", "No such file"), (tmp_path / "bad", "Error opening")):
        if missing.name == "bad":
            missing.write_bytes(b"no database")
        with pytest.raises(ConfigError, match=f"geoip-city = {missing}: .*{said}"):
            Playground(f"geoip-city = {missing}\nroute-run = log:${{geoip[city]}}")
    known = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "maxminddb":
            raise ImportError("No module named 'maxminddb'")
        return known(name, *rest)

    geoip._database.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"install it with: pip install 'uwsgirouter\[geoip\]'"):
        Playground("geoip-city = /x\nroute-run = log:${geoip[city]}")
