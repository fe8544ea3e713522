# The application of these examples: it says which instance answers (NAME), for which host, and how long the body was.
#     NAME=one uwsgi --socket :3031 -M --wsgi-file app.py

import os


def application(environ, start_response):
    body = environ["wsgi.input"].read()
    name = os.environ.get("NAME", "app")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{name} {environ['HTTP_HOST']} {len(body)}\n".encode()]
