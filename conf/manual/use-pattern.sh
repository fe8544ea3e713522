#!/bin/sh
# Way 2: a request for example.com goes to the unix socket /tmp/sockets/example.com/uwsgi.sock. In an ini file write
# %%s, because there %s is the file's own name.
#     mkdir -p /tmp/sockets/example.com; sh use-pattern.sh
#     NAME=one uwsgi --socket /tmp/sockets/example.com/uwsgi.sock -M --wsgi-file app.py
#     curl -H 'Host: example.com' http://127.0.0.1:8080/
exec uwsgirouter --fastrouter 127.0.0.1:3017 --fastrouter-use-pattern /tmp/sockets/%s/uwsgi.sock "$@"
