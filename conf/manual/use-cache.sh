#!/bin/sh
# Way 3: the cache says which node serves a key; foobar.py fills it. `uwsgirouterctl cache` shows and changes it while
# the router runs.
#     sh use-cache.sh
#     NAME=one uwsgi --socket 127.0.0.1:4040 -M --wsgi-file app.py
#     curl -H 'Host: example.com' http://127.0.0.1:8000/      (nginx.conf adds the port to the key)
# unbit.it is sent with modifier1 5: a node with Perl serves it, or a uWSGI that was told --remap-modifier 0:5.
exec uwsgirouter --fastrouter 127.0.0.1:3017 --fastrouter-use-cache --cache 100 --file foobar.py "$@"
