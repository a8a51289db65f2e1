"""Acceptor: which conversation a server's new transport belongs to; pure, as the machine is.

A server answers each new transport with a :class:`~telewire.Connection` of its own and gives every
batch to :meth:`Acceptor.receive_data` until that has returned the connection to go on with: the same
one, or the session that the client came back to.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from hmac import compare_digest
from typing import Final, final

from telewire.core.connection import Connection
from telewire.core.promoting import requested
from telewire.core.states import ConnectionState
from telewire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from telewire.wire.codec import decode_batch
from telewire.wire.frames import Frame, Hello, Resume

__all__ = ["Acceptor"]

UNHEARD: Final = 1000
"""Names of sessions that were never heard of, kept at most; the oldest goes first."""


@final
class Acceptor:
    """The sessions of one server that a transport may come back to (TW-SES-034 to 036).

    Tell it of each new connection, with :meth:`expect`; keep a session in it from its HelloReceived,
    with :meth:`add`, until its ConnectionClosed.
    """

    def __init__(self) -> None:
        self.closed: Connection | None = None
        """The session that the last batch has closed because somebody else asked for it: write it."""
        self._sessions: dict[bytes, tuple[Connection, Hashable]] = {}
        # Name of a session whose client was not heard yet → when to forget it, token, principal, and the
        # connection that waits for the client while its transport is there.
        self._unheard: dict[bytes, tuple[float, bytes, Hashable, Connection | None]] = {}

    def __len__(self) -> int:
        """How many sessions there are."""
        return len(self._sessions)

    def add(self, connection: Connection, principal: Hashable = None) -> None:
        """Keep a session; ``principal`` is whom the request that began it came from, if that is known.

        Raises:
            LocalProtocolError: it has no name, or one that another session has.
        """
        name = connection.session_id
        if name is None or not connection.resumable:
            raise LocalProtocolError(f"{connection!r} cannot be resumed: its hellos agreed on no session.")
        if name in self._sessions:
            raise LocalProtocolError("Two sessions have the same session_id; take random bytes for each.")
        self._unheard.pop(name, None)
        self._sessions[name] = connection, principal

    def discard(self, connection: Connection) -> None:
        """Forget a session that is over; one that is not known does no harm."""
        name = connection.session_id or b""
        if self._sessions.get(name, (None, None))[0] is connection:
            del self._sessions[name]
        waiting = self._unheard.get(name)
        if waiting is not None and waiting[3] is connection:
            # Its client was heard, and wanted no session.
            del self._unheard[name]

    def expect(self, connection: Connection, now: float, principal: Hashable = None) -> None:
        """Learn of a new transport's connection: its hello has left, or is about to.

        The client may have had that and may come back over another transport ahead of what it said on
        this one; then the session begins on the other, and this connection closes (TW-SES-044).
        """
        self._remember(connection, connection, now, principal)

    def transport_lost(self, connection: Connection, now: float, principal: Hashable = None) -> None:
        """Learn that a transport has ended: the client may have had the hello and have spoken since.

        Where nothing of that has arrived, its name is kept for a while, so that the client can come
        back even so (TW-SES-044).
        """
        self._remember(connection, None, now, principal)

    def receive_data(
        self, connection: Connection, batch: bytes, now: float, principal: Hashable = None
    ) -> Connection:
        """Take a batch of a transport whose ``connection`` has not opened yet.

        Returns the connection that the transport belongs to from now on. If it is another one, the
        first is to be dropped without a word, and what is left of the other's old transport, too.
        """
        self.closed = None
        resume, rest = self._resume_of(connection, batch)
        session, owner = self._sessions.get(resume.session, (None, None)) if resume else (None, None)
        if resume is not None and self._is_unheard(resume, rest, principal, now):
            before = self._unheard.pop(resume.session)[3]
            if before is not None:
                before.close(ErrorCode.SESSION_LOST, "Another transport has taken its place.")
            self._unheard.pop(connection.session_id or b"", None)
            connection.begin_again(resume)
            connection.take_frames(rest, len(batch), now)
        elif resume is None or session is None or not session.matches(resume.token):
            # A resume of a session that is not here is refused by the new connection itself.
            connection.receive_data(batch, now)
        elif owner != principal:
            self._refuse(connection, session)
        elif session.resume(resume.attempt, resume.received, now, requested(resume)):
            session.states_positions = connection.states_positions
            # A hello that comes again says nothing new.
            session.take_frames(rest[1:] if rest and isinstance(rest[0], Hello) else rest, len(batch), now)
            return session
        else:
            connection.close(ErrorCode.INVALID_STATE, "An attempt to resume came after a later one.")
        return connection

    def _remember(
        self, connection: Connection, waiting: Connection | None, now: float, principal: Hashable
    ) -> None:
        """Keep the name of a session whose client was not heard yet."""
        name, token, unheard = connection.session_id, connection.token, self._unheard
        if name is None or token is None or connection.heard_of or name in self._sessions:
            return
        unheard.pop(name, None)
        while unheard:
            oldest, (until, *_) = next(iter(unheard.items()))
            if until > now and len(unheard) < UNHEARD:
                break
            del unheard[oldest]
        unheard[name] = now + connection.limits.resume_seconds, token, principal, waiting

    def _is_unheard(self, resume: Resume, rest: Sequence[Frame], principal: Hashable, now: float) -> bool:
        """Whether it asks for a session that had no hello of its client's, and brings one."""
        until, token, owner, _ = self._unheard.get(resume.session, (now, b"", None, None))
        return (
            until > now
            and compare_digest(token, resume.token)
            and owner == principal
            and resume.received == 0
            and bool(rest)
            and isinstance(rest[0], Hello)
        )

    def _resume_of(self, connection: Connection, batch: bytes) -> tuple[Resume | None, Sequence[Frame]]:
        """The first frame, if that asks for a session, and those behind it."""
        if connection.state is not ConnectionState.OPENING:
            return None, ()
        try:
            frames = decode_batch(batch, connection.limits)
        except RemoteProtocolError:
            return None, ()
        first = frames[0] if frames else None
        return (first, frames[1:]) if isinstance(first, Resume) else (None, ())

    def _refuse(self, connection: Connection, session: Connection) -> None:
        """Somebody else has the token: nobody may go on with it."""
        text = "The session belongs to somebody else."
        session.close(ErrorCode.SESSION_LOST, text)
        self.closed = session
        connection.close(ErrorCode.SESSION_LOST, text)
