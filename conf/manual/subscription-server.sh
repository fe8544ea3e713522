#!/bin/sh
# Way 4: instances announce themselves to the subscription server (UDP); subscribe-*.sh are such instances. Requests
# for a key are spread over all that announced it.
#     sh subscription-server.sh
exec uwsgirouter --fastrouter 127.0.0.1:3017 --fastrouter-subscription-server 192.168.0.100:7000 "$@"
