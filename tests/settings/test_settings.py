"""The settings: typed access, immutability, what a reload cannot change."""

from __future__ import annotations

import os

import pytest

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.settings import Settings


def test_typed_access() -> None:
    settings = Settings.of(
        fastrouter=["127.0.0.1:3017", "/tmp/a"],
        vacuum=True,
        listen=5,
        fastrouter_gracetime=0.5,
        chown_socket="1:2",
        uid="65534",
        touch_reload=["a", "b"],
        pidfile="/run/p",
    )
    assert [address.text for address in settings.addresses("fastrouter")] == ["127.0.0.1:3017", "/tmp/a"]
    assert settings.flag("vacuum")
    assert settings.number("listen") == 5
    assert settings.seconds("fastrouter-gracetime") == 0.5
    assert settings.owner("chown-socket") == (1, 2)
    assert settings.optional_number("uid") == 65534
    assert settings.texts("touch-reload") == ("a", "b")
    assert settings.text("pidfile") == "/run/p"
    assert settings.text("chown-socket") == "1:2"
    assert settings.is_set("listen")
    assert not settings.is_set("max-fd")


def test_defaults() -> None:
    settings = Settings.of()
    assert settings.source == ""
    assert settings.number("listen") == 1024
    assert settings.number("fastrouter-processes") == 1
    assert settings.seconds("fastrouter-timeout") == 60.0
    assert settings.seconds("subscription-tolerance") == 17.0
    assert settings.flag("fastrouter-error-pages")
    assert not settings.flag("fastrouter-cheap")
    assert settings.text("pidfile") == ""
    assert settings.text("listen") == "1024"
    assert settings.optional_number("max-fd") is None
    assert settings.optional_number("chmod-socket") is None
    assert settings.owner("chown-socket") is None
    assert settings.addresses("fastrouter") == ()
    assert settings.where("listen") == "default"


def test_the_wrong_question_is_a_programming_error() -> None:
    settings = Settings.of()
    for ask in (settings.flag, settings.number, settings.seconds, settings.text, settings.texts, settings.addresses):
        with pytest.raises(KeyError):
            ask("no-such-option")
    with pytest.raises(KeyError):
        settings.text("include")
    with pytest.raises(TypeError):
        settings.number("vacuum")
    with pytest.raises(TypeError):
        settings.number("fastrouter-gracetime")
    with pytest.raises(TypeError):
        settings.number("max-fd")
    with pytest.raises(TypeError):
        settings.seconds("listen")
    with pytest.raises(TypeError):
        settings.texts("pidfile")
    with pytest.raises(TypeError):
        settings.addresses("pidfile")
    with pytest.raises(TypeError):
        settings.owner("uid")
    with pytest.raises(TypeError):
        settings.flag("listen")


def test_settings_do_not_change() -> None:
    settings = Settings.of(listen=5)
    with pytest.raises(AttributeError):
        settings.source = "x"
    with pytest.raises(AttributeError):
        settings.other = 1  # type: ignore[attr-defined]


def test_of_validates_as_the_loader_does() -> None:
    with pytest.raises(ConfigError, match="listen = 0: expected whole number from 1 to 65535"):
        Settings.of(listen=0)
    with pytest.raises(KeyError):
        Settings.of(no_such_option=1)


def test_differences_are_those_that_a_reload_cannot_change() -> None:
    one = Settings.of(uid=os.getuid(), gid=os.getgid(), listen=5, env=["A=1", "B=2"], pidfile="/a")
    assert one.differences(one) == []
    assert one.differences(Settings.of(uid=os.getuid(), gid=os.getgid(), listen=6, pidfile="/b")) == []
    assert one.differences(Settings.of(env=["A=1"], pidfile="/b")) == ["uid", "gid"]
    assert Settings.of().differences(one) == ["uid", "gid"]


def test_notices_are_added_to_a_copy() -> None:
    one = Settings.of(listen=5)
    two = one.with_notices(["a"]).with_notices(["b"])
    assert (one.notices, two.notices, two.number("listen")) == ((), ("a", "b"), 5)
