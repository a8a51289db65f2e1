"""Acceptor: which conversation a new transport belongs to, and who may come back to it."""

from __future__ import annotations

import gc

import pytest

from telewire.core.acceptor import UNHEARD, Acceptor
from telewire.core.connection import Connection
from telewire.core.states import ConnectionState, LinkState
from telewire.errors import LocalProtocolError
from telewire.wire import frames as f
from telewire.wire.codec import encode_batch
from tests.core.dialogue import C, batch, close_code, end_code, hello, names, sent
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
    [said] = sent(fresh)
    assert close_code([said]) is C.SESSION_LOST
    assert door.session.link is LinkState.DETACHED
    assert door.knock(f.Resume(b"s", TOKEN, 1, 0))[1] is door.session


def test_another_principal_ends_the_session() -> None:
    door = Door("ann")
    fresh, found = door.knock(f.Resume(b"s", TOKEN, 1, 0), principal="eve")
    assert found is fresh
    [said] = sent(fresh)
    assert close_code([said]) is C.SESSION_LOST
    assert door.session.state is ConnectionState.CLOSED


def test_a_lower_attempt_is_refused_and_changes_nothing() -> None:
    door = Door()
    door.knock(f.Resume(b"s", TOKEN, 5, 0))
    for attempt in (4, 5):
        fresh, found = door.knock(f.Resume(b"s", TOKEN, attempt, 0))
        assert found is fresh
        assert close_code(sent(fresh)) is C.INVALID_STATE
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


class Unheard:
    """A server's session whose client had its hello and spoke, and was never heard."""

    def __init__(self, principal: str | None = None) -> None:
        self.acceptor = Acceptor()
        self.client = Connection("client")
        lost = Connection("server", session_id=b"s", token=TOKEN)
        self.client.receive_data(lost.data_to_send()[0], 0.0)
        self.call = self.client.call("f", b"")
        assert len(sent(self.client)) == 2
        self.client.receive_eof(0.0)
        lost.receive_eof(0.0)
        self.acceptor.transport_lost(lost, 0.0, principal)

    def come_back(self, now: float, principal: str | None = None) -> Connection:
        self.client.attach(now)
        fresh = Connection("server", session_id=b"fresh", token=b"f" * 16, now=now)
        sent(fresh)
        [resume] = self.client.data_to_send()
        assert self.acceptor.receive_data(fresh, resume, now, principal) is fresh
        for each in fresh.data_to_send():
            self.client.receive_data(each, now)
        for each in self.client.data_to_send():
            fresh.receive_data(each, now)
        return fresh


def test_a_session_whose_client_was_never_heard_begins_again() -> None:
    door = Unheard()
    server = door.come_back(1.0)
    assert names(server.events_received()) == ["HelloReceived", "CallReceived"]
    assert names(door.client.events_received()) == ["HelloReceived", "SessionDetached", "SessionResumed"]
    assert server.session_id == b"s"
    assert server.matches(TOKEN)
    # From here on it is a session as any other.
    door.acceptor.add(server)
    door.client.receive_eof(1.0)
    door.client.attach(2.0)
    fresh = Connection("server", session_id=b"other", token=b"o" * 16)
    for each in door.client.data_to_send():
        assert door.acceptor.receive_data(fresh, each, 2.0) is server


@pytest.mark.parametrize(("now", "principal"), [(61.0, "ann"), (1.0, "eve")])
def test_it_begins_again_only_soon_and_for_the_same(now: float, principal: str) -> None:
    door = Unheard("ann")
    door.come_back(now, principal)
    assert end_code(door.client.events_received()) is C.SESSION_LOST


@pytest.mark.parametrize(
    "frames",
    [
        [f.Resume(b"s", b"wrong", 1, 0), hello()],
        [f.Resume(b"s", TOKEN, 1, 1), hello()],
        [f.Resume(b"s", TOKEN, 1, 0)],
        [f.Resume(b"s", TOKEN, 1, 0), f.Ping(1)],
    ],
    ids=["token", "has received", "no hello", "something else"],
)
def test_what_begins_no_session_again(frames: list[f.Frame]) -> None:
    door = Unheard()
    fresh = Connection("server")
    sent(fresh)
    assert door.acceptor.receive_data(fresh, batch(*frames), 1.0) is fresh
    assert close_code(sent(fresh)) is C.SESSION_LOST


def test_only_so_many_unheard_sessions_are_kept() -> None:
    acceptor = Acceptor()
    for number in range(UNHEARD + 5):
        acceptor.transport_lost(Connection("server", session_id=b"%d" % number, token=TOKEN), 0.0)
    assert len(acceptor._unheard) == UNHEARD
    assert b"4" not in acceptor._unheard
    acceptor.transport_lost(Connection("server", session_id=b"later", token=TOKEN), 60.0)
    assert list(acceptor._unheard) == [b"later"]
    acceptor.transport_lost(Connection("server"), 60.0)
    acceptor.transport_lost(SessionPeer().core, 60.0)
    assert list(acceptor._unheard) == [b"later"]


def test_a_client_may_come_back_ahead_of_its_own_hello() -> None:
    acceptor, client = Acceptor(), Connection("client")
    first = Connection("server", session_id=b"s", token=TOKEN)
    acceptor.expect(first, 0.0, "ann")
    client.receive_data(first.data_to_send()[0], 0.0)
    client.call("f", b"")
    late = client.data_to_send()
    # The old transport is slow, and nobody at the server has heard that it is gone.
    client.receive_eof(0.0)
    client.attach(1.0)
    second = Connection("server", session_id=b"second", token=b"f" * 16, now=1.0)
    acceptor.expect(second, 1.0, "ann")
    sent(second)
    for each in client.data_to_send():
        assert acceptor.receive_data(second, each, 1.0, "ann") is second
    acceptor.add(second, "ann")
    assert acceptor._unheard == {}
    for each in second.data_to_send():
        client.receive_data(each, 1.0)
    for each in late:
        assert acceptor.receive_data(first, each, 1.0, "ann") is first
    assert close_code(sent(first)) is C.SESSION_LOST
    assert end_code(first.events_received()) is C.SESSION_LOST
    acceptor.transport_lost(first, 2.0, "ann")
    assert acceptor._unheard == {}
    for each in client.data_to_send():
        second.receive_data(each, 1.0)
    assert names(second.events_received()) == ["HelloReceived", "CallReceived"]
    assert names(client.events_received()) == ["HelloReceived", "SessionDetached", "SessionResumed"]


def test_a_session_that_has_opened_is_not_expected_any_more() -> None:
    acceptor = Acceptor()
    core = Connection("server", session_id=b"s", token=TOKEN)
    acceptor.expect(core, 0.0)
    core.receive_data(batch(hello(features=(1,))), 0.0)
    acceptor.add(core)
    assert acceptor._unheard == {}


def test_a_hello_that_comes_again_says_nothing_new() -> None:
    door = Door()
    _, found = door.knock(f.Resume(b"s", TOKEN, 1, 0), hello(features=(1,)))
    assert found is door.session
    assert found.state is ConnectionState.OPEN
    _, found = door.knock(f.Resume(b"s", TOKEN, 2, 0), hello(features=(1,)), f.Ping(1))
    assert sent(found)[-1] == f.Pong(1)


def test_only_a_connection_that_has_just_begun_takes_another_name() -> None:
    resume = f.Resume(b"s", TOKEN, 1, 0)
    for connection in (SessionPeer().core, Connection("client")):
        with pytest.raises(LocalProtocolError, match="a session of its own"):
            connection.begin_again(resume)


def test_one_that_wanted_no_session_is_not_kept_when_it_is_over() -> None:
    acceptor = Acceptor()
    connection = Connection("server", session_id=b"s", token=TOKEN)
    acceptor.expect(connection, 0.0)
    # Its client is heard, and does not offer to come back.
    acceptor.receive_data(connection, batch(hello()), 0.0)
    connection.receive_eof(1.0)
    acceptor.transport_lost(connection, 1.0)
    acceptor.discard(connection)
    # Asked of the collector, because a compiled connection takes no weak reference.
    assert any(each is connection for each in gc.get_objects())
    known = id(connection)
    del connection
    assert not any(id(each) == known and type(each) is Connection for each in gc.get_objects())
