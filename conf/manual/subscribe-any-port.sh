#!/bin/sh
# Way 4: the kernel chooses the port, and the instance announces the one that it got. Run it as often as you like.
#     NAME=three sh subscribe-any-port.sh --wsgi-file app.py
exec uwsgi --socket 192.168.0.100:0 -M --subscribe-to 192.168.0.100:7000:example.com "$@"
