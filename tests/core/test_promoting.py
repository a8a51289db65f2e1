"""Promotion: an exchange goes on as a session (TW-SES-064, TW-SES-081 to 083, TW-SES-087)."""

from __future__ import annotations

import pytest

from telewire.core.connection import Connection
from telewire.core.events import (
    CallReceived,
    CallRejected,
    CallResolved,
    ConnectionClosed,
    HelloReceived,
)
from telewire.core.states import ConnectionState
from telewire.errors import LocalProtocolError, TransportUnsuitable
from telewire.limits import Limits
from telewire.wire import frames as f
from telewire.wire.frames import KEY_DOWNLINK
from tests.core.dialogue import C, K, batch, close_code, frames_of, hello, only, sent
from tests.core.exchange import declared
from tests.core.promotion import DOWNLINK, SESSION, TOKEN, Promoted

WINDOW = Limits().stream_window
NEEDS_MORE = [
    ((K.FUNCTION, 1),),
    ((K.CHANNEL, 1),),
    ((K.ITEMS, None), (K.BYTES, None)),
]


# --- the way there -------------------------------------------------------------------------------


def test_both_hellos_offer_it_and_name_no_session() -> None:
    both = Promoted()
    both.call()
    for first in (both.up[0], both.down[0]):
        assert isinstance(first, f.Hello)
        assert first.features == (1,)
        assert (first.session, first.token) == (None, None)
        assert first.limits[3] == WINDOW
    assert not both.client.resumable
    assert not any(isinstance(frame, f.Ack) for frame in both.down)


@pytest.mark.parametrize("kinds", NEEDS_MORE)
def test_an_answer_that_needs_more_is_preceded_by_a_second_hello(kinds: tuple[tuple[K, int | None]]) -> None:
    both = Promoted()
    _, theirs = both.call()
    with pytest.raises(TransportUnsuitable):
        both.server.resolve(theirs, b"r", kinds)
    both.server.promote(SESSION, TOKEN, DOWNLINK)
    both.server.resolve(theirs, b"r", kinds)
    first, second = both.server.data_to_send()
    told, stands = frames_of([first])
    assert isinstance(told, f.Hello)
    assert (told.features, told.session, told.token) == ((1,), SESSION, TOKEN)
    assert told.extensions == {KEY_DOWNLINK: DOWNLINK}
    assert told.limits[3] == WINDOW
    assert stands == f.Ack(1)
    position, end = frames_of([second])
    assert position == f.Position(0)
    assert isinstance(end, f.End)
    assert [each.kind for each in end.declarations] == [kind for kind, _ in kinds]
    for each in (first, second):
        both.client.receive_data(each, 0.0)
    events = both.client.events_received()
    assert [type(event) for event in events] == [HelloReceived, CallResolved]
    opened = only(events, HelloReceived)
    assert (opened.features, opened.session) == (frozenset((1,)), SESSION)
    assert (both.client.session_id, both.client.token, both.client.downlink) == (SESSION, TOKEN, DOWNLINK)
    assert both.client.resumable
    assert both.client.promoted
    assert not both.client.exchange


def test_a_first_hello_that_waits_leaves_ahead_of_the_second() -> None:
    both = Promoted()
    both.client.call("f", b"")
    for each in both.client.data_to_send():
        both.server.receive_data(each, 0.0)
    call = only(both.server.events_received(), CallReceived).call
    both.promote(call, (K.FUNCTION, 1))
    first, second, third = both.server.data_to_send()
    [one] = frames_of([first])
    assert isinstance(one, f.Hello)
    assert one.session is None
    assert [type(frame) for frame in frames_of([second])] == [f.Hello, f.Ack]
    assert [type(frame) for frame in frames_of([third])] == [f.Position, f.End]


def test_what_an_exchange_forbids_is_free_from_then_on() -> None:
    both = Promoted()
    ours, _ = both.promoted_call((K.FUNCTION, 1), (K.CHANNEL, 2), (K.ITEMS, None), (K.ITEMS, None))
    function, channel, left, right = declared(both.take()[0], CallResolved)
    inner = both.client.call(function, b"x", [(K.FUNCTION, 7)])
    both.deliver()
    received = only(both.take()[1], CallReceived)
    both.server.call(received.declared[0], b"back")
    both.deliver()
    back = only(both.take()[0], CallReceived)
    both.client.resolve(back.call, b"yes")
    both.client.finish(back.call)
    both.server.resolve(received.call, b"done")
    both.server.finish(received.call)
    both.server.release(received.declared[0])
    both.deliver()
    assert both.client.state is ConnectionState.OPEN
    assert inner.over
    for stream in (left, right, channel):
        both.client.stop(stream)
    both.client.reset(channel)
    both.client.release(function)
    both.deliver()
    assert ours.over
    both.assert_ended()


def test_the_client_closes_when_no_call_is_open() -> None:
    both = Promoted()
    ours, theirs = both.promoted_call((K.FUNCTION, 1))
    [function] = declared(both.take()[0], CallResolved)
    both.client.call(function, b"")
    both.deliver()
    inner = only(both.take()[1], CallReceived).call
    both.client.release(function)
    both.deliver()
    assert theirs.over
    assert ours.over
    assert both.server.state is ConnectionState.OPEN
    assert both.client.state is ConnectionState.OPEN
    both.server.resolve(inner, b"")
    both.server.finish(inner)
    both.deliver()
    assert both.posted[-1] == f.Close(C.NONE)
    assert not any(isinstance(frame, f.Close) for frame in both.down)
    assert only(both.take()[1], ConnectionClosed).code == C.NONE
    both.assert_ended()


def test_a_call_of_the_servers_keeps_it_open_until_its_body_ends() -> None:
    both = Promoted()
    both.promoted_call((K.FUNCTION, 1))
    [function] = declared(both.take()[0], CallResolved)
    both.client.call(function, b"", [(K.FUNCTION, 2)])
    both.deliver()
    received = only(both.take()[1], CallReceived)
    both.server.call(received.declared[0], b"")
    both.deliver()
    back = only(both.take()[0], CallReceived)
    both.client.release(function)
    both.server.resolve(received.call, b"")
    both.server.finish(received.call)
    both.server.release(received.declared[0])
    both.client.resolve(back.call, b"")
    both.deliver()
    assert both.client.state is ConnectionState.OPEN
    both.client.finish(back.call)
    both.deliver()
    both.assert_ended()


# --- who may not ---------------------------------------------------------------------------------


@pytest.mark.parametrize("offers", [(False, True), (True, False), (False, False)])
def test_without_both_offers_it_is_refused_as_ever(offers: tuple[bool, bool]) -> None:
    both = Promoted(offers=offers)
    _, theirs = both.call()
    assert not both.server.promotable
    with pytest.raises(LocalProtocolError, match="no exchange that may be promoted"):
        both.server.promote(SESSION, TOKEN, DOWNLINK)
    with pytest.raises(TransportUnsuitable):
        both.server.resolve(theirs, b"r", [(K.FUNCTION, 1)])
    both.server.reject(theirs, C.TRANSPORT_UNSUITABLE)
    both.server.finish(theirs)
    both.deliver()
    assert only(both.take()[0], CallRejected).code == C.TRANSPORT_UNSUITABLE
    both.assert_ended()


def test_only_a_server_with_a_call_that_has_no_answer_promotes() -> None:
    both = Promoted()
    assert not both.server.promotable
    _, theirs = both.call()
    assert both.server.promotable
    assert not both.client.promotable
    both.answer(theirs, (K.ITEMS, None))
    assert not both.server.promotable
    assert not Connection("server", session_id=b"s", token=TOKEN).promotable


def test_it_is_done_once() -> None:
    both = Promoted()
    _, theirs = both.call()
    both.promote(theirs, (K.FUNCTION, 1))
    assert not both.server.promotable


def test_a_later_value_that_would_need_it_is_refused() -> None:
    both = Promoted()
    _, theirs = both.call()
    [items] = both.answer(theirs, (K.ITEMS, None))
    with pytest.raises(TransportUnsuitable):
        both.server.send_item(items, b"i", [(K.FUNCTION, 1)])


@pytest.mark.parametrize(
    ("session", "token", "downlink"),
    [(bytes(65), TOKEN, "d"), (SESSION, bytes(65), "d"), (SESSION, TOKEN, "d" * 130), (SESSION, TOKEN, "ü")],
)
def test_names_that_are_too_long_are_refused(session: bytes, token: bytes, downlink: str) -> None:
    both = Promoted()
    both.call()
    with pytest.raises(LocalProtocolError, match="at most"):
        both.server.promote(session, token, downlink)
    assert both.server.promotable


def test_a_client_that_takes_no_such_map_is_not_promoted() -> None:
    both = Promoted(client=Limits(metadata_bytes=100))
    both.call()
    assert not both.server.promotable


# --- second hellos that are wrong ----------------------------------------------------------------

SECOND = {"features": (1,), "session": SESSION, "token": TOKEN, "extensions": {KEY_DOWNLINK: DOWNLINK}}


def after_the_call(
    client: Connection, changes: dict[str, object] | None = None, first: f.Hello | None = None
) -> None:
    """Let a hand-made server answer with two hellos."""
    client.call("f", b"")
    sent(client)
    client.receive_data(batch(first or hello(features=(1,))), 0.0)
    client.receive_data(batch(hello(**{**SECOND, **(changes or {})}), f.Ack(1)), 0.0)


def test_a_second_hello_that_is_right_is_taken() -> None:
    client = Connection("client", exchange=True, promotion=True)
    after_the_call(client)
    assert client.promoted


@pytest.mark.parametrize(
    "changes",
    [
        {"features": ()},
        {"session": None, "token": None},
        {"extensions": None},
        {"extensions": {}},
    ],
)
def test_a_second_hello_that_lacks_something_closes(changes: dict[str, object]) -> None:
    client = Connection("client", exchange=True, promotion=True)
    after_the_call(client, changes)
    assert only(client.events_received(), ConnectionClosed).code == C.INVALID_STATE
    assert client.hung_up


def test_a_second_hello_with_an_unknown_odd_key_closes() -> None:
    client = Connection("client", exchange=True, promotion=True)
    after_the_call(client, {"extensions": {KEY_DOWNLINK: DOWNLINK, 3: 1}})
    assert only(client.events_received(), ConnectionClosed).code == C.UNSUPPORTED


@pytest.mark.parametrize(("ours", "theirs"), [(False, (1,)), (True, ())])
def test_a_second_hello_that_was_not_offered_closes(ours: bool, theirs: tuple[int, ...]) -> None:
    client = Connection("client", exchange=True, promotion=ours)
    after_the_call(client, first=hello(features=theirs))
    assert only(client.events_received(), ConnectionClosed).code == C.INVALID_STATE


@pytest.mark.parametrize(
    "before",
    [f.End(-1, 0, 0, b""), f.End(-1, 1, 2, b"a")],
    ids=["answered", "answering"],
)
def test_a_second_hello_behind_the_answer_closes(before: f.End) -> None:
    client = Connection("client", exchange=True, promotion=True)
    client.call("f", b"")
    sent(client)
    # With a stream, so that the exchange goes on.
    declarations = () if before.flags else (f.Declaration(0, K.ITEMS),)
    before = f.End(-1, before.flags, before.size, before.payload, declarations)
    client.receive_data(batch(hello(features=(1,)), before), 0.0)
    assert client.state is ConnectionState.OPEN
    client.receive_data(batch(hello(**SECOND)), 0.0)
    assert only(client.events_received(), ConnectionClosed).code == C.INVALID_STATE


def test_a_second_hello_ahead_of_the_whole_call_closes() -> None:
    client = Connection("client", exchange=True, promotion=True)
    client.call("f", bytes(300_000))
    client.data_to_send(1)
    client.receive_data(batch(hello(features=(1,))), 0.0)
    client.receive_data(batch(hello(**SECOND)), 0.0)
    assert only(client.events_received(), ConnectionClosed).code == C.INVALID_STATE


def test_a_second_hello_without_a_call_closes() -> None:
    client = Connection("client", exchange=True, promotion=True)
    client.receive_data(batch(hello(features=(1,))), 0.0)
    client.receive_data(batch(hello(**SECOND)), 0.0)
    assert only(client.events_received(), ConnectionClosed).code == C.INVALID_STATE


def test_a_client_does_not_promote() -> None:
    server = Connection("server", exchange=True, promotion=True)
    server.receive_data(batch(hello(features=(1,)), f.Call(0, "f", 0, 0, b"")), 0.0)
    server.receive_data(batch(hello(features=(1,), extensions={KEY_DOWNLINK: DOWNLINK})), 0.0)
    assert close_code(sent(server)) == C.INVALID_STATE
