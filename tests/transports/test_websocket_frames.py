"""WebSocketFrames without I/O: cut anywhere, fragments, limits, close frames, hostile bytes."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong

from telewire.errors import ErrorCode, NetworkError, RemoteProtocolError
from telewire_transports.websocket.frames import FramesState, WebSocketFrames
from telewire_transports.websocket.masking import mask, mask_in_python

LIMIT = 1000
SIZES = [0, 1, 2, 125, 126, 127, 999, 1000]


def make(side: str, limit: int = LIMIT) -> tuple[WebSocketFrames, Connection]:
    """One side under test and wsproto as the other."""
    client = side == "client"
    other = ConnectionType.SERVER if client else ConnectionType.CLIENT
    return WebSocketFrames(client=client, limit=limit), Connection(other)


def feed(frames: WebSocketFrames, data: bytes, step: int) -> tuple[list[bytes], bytes]:
    batches: list[bytes] = []
    replies = b""
    for start in range(0, len(data), step):
        batches += frames.receive_data(data[start : start + step])
        replies += frames.reply
    return batches, replies


def events(connection: Connection, data: bytes) -> list[object]:
    connection.receive_data(data)
    return list(connection.events())


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 1023, 1024, 65535, 65536, 70001])
def test_what_we_send_another_implementation_reads(side: str, size: int) -> None:
    frames, peer = make(side)
    batch = os.urandom(size)
    wire = b"".join(frames.encode([batch, b"next"]))
    got, messages = b"", []
    for event in events(peer, wire):
        assert isinstance(event, BytesMessage)
        got += event.data
        if event.message_finished:
            messages.append(got)
            got = b""
    assert messages == [batch, b"next"]


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("step", [1, 2, 3, 7, 100, 100_000])
def test_what_another_sends_we_read_however_it_is_cut(side: str, step: int) -> None:
    frames, peer = make(side)
    batches = [os.urandom(size) for size in SIZES]
    wire = b"".join(peer.send(BytesMessage(batch)) for batch in batches)
    assert feed(frames, wire, step) == (batches, b"")
    assert frames.state is FramesState.OPEN


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("step", [1, 5, 100_000])
def test_fragments_are_joined_with_pings_between_and_a_plain_message_behind(side: str, step: int) -> None:
    frames, peer = make(side)
    wire = (
        peer.send(BytesMessage(b"one ", message_finished=False))
        + peer.send(Ping(b"hello"))
        + peer.send(BytesMessage(b"", message_finished=False))
        + peer.send(BytesMessage(b"message"))
        + peer.send(BytesMessage(b"plain"))
    )
    batches, replies = feed(frames, wire, step)
    assert batches == [b"one message", b"plain"]
    assert events(peer, replies) == [Pong(b"hello")]


def test_only_the_last_of_many_pings_in_one_read_is_answered() -> None:
    frames, peer = make("server")
    assert frames.receive_data(b"".join(peer.send(Ping(b"%d" % index)) for index in range(50))) == []
    assert frames.reply_is_pong
    assert events(peer, frames.reply) == [Pong(b"49")]


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("step", [1, 100_000])
def test_at_the_limit_works_one_beyond_does_not(side: str, step: int) -> None:
    for pieces, fine in [((LIMIT,), True), ((LIMIT + 1,), False), ((600, 400), True), ((600, 401), False)]:
        frames, peer = make(side)
        wire = b"".join(
            peer.send(BytesMessage(bytes(size), message_finished=index == len(pieces) - 1))
            for index, size in enumerate(pieces)
        )
        batches, replies = feed(frames, wire, step)
        if fine:
            assert [len(batch) for batch in batches] == [LIMIT]
            assert replies == b""
            continue
        assert (batches, replies) == ([], b"")
        assert frames.state is FramesState.REFUSED
        assert frames.refusal is not None
        assert frames.refusal.code is ErrorCode.BATCH_TOO_LARGE
        [closed] = events(peer, frames.close())
        assert isinstance(closed, CloseConnection)
        assert closed.code == 1009
        assert "batch_bytes" in (closed.reason or "")


def test_a_declared_length_is_refused_before_its_payload() -> None:
    frames = WebSocketFrames(client=False, limit=LIMIT)
    frames.receive_data(b"\x82\xff" + (2**62).to_bytes(8) + b"mask")
    assert frames.state is FramesState.REFUSED
    # It is the machine's to say why; only what that has said may leave before the close frame.
    assert b"".join(frames.encode([b"close"])) == b"\x82\x05close"
    assert frames.close()[2:4] == (1009).to_bytes(2)
    assert frames.state is FramesState.FAILED
    assert frames.close() == b""


def test_what_is_refused_is_not_kept() -> None:
    frames, peer = make("server")
    frames.receive_data(peer.send(BytesMessage(bytes(900), message_finished=False)))
    for _ in range(100):
        assert frames.receive_data(peer.send(BytesMessage(bytes(900), message_finished=False))) == []
    kept = [getattr(frames, name) for name in ("_head", "_body", "_fragments")]
    assert [len(each) for each in kept] == [0, 0, 0]


@pytest.mark.parametrize("wire", [b"\x81\x82\1\2\3\4hi", b"\x82\xff" + (2**62).to_bytes(8) + b"mask"])
def test_behind_our_close_frame_there_is_nobody_left_to_tell(wire: bytes) -> None:
    frames = WebSocketFrames(client=False, limit=LIMIT)
    frames.close()
    frames.receive_data(wire)
    assert frames.state is FramesState.FAILED
    assert (frames.refusal, frames.reply) == (None, b"")


KEY = b"\1\2\3\4"


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"\x81\x82" + KEY + b"hi", 1003),
        (b"\x01\x82" + KEY + b"hi", 1003),
        (b"\x82\x02hi", 1002),
        (b"\x82\xfe\x00\x02" + KEY + b"hi", 1002),
        (b"\x82\xff" + (2).to_bytes(8) + KEY + b"hi", 1002),
        (b"\xc2\x82" + KEY + b"hi", 1002),
        (b"\x83\x82" + KEY + b"hi", 1002),
        (b"\x80\x82" + KEY + b"hi", 1002),
        (b"\x09\x80" + KEY, 1002),
        (b"\x89\xfe\x00\x80" + KEY + bytes(128), 1002),
        (b"\x02\x80" + KEY + b"\x82\x80" + KEY, 1002),
        (b"\x88\x81" + KEY + b"x", 1002),
        (b"\x88\x82" + KEY + mask((1005).to_bytes(2), KEY), 1002),
        (b"\x88\x83" + KEY + mask((1000).to_bytes(2) + b"\xff", KEY), 1007),
    ],
    ids=[
        "text",
        "text fragment",
        "unmasked",
        "long length of 16 bits",
        "long length of 64 bits",
        "reserved bit",
        "unknown opcode",
        "nothing to continue",
        "fragmented ping",
        "long ping",
        "message inside of a message",
        "half a close code",
        "local close code",
        "close reason not UTF-8",
    ],
)
@pytest.mark.parametrize("step", [1, 100_000])
def test_broken_rules_have_their_close_code(wire: bytes, code: int, step: int) -> None:
    frames = WebSocketFrames(client=False, limit=LIMIT)
    good = b"\x82\x82" + KEY + mask(b"ok", KEY)
    batches, replies = feed(frames, good + wire + good, step)
    assert batches == [b"ok"]
    if frames.state is FramesState.REFUSED:
        assert code == 1003
        assert replies == b""
        replies = frames.close()
    assert frames.state is FramesState.FAILED
    assert isinstance(frames.failure, RemoteProtocolError)
    assert replies[:1] == b"\x88"
    assert int.from_bytes(replies[2:4]) == code


def test_a_client_refuses_masked_frames() -> None:
    frames = WebSocketFrames(client=True, limit=LIMIT)
    frames.receive_data(b"\x82\x82" + KEY + b"hi")
    assert isinstance(frames.failure, RemoteProtocolError)


@pytest.mark.parametrize(("code", "orderly"), [(1000, True), (1001, True), (1011, False), (4000, False)])
def test_a_close_is_answered(code: int, orderly: bool) -> None:
    frames, peer = make("server")
    frames.receive_data(peer.send(BytesMessage(b"last")) + peer.send(CloseConnection(code, "why \x1b")))
    assert frames.state is FramesState.CLOSED
    assert [type(event) for event in events(peer, frames.reply)] == [CloseConnection]
    if orderly:
        assert frames.failure is None
    else:
        assert isinstance(frames.failure, NetworkError)
        assert str(code) in str(frames.failure)
        assert "\x1b" not in str(frames.failure)
    assert frames.close() == b""


def test_our_close_is_answered_and_batches_on_the_way_still_count() -> None:
    frames, peer = make("client")
    late = peer.send(BytesMessage(b"late")) + peer.send(Ping())
    [closed] = events(peer, frames.close())
    assert frames.close() == b""
    assert isinstance(closed, CloseConnection)
    assert frames.receive_data(late) == [b"late"]
    assert frames.reply == b""
    assert frames.state is FramesState.CLOSING
    assert frames.receive_data(peer.send(closed.response())) == []
    assert frames.state is FramesState.CLOSED
    assert frames.failure is None


@given(st.binary(max_size=3000), st.binary(min_size=4, max_size=4))
def test_masking_twice_gives_the_data_back(data: bytes, key: bytes) -> None:
    masked = mask(data, key)
    assert mask_in_python(data, key) == masked
    assert masked == bytes(byte ^ key[index % 4] for index, byte in enumerate(data))
    assert mask(masked, key) == data


@settings(max_examples=300)
@given(st.booleans(), st.lists(st.binary(max_size=40), max_size=10))
def test_any_bytes_give_batches_or_one_typed_end(client: bool, reads: list[bytes]) -> None:
    frames = WebSocketFrames(client=client, limit=LIMIT)
    for data in reads:
        for batch in frames.receive_data(data):
            assert len(batch) <= LIMIT
    if frames.state is FramesState.FAILED:
        assert isinstance(frames.failure, RemoteProtocolError)
    assert sum(map(len, frames.encode([b"x"]))) > 0


@settings(max_examples=200)
@given(st.data())
def test_frames_are_cut_the_same_way_as_by_wsproto_alone(data: st.DataObject) -> None:
    pieces = data.draw(st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=8))
    sender = Connection(ConnectionType.CLIENT)
    wire, wanted, open_message = b"", [], b""
    for payload, finished in pieces:
        wire += sender.send(BytesMessage(payload, message_finished=finished))
        open_message += payload
        if finished:
            wanted.append(open_message)
            open_message = b""
    step = data.draw(st.integers(1, 200))
    assert feed(WebSocketFrames(client=False, limit=10_000), wire, step) == (wanted, b"")
