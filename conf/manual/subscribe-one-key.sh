#!/bin/sh
# Way 4: an instance that announces itself for example.com to subscription-server.sh.
#     NAME=one sh subscribe-one-key.sh --wsgi-file app.py
#     curl -H 'Host: example.com' http://127.0.0.1:8080/
exec uwsgi --socket :3031 -M --subscribe-to 192.168.0.100:7000:example.com "$@"
