#!/bin/sh
# Way 1: a request for example.com goes to the unix socket /tmp/sockets/example.com. The key is put behind the text as
# it is, so the slash at the end matters.
#     mkdir /tmp/sockets; sh use-base.sh
#     NAME=one uwsgi --socket /tmp/sockets/example.com -M --wsgi-file app.py
#     curl -H 'Host: example.com' http://127.0.0.1:8080/
exec uwsgirouter --fastrouter 127.0.0.1:3017 --fastrouter-use-base /tmp/sockets/ "$@"
