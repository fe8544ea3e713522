"""The quickstart's application: it says which node answers."""

import os


def application(environ, start_response):
    """Answer every request with one line."""
    node = os.environ.get("NODE", "a node")
    body = f"Hello from {node}: {environ['REQUEST_METHOD']} {environ['PATH_INFO']}\n".encode("utf-8", "replace")
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
