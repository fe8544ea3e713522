#!/bin/sh
# Way 4: an instance with two keys. What comes for unbit.it has modifier1 5 (Perl); a uWSGI without Perl needs
# --remap-modifier 0:5 to serve that.
#     NAME=two sh subscribe-two-keys.sh --wsgi-file app.py --remap-modifier 0:5
#     curl -H 'Host: uwsgi.it' http://127.0.0.1:8080/
exec uwsgi --socket :3032 -M --subscribe-to 192.168.0.100:7000:unbit.it,5 --subscribe-to 192.168.0.100:7000:uwsgi.it "$@"
