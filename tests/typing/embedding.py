"""The state machine in a loop of one's own: bytes in, bytes out, and every event handled."""

from __future__ import annotations

from typing import assert_never, assert_type

from telewire import Connection, Limits
from telewire.core.events import (
    CallOver,
    CallReceived,
    CallRejected,
    CallResolved,
    CallStopped,
    ChunkReceived,
    ConnectionClosed,
    Event,
    GoAwayReceived,
    HelloReceived,
    ItemReceived,
    ItemsReceived,
    SessionDetached,
    SessionResumed,
    StreamEnded,
    StreamFailed,
    StreamReset,
    StreamStopped,
    StreamUnblocked,
)
from telewire.core.streams import Call, Stream
from telewire.wire import BatchReader


def handle(connection: Connection, event: Event) -> None:
    match event:
        case HelloReceived():
            assert_type(event.limits, Limits)
        case CallReceived(call=call, target=target):
            assert_type(call, Call)
            assert_type(target, str | Stream)
            connection.resolve(call, event.payload)
        case CallStopped() | CallRejected() | CallOver():
            assert_type(event.call, Call)
            assert_type(event.code, int)
        case CallResolved(payload=payload):
            assert_type(payload, bytes)
        case ItemsReceived():
            connection.consumed(event.stream, event.count)
        case ItemReceived():
            assert_type(event.declared, tuple[Stream, ...])
            connection.consumed(event.stream)
        case ChunkReceived():
            connection.consumed(event.stream, len(event.payload))
        case StreamEnded() | StreamFailed() | StreamReset() | StreamStopped() | StreamUnblocked():
            assert_type(event.stream, Stream)
        case GoAwayReceived():
            assert_type(event.calls, int)
        case SessionDetached() | ConnectionClosed():
            assert_type(event.text, str)
        case SessionResumed():
            assert_type(connection.detached, bool)
        case _:
            assert_never(event)


def forgetful(event: Event) -> None:
    if isinstance(event, HelloReceived):
        return
    assert_never(event)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def exchange(received: bytes, now: float) -> list[bytes]:
    connection = Connection("client", limits=Limits(), now=now)
    reader = BatchReader(Limits())
    for batch in reader.receive_data(received):
        assert_type(batch, bytes)
        connection.receive_data(batch, now)
    for event in connection.events_received():
        handle(connection, event)
    call = connection.call("add", b"\x82\x82\x01\x02\xa0", deadline=now + 2, now=now)
    assert_type(call, Call)
    connection.stop(call)
    assert_type(connection.next_timeout(), float | None)
    connection.handle_timeout(now)
    connection.receive_eof(now)
    return connection.data_to_send(max_bytes=65536)


Connection("server", session_id=b"0123456789abcdef", token=b"0123456789abcdef")

Connection("peer")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Connection("client", limits=65536)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Connection("client").call("add", "not bytes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Connection("client").receive_data(b"")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
