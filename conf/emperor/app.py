"""An application that tells its vassal's name."""

import uwsgi


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello from %s\n" % uwsgi.opt["vassal"]]
