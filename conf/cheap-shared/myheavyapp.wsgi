"""An application that says who serves it: the same file for the router's machine and for the nodes."""

import os
import platform


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['HTTP_HOST']} served by process {os.getpid()} on {platform.node()}\n".encode()]
