"""Frames → bytes: deterministic, and built from parts so that each payload is copied once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import cbor2

from telewire.wire import frames as f
from telewire.wire.heads import ARRAY, BYTES, MAP, UINT, encode_head, encode_int, encode_text

__all__ = ["encode_batch", "encode_call", "encode_end", "encode_frame"]

_NULL: Final = b"\xf6"
_LONGEST_FRAME: Final = 9  # CALL and ERROR with declarations and extensions have eight elements.

# Array head and type of each frame, by type and by number of elements: one lookup, one part to join.
_STARTS: Final = {
    kind: tuple(encode_head(ARRAY, count) + encode_int(kind) for count in range(_LONGEST_FRAME))
    for kind in f.FrameType
}
_START_CALL: Final = _STARTS[f.FrameType.CALL]
_CALL: Final = _START_CALL[6]
_SMALL_PAYLOAD: Final = 512
_ONE: Final = encode_head(ARRAY, 1)
_START_END: Final = _STARTS[f.FrameType.END]
_END: Final = _START_END[5]
_START_ERROR: Final = _STARTS[f.FrameType.ERROR]
_START_ITEM: Final = _STARTS[f.FrameType.ITEM]
_START_ITEMS: Final = _STARTS[f.FrameType.ITEMS]
_START_CHUNK: Final = _STARTS[f.FrameType.CHUNK]
_START_FRAGMENT: Final = _STARTS[f.FrameType.FRAGMENT]
_START_STOP: Final = _STARTS[f.FrameType.STOP]
_START_RESET: Final = _STARTS[f.FrameType.RESET]
_START_GRANT: Final = _STARTS[f.FrameType.GRANT]

# Functions are few and called often, so are their names.
_name = lru_cache(maxsize=1024)(encode_text)


def encode_frame(frame: f.Frame) -> bytes:
    """Return one frame, encoded deterministically (RFC 8949 §4.2, TW-FRM-020).

    The fields are taken as they are: that they follow ``spec/telewire.cddl`` is the sender's state's
    business, and a receiver refuses what does not.
    """
    return _ENCODERS[type(frame)](frame)


def encode_batch(frames: Sequence[bytes]) -> bytes:
    """Return one batch of one or more frames that are already encoded (TW-FRM-001)."""
    if len(frames) == 1:
        return _ONE + frames[0]
    return encode_head(ARRAY, len(frames)) + b"".join(frames)


def _extensions(extensions: f.Extensions | None) -> bytes:
    if not extensions:
        return b""
    if len(extensions) == 1:
        # A deadline alone, on every call that has one.
        for key, value in extensions.items():
            if type(value) is int:
                return b"\xa1" + encode_int(key) + encode_int(value)
    return cbor2.dumps(extensions, canonical=True)


def _declarations(declarations: tuple[f.Declaration, ...]) -> bytes:
    if not declarations:
        return b""
    parts = [encode_head(ARRAY, len(declarations))]
    for one in declarations:
        if one.number is None:
            parts += (b"\x82", encode_int(one.stream), encode_int(one.kind))
        else:
            parts += (b"\x83", encode_int(one.stream), encode_int(one.kind), encode_int(one.number))
    return b"".join(parts)


def _tail(size: int) -> bytes:
    """Flags of zero, the size, and the head of a payload that is whole in its frame."""
    return encode_int(0) + encode_int(size) + encode_head(BYTES, size)


_TAILS: Final = tuple(_tail(size) for size in range(_SMALL_PAYLOAD))


def encode_call(stream: int, target: str | int, payload: bytes) -> bytes:
    """Return a CALL that is whole and has nothing attached, as most are, without its object."""
    size = len(payload)
    called = _name(target) if isinstance(target, str) else encode_int(target)
    if size < _SMALL_PAYLOAD:
        return _CALL + encode_int(stream) + called + _TAILS[size] + payload
    return b"".join((_CALL, encode_int(stream), called, _tail(size), payload))


def encode_end(stream: int, payload: bytes) -> bytes:
    """Return an END that is whole and has nothing attached, as most are, without its object."""
    size = len(payload)
    if size < _SMALL_PAYLOAD:
        return _END + encode_int(stream) + _TAILS[size] + payload
    return b"".join((_END, encode_int(stream), _tail(size), payload))


def _call(frame: f.Call) -> bytes:
    target, payload = frame.target, frame.payload
    declarations, extensions = _declarations(frame.declarations), _extensions(frame.extensions)
    return b"".join(
        (
            _START_CALL[6 + (declarations != b"") + (extensions != b"")],
            encode_int(frame.stream),
            _name(target) if isinstance(target, str) else encode_int(target),
            encode_int(frame.flags),
            encode_int(frame.size),
            encode_head(BYTES, len(payload)),
            payload,
            declarations,
            extensions,
        )
    )


def _ending(start: tuple[bytes, ...]) -> Callable[[f.End | f.Item], bytes]:
    """Return the encoder of the two frames with one layout, END and ITEM."""

    def encode(frame: f.End | f.Item) -> bytes:
        payload = frame.payload
        declarations, extensions = _declarations(frame.declarations), _extensions(frame.extensions)
        return b"".join(
            (
                start[5 + (declarations != b"") + (extensions != b"")],
                encode_int(frame.stream),
                encode_int(frame.flags),
                encode_int(frame.size),
                encode_head(BYTES, len(payload)),
                payload,
                declarations,
                extensions,
            )
        )

    return encode


def _error(frame: f.Error) -> bytes:
    payload = frame.payload
    declarations, extensions = _declarations(frame.declarations), _extensions(frame.extensions)
    return b"".join(
        (
            _START_ERROR[6 + (declarations != b"") + (extensions != b"")],
            encode_int(frame.stream),
            encode_int(frame.code),
            encode_int(frame.flags),
            encode_int(frame.size),
            encode_head(BYTES, len(payload)),
            payload,
            declarations,
            extensions,
        )
    )


def _items(frame: f.Items) -> bytes:
    payload = frame.payload
    extensions = _extensions(frame.extensions)
    return b"".join(
        (
            _START_ITEMS[5 + (extensions != b"")],
            encode_int(frame.stream),
            encode_int(frame.flags),
            encode_int(frame.count),
            encode_head(BYTES, len(payload)),
            payload,
            extensions,
        )
    )


def _chunk(frame: f.Chunk) -> bytes:
    payload = frame.payload
    extensions = _extensions(frame.extensions)
    return b"".join(
        (
            _START_CHUNK[4 + (extensions != b"")],
            encode_int(frame.stream),
            encode_int(frame.flags),
            encode_head(BYTES, len(payload)),
            payload,
            extensions,
        )
    )


def _fragment(frame: f.Fragment) -> bytes:
    payload = frame.payload
    declarations, extensions = _declarations(frame.declarations), _extensions(frame.extensions)
    return b"".join(
        (
            _START_FRAGMENT[4 + (declarations != b"") + (extensions != b"")],
            encode_int(frame.stream),
            encode_int(frame.flags),
            encode_head(BYTES, len(payload)),
            payload,
            declarations,
            extensions,
        )
    )


def _farewell(start: tuple[bytes, ...]) -> Callable[[f.Stop | f.Reset], bytes]:
    """Return the encoder of the two frames with one layout, STOP and RESET."""

    def encode(frame: f.Stop | f.Reset) -> bytes:
        payload = frame.payload
        extensions = _extensions(frame.extensions)
        return b"".join(
            (
                start[4 + (extensions != b"")],
                encode_int(frame.stream),
                encode_int(frame.code),
                encode_head(BYTES, len(payload)),
                payload,
                extensions,
            )
        )

    return encode


def _grant(frame: f.Grant) -> bytes:
    extensions = _extensions(frame.extensions)
    start = _START_GRANT[3 + (extensions != b"")]
    return b"".join((start, encode_int(frame.stream), encode_int(frame.limit), extensions))


def _rare(kind: f.FrameType, extensions: f.Extensions | None, *fields: bytes) -> bytes:
    """Join the fields of a frame that is not on the hot path."""
    tail = _extensions(extensions)
    return b"".join((_STARTS[kind][1 + len(fields) + (tail != b"")], *fields, tail))


def _bytes(value: bytes | None) -> bytes:
    return _NULL if value is None else encode_head(BYTES, len(value)) + value


def _hello(frame: f.Hello) -> bytes:
    limits = b"".join(encode_int(key) + encode_int(frame.limits[key]) for key in sorted(frame.limits))
    return _rare(
        f.FrameType.HELLO,
        frame.extensions,
        encode_int(frame.version_min),
        encode_int(frame.version_max),
        encode_head(ARRAY, len(frame.features)) + b"".join(map(encode_int, frame.features)),
        encode_head(MAP, len(frame.limits)) + limits,
        _bytes(frame.session),
        _bytes(frame.token),
    )


def _resume(frame: f.Resume) -> bytes:
    return _rare(
        f.FrameType.RESUME,
        frame.extensions,
        _bytes(frame.session),
        _bytes(frame.token),
        encode_int(frame.attempt),
        encode_int(frame.received),
    )


def _resumed(frame: f.Resumed) -> bytes:
    attempt, received = encode_int(frame.attempt), encode_int(frame.received)
    return _rare(f.FrameType.RESUMED, frame.extensions, attempt, received)


def _ack(frame: f.Ack) -> bytes:
    return _rare(f.FrameType.ACK, frame.extensions, encode_int(frame.received))


def _ping(frame: f.Ping) -> bytes:
    return _rare(f.FrameType.PING, frame.extensions, encode_int(frame.number))


def _pong(frame: f.Pong) -> bytes:
    return _rare(f.FrameType.PONG, frame.extensions, encode_int(frame.number))


def _position(frame: f.Position) -> bytes:
    return _rare(f.FrameType.POSITION, frame.extensions, encode_int(frame.position))


def _goaway(frame: f.GoAway) -> bytes:
    calls, code, text = encode_int(frame.calls), encode_int(frame.code), encode_text(frame.text)
    return _rare(f.FrameType.GOAWAY, frame.extensions, calls, code, text)


def _close(frame: f.Close) -> bytes:
    return _rare(f.FrameType.CLOSE, frame.extensions, encode_int(frame.code), encode_text(frame.text))


def _unknown(frame: f.Unknown) -> bytes:
    start = encode_head(UINT, frame.type)
    if frame.stream is None:
        return b"\x81" + start
    return b"\x82" + start + encode_int(frame.stream)


# Any: each encoder takes its own class of frame, which is the key.
_ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {
    f.Call: _call,
    f.End: _ending(_START_END),
    f.Items: _items,
    f.Item: _ending(_START_ITEM),
    f.Chunk: _chunk,
    f.Fragment: _fragment,
    f.Grant: _grant,
    f.Error: _error,
    f.Stop: _farewell(_START_STOP),
    f.Reset: _farewell(_START_RESET),
    f.Ack: _ack,
    f.Ping: _ping,
    f.Pong: _pong,
    f.Position: _position,
    f.Hello: _hello,
    f.Resume: _resume,
    f.Resumed: _resumed,
    f.GoAway: _goaway,
    f.Close: _close,
    f.Unknown: _unknown,
}
