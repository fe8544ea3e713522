"""With ``fastrouter-error-pages = false`` the router closes without a byte where uWSGI does."""

from __future__ import annotations

from tests.rules.differential.case import Differs, ask, case

BARE = Differs("closed without a byte, as by uWSGI", answer=b"")
for name, action in {
    "break": "break:",
    "goto": "goto:nowhere",
    "static": "static:{root}/nowhere",
    "file": "file:filename={root}/nowhere",
    "clear": "clearheaders:4",
    "chdir": "chdir:{root}/nowhere",
    "math": "+:NOPE,1",
    "uwsgi": "uwsgi:{dead},0,0",
    "http": "http:{dead}",
    "cacheset": "cacheset:key=k,value=${NOPE}",
    "expires": "expires:filename={root}/nowhere",
}.items():
    case(f"bare-{name}", f"route-run = log:{{log}}before\nroute-run = {action}", ask(), group="bare", differs=BARE)
