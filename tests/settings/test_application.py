"""What the options say of a local application."""

from __future__ import annotations

import re

import pytest

from tests.settings.files import Files
from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.application import App, apps, is_served

HEAD = "[uwsgi]\nfastrouter = :3017\nfastrouter-to = 127.0.0.1:3031\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wsgi-file = /srv/my.wsgi", App("", "/srv/my.wsgi", True, "application")),
        ("wsgi-file = my.py\ncallable = app", App("", "my.py", True, "app")),
        ("module = site.wsgi", App("", "site.wsgi", False, "application")),
        ("wsgi = site:make()", App("", "site", False, "make()")),
        ("module = site\ncallable = app", App("", "site", False, "app")),
        ("mount = /a/b=x.py", App("/a/b", "x.py", True, "application")),
        ("mount = a/=x.wsgi", App("/a", "x.wsgi", True, "application")),
        ("mount = /=site:app\ncallable = other", App("", "site", False, "app")),
        ("mount = /a=/srv/app\ncallable = other", App("/a", "/srv/app", True, "other")),
    ],
)
def test_the_application(files: Files, text: str, expected: App) -> None:
    settings = files.load(f"{HEAD}{text}\nsocket = :3032\n")
    assert apps(settings) == [expected]
    assert is_served(settings)
    assert settings.notices == ()


def test_several(files: Files) -> None:
    settings = files.load(f"{HEAD}mount = /a=a.py\nwsgi-file = b.py\nmount = /c=c:app\nsocket = :1\n")
    assert [app.mount for app in apps(settings)] == ["", "/a", "/c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wsgi-file = a.py\nmodule = b", "router.conf:4: wsgi-file = a.py: .* by module at router.conf:5; write mount"),
        ("mount = a.py", "router.conf:4: mount = a.py: expected /PATH=FILE or /PATH=MODULE:CALLABLE"),
        ("mount = /a=", "expected /PATH=FILE"),
        ("mount = regexp://x=a.py", "expected /PATH=FILE"),
        ("mount = /a=paste.ini", "only Python applications"),
        (
            "mount = /a=a.py\nmount = /a/=b.py",
            "router.conf:5: mount = /a/=b.py: there is more than one application at /a",
        ),
        ("module = b\nmount = /=b.py", "there is more than one application at /$"),
        ("socket = =1\nshared-socket = :1\nmodule = a", "router.conf:4: socket = =1: no shared-socket has number 1"),
        ("socket = =0\nsocket = =0\nshared-socket = :1\nmodule = a", "already used by socket at router.conf:4"),
        ("socket = :3017\nmodule = a", "already used by fastrouter at router.conf:2; to share it write shared-socket"),
        ("processes = 0", "processes = 0: .* 1 to"),
        ("lazy-apps = maybe", "lazy-apps"),
    ],
)
def test_what_cannot_be_meant(files: Files, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        files.load(f"{HEAD}{text}\n")


def test_the_shared_socket_is_everybodys(files: Files) -> None:
    text = "[uwsgi]\nshared-socket = :3017\nfastrouter = =0\nsocket = =0\nmodule = a\nfastrouter-to = 127.0.0.1:1\n"
    assert files.load(text).notices == ()


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        ("module = a", r"the application of module \(router.conf:4\) is not run: it has no socket"),
        ("processes = 4\nthreads = 2", r"do nothing without one .*: processes \(router.conf:4\), threads \(router"),
        ("socket = :3031", "router.conf:4: socket = :3031: without an application .* it does nothing"),
        (
            "socket = :3031\nsocket = :3032\nfastrouter-use-socket = 1",
            "socket = :3032: without .* it only names the node of fastrouter-use-socket",
        ),
    ],
)
def test_what_has_no_effect_is_named(files: Files, text: str, notice: str) -> None:
    notices = files.load(f"{HEAD}{text}\n").notices
    assert any(re.search(notice, one) for one in notices), notices
