"""commands: what each does, and that a refused one raises and changes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from telewire.core.connection import Connection
from telewire.core.events import (
    CallOver,
    CallReceived,
    CallRejected,
    CallResolved,
    StreamReset,
    StreamStopped,
)
from telewire.core.streams import Call, Stream
from telewire.errors import LocalProtocolError, ResourceExhausted, TelewireError
from telewire.limits import Limits
from telewire.testing.pair import Pair
from telewire.wire import frames as f
from tests.core.dialogue import C, K, Peer, assert_empty, names, only
from tests.core.state import state_of


def refused(
    connection: Connection, command: Callable[[], object], error: type[TelewireError] = LocalProtocolError
) -> TelewireError:
    """Let a command be refused; prove that nothing has changed."""
    before = state_of(connection)
    with pytest.raises(error) as caught:
        command()
    assert state_of(connection) == before
    return caught.value


# --- call ----------------------------------------------------------------------------------------


def test_a_call_as_it_leaves() -> None:
    peer = Peer()
    call = peer.core.call(
        "f",
        b"ab",
        [(K.FUNCTION, 7), (K.ITEMS, None)],
        metadata={"k": "v"},
        deadline=9.0,
        lifetime=10.5,
        now=8.0,
    )
    assert peer.hear() == [
        f.Call(
            0,
            "f",
            0,
            2,
            b"ab",
            (f.Declaration(1, K.FUNCTION, 7), f.Declaration(2, K.ITEMS)),
            {0: 1000, 2: 2500, 6: {"k": "v"}},
        )
    ]
    assert [stream.number for stream in call.declared] == [1, 2]


@pytest.mark.parametrize("size", [1, 1000])
def test_the_headers_of_a_call(size: int) -> None:
    peer = Peer()
    peer.core.call("f", bytes(size), metadata={"k": "v"})
    assert peer.hear() == [f.Call(0, "f", 0, size, bytes(size), (), {6: {"k": "v"}})]


def test_what_is_left_of_a_deadline_is_counted_when_the_call_leaves() -> None:
    peer = Peer(theirs=Limits(open_calls=1))
    first = peer.core.call("f", b"")
    peer.core.call("f", b"", deadline=9.0, now=0.0)
    peer.hear()
    peer.now = 6.9996
    peer.say(f.End(-1, 0, 0, b""))
    assert first.over
    assert peer.hear() == [f.Call(1, "f", 0, 0, b"", (), {0: 2000})]


def test_a_deadline_that_has_passed_leaves_nothing() -> None:
    peer = Peer()
    peer.core.call("f", b"", deadline=1.0, lifetime=1e300, now=2.0)
    assert peer.core.next_timeout() == 1.0
    assert peer.hear() == [f.Call(0, "f", 0, 0, b"", (), {0: 0, 2: (1 << 53) - 1})]


@pytest.mark.parametrize("never", [math.inf, -math.inf, math.nan])
def test_a_point_in_time_that_never_comes_is_none(never: float) -> None:
    peer = Peer()
    peer.core.call("f", b"", deadline=never, lifetime=never, now=0.0)
    assert peer.core.next_timeout() == 15.0
    assert peer.hear() == [f.Call(0, "f", 0, 0, b"")]


def test_a_call_is_bounded_in_each_way() -> None:
    limits = Limits(
        name_bytes=5,
        message_bytes=2000,
        references=3,
        open_streams=4,
        credited_streams=1,
        metadata_bytes=30,
    )
    peer = Peer(theirs=limits)
    core = peer.core
    refused(core, lambda: core.call("näme1", b""))
    refused(core, lambda: core.call("\ud800", b""))
    refused(core, lambda: core.call("f", bytes(2001)), ResourceExhausted)
    refused(core, lambda: core.call("f", b"", [(K.PROMISE, None)] * 4), ResourceExhausted)
    refused(core, lambda: core.call("f", b"", [(K.ITEMS, None)] * 2), ResourceExhausted)
    refused(core, lambda: core.call("f", b"", metadata={"a": "x" * 25}), ResourceExhausted)
    refused(core, lambda: core.call("f", b"", metadata={"\ud800": "x"}))
    refused(core, lambda: core.call("f", b"", [(K.FUNCTION, None)]))
    refused(core, lambda: core.call("f", b"", [(K.ITEMS, 3)]))
    refused(core, lambda: core.call("f", b"", [(K.CALL, None)]))
    core.call("näme", bytes(2000), [(K.PROMISE, None), (K.ITEMS, None), (K.FUNCTION, 1)])
    refused(core, lambda: core.call("f", b"", [(K.PROMISE, None)] * 2), ResourceExhausted)
    refused(core, lambda: core.call("f", b"", [(K.BYTES, None)]), ResourceExhausted)
    core.call("f", b"", [(K.PROMISE, None)], metadata={"a": "x" * 22})
    # The longest map that may leave is exactly as long as the peer allows.
    assert len(peer.hear()) == 2


def test_what_does_not_fit_into_a_batch_beside_a_payload_fails_here() -> None:
    tight = Limits(fragment_bytes=1024, batch_bytes=2048)
    core = Peer(theirs=tight).core
    refused(core, lambda: core.call("f", b"", [(K.FUNCTION, n) for n in range(100)]), ResourceExhausted)
    refused(core, lambda: core.call("f", b"", metadata={"a": "x" * 2000}), ResourceExhausted)
    call = Peer(theirs=tight).call(0)
    refused(core, lambda: core.resolve(call, b"", [(K.FUNCTION, n) for n in range(100)]), ResourceExhausted)


def test_calls_wait_up_to_a_bound() -> None:
    peer = Peer(Limits(queued_calls=2), Limits(open_calls=1))
    calls = [peer.core.call("f", b"") for _ in range(3)]
    refused(peer.core, lambda: peer.core.call("f", b""), ResourceExhausted)
    peer.core.stop(calls[1])
    peer.core.events_received()
    peer.core.call("g", b"")
    assert [frame.target for frame in peer.hear() if isinstance(frame, f.Call)] == ["f"]
    assert names(peer.say(f.End(-1, 0, 0, b""))) == ["CallResolved", "CallOver"]
    assert len(peer.hear()) == 1
    # A cancelled call keeps its place until it is answered.
    peer.core.stop(calls[2])
    assert peer.hear() == [f.Stop(1, 0)]
    peer.say(f.Error(-2, C.STOPPED, 0, 0, b""))
    assert peer.hear() == [f.Call(2, "g", 0, 0, b"")]


def test_stopping_a_call_that_has_its_place_gives_it_to_the_next() -> None:
    peer = Peer(theirs=Limits(open_calls=1))
    first, second = peer.core.call("f", b""), peer.core.call("g", b"")
    peer.core.stop(first)
    assert peer.hear() == [f.Call(0, "g", 0, 0, b"")]
    assert second.number == 0


def test_what_cannot_be_called() -> None:
    peer = Peer()
    call, (function, items, channel) = peer.answered(0, (K.FUNCTION, 1), (K.ITEMS, None), (K.CHANNEL, 2))
    other = peer.call(1, b"", f.Declaration(2, K.FUNCTION, 4), f.Declaration(3, K.CHANNEL, 5))
    for target in (function, items, call):
        refused(peer.core, lambda target=target: peer.core.call(target, b""))
    for target in other.declared:
        peer.core.call(target, b"")
    peer.core.release(other.declared[0])
    refused(peer.core, lambda: peer.core.call(other.declared[0], b""))
    peer.core.end(channel)
    refused(peer.core, lambda: peer.core.call(channel, b""))
    peer.core.stop(other.declared[1])
    refused(peer.core, lambda: peer.core.call(other.declared[1], b""))


# --- release and requests ------------------------------------------------------------------------


def test_release_does_not_overtake_a_big_call() -> None:
    pair = Pair()
    pair.client.call("f", b"", [(K.FUNCTION, 1)])
    pair.deliver()
    function = only(pair.take()[1], CallReceived).declared[0]
    big = pair.server.call(function, bytes(1 << 20))
    pair.server.release(function)
    refused(pair.server, lambda: pair.server.call(function, b""))
    pair.server.release(function)
    pair.deliver()
    client, _ = pair.take()
    assert sorted(names(client)) == ["CallReceived", "StreamStopped"]
    received = only(client, CallReceived)
    assert len(received.payload) == 1 << 20
    pair.client.resolve(received.call, b"answer")
    pair.client.finish(received.call)
    pair.deliver()
    assert pair.take()[1][0] == CallResolved(big, b"answer", ())


def test_a_release_waits_for_calls_that_have_no_place_yet() -> None:
    peer = Peer(theirs=Limits(open_calls=1))
    function = peer.call(0, b"", f.Declaration(1, K.FUNCTION, 1)).declared[0]
    first, second = peer.core.call(function, b"a"), peer.core.call(function, b"b")
    peer.core.release(function)
    assert [type(frame) for frame in peer.hear()] == [f.Call]
    peer.say(f.Error(-1, C.INTERNAL, 0, 0, b""))
    assert peer.hear() == [f.Call(1, -2, 0, 1, b"b"), f.Stop(-2, 0)]
    assert first.over
    assert not second.over


def test_a_call_that_is_stopped_lets_the_release_go() -> None:
    peer = Peer(theirs=Limits(open_calls=0))
    function = peer.call(0, b"", f.Declaration(1, K.FUNCTION, 1)).declared[0]
    call = peer.core.call(function, b"a")
    peer.core.release(function)
    assert peer.hear() == []
    peer.core.stop(call)
    assert peer.hear() == [f.Stop(-2, 0)]


def test_a_request_waits_until_its_channel_is_introduced() -> None:
    peer = Peer(theirs=Limits(stream_window=1024, fragment_bytes=1024))
    call = peer.core.call("f", bytes(3000), [(K.CHANNEL, 1)])
    channel = call.declared[0]
    requests = [peer.core.call(channel, bytes([n]) * (300 if n == 1 else 1)) for n in range(3)]
    peer.core.send_message(channel, b"\x01")
    assert len(peer.hear()) == 1
    peer.say(f.Grant(-1, 3000))
    frames = peer.hear()
    introduced = next(i for i, frame in enumerate(frames) if getattr(frame, "declarations", ()))
    later = frames[introduced + 1 :]
    assert [frame.payload for frame in later if isinstance(frame, f.Call)] == [b"\0", b"\1" * 300, b"\2"]
    assert all(frame.target == 1 for frame in later if isinstance(frame, f.Call))
    assert sum(isinstance(frame, f.Items) for frame in later) == 1
    assert len({request.number for request in requests}) == 3


def test_a_request_that_has_no_place_is_not_let_out_by_the_introduction() -> None:
    peer = Peer(theirs=Limits(open_calls=1))
    call = peer.core.call("f", b"", [(K.CHANNEL, 1)])
    peer.core.call(call.declared[0], b"")
    assert len(peer.hear()) == 1


def test_the_end_of_a_channel_waits_for_the_requests_before_it() -> None:
    peer = Peer()
    _, (channel,) = peer.answered(0, (K.CHANNEL, 1))
    peer.core.send_message(channel, b"\x01")
    peer.core.call(channel, b"r")
    peer.core.end(channel)
    assert [type(frame) for frame in peer.hear()] == [f.Items, f.Call, f.End]


@pytest.mark.parametrize("how", ["reset", "stop", "they stop", "they reset", "over"])
def test_requests_that_cannot_leave_any_more(how: str) -> None:
    peer = Peer(theirs=Limits(open_calls=1))
    call, (channel,) = peer.answered(0, (K.CHANNEL, 1))
    first = peer.core.call("f", b"")
    peer.hear()
    request = peer.core.call(channel, b"r")
    if how == "reset":
        peer.core.reset(channel)
    elif how == "stop":
        peer.core.stop(channel)
    elif how == "they stop":
        peer.say(f.Stop(-1, 0))
    elif how == "they reset":
        peer.say(f.Reset(-1, 0))
    else:
        peer.core.reset(call)
    assert request.over
    peer.hear()
    peer.say(f.End(-2, 0, 0, b""))
    assert first.over
    assert peer.hear() == []
    assert not peer.core._unsent


# --- settling ------------------------------------------------------------------------------------


def test_settling_twice_is_refused() -> None:
    peer = Peer()
    call, (promise, items) = peer.answered(0, (K.PROMISE, None), (K.ITEMS, None))
    mine = peer.core.call("f", b"")
    for stream in (call, mine):
        refused(peer.core, lambda stream=stream: peer.core.resolve(stream, b""))
    peer.core.resolve(promise, b"v")
    refused(peer.core, lambda: peer.core.reject(promise, C.ABORTED))
    assert peer.hear()[1:] == [f.End(0, 0, 1, b"v")]
    refused(peer.core, lambda: peer.core.resolve(promise, b""))
    peer.core.reject(items, C.ABORTED, b"w")
    assert peer.hear() == [f.Error(1, C.ABORTED, 0, 1, b"w")]
    refused(peer.core, lambda: peer.core.end(items))
    theirs = peer.call(1)
    peer.core.reject(theirs, C.ABORTED)
    refused(peer.core, lambda: peer.core.resolve(theirs, b""))


def test_the_value_of_a_promise_may_introduce_streams() -> None:
    peer = Peer()
    call, (promise, items) = peer.answered(0, (K.PROMISE, None), (K.ITEMS, None))
    (inner,) = peer.core.resolve(promise, b"v", [(K.PROMISE, None)])
    (function,) = peer.core.end(items, b"w", [(K.FUNCTION, 3)])
    assert peer.hear() == [
        f.End(0, 0, 1, b"v", (f.Declaration(2, K.PROMISE),)),
        f.End(1, 0, 1, b"w", (f.Declaration(3, K.FUNCTION, 3),)),
    ]
    assert list(call.owned) == [inner, function]


def test_a_large_answer_is_given_once() -> None:
    peer = Peer()
    call = peer.call(0)
    peer.core.resolve(call, bytes(1000))
    refused(peer.core, lambda: peer.core.resolve(call, b""))


@pytest.mark.parametrize("code", [0, 32, 99])
def test_an_error_has_a_code_of_a_stream(code: int) -> None:
    peer = Peer()
    call = peer.call(0)
    refused(peer.core, lambda: peer.core.reject(call, code))


@pytest.mark.parametrize("kind", [K.BYTES, K.CHANNEL])
def test_some_kinds_end_without_a_value(kind: K) -> None:
    peer = Peer()
    _, (stream,) = peer.answered(0, (kind, 1 if kind is K.CHANNEL else None))
    refused(peer.core, lambda: peer.core.end(stream, b"x"))
    refused(peer.core, lambda: peer.core.end(stream, b"", [(K.PROMISE, None)]))
    peer.core.end(stream)


def test_a_function_is_not_settled() -> None:
    peer = Peer()
    _, (function,) = peer.answered(0, (K.FUNCTION, 1))
    refused(peer.core, lambda: peer.core.end(function))


# --- sending -------------------------------------------------------------------------------------


def test_sending_what_the_stream_does_not_carry() -> None:
    peer = Peer()
    _, (items, data, channel) = peer.answered(0, (K.ITEMS, None), (K.BYTES, None), (K.CHANNEL, 1))
    theirs = peer.call(1, b"", f.Declaration(2, K.ITEMS)).declared[0]
    for stream in (data, channel, theirs):
        refused(peer.core, lambda stream=stream: peer.core.send_item(stream, b""))
    for stream in (items, channel):
        refused(peer.core, lambda stream=stream: peer.core.send_chunk(stream, b""))
    refused(peer.core, lambda: peer.core.send_message(items, b""))
    assert not peer.core.writable(theirs)
    refused(peer.core, lambda: peer.core.send_item(items, bytes((1 << 24) + 1)), ResourceExhausted)
    refused(peer.core, lambda: peer.core.send_item(items, b"", [(K.CALL, None)]))
    peer.core.end(items)
    refused(peer.core, lambda: peer.core.send_item(items, b""))
    assert not peer.core.writable(items)


def test_what_this_side_has_open() -> None:
    peer = Peer()
    assert peer.core.streams_of_ours() == []
    waiting = peer.core.call("waiting", b"")
    assert peer.core.streams_of_ours() == [waiting]
    assert peer.core.stream_of_ours(0) is None
    peer.hear()
    assert peer.core.streams_of_ours() == [waiting]
    assert peer.core.stream_of_ours(0) is waiting
    assert peer.core.stream_of_ours(1) is None
    peer.core.receive_eof(0.0)
    assert peer.core.streams_of_ours() == []


def test_a_chunk_that_waits_for_credit_takes_none_with_it() -> None:
    peer = Peer(theirs=Limits(stream_window=1024, fragment_bytes=1024))
    _, (stream,) = peer.answered(0, (K.BYTES, None))
    peer.core.send_chunk(stream, bytes(600))
    peer.core.send_chunk(stream, bytes(600))
    assert peer.hear() == [f.Chunk(0, 0, bytes(600)), f.Chunk(0, 0, bytes(424))]
    assert not peer.core.writable(stream)


def test_sending_without_credit_is_refused() -> None:
    peer = Peer(theirs=Limits(stream_window=1024, fragment_bytes=1024))
    _, (stream,) = peer.answered(0, (K.BYTES, None))
    peer.core.send_chunk(stream, bytes(1024))
    refused(peer.core, lambda: peer.core.send_chunk(stream, b"x"))


def test_an_item_that_introduces_something_travels_alone() -> None:
    peer = Peer()
    _, (stream,) = peer.answered(0, (K.ITEMS, None))
    peer.core.send_item(stream, b"\x01")
    (promise,) = peer.core.send_item(stream, b"\x02", [(K.PROMISE, None)])
    peer.core.resolve(promise, b"v")
    peer.core.send_item(stream, b"\x03")
    assert peer.hear() == [
        f.Items(0, 0, 1, b"\x81\x01"),
        f.Item(0, 0, 1, b"\x02", (f.Declaration(1, K.PROMISE),)),
        f.Items(0, 0, 1, b"\x81\x03"),
        f.End(1, 0, 1, b"v"),
    ]


# --- consuming -----------------------------------------------------------------------------------


def test_consuming_what_is_not_there() -> None:
    peer = Peer()
    call = peer.call(0, b"", f.Declaration(1, K.ITEMS))
    stream = call.declared[0]
    peer.say(f.Items(1, 0, 2, b"\x82\x00\x00"))
    for units in (0, -1, 3):
        refused(peer.core, lambda units=units: peer.core.consumed(stream, units))
    refused(peer.core, lambda: peer.core.consumed(call))
    peer.core.consumed(stream, 2)


# --- stop and reset ------------------------------------------------------------------------------


def test_stopping_what_we_do_not_receive() -> None:
    peer = Peer()
    call, (items, function) = peer.answered(0, (K.ITEMS, None), (K.FUNCTION, 1))
    for stream in (items, function, call):
        refused(peer.core, lambda stream=stream: peer.core.stop(stream))
    theirs = peer.call(1, b"", f.Declaration(2, K.ITEMS), f.Declaration(3, K.FUNCTION, 1))
    for stream in theirs.declared:
        refused(peer.core, lambda stream=stream: peer.core.reset(stream))
    refused(peer.core, lambda: peer.core.reset(theirs))
    mine = peer.core.call("f", b"")
    refused(peer.core, lambda: peer.core.reset(mine))


def test_the_reason_of_a_farewell_is_bounded() -> None:
    peer = Peer(theirs=Limits(reason_bytes=10))
    call = peer.core.call("f", b"")
    _, (stream,) = peer.answered(0, (K.ITEMS, None))
    refused(peer.core, lambda: peer.core.stop(call, C.ABORTED, bytes(11)))
    refused(peer.core, lambda: peer.core.reset(stream, C.ABORTED, bytes(11)))
    refused(peer.core, lambda: peer.core.stop(call, C.PROTOCOL_ERROR))
    peer.core.stop(call, C.ABORTED, bytes(10))
    assert peer.hear() == [f.Stop(0, C.ABORTED, bytes(10))]


def test_a_reset_discards_what_has_not_left() -> None:
    peer = Peer()
    _, (stream,) = peer.answered(0, (K.ITEMS, None))
    peer.core.send_item(stream, b"\x01")
    (inner,) = peer.core.send_item(stream, b"", [(K.FUNCTION, 1)])
    peer.core.reset(stream, C.CANCELLED, b"w")
    peer.core.reset(stream)
    assert peer.hear() == [f.Reset(0, C.CANCELLED, b"w")]
    events = peer.core.events_received()
    assert events[0] == StreamStopped(inner, 0, b"")
    assert names(events) == ["StreamStopped", "CallOver"]
    assert_empty(peer.core)


def test_revoking_a_function() -> None:
    peer = Peer()
    _, (function,) = peer.answered(0, (K.FUNCTION, 1))
    peer.core.reset(function, C.REFERENCE_RELEASED)
    peer.core.reset(function)
    assert peer.hear() == [f.Reset(0, C.REFERENCE_RELEASED)]
    assert peer.say(f.Stop(-1, 0), f.Call(1, -1, 0, 0, b"")) == [CallOver(function.call, 0, b"")]  # type: ignore[arg-type]
    assert peer.hear() == [f.Error(-2, C.REFERENCE_RELEASED, 0, 0, b"")]
    assert_empty(peer.core)


@pytest.mark.parametrize("kind", [K.PROMISE, K.ITEMS, K.BYTES, K.FUNCTION, K.CHANNEL])
def test_a_farewell_follows_the_introduction(kind: K) -> None:
    peer = Peer()
    call = peer.call(0)
    (stream,) = peer.core.resolve(call, b"", [(kind, 1 if kind >= K.FUNCTION else None)])
    peer.core.finish(call)
    peer.core.reset(stream, C.ABORTED, b"w")
    if kind is K.CHANNEL:
        peer.core.stop(stream, C.CANCELLED)
    expected: list[f.Frame] = [f.Reset(0, C.ABORTED, b"w")]
    if kind is K.CHANNEL:
        expected.append(f.Stop(0, C.CANCELLED))
    first, *rest = peer.hear()
    assert isinstance(first, f.End)
    assert len(first.declarations) == 1
    assert rest == expected
    assert_empty(peer.core)


def test_a_farewell_dies_with_the_introduction() -> None:
    peer = Peer()
    call = peer.call(0)
    (stream,) = peer.core.resolve(call, b"", [(K.FUNCTION, 1)])
    peer.core.reset(stream)
    peer.say(f.Stop(0, 0))
    peer.core.finish(call)
    assert peer.hear() == [f.Error(-1, C.STOPPED, 0, 0, b"")]
    assert_empty(peer.core)


def test_a_channel_is_aborted_in_both_directions() -> None:
    peer = Peer()
    _, (channel,) = peer.answered(0, (K.CHANNEL, 1))
    peer.core.reset(channel, C.ABORTED, b"w")
    assert not channel.retired
    refused(peer.core, lambda: peer.core.send_message(channel, b""))
    peer.core.stop(channel, C.ABORTED, b"w")
    peer.core.stop(channel)
    assert peer.hear() == [f.Reset(0, C.ABORTED, b"w"), f.Stop(0, C.ABORTED, b"w")]
    assert names(peer.core.events_received()) == ["CallOver"]
    assert_empty(peer.core)


def test_stopping_what_has_ended_but_is_not_consumed_says_nothing() -> None:
    peer = Peer()
    call = peer.call(0, b"", f.Declaration(1, K.ITEMS))
    stream = call.declared[0]
    peer.say(f.Items(1, 0, 2, b"\x82\x00\x00"), f.End(1, 0, 0, b""))
    peer.core.consumed(stream)
    peer.core.stop(stream)
    assert stream.retired
    assert peer.hear() == []


def test_consuming_after_a_stop_returns_no_credit() -> None:
    peer = Peer()
    call = peer.call(0, b"", f.Declaration(1, K.CHANNEL, 1))
    channel = call.declared[0]
    peer.say(f.Item(1, 0, 60_000, bytes(60_000)))
    peer.core.stop(channel)
    peer.core.consumed(channel)
    assert peer.hear() == [f.Stop(-2, 0)]


def test_nothing_is_called_twice_over() -> None:
    peer = Peer()
    call = peer.core.call("f", b"", [(K.ITEMS, None)])
    peer.hear()
    peer.core.stop(call)
    peer.say(f.Error(-1, C.STOPPED, 0, 0, b""))
    stream: Stream = call.declared[0]
    peer.core.stop(call)
    peer.core.reset(stream)
    assert peer.core.events_received() == []
    refused(peer.core, lambda: peer.core.send_item(stream, b""))


def test_a_handle_collected_with_a_call_in_flight_still_gets_its_answer() -> None:
    peer = Peer()
    function = peer.call(0, b"", f.Declaration(1, K.FUNCTION, 1)).declared[0]
    call: Call = peer.core.call(function, b"")
    peer.core.release(function)
    assert peer.hear() == [f.Call(0, -2, 0, 0, b""), f.Stop(-2, 0)]
    assert peer.say(f.End(-1, 0, 1, b"r"))[0] == CallResolved(call, b"r", ())


def test_events_of_a_refused_request_name_the_request() -> None:
    peer = Peer()
    call, (channel,) = peer.answered(0, (K.CHANNEL, 1))
    request = peer.core.call(channel, b"")
    peer.core.reset(call)
    assert peer.core.events_received() == [
        CallOver(call, 0, b""),
        StreamStopped(channel, 0, b""),
        StreamReset(channel, 0, b""),
        CallRejected(request, C.CHANNEL_CLOSED, b""),
        CallOver(request, C.CHANNEL_CLOSED, b""),
    ]
