#!/bin/sh
# Mapping files: an instance that announces itself for every key of mappings.txt.
#     NAME=four sh subscribe-mappings.sh --wsgi-file app.py
#     curl -H 'Host: projects.unbit.it' http://127.0.0.1:8080/
exec uwsgi --socket :3031 -M --subscribe-to 192.168.0.100:7000:@mappings.txt "$@"
