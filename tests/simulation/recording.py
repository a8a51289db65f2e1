"""Recording: one conversation of every primitive, both ways, and what its two applications are told.

What is told depends on nothing but the applications: neither on times nor on how items were put
together, so a run over a bad network can be compared with one over a good one, stream by stream.
"""

from __future__ import annotations

from collections.abc import Callable

import cbor2

from telewire.core.connection import Connection
from telewire.core.events import (
    CallOver,
    CallReceived,
    CallRejected,
    CallResolved,
    CallStopped,
    ChunkReceived,
    ConnectionClosed,
    Event,
    HelloReceived,
    ItemReceived,
    ItemsReceived,
    SessionDetached,
    SessionResumed,
    StreamEnded,
    StreamReset,
    StreamStopped,
    StreamUnblocked,
)
from telewire.core.streams import Call, Stream
from telewire.errors import ErrorCode
from telewire.limits import Limits
from telewire.testing.network import Network, Peer
from tests.core.dialogue import C, K, assert_empty

__all__ = ["LIMITS", "Recording"]

LIMITS = Limits(
    fragment_bytes=1024,
    batch_bytes=2048,
    stream_window=1024,
    stream_window_read=1024,
    message_bytes=8192,
    session_budget=64 * 1024,
    replay_bytes=4096,
)
BIG = 1200
UNTOLD = (HelloReceived, SessionDetached, SessionResumed, StreamUnblocked)


class Side:
    """One application: it follows its part, and notes by label what it is told."""

    def __init__(self, peer: Peer, told: dict[str, list[object]], name: str) -> None:
        self.peer = peer
        self.connection: Connection = peer.connection
        self.told = told
        self.name = name
        self.sending: list[tuple[Stream, list[bytes], Callable[[Stream], object]]] = []
        self.resumes = 0
        self.closed: ConnectionClosed | None = None
        peer.on_event = self.event

    def label(self, streams: tuple[Stream, ...], *labels: str) -> None:
        """Name streams, as both sides do alike."""
        for stream, label in zip(streams, labels, strict=True):
            stream.app = label

    def call(self, label: str, target: str | Stream, payload: bytes, *kinds: tuple[K, int | None]) -> Call:
        """Make a call; its streams are named after it."""
        call = self.connection.call(target, payload, kinds)
        call.app = label
        self.label(call.declared, *(f"{label} argument {index}" for index in range(len(kinds))))
        return call

    def send(self, stream: Stream, payloads: list[bytes], then: Callable[[Stream], object]) -> None:
        """Send one payload after the other, as credit allows."""
        self.sending.append((stream, payloads, then))
        self.send_more()

    def send_more(self) -> None:
        """Send what may be sent."""
        for entry in list(self.sending):
            stream, payloads, then = entry
            while payloads and self.connection.writable(stream):
                payload = payloads.pop(0)
                if stream.kind is K.BYTES:
                    self.connection.send_chunk(stream, payload)
                elif stream.kind is K.CHANNEL:
                    self.connection.send_message(stream, payload)
                else:
                    self.connection.send_item(stream, payload)
            if not payloads:
                self.sending.remove(entry)
                then(stream)

    def event(self, event: Event) -> None:
        """Note it, and do what comes next."""
        if isinstance(event, ConnectionClosed):
            self.closed = event
            return
        if isinstance(event, UNTOLD):
            if isinstance(event, HelloReceived):
                self.begin()
            elif isinstance(event, StreamUnblocked):
                self.send_more()
            return
        if isinstance(event, CallReceived):
            target = event.target
            event.call.app = (
                target if isinstance(target, str) else f"{target.app} call {event.payload[1:2]!r}"
            )
        about = getattr(event, "stream", None) or event.call  # type: ignore[union-attr]  # one of both is there
        notes = self.told.setdefault(f"{self.name}: {about.app}", [])
        if isinstance(event, ItemsReceived):
            notes += cbor2.loads(event.payload)
            self.connection.consumed(event.stream, event.count)
        elif isinstance(event, ItemReceived):
            notes.append(cbor2.loads(event.payload))
            self.connection.consumed(event.stream)
        elif isinstance(event, ChunkReceived):
            notes[-1:] = [(notes[-1] if notes else b"") + event.payload]  # type: ignore[operator]  # notes of bytes
            self.connection.consumed(event.stream, len(event.payload))
        else:
            code = getattr(event, "code", 0)
            notes.append((type(event).__name__, int(code), getattr(event, "payload", b"")))
        self.react(event, str(about.app), len(notes))

    def begin(self) -> None:
        """The conversation is open."""

    def react(self, event: Event, label: str, notes: int) -> None:
        """Follow the part."""

    def answer(self, call: Call, payload: bytes, *kinds: tuple[K, int | None]) -> tuple[Stream, ...]:
        """Answer a call; its streams are named after it."""
        streams = self.connection.resolve(call, payload, kinds)
        self.label(streams, *(f"{call.app} result {index}" for index in range(len(kinds))))
        self.connection.finish(call)
        return streams

    def name_declared(self, event: Event) -> tuple[Stream, ...]:
        """Name the streams that came with a call or its answer."""
        what = "argument" if isinstance(event, CallReceived) else "result"
        call, declared = event.call, event.declared  # type: ignore[union-attr]  # a call or its answer
        self.label(declared, *(f"{call.app} {what} {index}" for index in range(len(declared))))
        if declared:
            self.told[f"{self.name}: {call.app} {what}s"] = [stream.kind for stream in declared]
        return tuple(declared)


def item(number: int, size: int = 20) -> bytes:
    """An encoded item that says which it is."""
    return cbor2.dumps(bytes([number]) * size)


class Client(Side):
    """Calls and passes one of each kind, cancels, and serves a function."""

    cancelled: Call | None = None
    promise: Stream | None = None

    def begin(self) -> None:
        """Start everything."""
        kinds = [(K.ITEMS, None), (K.BYTES, None), (K.FUNCTION, 7), (K.PROMISE, None), (K.CHANNEL, 13)]
        call = self.call("everything", "everything", bytes(BIG), *kinds)
        items, upload, _, self.promise, channel = call.declared
        # The server stops these items once it has five, and these bytes come to their end.
        self.send(items, [item(number) for number in range(5)], lambda stream: None)
        self.send(upload, [bytes([number]) * 130 for number in range(12)], self.connection.end)
        self.send(channel, [item(number, 60) for number in range(4)], lambda stream: None)
        self.call("fails", "fails", b"\x01")
        self.call("endless", "endless", b"\x02")
        self.cancelled = self.call("slow", "slow", b"\x03")

    def react(self, event: Event, label: str, notes: int) -> None:
        """Follow the part."""
        connection = self.connection
        if isinstance(event, CallReceived):
            self.answer(event.call, b"\x18" + event.payload)
        elif isinstance(event, CallResolved) and label == "everything":
            _, _, _, _, function, channel, _ = self.name_declared(event)
            self.call("function call 1", function, item(1, 3))
            self.call("function call 2", function, item(2, 3))
            connection.release(function)
            self.send(channel, [item(number, 90) for number in range(6)], lambda stream: None)
            self.call("channel request 1", channel, item(3, 3))
            self.call("channel request 2", channel, item(4, 3))
        elif isinstance(event, CallResolved) and label == "endless":
            self.name_declared(event)
        elif label == "endless result 0" and notes == 3 and not isinstance(event, CallOver):
            connection.stop(event.stream)  # type: ignore[union-attr]  # it has a stream
        elif label == "everything result 1" and isinstance(event, StreamEnded):
            # The download has ended here.
            assert self.promise is not None
            connection.resolve(self.promise, b"\x0b")
        elif label == "everything argument 4" and isinstance(event, StreamEnded):
            self.send(event.stream, [], connection.end)
        elif label == "everything result 2" and isinstance(event, StreamEnded):
            # The upload has ended over there.
            assert self.cancelled is not None
            connection.stop(self.cancelled, C.CANCELLED, b"\x04")
        elif label == "channel request 2" and isinstance(event, CallResolved):
            [channel] = [each for each in connection._theirs.values() if each.kind is K.CHANNEL]
            self.send(channel, [], connection.end)


class Server(Side):
    """Answers all that, with streams of its own, calls back, and asks on the channel it was passed."""

    def react(self, event: Event, label: str, notes: int) -> None:
        """Follow the part."""
        connection = self.connection
        if isinstance(event, CallReceived):
            self.called(event, label)
        elif isinstance(event, CallStopped):
            connection.reject(event.call, ErrorCode.STOPPED)
            connection.finish(event.call)
        elif label == "everything argument 0" and notes == 5 and not isinstance(event, StreamReset):
            connection.stop(event.stream, ErrorCode.NONE, b"\x05")  # type: ignore[union-attr]  # it has a stream
        elif label == "everything argument 1" and isinstance(event, StreamEnded):
            connection.resolve(self.promise, b"\x06")
        elif label == "everything result 5" and isinstance(event, StreamEnded):
            self.send(event.stream, [], connection.end)
        elif label == "channel request 4" and isinstance(event, CallResolved):
            self.send(self.passed, [], connection.end)
        assert not isinstance(event, CallRejected | StreamStopped) or label.startswith(
            ("endless", "everything")
        )

    def called(self, event: CallReceived, label: str) -> None:
        """Answer a call."""
        connection, call = self.connection, event.call
        arguments = self.name_declared(event)
        if label == "fails":
            connection.reject(call, ErrorCode.ABORTED, item(9))
            connection.finish(call)
        elif label == "endless":
            [items] = self.answer(call, b"\x07", (K.ITEMS, None))
            # Nothing follows the third; it waits until nobody wants more.
            self.send(items, [item(number) for number in range(3)], lambda stream: None)
        elif label == "everything":
            kinds = [(K.ITEMS, None), (K.BYTES, None), (K.PROMISE, None), (K.PROMISE, None)]
            more: list[tuple[K, int | None]] = [(K.FUNCTION, 9), (K.CHANNEL, 11), (K.ITEMS, None)]
            streams = self.answer(call, bytes(BIG), *kinds, *more)
            items, download, self.promise, failing, _, channel, given_up = streams
            numbers = [*(item(number) for number in range(8)), item(8, BIG), item(9)]
            self.send(items, numbers, lambda stream: connection.end(stream, b"\x08"))
            self.send(download, [bytes([number]) * 110 for number in range(12)], connection.end)
            connection.reject(failing, ErrorCode.ABORTED, item(10))
            connection.reset(given_up, ErrorCode.ABORTED, b"\x09")
            self.send(channel, [item(number, 70) for number in range(5)], lambda stream: None)
            for number in (1, 2):
                self.call(f"callback {number}", arguments[2], item(number, 3))
            connection.release(arguments[2])
            self.passed = arguments[4]
            self.send(self.passed, [item(number, 50) for number in range(6)], lambda stream: None)
            for number in (3, 4):
                self.call(f"channel request {number}", self.passed, item(number, 3))
        elif label != "slow":
            self.answer(call, event.payload)


class Recording:
    """The whole conversation, over a network of one link at a time; ``cut`` is told of the first."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.told: dict[str, list[object]] = {}
        self.host = network.host(limits=LIMITS)
        self.server: Server | None = None
        self.host.on_peer = self.meet
        self.connect()

    def connect(self) -> None:
        """Let the client come; again, where its first transport was lost before the hellos."""
        self.client = Client(self.network.connect(self.host, limits=LIMITS), self.told, "client")

    def meet(self, peer: Peer) -> None:
        """The server hears of it."""
        self.server = Server(peer, self.told, "server")

    def run(self) -> dict[str, list[object]]:
        """Let it come to its end; what was told, by side and stream."""
        network = self.network
        for _ in range(100):
            network.run(2.0)
            if self.client.closed is not None and not self.client.connection.heard_of:
                self.connect()
            elif self.is_over():
                break
        assert self.is_over(), "it has not come to its end"
        network.run(1.0)
        assert self.client.closed is None
        assert self.server is not None
        assert_empty(self.client.connection)
        assert_empty(self.server.connection)
        return self.told

    def is_over(self) -> bool:
        """Whether nothing is open any more."""
        client, server = self.client.connection, self.server
        return server is not None and not any(
            each._ours or each._theirs or each._unsent for each in (client, server.connection)
        )
