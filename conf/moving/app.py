"""The application of conf/moving: it answers, and that is all."""


def application(environ, start_response):
    """One line, whoever asks."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"here\n"]
