"""Descriptor passing: a node on a unix socket may take the client over and answer it without us.

One idea: the client's descriptor goes along with the packet (SCM_RIGHTS). A node that reads plainly never sees it and
answers on its own connection. One that adopts ends its direction of our connection without a byte, and closes it when
the response is complete; if it dies before, the kernel closes it with a byte unread, and we see a reset. See
docs/descriptor-passing.md.
"""

from __future__ import annotations

import errno
from _socket import AF_UNIX, SO_ERROR, SOL_SOCKET

# By name, and now: a worker with a Python mapper is patched by gevent, and patched calls would yield.
from select import epoll
from typing import TYPE_CHECKING, Any, Protocol

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.worker.explaining import step
from uwsgirouter.worker.peers import hung_up, was_spoken_to
from uwsgirouter.worker.phases import Phase
from uwsgirouter.worker.retrying import no_answer
from uwsgirouter.worker.streams import Stream, send_with

if TYPE_CHECKING:
    from uwsgirouter.model.node import Node
    from uwsgirouter.worker.session import Session

ASK_AGAIN = 300
"""Seconds after which a node that answered by itself is offered a descriptor again: another one may stand there."""

_DONTWAIT = 0x40
_FLAGS = 0x4040


class Adopted(Protocol):
    """A session whose client a node has adopted."""

    def node_done(self) -> None:
        """The node closed its connection."""


class Adoptions:
    """Waits for nodes to hang up.

    Their connections are readable all the time (their direction has ended), so the loop cannot watch them; an epoll of
    our own that asks for nothing but the hangup can, and the loop watches that one.
    """

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._epoll: epoll | None = None
        self._watcher: Any = None
        self._sessions: dict[int, Adopted] = {}

    def watch(self, descriptor: int, session: Adopted) -> None:
        """Call ``session.node_done`` when the peer of ``descriptor`` is gone. Raises OSError."""
        if self._epoll is None:
            self._epoll = epoll()
            self._watcher = self._loop.io(self._epoll.fileno(), 1)
            self._watcher.start(self._on_hangup)
        self._epoll.register(descriptor, 0)
        self._sessions[descriptor] = session

    def forget(self, descriptor: int) -> None:
        """Watch it no more; before it is closed."""
        if self._sessions.pop(descriptor, None) is not None and self._epoll is not None:
            self._epoll.unregister(descriptor)

    def _on_hangup(self) -> None:
        assert self._epoll is not None
        for descriptor, _ in self._epoll.poll(0):
            session = self._sessions.get(descriptor)
            if session is not None:
                session.node_done()


def may_adopt(session: Session, node: Node) -> bool:
    """Whether ``node`` may have the client's descriptor: nothing of the request is still to come.

    One that answered by itself before is not asked again on behalf of a client on a unix socket: of such a client the
    kernel does not tell whether the node spoke to it, so its silence could mean two things.
    """
    if session.left or session.body is not None or not session.router.passes_descriptors or session.routed is not None:
        return False
    if node.pass_after and session.client.family == AF_UNIX:
        return False
    return session.packet.find(b"HTTP_TRANSFER_ENCODING") < 0


def offer(session: Session, upstream: Stream, data: bytes) -> int:
    """Send ``data`` to the node, the client's descriptor along with it; the bytes taken. Raises OSError."""
    session.passed = True
    step(session, "the client's descriptor goes along: the node may take it over")
    try:
        return send_with(upstream, data, session.client.fileno(), _FLAGS)
    except OSError as error:
        if error.errno != errno.ETOOMANYREFS:
            raise
    # Too many descriptors of our user are on their way to nodes that have not accepted: no fault of this one.
    session.passed = False
    return upstream.send(data, _FLAGS)


def answered_itself(session: Session) -> None:
    """The node did not adopt, and the kernel dropped the descriptor: do not offer it each time."""
    session.passed = False
    step(session, "the node did not take the client over")
    if session.node is not None:
        session.node.pass_after = session.router.ticks + ASK_AGAIN


def let_go(session: Session) -> None:
    """The node ended without a byte after it was offered the client: it has adopted it, or it died."""
    node, upstream, router = session.node, session.upstream, session.router
    assert node is not None and upstream is not None
    gone = hung_up(upstream)
    spoken = was_spoken_to(session.client)
    if gone and upstream.getsockopt(SOL_SOCKET, SO_ERROR):
        # It adopted, and died since: what it did not read tells.
        _died(session, "Connection reset by peer")
        return
    if gone and not spoken and node.pass_after:
        # It answered by itself before: this is no adoption.
        no_answer(session, Cause.NODE_CLOSED, "")
        return
    router.adopted(session, node, gone and not spoken)
    node.pass_after = 0
    if gone:
        session.close()
        return
    _leave_to_node(session)
    try:
        router.adoptions.watch(upstream.fileno(), session)
    except OSError:
        session.close()  # no descriptor is left to watch with: the node serves the client all the same


def _leave_to_node(session: Session) -> None:
    """Of the node's connection only the end is of interest from now on."""
    for pump in (session.down, session.up):
        if pump is not None:
            pump.stop()
    session.down = session.up = None
    session.phase = Phase.ADOPTED


def end_adoption(session: Session) -> None:
    """The node closed its connection: complete, unless that was a reset."""
    upstream = session.upstream
    assert upstream is not None
    try:
        upstream.recv_into(session.router.scratch, 1, _DONTWAIT)
    except OSError as error:
        _died(session, error.strerror or str(error))
        return
    session.close()


def _died(session: Session, detail: str) -> None:
    """The response of a node that had adopted the client is not complete, because either of them is gone.

    A client that is there has what was begun cut, or its request answered elsewhere.
    """
    if hung_up(session.client):
        session.client_gone()
    elif was_spoken_to(session.client) is not False:
        session.abort(Cause.NODE_RESET, detail)
    else:
        no_answer(session, Cause.NODE_RESET, detail)


def may_have_begun(session: Session) -> bool:
    """Whether a node that was offered the client, and then reset our connection, may have written to the client.

    Of a client on a unix socket nobody knows; but a node that answered by itself before adopts none.
    """
    spoken = was_spoken_to(session.client)
    if spoken is None:
        return session.node is None or not session.node.pass_after
    return spoken
