"""What only several options together can show."""

from __future__ import annotations

import pytest

from tests.settings.files import LISTEN, Files
from uwsgirouter.errors import ConfigError

TO = "fastrouter-to = 127.0.0.1:3031\n"


def test_no_address_to_listen_on(files: Files) -> None:
    with pytest.raises(ConfigError, match=r"write fastrouter = 127\.0\.0\.1:3017"):
        files.load(f"[uwsgi]\nfastrouter\n{TO}")


def test_sockets_of_systemd_are_enough(files: Files) -> None:
    files.environment = {"LISTEN_FDS": "1"}
    assert files.load(f"[uwsgi]\n{TO}").addresses("fastrouter") == ()
    for count in ("0", "", "x"):
        files.environment = {"LISTEN_FDS": count}
        with pytest.raises(ConfigError, match="no address"):
            files.load(f"[uwsgi]\n{TO}")


def test_no_way_to_find_nodes_is_a_warning(files: Files) -> None:
    (notice,) = files.load("[uwsgi]\nfastrouter = :3017\n").notices
    assert "no way to find a node" in notice
    assert files.load("[uwsgi]\nfastrouter = :3017\nfastrouter-subscription-server = 127.0.0.1:2626\n").notices == ()


@pytest.mark.parametrize(
    ("shared", "number", "message"),
    [
        ("", 0, "router.conf:2: fastrouter = =0: no shared-socket has number 0, there is none"),
        ("shared-socket = :1\nshared-socket = :2\n", 2, "router.conf:2: .*there are 2, from =0 to =1"),
    ],
)
def test_a_shared_socket_that_is_not_there(files: Files, shared: str, number: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        files.load(f"[uwsgi]\nfastrouter = ={number}\n{TO}{shared}")


def test_a_shared_socket_may_be_named_before_it_is_given(files: Files) -> None:
    assert files.load(f"[uwsgi]\nfastrouter = =1\n{TO}shared-socket = :1\nshared-socket = :2\n").notices == ()


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("fastrouter = 127.0.0.1:80", "fastrouter = 127.0.0.1:080"),
        ("fastrouter = /tmp/a", "fastrouter = /tmp/a"),
        ("fastrouter = @a", "fastrouter = @a"),
        ("shared-socket = :80", "fastrouter = :80"),
        ("shared-socket = :81\nfastrouter = =0", "fastrouter = =0"),
        ("fastrouter = fd://3", "fastrouter = fd://3"),
        ("fastrouter-subscription-server = :2626", "fastrouter-subscription-server = :2626"),
        ("fastrouter = /tmp/a", "fastrouter-subscription-server = /tmp/a"),
    ],
)
def test_an_address_given_twice_names_both_places(files: Files, one: str, two: str) -> None:
    with pytest.raises(ConfigError) as caught:
        files.load(f"[uwsgirouter]\n{LISTEN}{one}\n{two}\n")
    last = one.count("\n") + 5
    names = {"fastrouter", "shared-socket", "fastrouter-subscription-server"}
    assert "the address is already used by" in str(caught.value)
    places = {f"router.conf:{line}" for line in range(4, last + 1)}
    assert caught.value.where in places
    assert any(f"{name} at {place}" in str(caught.value) for name in names for place in places - {caught.value.where})


@pytest.mark.parametrize(
    "lines",
    [
        "fastrouter = 127.0.0.1:0\nfastrouter = 127.0.0.1:0",
        "fastrouter = 127.0.0.1:80\nfastrouter = [::1]:80",
        "fastrouter = /a\nfastrouter = @/a",
    ],
)
def test_addresses_that_only_look_alike(files: Files, lines: str) -> None:
    assert files.load(f"[uwsgirouter]\n{LISTEN}{lines}\n").notices == ()


def test_announcements_and_requests_may_have_one_port(files: Files) -> None:
    text = "[uwsgirouter]\nfastrouter = 127.0.0.1:2626\nfastrouter-subscription-server = 127.0.0.1:2626\n"
    assert files.load(text).notices == ()


def test_a_number_alone_is_a_unix_path_and_says_so(files: Files) -> None:
    (notice,) = files.load(f"[uwsgirouter]\n{LISTEN}fastrouter = 3018\n").notices
    assert notice == "router.conf:4: fastrouter = 3018 is the unix socket ./3018; write :3018 for a port"


def test_a_zerg_server_gives_something_to_listen_on(files: Files) -> None:
    assert files.load("[uwsgirouter]\nfastrouter-zerg = /run/zerg\nfastrouter-to = /run/app\n").notices == ()


@pytest.mark.parametrize("value", ["dns.example:53", "/run/dns", "@dns"])
def test_a_name_server_is_known_by_its_number(files: Files, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        files.load(f"[uwsgirouter]\n{LISTEN}fastrouter-resolver = {value}\n")
    assert f"fastrouter-resolver = {value}: expected IP address and port" in str(caught.value)
    assert caught.value.where == "router.conf:4"


@pytest.mark.parametrize("value", ["10.0.0.2:53", "[::1]:5353"])
def test_name_servers(files: Files, value: str) -> None:
    assert files.load(f"[uwsgirouter]\n{LISTEN}fastrouter-resolver = {value}\n").notices == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("control-socket = 127.0.0.1:3018", "expected the path of a unix socket"),
        ("control-socket = @control", "expected the path of a unix socket"),
        ("control-socket = =0", "expected the path of a unix socket"),
        (f"control-socket = /{'x' * 200}", "a unix socket's name has at most 107"),
        ("control-socket = /run/../run/x\nfastrouter = /run/x", "already used by fastrouter at .*:5"),
        ("control-socket = ./x\nfastrouter-subscription-server = x", "already used by fastrouter-subscription-server"),
    ],
)
def test_a_control_socket_is_a_file_of_its_own(files: Files, line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"router.conf:4: control-socket = .*{message}"):
        files.load(f"[uwsgi]\nfastrouter = :3017\n{TO}{line}\n")
    assert files.load(f"[uwsgi]\nfastrouter = /run/x\n{TO}control-socket = /run/y\n").text("control-socket") == "/run/y"
