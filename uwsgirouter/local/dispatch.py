"""From a request of gunicorn's to an application as uWSGI would call it.

One idea: gunicorn reads uwsgi packets but gives applications an environment of its own making: the packet's variables
except the ``HTTP_`` ones are lost, the path is decoded twice, the peer is the web server. Here the application gets the
packet's variables as they are, and the one mounted at the request's path. Pure but for the applications themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

_SECURE = ("on", "1", "true")
_OWN = ("wsgi.", "gunicorn.")
"""Names that are the server's to give, whatever the packet says."""


class Dispatcher:
    """The WSGI application that chooses among ``mounts``; "" is the one for all other paths (else the first)."""

    def __init__(self, mounts: Mapping[str, Application], manage_script_name: bool) -> None:
        self._mounts = dict(mounts)
        self._default = self._mounts.get("", next(iter(self._mounts.values())))
        # The longest first: /a/b goes before /a.
        self._managed = sorted(filter(None, mounts), key=len, reverse=True) if manage_script_name else []

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Serve one request."""
        restore(environ)
        mount = self._place(environ)
        return self._mounts.get(mount, self._default)(environ, start_response)

    def _place(self, environ: Environ) -> str:
        """The mount of a request; with manage-script-name its path is divided there."""
        path: str = environ["PATH_INFO"]
        for mount in self._managed:
            if path == mount or path.startswith(mount + "/"):
                environ["SCRIPT_NAME"], environ["PATH_INFO"] = mount, path[len(mount) :]
                return mount
        script: str = environ["SCRIPT_NAME"]
        return script.rstrip("/") if script else ""


def restore(environ: Environ) -> None:
    """Put the packet's own variables into gunicorn's environment, where :func:`remember` left them."""
    variables: Mapping[str, str] | None = getattr(environ.get("wsgi.input"), "uwsgi_vars", None)
    if variables is None:
        return
    for name in [name for name in environ if name.isupper() and name != "SERVER_SOFTWARE"]:
        del environ[name]
    environ.update({name: value for name, value in variables.items() if not name.startswith(_OWN)})
    for name, default in (("SCRIPT_NAME", ""), ("PATH_INFO", ""), ("QUERY_STRING", ""), ("REQUEST_METHOD", "GET")):
        environ.setdefault(name, default)
    for name, default in (("SERVER_NAME", "localhost"), ("SERVER_PORT", "80"), ("SERVER_PROTOCOL", "HTTP/1.1")):
        environ.setdefault(name, default)
    secure = variables.get("HTTPS", "").lower() in _SECURE
    environ["wsgi.url_scheme"] = variables.get("UWSGI_SCHEME") or ("https" if secure else "http")


def remember(request: Any) -> None:
    """Keep the packet's variables where the application's environment will have them: at the body."""
    request.body.uwsgi_vars = getattr(request, "uwsgi_vars", None)
