#!/bin/sh
# "Getting started": a router at three addresses, a TCP port, a unix socket and an abstract unix socket. It knows no
# node, so it answers everything with 503. More arguments are passed on; with a node it is of some use:
#     sh getting-started.sh --fastrouter-to 127.0.0.1:3031
#     NAME=one uwsgi --socket 127.0.0.1:3031 -M --wsgi-file app.py
#     curl http://127.0.0.1:8080/                                  (with nginx.conf from here)
exec uwsgirouter --fastrouter 127.0.0.1:3017 --fastrouter /tmp/uwsgi.sock --fastrouter @foobar "$@"
