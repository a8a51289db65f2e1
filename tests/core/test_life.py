"""life: who owns whom, what an end brings about, and in which order it is told."""

from __future__ import annotations

import gc
import weakref

from telewire.core.events import CallOver, CallReceived, StreamReset, StreamStopped
from telewire.core.streams import Call
from telewire.limits import Limits
from telewire.testing.pair import Pair
from telewire.wire import frames as f
from tests.core.dialogue import C, K, Peer, assert_empty, names, settle


def test_a_stream_that_an_item_brings_belongs_to_the_call_of_its_stream() -> None:
    peer = Peer()
    call, (items,) = peer.answered(0, (K.ITEMS, None))
    (inner,) = peer.core.send_item(items, b"", [(K.ITEMS, None)])
    (innermost,) = peer.core.send_item(inner, b"", [(K.PROMISE, None)])
    assert {stream.call for stream in (items, inner, innermost)} == {call}
    peer.core.end(items)
    peer.core.end(inner)
    peer.hear()
    assert not call.over
    peer.core.resolve(innermost, b"")
    peer.hear()
    assert peer.core.events_received() == [CallOver(call, 0, b"")]
    assert_empty(peer.core)


def test_a_call_on_a_function_outlives_the_call_in_which_it_crossed() -> None:
    peer = Peer()
    call = peer.call(0, b"", f.Declaration(1, K.FUNCTION, 4))
    request = peer.core.call(call.declared[0], b"")
    peer.core.reject(call, C.ABORTED)
    peer.core.finish(call)
    peer.hear()
    assert peer.core.events_received() == [CallOver(call, 0, b""), StreamReset(call.declared[0], 0, b"")]
    assert names(peer.say(f.End(-1, 0, 0, b""))) == ["CallResolved", "CallOver"]
    assert request.over
    assert_empty(peer.core)


def test_the_same_function_twice_is_two_handles_of_which_one_may_end() -> None:
    peer = Peer()
    call = peer.call(0, b"", f.Declaration(1, K.FUNCTION, 4), f.Declaration(2, K.FUNCTION, 4))
    first, second = call.declared
    assert first.function == second.function == 4
    peer.core.release(first)
    assert peer.hear() == [f.Stop(-2, 0)]
    peer.core.call(second, b"")
    assert peer.hear() == [f.Call(0, -3, 0, 0, b"")]


def test_all_that_a_call_still_owns_ends_behind_it() -> None:
    peer = Peer()
    call, streams = peer.answered(0, (K.PROMISE, None), (K.FUNCTION, 1), (K.CHANNEL, 2), (K.BYTES, None))
    peer.core.send_chunk(streams[3], b"never")
    assert peer.say(f.Stop(0, C.ABORTED, b"w")) == [
        CallOver(call, C.ABORTED, b"w"),
        StreamStopped(streams[0], C.ABORTED, b"w"),
        StreamStopped(streams[1], C.ABORTED, b"w"),
        StreamStopped(streams[2], C.ABORTED, b"w"),
        StreamReset(streams[2], C.ABORTED, b"w"),
        StreamStopped(streams[3], C.ABORTED, b"w"),
    ]
    assert peer.hear() == []
    assert_empty(peer.core)


def test_places_waiting_calls_and_ends_follow_from_each_other() -> None:
    pair = Pair(server_limits=Limits(open_calls=1))
    first = pair.client.call("f", b"", [(K.ITEMS, None)])
    second = pair.client.call("g", b"")
    pair.deliver()
    [event] = pair.take()[1]
    assert isinstance(event, CallReceived)
    pair.server.resolve(event.call, b"")
    pair.server.finish(event.call)
    pair.deliver()
    assert second.number is None
    pair.client.end(first.declared[0])
    pair.deliver()
    assert second.number == 2
    [event] = [each for each in pair.take()[1] if isinstance(each, CallReceived)]
    pair.server.resolve(event.call, b"")
    pair.server.finish(event.call)
    settle(pair)


def test_what_is_over_is_held_by_nobody() -> None:
    peer = Peer()
    answered: list[weakref.ref[object]] = []

    class Holder:
        """What an application keeps behind a handle."""

    for number in range(20):
        mine, theirs = peer.core.call("f", b""), peer.call(number)
        for call in (mine, theirs):
            call.app = holder = Holder()
            answered.append(weakref.ref(holder))
        peer.core.resolve(theirs, b"")
        peer.core.finish(theirs)
        peer.hear()
        peer.say(f.End(-1 - number, 0, 0, b""))
    del mine, theirs, call, holder
    gc.collect()
    assert [ref for ref in answered if ref() is not None] == []
    assert_empty(peer.core)


def test_a_handle_says_that_it_has_ended() -> None:
    peer = Peer()
    call, (stream,) = peer.answered(0, (K.ITEMS, None))
    assert isinstance(call, Call)
    assert (call.over, stream.retired) == (False, False)
    peer.core.end(stream)
    assert not stream.retired
    peer.hear()
    assert (call.over, stream.retired) == (True, True)
