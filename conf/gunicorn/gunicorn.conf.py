# gunicorn -c gunicorn.conf.py app:application
#
# A node that announces itself to the router of router.conf when its workers have loaded the application, and takes
# leave before they stop. Start as many as you like, each with a --bind of its own, and restart them one by one: no
# request fails. docs/announcing.md has all the settings.
from uwsgirouter.announce.gunicorn import *  # noqa: F403

raw_env = [
    "UWSGIROUTER_SERVER=127.0.0.1:2626",
    "UWSGIROUTER_KEY=foo.com",
]

protocol = "uwsgi"
bind = "127.0.0.1:3031"
workers = 2
threads = 4
# How long a request under way may take when it stops.
graceful_timeout = 30
