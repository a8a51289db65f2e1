"""Traps that other projects fell into, as far as the core can step into them."""

from __future__ import annotations

from telewire.core.events import CallReceived, CallResolved, StreamFailed
from telewire.limits import Limits
from telewire.testing.pair import Pair
from telewire.wire import frames as f
from tests.core.dialogue import C, K, Peer, names, settle
from tests.core.world import SMALL


def test_an_answer_larger_than_its_window_leaves() -> None:
    pair = Pair(client_limits=Limits(stream_window=1024, fragment_bytes=1024))
    call = pair.client.call("f", b"")
    pair.deliver()
    [event] = pair.take()[1]
    assert isinstance(event, CallReceived)
    pair.server.resolve(event.call, bytes(1 << 20))
    pair.server.finish(event.call)
    pair.deliver()
    assert pair.take()[0][0] == CallResolved(call, bytes(1 << 20), ())
    settle(pair)


def test_an_error_needs_no_credit_to_leave() -> None:
    peer = Peer(theirs=Limits(stream_window=1024, fragment_bytes=1024))
    _, (stream,) = peer.answered(0, (K.ITEMS, None))
    for _ in range(4):
        peer.core.send_item(stream, b"x")
    peer.core.reject(stream, C.ABORTED, bytes(256))
    assert [type(frame) for frame in peer.hear()] == [f.Items, f.Error]


def test_a_message_larger_than_its_window_arrives() -> None:
    pair = Pair(server_limits=Limits(stream_window=1024, fragment_bytes=1024, stream_window_read=1024))
    call = pair.client.call("f", b"", [(K.CHANNEL, 1)])
    pair.client.send_message(call.declared[0], bytes(1 << 20))
    pair.deliver()
    events = pair.take()[1]
    assert names(events) == ["CallReceived", "ItemReceived"]


def test_no_credit_is_leaked_by_cancelling() -> None:
    pair = Pair(client_limits=SMALL, server_limits=SMALL)
    for _ in range(3 * SMALL.open_calls):
        call = pair.client.call("f", bytes(SMALL.message_bytes), [(K.ITEMS, None)])
        pair.pull(5000)
        pair.server.receive_data(pair.to_server.pop(0), 0.0)
        pair.client.stop(call)
        pair.deliver()
        for event in pair.take()[1]:
            if isinstance(event, CallReceived):
                pair.server.reject(event.call, C.STOPPED)
                pair.server.finish(event.call)
        pair.deliver()
        assert call.over
    settle(pair)


def test_a_code_that_we_do_not_know_is_passed_on() -> None:
    peer = Peer()
    peer.call(0, b"", f.Declaration(1, K.ITEMS))
    [failed] = peer.say(f.Error(1, 77, 0, 1, b"x"))
    assert isinstance(failed, StreamFailed)
    assert failed.code == 77
