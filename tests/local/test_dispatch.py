"""The application's environment is the packet, and its mount is found as uWSGI finds it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.servers import Client, Servers, packet
from uwsgirouter.local.dispatch import Dispatcher, remember


def serve(dispatcher: Dispatcher, variables: dict[str, str], **own: str) -> dict[str, Any]:
    """The environment that the application gets; ``own`` is what gunicorn made of the packet."""
    body = SimpleNamespace()
    remember(SimpleNamespace(body=body, uwsgi_vars=variables))
    environ = {"wsgi.input": body, "REQUEST_METHOD": "GET", "RAW_URI": "/", "REMOTE_ADDR": "127.0.0.1", **own}
    (answer,) = dispatcher(environ, None)
    assert isinstance(answer, tuple)
    return {"app": answer[0], **answer[1]}


def app(name: str) -> Any:
    return lambda environ, start_response: [(name, environ)]


ONE = Dispatcher({"": app("one")}, False)


def test_the_packets_variables_are_the_environment() -> None:
    variables = {"REQUEST_METHOD": "PUT", "PATH_INFO": "/a%20b", "REMOTE_ADDR": "9.9.9.9", "DOCUMENT_ROOT": "/srv"}
    environ = serve(ONE, variables, PATH_INFO="/a b", SERVER_NAME="127.0.0.1", SERVER_SOFTWARE="g")
    for name, value in variables.items():
        assert environ[name] == value
    assert environ["SERVER_SOFTWARE"] == "g"
    assert "RAW_URI" not in environ


def test_what_pep_3333_asks_for_is_there() -> None:
    environ = serve(ONE, {})
    wanted = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "", "QUERY_STRING": "", "SERVER_PORT": "80"}
    assert {name: environ[name] for name in wanted} == wanted
    assert environ["SERVER_NAME"]
    assert environ["SERVER_PROTOCOL"]


@pytest.mark.parametrize(
    ("variables", "scheme"),
    [
        ({}, "http"),
        ({"HTTPS": "on"}, "https"),
        ({"HTTPS": "1"}, "https"),
        ({"HTTPS": "off"}, "http"),
        ({"HTTPS": ""}, "http"),
        ({"UWSGI_SCHEME": "https"}, "https"),
        ({"wsgi.url_scheme": "gopher"}, "http"),
    ],
)
def test_the_scheme(variables: dict[str, str], scheme: str) -> None:
    assert serve(ONE, variables)["wsgi.url_scheme"] == scheme


MAIN_FIRST = ["", "/foo", "/foo/sub"]
MOUNTS_ONLY = ["/foo", "/foo/sub"]
PATHS = [
    ("/", None),
    ("/foo", None),
    ("/foo/", None),
    ("/foobar", None),
    ("/foo/x", None),
    ("/foo/sub/z", None),
    ("/foo/x", "/foo"),
    ("/x", "/foo"),
    ("/x", "/none"),
    ("/bar/y", ""),
]


def ours(mounts: list[str], manage: bool, path: str, script: str | None) -> tuple[str, str, str]:
    dispatcher = Dispatcher({mount: app(mount) for mount in mounts}, manage)
    variables = {"PATH_INFO": path} | ({} if script is None else {"SCRIPT_NAME": script})
    environ = serve(dispatcher, variables)
    return environ["app"], environ["SCRIPT_NAME"], environ["PATH_INFO"]


@pytest.mark.parametrize(("mounts", "manage"), [(MAIN_FIRST, False), (MOUNTS_ONLY, True)], ids=["plain", "managed"])
def test_mounts_as_in_uwsgi(servers: Servers, mounts: list[str], manage: bool) -> None:
    text = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return ["
    text += "repr(({!r}, environ.get('SCRIPT_NAME') or '', environ['PATH_INFO'])).encode()]\n"
    options = ["--manage-script-name"] if manage else []
    for number, mount in enumerate(mounts):
        path = servers.directory / f"app{number}.py"
        path.write_text(text.format(mount))
        options += ["--mount", f"{mount}={path}"] if mount else ["--wsgi-file", str(path)]
    real = servers.uwsgi("--master", "--socket", "127.0.0.1:0", *options)
    for path, script in PATHS:
        variables = [(b"REQUEST_METHOD", b"GET"), (b"PATH_INFO", path.encode()), (b"REQUEST_URI", path.encode())]
        if script is not None:
            variables.append((b"SCRIPT_NAME", script.encode()))
        with Client(real.address) as client:
            client.send(packet(variables))
            theirs = client.reply().body.decode()
        assert repr(ours(mounts, manage, path, script)) == theirs, (path, script)


def test_one_at_the_root_is_for_all_other_paths() -> None:
    dispatcher = Dispatcher({"/foo": app("foo"), "": app("root")}, True)
    assert serve(dispatcher, {"PATH_INFO": "/bar"})["app"] == "root"
    assert serve(dispatcher, {"PATH_INFO": "/foo/bar"})["app"] == "foo"


def test_a_request_of_another_protocol_is_left_alone() -> None:
    environ: dict[str, Any] = {"PATH_INFO": "/x", "SCRIPT_NAME": "", "REMOTE_ADDR": "1.2.3.4"}
    (found,) = ONE(dict(environ), None)
    assert found == ("one", environ)  # type: ignore[comparison-overlap]
