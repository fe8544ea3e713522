"""What the environment says, and what is wrong with it."""

from __future__ import annotations

import pytest

from uwsgirouter.announce import ConfigError
from uwsgirouter.announce.environment import KNOWN, PREFIX, Plan, read, unknown


def given(**settings: str) -> dict[str, str]:
    return {"PATH": "/bin", **{PREFIX + name: value for name, value in settings.items()}}


def test_nothing_is_announced_without_a_server() -> None:
    assert read(given(KEY="foo.com")) is None
    assert read(given(SERVER=" , ", KEY="foo.com")) is None


def test_the_least() -> None:
    plan = read(given(SERVER="10.0.0.1:2626", KEY="foo.com"))
    assert plan == Plan(("10.0.0.1:2626",), ("foo.com",), {"every": 10.0}, 1.0)


def test_all() -> None:
    texts = {"ADDRESS": ":3031", "ALGO": "lrc", "VASSAL": "one.ini", "NOTIFY": "/run/told"}
    numbers = {"WEIGHT": "2", "CORES": "8", "MODIFIER1": "5", "MODIFIER2": "6", "BACKUP": "1"}
    plan = read(given(SERVER="/run/a, [::1]:2626,", KEY="a.com,b.com", EVERY="0.5", DRAIN="0", **texts, **numbers))
    assert plan is not None
    assert (plan.servers, plan.keys, plan.drain) == (("/run/a", "[::1]:2626"), ("a.com", "b.com"), 0.0)
    assert plan.fields == {
        "every": 0.5,
        **{name.lower(): value for name, value in texts.items()},
        **{name.lower(): int(value) for name, value in numbers.items()},
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"KEY": ""}, "UWSGIROUTER_KEY is not set"),
        ({"WEIGHT": "many"}, "UWSGIROUTER_WEIGHT=many: expected a whole number"),
        ({"CORES": "-1"}, "UWSGIROUTER_CORES=-1: expected a whole number"),
        ({"BACKUP": "9" * 10}, "UWSGIROUTER_BACKUP=9999999999: expected a whole number"),
        ({"EVERY": "often"}, "UWSGIROUTER_EVERY=often: expected seconds"),
        ({"DRAIN": "-1"}, "UWSGIROUTER_DRAIN=-1: expected seconds"),
        ({"DRAIN": "nan"}, "UWSGIROUTER_DRAIN=nan: expected seconds"),
        ({"SIGN": "SHA256"}, "UWSGIROUTER_SIGN: 'SHA256': expected DIGEST:FILE"),
    ],
)
def test_what_is_wrong_is_named(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(given(**{"SERVER": "10.0.0.1:2626", "KEY": "foo.com", **settings}))
    assert str(error.value).startswith(message)


def test_what_nobody_knows() -> None:
    assert unknown(given(KEYS="x", SERVER="y", PURE="1")) == ["UWSGIROUTER_KEYS"]
    assert unknown(dict.fromkeys(KNOWN, "x")) == []
