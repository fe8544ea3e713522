#!/bin/sh
# A CGI program: a head, an empty line, a body.
echo "Content-Type: text/plain"
echo
echo "hello from $SCRIPT_NAME, path $PATH_INFO"
