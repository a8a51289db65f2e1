"""Placing: batches that state their positions may come twice, late or never, and take effect once."""

from __future__ import annotations

import random

import pytest

from telewire.core.acceptor import Acceptor
from telewire.core.connection import Connection
from telewire.core.events import CallReceived, Event, HelloReceived
from telewire.core.placing import cut_stated
from telewire.core.states import ConnectionState, LinkState
from telewire.errors import ErrorCode, LocalProtocolError
from telewire.limits import Limits
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch, encode_frame
from tests.core.dialogue import batch, close_code, frames_of, hello, names, sent
from tests.core.session import TOKEN, SessionPeer


def call(number: int) -> f.Call:
    return f.Call(number, "f", 0, 1, bytes([number]))


class Poster(SessionPeer):
    """A side whose transport states positions; what it says is given as it stands."""

    def __init__(self, side: str = "server", **options: Limits) -> None:
        super().__init__(side, **options)
        self.core.states_positions = True

    def called(self, *frames: f.Frame) -> list[int]:
        """The numbers of the calls that a batch has started."""
        return [event.payload[0] for event in self.say(*frames) if isinstance(event, CallReceived)]


# --- receiving -----------------------------------------------------------------------------------


def test_a_batch_that_comes_again_takes_effect_once_and_is_acknowledged_again() -> None:
    peer = Poster()
    first = (f.Position(0), f.Ping(1), call(0), call(1))
    assert peer.called(*first) == [0, 1]
    peer.wait(1)
    assert f.Ack(2) in peer.hear()
    assert peer.called(*first) == []
    assert {type(frame) for frame in peer.hear()} == {f.Ack, f.Pong}
    assert peer.called(f.Position(1), call(1), call(2)) == [2]
    assert not peer.core.missed


def test_a_batch_that_comes_too_early_is_refused_whole_and_answered_by_what_is_expected() -> None:
    peer = Poster()
    assert peer.called(f.Position(0), call(0)) == [0]
    peer.wait(1)
    peer.hear()
    assert peer.called(f.Position(2), f.Ping(5), call(2)) == []
    assert peer.core.missed
    assert peer.hear() == [f.Ack(1)]
    assert peer.called(f.Position(1), call(1)) == [1]
    assert not peer.core.missed
    assert peer.called(f.Position(2), call(2)) == [2]


def test_frames_without_a_position_need_none_to_be_stated() -> None:
    peer = Poster()
    peer.say(f.Ping(1), f.Ack(0))
    assert peer.hear() == [f.Pong(1)]
    assert peer.core.state is ConnectionState.OPEN


def test_frames_that_nobody_knows_are_counted_by_their_type() -> None:
    peer = Poster()
    again = (f.Position(0), f.Unknown(8, None), f.Unknown(64, None), call(0))
    assert peer.called(*again) == [0]
    peer.wait(1)
    assert f.Ack(2) in peer.hear()
    assert peer.called(*again) == []
    assert peer.called(f.Position(2), call(1)) == [1]


def test_a_close_is_taken_wherever_it_comes() -> None:
    peer = Poster()
    assert names(peer.say(f.Close(0))) == ["ConnectionClosed"]


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ((call(0),), ErrorCode.INVALID_STATE),
        ((f.Ping(1), f.Position(0), call(0)), ErrorCode.INVALID_STATE),
        ((f.Position(0), f.Position(0), call(0)), ErrorCode.INVALID_STATE),
        ((f.Position(0, {1: 0}), call(0)), ErrorCode.UNSUPPORTED),
        ((f.Resume(b"s", TOKEN, 1, 0),), ErrorCode.INVALID_STATE),
    ],
)
def test_a_batch_that_is_not_placed_closes_the_connection(
    frames: tuple[f.Frame, ...], code: ErrorCode
) -> None:
    peer = Poster()
    peer.say(*frames)
    assert peer.closed() is code


def test_on_a_carrier_that_keeps_order_nothing_is_placed() -> None:
    peer = SessionPeer()
    peer.say(f.Position(0), call(0))
    assert peer.closed() is ErrorCode.INVALID_STATE


def fresh_server() -> Connection:
    server = Connection("server", session_id=b"s", token=TOKEN)
    server.states_positions = True
    sent(server)
    return server


def test_a_hello_that_comes_again_says_nothing_new() -> None:
    server = fresh_server()
    first = batch(f.Position(0), hello(features=(1,)), call(0))
    server.receive_data(first, 0.0)
    assert names(server.events_received()) == ["HelloReceived", "CallReceived"]
    server.receive_data(first, 0.0)
    assert server.events_received() == []
    assert server.state is ConnectionState.OPEN


def test_what_comes_ahead_of_the_hello_waits_for_it_to_be_sent_again() -> None:
    server = fresh_server()
    server.receive_data(batch(f.Position(1), call(1)), 0.0)
    assert server.missed
    assert server.events_received() == []
    server.receive_data(batch(f.Position(0), hello(features=(1,)), call(0)), 0.0)
    server.receive_data(batch(f.Position(1), call(1)), 0.0)
    assert names(server.events_received()) == ["HelloReceived", "CallReceived", "CallReceived"]


def test_without_a_session_such_a_carrier_is_of_no_use() -> None:
    server = fresh_server()
    server.receive_data(batch(hello()), 0.0)
    assert close_code(sent(server)) is ErrorCode.UNSUPPORTED


def test_an_answer_to_a_resume_that_comes_again_says_nothing_new() -> None:
    peer = Poster("client")
    peer.core.call("f", b"")
    peer.hear()
    peer.lose()
    peer.core.attach(0.0)
    again = (f.Position(0), f.Resumed(1, 1), f.End(-1, 0, 1, b"x"))
    assert names(peer.say(*again)) == ["SessionResumed", "CallResolved", "CallOver"]
    assert peer.say(*again) == []
    assert peer.hear() == [f.Ack(1)]
    peer.say(f.Resumed(2, 1))
    assert peer.closed() is ErrorCode.INVALID_STATE


@pytest.mark.parametrize(("side", "attempt"), [("client", 0), ("client", 1), ("server", 0), ("server", 1)])
def test_an_answer_to_no_attempt_is_none_that_came_again(side: str, attempt: int) -> None:
    peer = Poster(side)
    peer.say(f.Resumed(attempt, 0))
    assert peer.closed() is ErrorCode.INVALID_STATE


# --- sending -------------------------------------------------------------------------------------


def test_each_batch_states_the_position_of_its_first_frame() -> None:
    peer = Poster("client")
    for number in range(3):
        peer.core.call("f", bytes([number]))
    first = peer.hear()
    # The first frame of all is alone (TW-SES-126).
    assert [type(frame) for frame in first] == [f.Position, f.Call, f.Position, f.Call, f.Call]
    assert first[0] == f.Position(0)
    peer.say(f.Ping(1))
    assert peer.hear() == [f.Pong(1)]
    peer.core.call("f", b"3")
    assert peer.hear()[0] == f.Position(3)


def test_what_leaves_again_states_where_it_stood() -> None:
    peer = Poster("client")
    for number in range(4):
        peer.core.call("f", bytes([number]))
    peer.hear()
    peer.say(f.Ack(1))
    peer.lose()
    peer.core.attach(1.0)
    peer.hear()
    peer.core.receive_data(batch(f.Resumed(1, 2)), 1.0)
    for number in (4, 5):
        peer.core.call("f", bytes([number]))
    batches = peer.core.data_to_send(1)
    while more := peer.core.data_to_send(1):
        batches += more
    found = [decode_batch(each, Limits()) for each in batches]
    assert [each[0] for each in found] == [f.Position(2), f.Position(3), f.Position(4), f.Position(5)]
    assert [each[1].payload[0] for each in found if isinstance(each[1], f.Call)] == [2, 3, 4, 5]


def test_batches_that_are_cut_state_each_its_own() -> None:
    frames = [encode_frame(f.Ping(1)), encode_frame(f.Ping(2)), *(encode_frame(call(n)) for n in range(5))]
    few = cut_stated(frames, 2, 7, Limits(batch_frames=3))
    assert [decode_batch(each, Limits())[0] for each in few] == [
        f.Ping(1),
        f.Position(7),
        f.Position(9),
        f.Position(11),
    ]
    size = len(frames[2]) * 2 + 25
    small = [decode_batch(each, Limits()) for each in cut_stated(frames, 2, 0, Limits(batch_bytes=size))]
    assert sum(len(each) for each in small) > len(frames)
    assert [frame for each in small for frame in each if isinstance(frame, f.Call)] == [
        call(number) for number in range(5)
    ]
    assert cut_stated([], 0, 3, Limits()) == []


# --- both ----------------------------------------------------------------------------------------


class Mail:
    """A client that posts, and a post that repeats and delays."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.server, self.client = fresh_server(), Connection("client")
        self.client.states_positions = True
        self.client.receive_data(batch(hello(features=(1,), session=b"s", token=TOKEN)), 0.0)
        self.posted: list[bytes] = []
        self.events: list[Event] = []
        self.now = 0.0

    def post(self) -> None:
        """Deliver all that was posted so far, any of it, in any order."""
        self.posted += self.client.data_to_send(64)
        for each in self.choose.choices(self.posted, k=self.choose.randrange(4)) if self.posted else ():
            self.server.receive_data(each, self.now)
        self.events += self.server.events_received()

    def answer(self) -> None:
        self.now += 0.1
        self.server.handle_timeout(self.now)
        for each in self.server.data_to_send():
            self.client.receive_data(each, self.now)


@pytest.mark.parametrize("seed", range(40))
def test_posts_that_are_repeated_and_out_of_order_take_effect_once(seed: int) -> None:
    mail = Mail(seed)
    for number in range(30):
        mail.client.call("f", bytes([number]))
        mail.post()
        mail.answer()
    for each in [*mail.posted, *mail.client.data_to_send()]:
        mail.server.receive_data(each, mail.now)
    mail.events += mail.server.events_received()
    assert isinstance(mail.events[0], HelloReceived)
    assert [event.payload[0] for event in mail.events if isinstance(event, CallReceived)] == list(range(30))
    assert mail.server.state is mail.client.state is ConnectionState.OPEN


# --- moving --------------------------------------------------------------------------------------


def test_a_session_moves_from_a_transport_that_is_alive() -> None:
    peer = Poster("client")
    kept = peer.core.call("f", b"a", resumable=False)
    peer.hear()
    peer.core.move(2.0)
    assert peer.core.link is LinkState.RESUMING
    assert peer.core.detached
    assert peer.core.moving
    peer.core.states_positions = False
    peer.core.call("f", b"b")
    [resume, again] = peer.hear()
    assert isinstance(resume, f.Resume)
    assert (resume.attempt, resume.received) == (1, 0)
    assert isinstance(again, f.Hello)
    assert peer.core.events_received() == []
    assert names(peer.say(hello(session=b"other", token=TOKEN), f.Resumed(1, 0))) == ["SessionResumed"]
    assert not peer.core.moving
    assert [frame.payload for frame in peer.hear() if isinstance(frame, f.Call)] == [b"a", b"b"]
    assert not kept.over


def test_a_move_that_fails_is_a_lost_transport() -> None:
    peer = SessionPeer("client")
    peer.core.call("f", b"a", resumable=False)
    peer.hear()
    peer.core.move(2.0)
    peer.hear()
    peer.now = 3.0
    assert "SessionDetached" in names(peer.lose())
    assert not peer.core.moving
    assert peer.core.next_timeout() == 3.0 + peer.core.limits.resume_seconds
    peer.core.attach(4.0)
    [resume, *_] = peer.hear()
    assert isinstance(resume, f.Resume)
    assert resume.attempt == 2
    peer.now = 5.0
    assert peer.lose() == []


def test_a_move_that_is_not_answered_is_one_too() -> None:
    peer = SessionPeer("client")
    peer.core.move(2.0)
    peer.core.attach(4.0)
    assert names(peer.core.events_received()) == ["SessionDetached"]


def test_only_a_session_of_a_client_that_is_attached_moves() -> None:
    for core in (SessionPeer().core, Connection("client", resume=False)):
        with pytest.raises(LocalProtocolError):
            core.move(0.0)
    peer = SessionPeer("client")
    peer.lose()
    with pytest.raises(LocalProtocolError, match="attach"):
        peer.core.move(0.0)


def test_a_session_that_moves_states_positions_as_its_new_transport_does() -> None:
    acceptor, session = Acceptor(), SessionPeer()
    acceptor.add(session.core)
    session.calls(0)
    fresh = Connection("server", session_id=b"fresh", token=TOKEN)
    fresh.states_positions = True
    sent(fresh)
    resume = batch(f.Resume(b"s", TOKEN, 1, 0))
    assert acceptor.receive_data(fresh, resume, 1.0) is session.core
    assert frames_of(session.core.data_to_send())[0] == f.Resumed(1, 1)
    assert names(session.say(f.Position(0), call(0), call(1))) == [
        "SessionDetached",
        "SessionResumed",
        "CallReceived",
    ]
    session.core.receive_data(resume, 1.0)
    assert session.core.state is ConnectionState.OPEN
