"""A WSGI application that says which node it is."""

import os

NODE = os.environ.get("NODE", "a node")


def application(environ, start_response):
    body = f"{NODE} serves {environ['HTTP_HOST']}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
