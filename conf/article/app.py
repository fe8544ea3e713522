"""The application of the article: bottle's default application with one page."""

from bottle import default_app, route

application = default_app()
application.catchall = False


@route("/")
def index():
    return "Hello World!"
