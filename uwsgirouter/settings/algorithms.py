"""The names of the orders over a slot's nodes, for the option, for announcements and for docs.

What each name means is written once, in balancers/; this module knows only which names there are.
"""

from __future__ import annotations

ALGORITHMS = ("wrr", "lrc", "wlrc", "iphash", "p2c")
"""The first one is the default."""
