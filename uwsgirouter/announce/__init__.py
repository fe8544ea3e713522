"""Announcing a server that is not uWSGI to the subscription server of a router (or of a uWSGI FastRouter).

    from uwsgirouter.announce import Announcer

    with Announcer("10.0.0.1:2626", "foo.com", "10.0.0.7:3031", cores=4):
        serve()

One idea: what a uWSGI instance does for itself with ``subscribe2``, for any Python program. Importing it starts nothing
and needs the standard library alone; signatures need ``cryptography``, which is imported by the first key that is read.
"""

from uwsgirouter.announce.announcer import Announcer, Presence
from uwsgirouter.announce.servers import Away
from uwsgirouter.announce.signer import Signer
from uwsgirouter.errors import ConfigError

__all__ = ["Announcer", "Away", "ConfigError", "Presence", "Signer"]
