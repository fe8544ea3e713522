"""The acknowledgement: what a node that gave a ``notify`` address is told when it was taken as a new one.

One idea: the text is uWSGI's to the byte, since nodes show it in their logs. Sending is master/acknowledgements.py's.
"""

from __future__ import annotations

from uwsgirouter.protocol.subscription import Announce


def encode_acknowledgement(announce: Announce) -> bytes:
    """``[subscription ack] KEY => new node: ADDRESS``, with the address as it was announced (vassals: none)."""
    address = announce.address.text.encode("utf-8", "surrogateescape")
    return b"[subscription ack] %b => new node: %b" % (announce.key, address)
