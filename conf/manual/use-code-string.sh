#!/bin/sh
# Way 5: a Python function says which node serves a key (0 is the number of the Python plugin).
#     sh use-code-string.sh
#     NAME=one uwsgi --socket 127.0.0.1:3031 -M --wsgi-file app.py
#     curl http://127.0.0.1:8080/
exec uwsgirouter --fastrouter 127.0.0.1:3017 --fastrouter-use-code-string 0:mapper.py:get "$@"
