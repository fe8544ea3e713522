"""An application with something large to say. gunicorn takes the name ``application`` by itself."""


def application(environ, start_response):
    """64 MB at /large, and one line elsewhere that says who writes to the web server."""
    if environ["PATH_INFO"] == "/large":
        block = b"x" * 65536
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(1024 * len(block)))])
        return (block for _ in range(1024))
    adopted = type(environ["gunicorn.socket"]).__name__ == "AdoptingSocket"
    body = b"The node answers the web server.\n" if adopted else b"The router relays.\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
