"""Resume: what a lost transport has swallowed leaves again, or the session says that it is lost."""

from __future__ import annotations

import pytest

from telewire.core.arrivals import (
    KEPT_BYTES,
    LITTLE_SECONDS,
)
from telewire.core.connection import Connection
from telewire.core.events import (
    CallReceived,
    CallRejected,
    CallResolved,
    CallStopped,
    ConnectionClosed,
    HelloReceived,
    SessionDetached,
)
from telewire.core.flow import Pool
from telewire.core.replay import SHARE_BYTES, Departures
from telewire.core.states import ConnectionState, LinkState
from telewire.core.streams import Call
from telewire.errors import ErrorCode, LocalProtocolError
from telewire.limits import Limits
from telewire.testing.pair import Pair
from telewire.wire import frames as f
from tests.core.dialogue import C, batch, close_code, frames_of, hello, names, sent, settle
from tests.core.session import TOKEN, SessionPeer

# --- agreeing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client_offers", "server_offers"), [(True, True), (True, False), (False, True), (False, False)]
)
def test_a_session_needs_both_offers(client_offers: bool, server_offers: bool) -> None:
    client = Connection("client", resume=client_offers)
    server = Connection("server", session_id=b"s", token=TOKEN, resume=server_offers)
    for each in server.data_to_send():
        client.receive_data(each, 0.0)
    for each in client.data_to_send():
        server.receive_data(each, 0.0)
    both = client_offers and server_offers
    for connection in (client, server):
        [event] = connection.events_received()
        assert isinstance(event, HelloReceived)
        assert event.features == (frozenset({1}) if both else frozenset())
        assert connection.resumable is both


def test_a_server_without_a_name_offers_no_session() -> None:
    client, server = Connection("client"), Connection("server")
    [frame] = sent(server)
    assert isinstance(frame, f.Hello)
    assert frame.features == ()
    client.receive_data(batch(frame), 0.0)
    assert not client.resumable


def test_an_offer_without_a_name_is_none() -> None:
    client = Connection("client")
    client.receive_data(batch(hello(features=(1,))), 0.0)
    assert not client.resumable


def test_without_a_session_a_lost_transport_is_the_end() -> None:
    pair = Pair()
    pair.client.call("f", b"")
    pair.cut()
    assert names(pair.take()[0]) == ["CallRejected", "CallOver", "ConnectionClosed"]
    assert pair.client.missing is None


# --- the ledgers alone ---------------------------------------------------------------------------


def test_departures() -> None:
    ledger = Departures(9 * (10 + KEPT_BYTES) + 10, 10)
    assert ledger.has_room(9, 90)
    assert not ledger.has_room(9, 91)
    assert not ledger.has_room(10, 90)
    frames = [bytes([number]) * 10 for number in range(9)]
    ledger.emit(frames, 90, 0.0)
    assert ledger.has_room(0, 0)
    assert not ledger.has_room(0, 1)
    assert ledger.acknowledge(4, 0.0)
    assert (ledger.base, ledger.emitted, ledger.held) == (4, 9, 5 * (10 + KEPT_BYTES))
    assert ledger.acknowledge(2, 0.0)
    assert ledger.base == 4
    assert not ledger.acknowledge(10, 0.0)
    ledger.rewind()
    assert ledger.take_again(15, 0.0) == frames[4:6]
    assert ledger.take_again(0, 0.0) == frames[6:7]
    assert ledger.again
    # A second loss, in the middle of the replay.
    assert ledger.acknowledge(5, 0.0)
    ledger.rewind()
    assert ledger.take_again(1000, 0.0) == frames[5:]
    assert not ledger.again
    ledger.release()
    assert (ledger.base, ledger.emitted, ledger.held) == (9, 9, 0)


def test_departures_draw_from_the_pool_beyond_their_share() -> None:
    pool = Pool(8 * SHARE_BYTES)
    short: list[bool] = []
    pool.on_short = lambda: short.append(True)
    # Half of the pool is for them, and beside it each has its share.
    ledger, other = Departures(16 * SHARE_BYTES, 0, pool), Departures(16 * SHARE_BYTES, 0, pool)
    frame = bytes(SHARE_BYTES // 4 - KEPT_BYTES)
    while ledger.has_room(1, len(frame)):
        ledger.emit([frame], len(frame), 0.0)
    assert ledger.emitted == 4 * (1 + 4)
    assert (ledger.drawn, pool.left, pool.left_to_grow) == (4 * SHARE_BYTES, 4 * SHARE_BYTES, 0)
    assert short
    assert other.has_room(4, 4 * len(frame))
    assert not other.has_room(5, 5 * len(frame))
    # What is acknowledged goes back, in steps.
    assert ledger.acknowledge(3, 0.0)
    assert not other.has_room(5, 5 * len(frame))
    assert ledger.acknowledge(4, 0.0)
    assert other.has_room(5, 5 * len(frame))
    assert other.drawn == SHARE_BYTES
    ledger.release()
    other.release()
    assert (ledger.drawn, other.drawn, pool.left, pool.left_to_grow) == (
        0,
        0,
        8 * SHARE_BYTES,
        4 * SHARE_BYTES,
    )


# --- going on ------------------------------------------------------------------------------------


def test_a_cut_is_a_pause() -> None:
    pair = Pair(resume=True)
    call = pair.client.call("f", b"arguments")
    pair.pull()
    pair.cut()
    client, server = pair.take()
    assert names(client) == names(server) == ["SessionDetached"]
    assert pair.client.state is ConnectionState.OPEN
    assert pair.client.link is pair.server.link is LinkState.DETACHED
    assert pair.client.data_to_send() == pair.server.data_to_send() == []
    second = pair.client.call("g", b"while detached")
    assert pair.client.detached
    pair.attach()
    assert pair.client.link is LinkState.RESUMING
    assert pair.client.detached
    assert not pair.server.detached
    pair.deliver()
    assert not pair.client.detached
    client, server = pair.take()
    assert names(client) == ["SessionResumed"]
    assert names(server) == ["SessionResumed", "CallReceived", "CallReceived"]
    for event, target in zip(server[1:], "fg", strict=True):
        assert isinstance(event, CallReceived)
        assert event.target == target
        pair.server.resolve(event.call, b"result")
        pair.server.finish(event.call)
    pair.deliver()
    assert [event.call for event in pair.take()[0] if isinstance(event, CallResolved)] == [call, second]
    settle(pair)


def test_replayed_frames_leave_unchanged_before_any_new_one() -> None:
    peer = SessionPeer("client")
    for name in "abc":
        peer.core.call(name, b"")
    first = peer.core.data_to_send(1)
    rest = peer.core.data_to_send()
    before = frames_of([*first, *rest])
    peer.lose()
    peer.core.call("new", b"")
    peer.core.attach(1.0)
    assert sent(peer.core) == [f.Resume(b"s", TOKEN, 1, 0), hello(features=(1,))]
    assert peer.hear() == []
    assert names(peer.say(hello(), f.Resumed(1, 1))) == ["SessionResumed"]
    again = peer.core.data_to_send(1)
    assert frames_of(again) == before[1:2]
    assert frames_of(peer.core.data_to_send()) == [*before[2:], f.Call(3, "new", 0, 0, b"")]


def test_signs_leave_before_the_replay() -> None:
    peer = SessionPeer()
    streams = [peer.core.call("f", b"") for _ in range(3)]
    left = peer.hear()
    assert len(left) == len(streams)
    peer.lose()
    assert peer.core.resume(1, 0, 0.0)
    assert frames_of(peer.core.data_to_send(1)) == [f.Resumed(1, 0)]
    assert peer.hear() == left


def test_attempts_count_up_and_a_hundredth_resume_works() -> None:
    pair = Pair(resume=True)
    pair.client.call("f", b"")
    for number in range(1, 101):
        pair.pull()
        pair.cut()
        pair.attach()
        assert pair.server._attempt == number
    pair.deliver()
    assert [event.target for event in pair.take()[1] if isinstance(event, CallReceived)] == ["f"]


def test_two_lost_answers_to_a_resume() -> None:
    pair = Pair(resume=True)
    pair.client.call("f", b"")
    for _ in range(3):
        pair.cut()
        pair.attach()
    pair.deliver()
    client, server = pair.take()
    # The server was attached each time, the client, which heard of nothing, only once.
    assert names(client) == ["SessionDetached", "SessionResumed"]
    assert names(server) == ["SessionDetached", "SessionResumed"] * 3 + ["CallReceived"]


def test_the_new_transport_wins_where_the_old_one_looks_alive() -> None:
    pair = Pair(resume=True)
    pair.client.receive_eof(0.0)
    pair.to_client += pair.server.data_to_send()
    pair.attach()
    assert names(pair.take()[1]) == ["SessionDetached", "SessionResumed"]
    pair.client.call("f", b"")
    pair.deliver()
    assert names(pair.take()[1]) == ["CallReceived"]


def test_credit_and_deadlines_survive() -> None:
    pair = Pair(resume=True)
    pair.client.call("f", b"", deadline=5.0, now=0.0)
    pair.deliver()
    [received] = pair.take()[1]
    assert isinstance(received, CallReceived)
    pair.cut()
    pair.now = 1.0
    pair.attach()
    pair.deliver()
    assert pair.client.next_timeout() == 5.0
    pair.take()
    pair.advance(4.5)
    client, server = pair.take()
    assert [event.code for event in client if isinstance(event, CallRejected)] == [C.DEADLINE_EXCEEDED]
    assert [event.code for event in server if isinstance(event, CallStopped)] == [C.DEADLINE_EXCEEDED]


def test_deadlines_run_on_while_detached() -> None:
    peer = SessionPeer("client")
    peer.core.call("f", b"", deadline=5.0, now=0.0)
    peer.hear()
    peer.lose()
    assert peer.core.next_timeout() == 5.0
    events = peer.wait(5.0)
    assert [event.code for event in events if isinstance(event, CallRejected)] == [C.DEADLINE_EXCEEDED]
    assert peer.core.next_timeout() == 60.0


def test_silence_detaches_a_session() -> None:
    peer = SessionPeer("client")
    assert peer.wait(15.0) == []
    assert peer.hear() == [f.Ping(1)]
    [event] = peer.wait(15.0)
    assert isinstance(event, SessionDetached)
    assert "silent for 30 seconds" in event.text
    assert peer.core.next_timeout() == 90.0
    with pytest.raises(LocalProtocolError, match="after receive_eof"):
        peer.say(f.Pong(1))


def test_what_concerned_the_old_transport_is_forgotten() -> None:
    peer = SessionPeer()
    peer.say(f.Ping(1))
    peer.lose()
    assert peer.core.resume(1, 0, 0.0)
    assert peer.hear() == [f.Resumed(1, 0)]


# --- refusing ------------------------------------------------------------------------------------


def test_a_client_that_waits_for_the_answer_takes_nothing_else() -> None:
    peer = SessionPeer("client")
    peer.lose()
    peer.core.attach(0.0)
    peer.hear()
    assert peer.say(f.Call(0, "f", 0, 0, b"")) == []
    assert peer.closed() is C.INVALID_STATE


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (f.Resumed(2, 0), C.INVALID_STATE),
        (f.Resumed(1, 99), C.INVALID_STATE),
        (f.Resumed(1, 0), C.SESSION_LOST),
        (f.Resumed(1, 1, {1: 1}), C.UNSUPPORTED),
    ],
    ids=["another attempt", "more than was sent", "less than was acknowledged", "extension"],
)
def test_an_answer_that_cannot_be(frame: f.Frame, code: ErrorCode) -> None:
    peer = SessionPeer("client")
    peer.core.call("f", b"")
    peer.hear()
    peer.say(f.Ack(1))
    peer.lose()
    peer.core.attach(0.0)
    peer.hear()
    assert names(peer.say(frame)) == ["CallRejected", "CallOver"]
    assert peer.core.missing == ((0, 0) if code is C.SESSION_LOST else None)
    assert peer.closed() is code


def test_a_server_says_that_it_has_lost_the_session() -> None:
    peer = SessionPeer("client")
    peer.core.call("f", b"")
    peer.core.call("g", b"")
    peer.hear()
    peer.say(f.Ack(1))
    peer.lose()
    peer.core.attach(0.0)
    peer.hear()
    events = peer.say(hello(session=b"x", token=b"y"), f.Close(C.SESSION_LOST, "never heard of it"))
    assert [event.code for event in events if isinstance(event, CallRejected)] == [C.SESSION_LOST] * 2
    assert isinstance(events[-1], ConnectionClosed)
    assert peer.core.missing == (1, 1)
    assert peer.hear() == []


def test_resume_is_no_first_frame_for_a_client() -> None:
    client = Connection("client")
    client.receive_data(batch(f.Resume(b"s", TOKEN, 1, 0)), 0.0)
    [frame] = sent(client)
    assert close_code([frame]) is C.INVALID_STATE


@pytest.mark.parametrize("frame", [f.Resumed(1, 0), f.Resume(b"s", TOKEN, 1, 0), f.Position(0)])
def test_frames_that_do_not_belong_on_an_attached_transport(frame: f.Frame) -> None:
    peer = SessionPeer()
    peer.say(frame)
    assert close_code(peer.hear()) is C.INVALID_STATE


def test_nothing_is_taken_while_detached() -> None:
    peer = SessionPeer()
    peer.lose()
    with pytest.raises(LocalProtocolError, match="attach a new transport"):
        peer.say(f.Call(0, "f", 0, 0, b""))


def test_attach_is_for_a_client_that_has_lost_its_transport() -> None:
    client, server = SessionPeer("client"), SessionPeer()
    server.lose()
    for connection in (client.core, server.core, Connection("client")):
        with pytest.raises(LocalProtocolError, match="is for a client whose transport is lost"):
            connection.attach(0.0)
    client.lose()
    with pytest.raises(LocalProtocolError, match="keeps no session"):
        client.core.resume(1, 0, 0.0)
    with pytest.raises(LocalProtocolError, match="keeps no session"):
        Connection("server").resume(1, 0, 0.0)


# --- losing it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_session_that_nobody_comes_back_to_expires(side: str) -> None:
    peer = SessionPeer(side, ours=Limits(resume_seconds=7.0))
    peer.core.call("f", b"")
    peer.core.call("g", b"")
    peer.hear()
    peer.lose()
    assert peer.core.next_timeout() == 7.0
    assert peer.wait(6.9) == []
    events = peer.wait(0.1)
    assert names(events) == ["CallRejected", "CallOver"] * 2 + ["ConnectionClosed"]
    final = events[-1]
    assert isinstance(final, ConnectionClosed)
    assert final.code == C.SESSION_LOST
    assert "within 7 seconds" in final.text
    assert peer.core.missing == (0, 1)
    assert peer.core.next_timeout() is None
    assert peer.hear() == []


def test_an_attempt_that_hangs_expires_too() -> None:
    peer = SessionPeer("client", ours=Limits(resume_seconds=7.0))
    peer.lose()
    peer.core.attach(3.0)
    peer.hear()
    assert peer.core.next_timeout() == 7.0
    assert names(peer.wait(7.0)) == ["ConnectionClosed"]


def test_closing_while_detached_is_done_at_once() -> None:
    peer = SessionPeer("client")
    peer.core.call("f", b"")
    peer.lose()
    peer.core.close()
    assert names(peer.core.events_received()) == ["CallRejected", "CallOver", "ConnectionClosed"]
    assert peer.core.state is ConnectionState.CLOSED
    assert peer.hear() == []


def test_a_transport_lost_while_closing_is_the_end() -> None:
    peer = SessionPeer()
    peer.core.close()
    assert names(peer.lose()) == ["ConnectionClosed"]
    assert peer.core.state is ConnectionState.CLOSED


@pytest.mark.parametrize("stated", [False, True])
def test_the_answer_to_a_resume_does_not_wait_for_what_is_replayed(stated: bool) -> None:
    peer = SessionPeer()
    peer.core.states_positions = stated
    for number in range(3):
        peer.core.call("f", bytes([number]))
    peer.hear()
    peer.lose()
    assert peer.core.resume(1, 0, 1.0)
    first, *rest = [frames_of([each]) for each in peer.core.data_to_send()]
    assert first == [f.Resumed(1, 0)]
    assert [type(frame) for frame in rest[0]] == [*([f.Position] if stated else []), f.Call, f.Call, f.Call]


def test_an_acknowledgement_that_cannot_leave_wakes_nobody_again_and_again() -> None:
    peer = SessionPeer()
    peer.calls(0)
    assert peer.core.next_timeout() == LITTLE_SECONDS
    # The transport takes nothing, so nobody asks what may leave.
    peer.wait(LITTLE_SECONDS)
    assert peer.core.next_timeout() == Limits().idle_seconds
    assert f.Ack(1) in peer.hear()


def test_a_call_that_is_not_resumable_is_lost_with_its_transport() -> None:
    pair = Pair(resume=True)
    lost = pair.client.call("lost", b"", resumable=False)
    kept = pair.client.call("kept", b"")
    pair.deliver()
    pair.take()
    waiting = pair.client.call("waiting", b"", resumable=False)
    pair.cut()
    client, _ = pair.take()
    assert [(event.call, event.code) for event in client if isinstance(event, CallRejected)] == [
        (lost, C.SESSION_LOST)
    ]
    pair.attach()
    pair.deliver()
    _, server = pair.take()
    stopped = [event for event in server if isinstance(event, CallStopped)]
    assert [event.code for event in stopped] == [C.SESSION_LOST]
    assert not kept.over
    assert not waiting.over


def test_the_names_of_calls_stay_secret() -> None:
    peer = SessionPeer()
    assert TOKEN.decode() not in repr(peer.core)
    assert TOKEN.decode() not in repr(f.Resume(b"s", TOKEN, 1, 0))
    assert isinstance(peer.core.call("f", b""), Call)
