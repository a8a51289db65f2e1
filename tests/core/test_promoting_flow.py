"""Promotion: what the request still brings, credit, cuts and time (TW-SES-084 to 088)."""

from __future__ import annotations

import pytest

from telewire.core.connection import Connection
from telewire.core.events import (
    CallOver,
    CallReceived,
    CallResolved,
    ChunkReceived,
    ItemReceived,
    ItemsReceived,
    StreamUnblocked,
)
from telewire.core.promoting import AGAIN_BYTES, Said, requested
from telewire.core.states import ConnectionState, LinkState
from telewire.core.streams import Call, Stream
from telewire.errors import LocalProtocolError
from telewire.limits import Limits
from telewire.wire import frames as f
from telewire.wire.frames import KEY_REQUESTED
from tests.core.dialogue import C, K, assert_empty, batch, close_code, hello, names, only, sent
from tests.core.exchange import declared
from tests.core.promotion import DOWNLINK, SESSION, TOKEN, Promoted

# --- what the request still brings ---------------------------------------------------------------


def on_its_way(item: bytes) -> tuple[Promoted, Call, Stream, Stream]:
    """A call with an upload whose first item has not arrived: as its server and as both sides see it."""
    both = Promoted()
    ours, theirs = both.call((K.ITEMS, None))
    [upload] = ours.declared
    [arriving] = theirs.declared
    both.held = True
    both.client.send_item(upload, item)
    both.deliver()
    return both, theirs, upload, arriving


def test_what_is_on_its_way_in_the_request_comes_before_what_is_posted() -> None:
    both, theirs, upload, arriving = on_its_way(b"1")
    both.promote(theirs, (K.FUNCTION, 1))
    both.deliver()
    [function] = declared(both.take()[0], CallResolved)
    both.client.call(function, b"")
    both.client.send_item(upload, b"2")
    both.deliver()
    assert [frame for frame in both.posted if not isinstance(frame, f.Ack)] == []
    both.held = False
    both.deliver()
    posted = [frame for frame in both.posted if not isinstance(frame, f.Ack)]
    assert posted[0] == f.Position(2)
    assert {f.Call, f.Items} <= {type(frame) for frame in posted[1:]}
    events = both.take()[1]
    assert [event.payload[1:] for event in events if isinstance(event, ItemsReceived)] == [b"1", b"2"]
    both.server.consumed(arriving, 2)
    assert names(events)[-1] in ("CallReceived", "ItemsReceived")


def test_nothing_is_left_to_spend_until_the_request_has_ended() -> None:
    small = Limits(stream_window=4096, stream_window_read=4096, item_cost=256)
    both = Promoted(server=small)
    ours, theirs = both.call((K.ITEMS, None))
    [upload] = ours.declared
    [arriving] = theirs.declared
    for _ in range(10):
        both.client.send_item(upload, bytes(1000))
    both.deliver()
    both.take()
    both.server.consumed(arriving, 3)
    both.held = True
    both.promote(theirs, (K.FUNCTION, 1))
    both.deliver()
    assert not both.client.writable(upload)
    with pytest.raises(LocalProtocolError, match="no credit"):
        both.client.send_item(upload, b"")
    both.held = False
    both.deliver()
    # Seven items of 1,000 bytes wait: more than the window.
    assert not any(isinstance(frame, f.Grant) for frame in both.down)
    assert not both.client.writable(upload)
    both.server.consumed(arriving, 7)
    both.deliver()
    assert any(isinstance(event, StreamUnblocked) for event in both.take()[0])
    used = 0
    while both.client.writable(upload):
        both.client.send_item(upload, bytes(500))
        used += 500
    assert 2048 <= used <= 4096
    both.deliver()
    assert both.server.state is ConnectionState.OPEN


def test_what_was_allowed_before_may_still_be_sent_once() -> None:
    both = Promoted()
    ours, theirs = both.call((K.ITEMS, None))
    [upload] = ours.declared
    assert both.client.writable(upload)
    both.held = True
    both.promote(theirs, (K.FUNCTION, 1))
    both.deliver()
    both.client.send_item(upload, b"i")
    with pytest.raises(LocalProtocolError, match="no credit"):
        both.client.send_item(upload, b"j")
    both.held = False
    both.deliver()
    assert only(both.take()[1], ItemsReceived).count == 1


def test_more_than_was_granted_closes_only_when_it_is_posted() -> None:
    server = Connection(
        "server", exchange=True, promotion=True, limits=Limits(stream_window=1024, stream_window_read=1024)
    )
    call = f.Call(0, "f", 0, 0, b"", (f.Declaration(1, K.BYTES),))
    server.receive_data(batch(hello(features=(1,)), call), 0.0)
    [theirs] = [event.call for event in server.events_received() if isinstance(event, CallReceived)]
    server.promote(SESSION, TOKEN, DOWNLINK)
    server.resolve(theirs, b"", [(K.FUNCTION, 1)])
    sent(server)
    server.receive_request(batch(f.Chunk(1, 0, bytes(3000))), 0.0)
    assert server.state is ConnectionState.OPEN
    server.receive_data(batch(f.Position(2), f.Chunk(1, 0, bytes(3000))), 0.0)
    assert close_code(sent(server)) == C.FLOW_CONTROL


def test_what_is_posted_ends_the_request_and_what_that_brings_is_late() -> None:
    both = Promoted()
    _, theirs = both.call((K.ITEMS, None))
    both.promote(theirs, (K.FUNCTION, 1))
    both.server.data_to_send()
    both.server.receive_data(batch(f.Ping(1)), 0.0)
    both.server.receive_request(batch(f.Ping(2)), 0.0)
    # One that comes too early ends nothing.
    both.server.receive_data(batch(f.Position(9), f.Items(1, 0, 1, b"\x81\x00")), 0.0)
    assert both.server.missed
    assert not both.server.heard_all
    both.server.receive_data(batch(f.Position(1), f.Items(1, 0, 1, b"\x81\x00")), 0.0)
    assert both.server.heard_all
    both.server.receive_request(batch(f.Items(1, 0, 1, b"\x81\x00")), 0.0)
    both.server.receive_end(0.0)
    assert only(both.server.events_received(), ItemsReceived).count == 1


def test_a_posted_batch_still_has_to_state_its_position() -> None:
    both = Promoted()
    _, theirs = both.call((K.ITEMS, None))
    both.promote(theirs, (K.FUNCTION, 1))
    both.server.receive_data(batch(f.Items(1, 0, 1, b"\x81\x00")), 0.0)
    assert close_code(sent(both.server)) == C.INVALID_STATE


@pytest.mark.parametrize("kind", [K.ITEMS, K.BYTES])
def test_the_rest_of_a_request_is_read_up_to_the_grown_window(kind: K) -> None:
    limits = Limits(stream_window_read=200_000, session_budget=1 << 22, message_bytes=1 << 20)
    both = Promoted(server=limits)
    ours, theirs = both.call((kind, None))
    [upload] = ours.declared
    both.promote(theirs, (K.FUNCTION, 1))
    both.server.data_to_send()
    send = both.client.send_item if kind is K.ITEMS else both.client.send_chunk
    for _ in range(4):
        send(upload, bytes(60_000))
        for each in both.client.data_to_send():
            assert both.server.readable
            both.server.receive_request(each, 0.0)
    assert not both.server.readable
    units = sum(
        event.count if isinstance(event, ItemsReceived) else len(event.payload)  # type: ignore[union-attr]
        for event in both.server.events_received()
        if type(event).__name__ in ("ItemsReceived", "ChunkReceived")
    )
    both.server.consumed(theirs.declared[0], units)
    assert both.server.readable
    both.server.receive_end(0.0)
    [grant] = [frame for frame in sent(both.server) if isinstance(frame, f.Grant)]
    # Nothing waits any more.
    assert grant.limit == 200_000


def test_without_room_the_mark_of_exchanges_stays() -> None:
    limits = Limits(session_budget=1 << 21, message_bytes=1 << 20, stream_window_read=1 << 21)
    both = Promoted(server=limits)
    ours, theirs = both.call((K.BYTES, None))
    both.promote(theirs, (K.FUNCTION, 1))
    both.client.send_chunk(ours.declared[0], bytes(70_000))
    for each in both.client.data_to_send():
        both.server.receive_request(each, 0.0)
    assert not both.server.readable


def test_a_window_that_cannot_grow_leaves_the_mark_as_it_is() -> None:
    limits = Limits(stream_window_read=1024)
    both = Promoted(server=limits)
    ours, theirs = both.call((K.BYTES, None))
    both.promote(theirs, (K.FUNCTION, 1))
    both.client.send_chunk(ours.declared[0], bytes(60_000))
    for each in both.client.data_to_send():
        both.server.receive_request(each, 0.0)
    assert both.server.readable


def test_a_large_item_goes_over_from_the_request_to_the_posts() -> None:
    small = Limits(stream_window=2048, stream_window_read=2048)
    both = Promoted(server=small)
    ours, theirs = both.call((K.ITEMS, None), (K.PROMISE, None))
    upload, promise = ours.declared
    both.client.send_item(upload, bytes(100_000))
    # Its first part is in the request, and the rest is not.
    [first] = both.client.data_to_send(1)
    both.server.receive_data(first, 0.0)
    both.promote(theirs, (K.FUNCTION, 1))
    for each in both.server.data_to_send():
        both.client.receive_data(each, 0.0)
    both.deliver()
    item = only(both.take()[1], ItemReceived)
    assert len(item.payload) == 100_000
    both.client.resolve(promise, bytes(50_000))
    both.deliver()
    assert "StreamEnded" in names(both.take()[1])
    both.server.consumed(theirs.declared[0], 1)
    both.client.end(upload)
    both.deliver()
    [function] = [stream for stream in ours.owned if stream.kind is K.FUNCTION]
    both.client.release(function)
    both.deliver()
    both.assert_ended()


def test_items_that_are_too_large_for_a_small_window_are_cut() -> None:
    small = Limits(stream_window=1024, stream_window_read=1024, item_cost=256)
    both = Promoted(server=small)
    ours, theirs = both.call((K.ITEMS, None))
    [upload] = ours.declared
    [arriving] = theirs.declared
    both.promote(theirs, (K.FUNCTION, 1))
    downs = both.server.data_to_send()
    for size in (900, 100, 900, 900):
        both.client.send_item(upload, bytes(size))
    for each in downs:
        both.client.receive_data(each, 0.0)
    both.deliver()
    sizes: list[int] = []
    for _ in range(10):
        for event in both.take()[1]:
            if isinstance(event, ItemsReceived):
                sizes.append(len(event.payload))
                both.server.consumed(arriving, event.count)
            elif isinstance(event, ItemReceived):
                sizes.append(len(event.payload))
                both.server.consumed(arriving, 1)
        both.deliver()
    assert len(sizes) == 4


# --- cuts ----------------------------------------------------------------------------------------


def test_a_session_that_was_an_exchange_resumes() -> None:
    both = Promoted()
    _, theirs = both.call()
    [items, _] = both.promote(theirs, (K.ITEMS, None), (K.FUNCTION, 1))
    both.deliver()
    reading, function = declared(both.take()[0], CallResolved)
    both.server.send_item(items, b"1")  # type: ignore[arg-type]  # it is one
    both.server.data_to_send()
    both.cut()
    assert names(both.take()[0]) == ["SessionDetached"]
    assert both.server.detached
    both.reattach()
    events = both.take()[0]
    assert names(events) == ["SessionResumed", "ItemsReceived"]
    both.client.consumed(reading, 1)
    both.client.stop(reading)
    both.client.release(function)
    both.deliver()
    both.assert_ended()


def test_a_cut_in_the_request_is_made_good() -> None:
    both = Promoted()
    ours, theirs = both.call((K.ITEMS, None))
    [upload] = ours.declared
    both.held = True
    for each in (b"1", b"2", b"3"):
        both.client.send_item(upload, each)
        both.deliver()
    both.promote(theirs, (K.FUNCTION, 1))
    both.deliver()
    both.cut()
    both.reattach()
    events = both.take()[1]
    assert [event.payload[1:] for event in events if isinstance(event, ItemsReceived)] == [b"1", b"2", b"3"]
    assert both.server.heard_all


def test_what_leaves_again_of_a_request_is_bound_by_no_credit() -> None:
    """More of it than a window: it left while there was no credit, and the client states where it ended."""
    small = Limits(stream_window=1024, stream_window_read=1024)
    both = Promoted(server=small)
    ours, theirs = both.call((K.BYTES, None))
    [upload] = ours.declared
    both.held = True
    both.client.send_chunk(upload, bytes(9000))
    both.deliver()
    both.promote(theirs, (K.FUNCTION, 1))
    both.deliver()
    [function] = declared(both.take()[0], CallResolved)
    both.client.call(function, b"")
    both.cut()
    both.client.attach(both.now)
    [resume] = sent(both.client)
    assert isinstance(resume, f.Resume)
    assert resume.extensions == {KEY_REQUESTED: 2}
    assert both.server.resume(resume.attempt, resume.received, both.now, requested(resume))
    both.deliver()
    events = both.take()[1]
    assert sum(len(event.payload) for event in events if isinstance(event, ChunkReceived)) == 9000
    assert names(events)[-1] == "CallReceived"
    assert both.server.heard_all
    assert not both.client.writable(upload)
    both.server.consumed(theirs.declared[0], 9000)
    both.deliver()
    assert both.client.writable(upload)
    # From then on there is nothing to state.
    both.cut()
    both.client.attach(both.now)
    assert only(sent(both.client), f.Resume).extensions is None  # type: ignore[arg-type, type-var]


def test_a_resume_ends_a_request_of_which_all_has_come() -> None:
    both = Promoted()
    ours, theirs = both.call((K.ITEMS, None))
    both.promote(theirs, (K.FUNCTION, 1))
    for each in both.server.data_to_send():
        both.client.receive_data(each, 0.0)
    assert not both.server.heard_all
    both.cut()
    both.reattach()
    assert both.server.heard_all
    assert both.client.writable(ours.declared[0])


def test_not_without_bound() -> None:
    both = Promoted(server=Limits(stream_window=1024, stream_window_read=1024))
    _, theirs = both.call((K.BYTES, None))
    both.promote(theirs, (K.FUNCTION, 1))
    both.server.data_to_send()
    both.server.receive_eof(0.0)
    assert both.server.resume(1, 0, 0.0, 1 << 50)
    position = 1
    while both.server.state is ConnectionState.OPEN:
        both.server.receive_data(batch(f.Position(position), f.Chunk(1, 0, bytes(60_000))), 0.0)
        position += 1
    assert close_code(sent(both.server)) == C.FLOW_CONTROL
    assert AGAIN_BYTES - 100_000 < position * 60_000 < AGAIN_BYTES + 200_000


def test_what_of_a_request_was_not_kept_is_missing() -> None:
    both = Promoted(client=Limits(replay_bytes=3 * 262_144))
    ours, theirs = both.call((K.BYTES, None))
    [upload] = ours.declared
    both.held = True
    for _ in range(20):
        both.client.send_chunk(upload, bytes(60_000))
        both.deliver()
    both.promote(theirs, (K.FUNCTION, 1))
    both.deliver()
    both.cut()
    both.client.attach(0.0)
    [resume] = sent(both.client)
    assert isinstance(resume, f.Resume)
    assert both.server.resume(resume.attempt, resume.received, 0.0, requested(resume))
    for each in both.server.data_to_send():
        both.client.receive_data(each, 0.0)
    assert close_code(sent(both.client)) == C.SESSION_LOST
    assert both.client.missing is not None
    assert both.client.missing[0] == 1


def test_a_promotion_that_has_not_left_is_cancelled_with_the_transport() -> None:
    both = Promoted()
    _, theirs = both.call()
    both.promote(theirs, (K.FUNCTION, 1))
    both.lose()
    client, server = both.take()
    assert only(server, CallOver).code == C.CANCELLED
    assert only(client, CallOver).code == C.SESSION_LOST
    assert both.server.state is ConnectionState.CLOSED


def test_a_promotion_on_its_way_is_kept_for_the_resume_window() -> None:
    both = Promoted()
    ours, theirs = both.call()
    both.promote(theirs, (K.FUNCTION, 1))
    both.server.data_to_send()
    both.client.stop(ours, C.CANCELLED)
    assert both.client.hung_up
    both.lose()
    assert "CallOver" not in names(both.take()[1])
    assert both.server.detached
    both.server.handle_timeout(both.server.limits.resume_seconds + 1)
    both.collect()
    assert only(both.take()[1], CallOver).code == C.SESSION_LOST
    assert_empty(both.server)


def test_a_client_that_is_done_while_detached_says_so_when_it_is_back() -> None:
    both = Promoted()
    both.promoted_call((K.FUNCTION, 1))
    [function] = declared(both.take()[0], CallResolved)
    both.cut()
    both.client.release(function)
    assert both.client.state is ConnectionState.OPEN
    both.reattach()
    assert both.posted[-1] == f.Close(C.NONE)
    both.assert_ended()


@pytest.mark.parametrize("index", range(12))
def test_it_may_be_cut_behind_any_batch(index: int) -> None:
    """I1, from the promotion on: the events are the same wherever the link is lost."""
    both, theirs, upload, arriving = on_its_way(b"0")
    [down, _] = both.promote(theirs, (K.ITEMS, None), (K.FUNCTION, 1))
    both.deliver()
    reading, function = declared(both.take()[0], CallResolved)
    both.held = False
    heard: list[list[bytes]] = [[], []]
    left = index

    def step() -> None:
        nonlocal left
        ups = [*both.waiting, *both.client.data_to_send()]
        downs = both.server.data_to_send()
        requested, both.waiting = len(both.waiting), []
        for at, each in enumerate(ups + downs):
            left -= 1
            if left == 0:
                both.cut()
                both.reattach()
                return
            if at < requested:
                both.server.receive_request(each, 0.0)
                both.server.receive_end(0.0)
            elif at < len(ups):
                both.server.receive_data(each, 0.0)
            else:
                both.client.receive_data(each, 0.0)

    def collect() -> None:
        for side, stream, core, events in zip(
            heard, (reading, arriving), (both.client, both.server), both.take(), strict=True
        ):
            for event in events:
                if isinstance(event, ItemsReceived):
                    side.append(event.payload[1:])
                    core.consumed(stream, event.count)

    for number in range(1, 6):
        for _ in range(3):
            step()
            collect()
        both.client.send_item(upload, b"%d" % number)
        both.server.send_item(down, b"%d" % number)  # type: ignore[arg-type]  # it is one
    both.client.end(upload)
    both.server.end(down)  # type: ignore[arg-type]  # it is one
    both.client.release(function)
    for _ in range(6):
        step()
        collect()
    assert [b"".join(side) for side in heard] == [b"12345", b"012345"]
    both.deliver()
    both.assert_ended()


# --- time, and what is kept ----------------------------------------------------------------------


def test_its_keepalive_is_that_of_a_session() -> None:
    both = Promoted()
    both.promoted_call((K.FUNCTION, 1))
    both.take()
    both.wait(20.0)
    assert any(isinstance(frame, f.Ping) for frame in both.posted)
    assert any(isinstance(frame, f.Pong) for frame in both.down)
    both.client.receive_eof(both.now)
    assert both.client.link is LinkState.DETACHED


def test_only_the_last_of_a_request_is_kept() -> None:
    said = Said(10)
    said.note([b"aaaa", b"bbbb"])
    assert (said.base, list(said.frames), said.held) == (0, [b"aaaa", b"bbbb"], 8)
    said.note([b"cccc"])
    assert (said.base, list(said.frames), said.held) == (1, [b"bbbb", b"cccc"], 8)
    nothing = Said(0)
    nothing.note([b"a", b"b"])
    assert (nothing.base, list(nothing.frames)) == (2, [])


def test_the_answer_of_a_promoted_call_is_credited_as_any() -> None:
    both = Promoted(client=Limits(stream_window=4096, stream_window_read=4096, item_cost=256))
    _, theirs = both.call()
    [items, _] = both.promote(theirs, (K.ITEMS, None), (K.FUNCTION, 1))
    spent = 0
    while both.server.writable(items):  # type: ignore[arg-type]  # it is one
        both.server.send_item(items, bytes(512))  # type: ignore[arg-type]  # it is one
        spent += 512
    assert spent <= 4096
    both.deliver()
    events = both.take()[0]
    reading, _ = declared(events, CallResolved)
    both.client.consumed(reading, only(events, ItemsReceived).count)
    both.deliver()
    assert any(isinstance(frame, f.Grant) for frame in both.posted)
    assert both.server.writable(items)  # type: ignore[arg-type]  # it is one
