"""Acceptor: which conversation a new transport belongs to, and who may come back to it."""

from __future__ import annotations

import pytest

from telewire.core.acceptor import Acceptor
from telewire.core.connection import Connection
from telewire.core.states import ConnectionState, LinkState
from telewire.errors import LocalProtocolError
from telewire.wire import frames as f
from telewire.wire.codec import encode_batch
from tests.core.dialogue import C, batch, hello, names, sent
from tests.core.session import TOKEN, SessionPeer


class Door:
    """An acceptor with one session, and new transports at its door."""

    def __init__(self, principal: str | None = None) -> None:
        self.acceptor = Acceptor()
        self.session = SessionPeer().core
        self.acceptor.add(self.session, principal)
        self.session.receive_eof(0.0)
        self.session.events_received()

    def knock(self, *frames: f.Frame, principal: str | None = None) -> tuple[Connection, Connection]:
        """The connection made for a new transport, and the one it then belongs to."""
        fresh = Connection("server", session_id=b"fresh", token=TOKEN)
        sent(fresh)
        return fresh, self.acceptor.receive_data(fresh, batch(*frames), 1.0, principal)


def test_a_session_is_found_by_its_name_and_token() -> None:
    door = Door()
    _, found = door.knock(f.Resume(b"s", TOKEN, 1, 0))
    assert found is door.session
    assert names(found.events_received()) == ["SessionResumed"]


@pytest.mark.parametrize("frame", [f.Resume(b"other", TOKEN, 1, 0), f.Resume(b"s", b"wrong", 1, 0)])
def test_a_wrong_name_or_token_touches_no_session(frame: f.Frame) -> None:
    door = Door()
    fresh, found = door.knock(frame)
    assert found is fresh
    assert [each.code for each in sent(fresh)] == [C.SESSION_LOST]  # type: ignore[union-attr]
    assert door.session.link is LinkState.DETACHED
    assert door.knock(f.Resume(b"s", TOKEN, 1, 0))[1] is door.session


def test_another_principal_ends_the_session() -> None:
    door = Door("ann")
    fresh, found = door.knock(f.Resume(b"s", TOKEN, 1, 0), principal="eve")
    assert found is fresh
    assert [each.code for each in sent(fresh)] == [C.SESSION_LOST]  # type: ignore[union-attr]
    assert door.session.state is ConnectionState.CLOSED


def test_a_lower_attempt_is_refused_and_changes_nothing() -> None:
    door = Door()
    door.knock(f.Resume(b"s", TOKEN, 5, 0))
    for attempt in (4, 5):
        fresh, found = door.knock(f.Resume(b"s", TOKEN, attempt, 0))
        assert found is fresh
        assert sent(fresh)[-1].code == C.INVALID_STATE  # type: ignore[union-attr]
    assert door.session.link is LinkState.ATTACHED


def test_who_does_not_resume_gets_a_conversation_of_its_own() -> None:
    door = Door()
    fresh, found = door.knock(hello())
    assert found is fresh
    assert fresh.state is ConnectionState.OPEN
    assert door.acceptor.receive_data(fresh, batch(f.Call(0, "f", 0, 0, b"")), 1.0) is fresh
    assert names(fresh.events_received()) == ["HelloReceived", "CallReceived"]


@pytest.mark.parametrize("garbage", [b"\xff", b"", encode_batch([])])
def test_garbage_at_the_door(garbage: bytes) -> None:
    door = Door()
    fresh = Connection("server")
    sent(fresh)
    assert door.acceptor.receive_data(fresh, garbage, 1.0) is fresh


def test_sessions_are_kept_and_forgotten() -> None:
    acceptor = Acceptor()
    with pytest.raises(LocalProtocolError, match="agreed on no session"):
        acceptor.add(Connection("server"))
    session = SessionPeer().core
    acceptor.add(session)
    with pytest.raises(LocalProtocolError, match="the same session_id"):
        acceptor.add(SessionPeer().core)
    acceptor.discard(SessionPeer().core)
    acceptor.discard(Connection("server"))
    assert len(acceptor) == 1
    acceptor.discard(session)
    assert len(acceptor) == 0
