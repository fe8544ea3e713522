#!/bin/sh
# Way 5 with the longer script: two nodes of example.com take turns, everything else goes to a third.
#     sh use-megamapper.sh
#     curl -H 'Host: example.com' http://127.0.0.1:8080/
exec uwsgirouter --fastrouter 127.0.0.1:3017 --fastrouter-use-code-string 0:megamapper.py:get "$@"
