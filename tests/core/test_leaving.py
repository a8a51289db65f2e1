"""Leaving: two steps, when and where to reconnect, and the close when nothing is open (TW-ERR-060 to 068)."""

from __future__ import annotations

import pytest

from telewire.core.connection import Connection
from telewire.core.events import CallReceived, CallRejected, ConnectionClosed, GoAwayReceived
from telewire.core.leaving import EVERY_CALL
from telewire.core.states import ConnectionState
from telewire.errors import LocalProtocolError
from telewire.limits import Limits
from telewire.testing.pair import Pair
from telewire.wire import frames as f
from tests.core.dialogue import C, K, Peer, batch, hello, names, only, sent
from tests.core.session import SessionPeer

WARNING = f.GoAway(EVERY_CALL, C.GOING_AWAY)


def goaways(frames: list[f.Frame]) -> list[f.Frame]:
    return [frame for frame in frames if isinstance(frame, f.GoAway)]


# --- two steps -----------------------------------------------------------------------------------


def test_in_a_session_the_last_number_follows_the_acknowledgement_of_the_warning() -> None:
    peer = SessionPeer()
    peer.calls(0)
    peer.core.drain()
    assert peer.core.going_away
    assert goaways(peer.hear()) == [WARNING]
    # The peer has not heard of it yet: what it calls is accepted.
    peer.calls(1)
    assert peer.hear() == []
    assert names(peer.say(f.Ack(0), f.Call(2, "f", 0, 0, b""))) == ["CallReceived"]
    peer.say(f.Ack(1))
    assert goaways(peer.hear()) == [f.GoAway(3, C.GOING_AWAY)]
    assert peer.say(f.Call(3, "f", 0, 0, b"")) == []
    assert f.Error(-4, C.GOING_AWAY, 0, 0, b"") in peer.hear()


def test_a_warning_that_waits_behind_a_full_replay_buffer_is_not_taken_for_heard() -> None:
    theirs = Limits(batch_bytes=256 * 1024)
    peer = SessionPeer(ours=Limits(replay_bytes=256 * 1024 + 200), theirs=theirs)
    peer.calls(0, 1)
    call = peer.core.call("f", bytes(300))
    assert [type(frame) for frame in peer.hear()] == [f.Call]
    peer.core.drain()
    assert peer.hear() == []
    peer.say(f.Ack(1))
    assert goaways(peer.hear()) == [WARNING]
    peer.say(f.Ack(2))
    assert goaways(peer.hear()) == [f.GoAway(2, C.GOING_AWAY)]
    assert not call.over


def test_without_a_session_the_last_number_follows_a_pong() -> None:
    peer = Peer()
    peer.core.drain(text="restart")
    [ping, warning] = peer.hear()
    assert isinstance(ping, f.Ping)
    assert warning == f.GoAway(EVERY_CALL, C.GOING_AWAY, "restart")
    peer.call(0)
    peer.say(f.Pong(ping.number + 1))
    assert peer.hear() == []
    peer.say(f.Pong(ping.number))
    assert peer.hear() == [f.GoAway(1, C.GOING_AWAY, "restart")]


def test_a_warning_that_was_lost_leaves_again_and_is_heard_through_the_resume() -> None:
    pair = Pair(resume=True)
    pair.server.drain()
    assert pair.server.data_to_send()
    pair.cut()
    pair.attach()
    pair.deliver()
    pair.advance(1)
    pair.deliver()
    client, server = pair.take()
    said = [event.calls for event in client if isinstance(event, GoAwayReceived)]
    assert said == [EVERY_CALL, 0]
    # All of it has arrived, and nothing was open.
    pair.advance(1)
    pair.deliver()
    assert only(server + pair.take()[1], ConnectionClosed).code == C.GOING_AWAY


def test_a_warning_that_had_arrived_is_heard_where_the_resume_says_so() -> None:
    peer = SessionPeer()
    peer.core.drain()
    peer.hear()
    peer.lose()
    assert peer.core.resume(1, 1, 0.0)
    assert goaways(peer.hear()) == [f.GoAway(0, C.GOING_AWAY)]


def test_to_go_away_at_once_in_between_says_the_last_number_once() -> None:
    peer = Peer()
    peer.core.drain()
    [ping, _] = peer.hear()
    assert isinstance(ping, f.Ping)
    peer.core.go_away(text="now")
    peer.core.drain()
    assert peer.hear()[0] == f.GoAway(0, C.GOING_AWAY, "now")
    peer.say(f.Pong(ping.number))
    assert goaways(peer.hear()) == []


@pytest.mark.parametrize("kind", [K.FUNCTION, K.CHANNEL])
def test_what_goes_on_can_be_called_until_it_has_ended(kind: K) -> None:
    peer = SessionPeer()
    call = peer.call(0)
    [stream] = peer.core.resolve(call, b"", [(kind, 7)])
    peer.core.finish(call)
    peer.core.drain()
    assert [type(frame) for frame in peer.hear()] == [f.GoAway, f.End]
    peer.say(f.Ack(2))
    assert peer.hear() == []
    assert names(peer.say(f.Call(1, -1, 0, 0, b""))) == ["CallReceived"]
    peer.core.reset(stream)
    if kind is K.CHANNEL:
        peer.core.stop(stream)
    assert f.GoAway(2, C.GOING_AWAY) in peer.hear()


def test_functions_of_the_peers_hold_nothing_up() -> None:
    peer = SessionPeer()
    peer.call(0, b"", f.Declaration(1, K.FUNCTION, 7))
    peer.core.drain()
    peer.hear()
    peer.say(f.Ack(1))
    assert goaways(peer.hear()) == [f.GoAway(2, C.GOING_AWAY)]


def test_what_was_refused_has_never_started_and_what_was_cut_off_may_have() -> None:
    peer = Peer()
    calls = [peer.core.call("f", b"") for _ in range(3)]
    peer.hear()
    peer.say(f.GoAway(2, C.GOING_AWAY), f.Error(-3, C.GOING_AWAY, 0, 0, b""), f.Close(C.GOING_AWAY))
    assert all(call.over for call in calls)
    assert [peer.core.never_started(call) for call in calls] == [False, False, True]


def test_to_drain_twice_warns_once_and_closes_no_earlier() -> None:
    peer = SessionPeer()
    peer.core.drain()
    peer.core.drain()
    assert peer.hear() == [WARNING]
    assert peer.core.state is ConnectionState.OPEN


# --- when and where ------------------------------------------------------------------------------


def test_when_and_where_to_reconnect_travels_with_both_steps() -> None:
    pair = Pair()
    pair.server.drain(text="moved", reconnect_after=1.5, elsewhere="https://b.example/telewire")
    pair.deliver()
    pair.deliver()
    client, _ = pair.take()
    where = (1.5, "https://b.example/telewire")
    assert [event for event in client if isinstance(event, GoAwayReceived)] == [
        GoAwayReceived(EVERY_CALL, C.GOING_AWAY, "moved", *where),
        GoAwayReceived(0, C.GOING_AWAY, "moved", *where),
    ]


def test_keys_of_another_type_never_come_and_others_are_ignored() -> None:
    peer = Peer()
    assert peer.say(f.GoAway(5, 0, "", {16: 250, 20: "x"})) == [GoAwayReceived(5, 0, "", 0.25)]
    assert peer.say(f.GoAway(5, 0, "", {18: ""})) == [GoAwayReceived(5, 0, "", None, "")]


def test_hints_that_the_peer_has_no_room_for_are_left_out() -> None:
    peer = Peer(theirs=Limits(metadata_bytes=20))
    peer.core.go_away(reconnect_after=1, elsewhere="https://b.example/telewire")
    assert peer.hear() == [f.GoAway(0, C.GOING_AWAY)]
    peer = Peer(theirs=Limits(metadata_bytes=20))
    peer.core.go_away(reconnect_after=-1)
    assert peer.hear() == [f.GoAway(0, C.GOING_AWAY, "", {16: 0})]


# --- the close -----------------------------------------------------------------------------------


def test_it_closes_when_nothing_is_open_and_all_has_arrived() -> None:
    peer = SessionPeer()
    call = peer.call(0)
    peer.core.drain()
    peer.hear()
    peer.say(f.Ack(1))
    peer.hear()
    [stream] = peer.core.resolve(call, b"", [(K.ITEMS, None)])
    peer.hear()
    # The call is answered, and lives on with its stream.
    peer.say(f.Ack(3))
    assert peer.hear() == []
    peer.core.resolve(stream, b"")
    assert [type(frame) for frame in peer.hear()] == [f.End]
    # The body has not ended.
    peer.say(f.Ack(4))
    assert not peer.core.idle
    assert peer.hear() == []
    peer.core.finish(call)
    assert peer.core.idle
    assert peer.hear() == [f.Close(C.GOING_AWAY)]
    assert only(peer.core.events_received(), ConnectionClosed).code == C.GOING_AWAY


def test_what_the_peer_has_not_acknowledged_is_not_cut_off() -> None:
    peer = SessionPeer()
    call = peer.call(0)
    peer.core.drain()
    peer.hear()
    peer.say(f.Ack(1))
    peer.hear()
    peer.core.resolve(call, b"")
    peer.core.finish(call)
    assert [type(frame) for frame in peer.hear()] == [f.End]
    peer.say(f.Ack(2))
    assert peer.hear() == []
    peer.say(f.Ack(3), f.Ping(1))
    assert [type(frame) for frame in peer.hear()] == [f.Pong, f.Close]


def test_without_a_session_it_closes_as_soon_as_nothing_is_open() -> None:
    peer = Peer()
    peer.core.drain(C.NONE)
    [ping, _] = peer.hear()
    assert isinstance(ping, f.Ping)
    peer.say(f.Pong(ping.number))
    assert peer.hear() == [f.GoAway(0, 0), f.Close(0)]


def test_what_waits_to_leave_is_not_cut_off() -> None:
    peer = SessionPeer(ours=Limits(replay_bytes=256 * 1024 + 200))
    for number in range(3):
        call = peer.call(number)
        peer.core.resolve(call, bytes(300))
        peer.core.finish(call)
    peer.core.drain()
    # The answers leave one by one, as they are acknowledged, and the announcements between them.
    said: list[type[f.Frame]] = []
    for received in range(1, 9):
        frames = [frame for frame in peer.hear() if not isinstance(frame, f.Ack)]
        said += [type(frame) for frame in frames]
        if frames and isinstance(frames[-1], f.Close):
            break
        peer.say(f.Ack(min(received, 5)))
    assert said == [f.GoAway, f.End, f.GoAway, f.End, f.End, f.Close]


def test_going_away_at_once_closes_nothing_by_itself_unless_it_drains() -> None:
    peer = Peer()
    peer.core.go_away()
    assert peer.hear() == [f.GoAway(0, C.GOING_AWAY)]
    assert peer.hear() == []
    peer.core.drain()
    assert peer.hear() == [f.Close(C.GOING_AWAY)]


def test_the_client_may_drain_too() -> None:
    pair = Pair()
    call = pair.server.call("back", b"")
    pair.deliver()
    pair.client.drain()
    for _ in range(3):
        pair.deliver()
    client, server = pair.take()
    event = only(client, CallReceived)
    assert [each.calls for each in server if isinstance(each, GoAwayReceived)] == [EVERY_CALL, 1]
    pair.client.resolve(event.call, b"")
    pair.client.finish(event.call)
    for _ in range(3):
        pair.deliver()
    assert call.over
    assert pair.client.state is ConnectionState.CLOSED


def test_patience_ends_what_is_open() -> None:
    pair = Pair()
    call = pair.client.call("f", b"")
    pair.deliver()
    pair.server.drain()
    pair.deliver()
    pair.server.close(C.GOING_AWAY)
    pair.deliver()
    client, _ = pair.take()
    assert only(client, CallRejected) == CallRejected(call, C.GOING_AWAY, b"")


# --- refused -------------------------------------------------------------------------------------


def test_to_drain_needs_an_open_conversation_and_a_code_that_may_stand_there() -> None:
    with pytest.raises(LocalProtocolError, match="drain"):
        Connection("client").drain()
    with pytest.raises(LocalProtocolError):
        Peer().core.drain(C.ABORTED)


def test_an_exchange_has_nothing_to_go_away_from() -> None:
    server = Connection("server", exchange=True)
    server.receive_data(batch(hello(), f.Call(0, "f", 0, 0, b"")), 0.0)
    server.events_received()
    server.drain()
    assert [type(frame) for frame in sent(server)] == [f.Hello]
    assert server.state is ConnectionState.OPEN
