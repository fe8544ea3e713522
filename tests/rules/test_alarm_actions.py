"""``alarm`` and ``signal`` in rules; what an alarm does is in tests/worker/test_alarms.py."""

from __future__ import annotations

import pytest

from tests.rules.made import Playground, PlayHost
from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.alarming import AlarmKind, AlarmSpec, alarms
from uwsgirouter.settings.consistency import checked
from uwsgirouter.settings.settings import Settings


def test_an_alarm() -> None:
    host = PlayHost()
    play = Playground("alarm = ops log:\nroute = ^/(.*) alarm:$1 called ${PATH_INFO}", host)
    assert play.get("/ops").asked
    assert play.get("/other").asked
    assert host.alarms == [("ops", b"called /ops"), ("other", b"called /other")]
    assert not play.table.scripts


def test_an_unknown_alarm_is_told_at_start() -> None:
    assert "there is no alarm ops" in Playground("route-run = alarm:ops text").warnings[0]


def test_a_signal() -> None:
    host = PlayHost()
    play = Playground("route-run = signal:17", host)
    assert play.get().asked
    assert host.signals == [17]
    assert play.table.scripts
    assert Playground("alarm = s signal:3\nroute-run = alarm:s x").table.scripts


@pytest.mark.parametrize("rule", ["alarm:ops", "alarm: text", "signal:256", "signal:x"])
def test_bad_arguments(rule: str) -> None:
    with pytest.raises(ConfigError, match="rules:1"):
        Playground(f"route-run = {rule}")


def test_what_options_say() -> None:
    made = alarms(
        Settings.of(alarm=["a log:", "b log:some prefix", "c cmd:cat > f: x", "d signal:9", "e udp:[::1]:99"])
    )
    assert [(spec.kind, spec.text, spec.number) for spec in made.values()] == [
        (AlarmKind.LOG, "", 0),
        (AlarmKind.LOG, "some prefix", 0),
        (AlarmKind.COMMAND, "cat > f: x", 0),
        (AlarmKind.SIGNAL, "", 9),
        (AlarmKind.UDP, "", 0),
    ]
    assert isinstance(made["e"], AlarmSpec) and made["e"].address is not None and made["e"].address.port == 99


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ops", "expected NAME log"),
        ("ops log", "expected NAME log"),
        ("ops mule:1", "no mules"),
        ("ops curl:http://x", "cmd:curl"),
        ("ops mail:x", "no kind of alarm"),
        ("ops signal:300", "from 0 to 255"),
        ("ops cmd: ", "expected a command"),
        ("ops udp:/path", "HOST:PORT"),
        (["a log:", "a log:"], "there is one of that name"),
    ],
)
def test_bad_options(text: object, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        checked(Settings.of(fastrouter="127.0.0.1:3017", alarm=text), inherits_sockets=False)
