"""Bytes → frames: everything that the CDDL and the limits say without knowing the conversation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import frames as f
from telewire.wire.fields import (
    BEYOND,
    check_plain,
    need,
    refuse_frame,
    take_bytes,
    take_extensions,
    take_more,
    take_payload,
    take_single,
    take_size,
    take_stream,
    take_tail,
    take_text,
    take_uint,
)
from telewire.wire.flooding import SHORT
from telewire.wire.strict import (
    CBOR2_TAGS,
    NOTHING,
    load_quick,
    load_strict,
    refusing,
    show,
)

__all__ = ["KNOWN_ODD_KEYS", "decode_batch"]

KNOWN_ODD_KEYS: Final[frozenset[int]] = frozenset()
"""Odd extension keys that are understood. None today: the pipelined target (1) is only reserved."""

_FEW: Final = 24  # Counts below stand in the first byte of an array.
_AROUND: Final = 3  # An extension's value stands in batch, frame and map.
_MALFORMED: Final = ErrorCode.MALFORMED  # Looking a member up costs more than a global.
_NO_TAGS: Final = {tag: refusing(tag) for tag in CBOR2_TAGS}


def decode_batch(batch: bytes, limits: Limits) -> list[f.Frame]:
    """Decode and check one batch (TW-FRM-001).

    Raises RemoteProtocolError, with the code that names the broken rule, and nothing else: then no
    frame of the batch counts. Whether a frame fits the conversation is for the core to say.
    """
    if len(batch) > limits.batch_bytes:
        raise RemoteProtocolError(
            f"A batch of {len(batch)} bytes came; at most {limits.batch_bytes} are accepted.",
            ErrorCode.BATCH_TOO_LARGE,
        )
    if not batch or not 0x80 <= batch[0] <= 0x97 or limits.batch_frames < _FEW:
        _check_count(batch, limits)
    items: object = NOTHING
    if len(batch) < SHORT:
        # Nothing that load_strict looks for can be in it, but for what cbor2 refuses.
        items = load_quick(batch, limits.nesting + _AROUND, _NO_TAGS)
    if items is NOTHING:
        items = load_strict(batch, "batch", limits.nesting + _AROUND, _NO_TAGS, _MALFORMED)
    if type(items) is not list or not items:
        raise RemoteProtocolError(
            f"A batch is an array of one or more frames, not {show(items)}.", _MALFORMED
        )
    frames: list[f.Frame] = []
    find = _DECODERS.get
    for item in items:
        if type(item) is not list or not item or type(item[0]) is not int:
            refuse_frame(f"A frame is an array that starts with its type, not {show(item)}")
        frames.append(find(item[0], _unassigned)(item, limits))
    return frames


def _check_count(batch: bytes, limits: Limits) -> None:
    """Refuse too many frames by the array head, before anything is decoded."""
    first = batch[0] if batch else 0
    if 0x98 <= first <= 0x9B and len(batch) > (width := 1 << first - 0x98):
        count = int.from_bytes(batch[1 : 1 + width], "big")
    elif 0x80 <= first <= 0x97:
        count = first - 0x80
    else:
        return  # No array or not its whole head, which the decoder reports.
    if count > limits.batch_frames:
        raise RemoteProtocolError(
            f"A batch announces {count} frames; at most {limits.batch_frames} are accepted.",
            ErrorCode.BATCH_TOO_LARGE,
        )


# ---- frames, hot ones first -----------------------------------------------------------------------
# Any: what cbor2 decoded; the functions of fields.py give it a type. CALL and END, the two frames of
# every small call, first try one condition that holds for nearly all of them; where it does not,
# the same fields are checked one by one, and a sentence says which is wrong.


def _call(item: list[Any], limits: Limits) -> f.Call:
    if len(item) == 6:
        _, stream, target, flags, size, payload = item
        if (
            type(payload) is bytes
            and type(size) is type(flags) is type(stream) is int
            and not flags
            and len(payload) == size <= limits.fragment_bytes
            and 0 <= stream < BEYOND
            and (
                len(target) * 4 <= limits.name_bytes
                if type(target) is str
                else type(target) is int and -BEYOND <= target < BEYOND
            )
        ):
            return f.Call(stream, target, 0, size, payload)
    need(item, 6)
    stream = take_uint(item[1], "The stream of a CALL")
    target = item[2]
    if type(target) is str:
        take_text(target, "The name of a function", limits.name_bytes, "name_bytes")
    else:
        take_stream(target, "The target of a CALL")
    payload = take_payload(item[5], "A CALL", limits)
    more = take_more(item[3], "A CALL")
    size = take_size(item[4], payload, more, "A CALL")
    return f.Call(stream, target, int(more), size, payload, *take_tail(item, 6, more, limits))


def _end(item: list[Any], limits: Limits) -> f.End:
    if len(item) == 5:
        _, stream, flags, size, payload = item
        if (
            type(payload) is bytes
            and type(size) is type(flags) is type(stream) is int
            and not flags
            and len(payload) == size <= limits.fragment_bytes
            and -BEYOND <= stream < BEYOND
        ):
            return f.End(stream, 0, size, payload)
    need(item, 5)
    stream = take_stream(item[1], "An END")
    payload = take_payload(item[4], "An END", limits)
    more = take_more(item[2], "An END")
    size = take_size(item[3], payload, more, "An END")
    return f.End(stream, int(more), size, payload, *take_tail(item, 5, more, limits))


def _items(item: list[Any], limits: Limits) -> f.Items:
    need(item, 5)
    stream = take_stream(item[1], "An ITEMS")
    flags = take_single(item[2], "An ITEMS")
    payload = take_payload(item[4], "An ITEMS", limits)
    if not take_uint(item[3], "The count of an ITEMS"):
        refuse_frame("An ITEMS counts at least one item")
    if not payload:
        refuse_frame("An ITEMS carries at least one byte, the head of its array")
    return f.Items(stream, flags, item[3], payload, take_extensions(item, 5, limits))


def _item(item: list[Any], limits: Limits) -> f.Item:
    need(item, 5)
    stream = take_stream(item[1], "An ITEM")
    payload = take_payload(item[4], "An ITEM", limits)
    more = take_more(item[2], "An ITEM")
    size = take_size(item[3], payload, more, "An ITEM")
    return f.Item(stream, int(more), size, payload, *take_tail(item, 5, more, limits))


def _chunk(item: list[Any], limits: Limits) -> f.Chunk:
    need(item, 4)
    stream = take_stream(item[1], "A CHUNK")
    flags = take_single(item[2], "A CHUNK")
    payload = take_payload(item[3], "A CHUNK", limits)
    if not payload:
        refuse_frame("A CHUNK carries at least one byte; send END for the end")
    return f.Chunk(stream, flags, payload, take_extensions(item, 4, limits))


def _fragment(item: list[Any], limits: Limits) -> f.Fragment:
    need(item, 4)
    stream = take_stream(item[1], "A FRAGMENT")
    more = take_more(item[2], "A FRAGMENT")
    payload = take_payload(item[3], "A FRAGMENT", limits)
    if not payload:
        refuse_frame("A FRAGMENT carries at least one byte")
    return f.Fragment(stream, int(more), payload, *take_tail(item, 4, more, limits))


def _grant(item: list[Any], limits: Limits) -> f.Grant:
    need(item, 3)
    stream = take_stream(item[1], "A GRANT")
    return f.Grant(stream, take_uint(item[2], "The limit of a GRANT"), take_extensions(item, 3, limits))


def _error(item: list[Any], limits: Limits) -> f.Error:
    need(item, 6)
    stream = take_stream(item[1], "An ERROR")
    code = take_uint(item[2], "The code of an ERROR")
    payload = take_payload(item[5], "An ERROR", limits)
    more = take_more(item[3], "An ERROR")
    size = take_size(item[4], payload, more, "An ERROR")
    return f.Error(stream, code, int(more), size, payload, *take_tail(item, 6, more, limits))


def _farewell(item: list[Any], limits: Limits, what: str) -> tuple[int, int, bytes, f.Extensions | None]:
    need(item, 4)
    stream = take_stream(item[1], what)
    code = take_uint(item[2], f"The code of {what}")
    payload = take_payload(item[3], what, limits)
    if len(payload) > limits.reason_bytes:
        refuse_frame(
            f"The reason of {what} has {len(payload)} bytes; reason_bytes allows {limits.reason_bytes}",
            ErrorCode.LIMIT_EXCEEDED,
        )
    return stream, code, payload, take_extensions(item, 4, limits)


def _stop(item: list[Any], limits: Limits) -> f.Stop:
    return f.Stop(*_farewell(item, limits, "a STOP"))


def _reset(item: list[Any], limits: Limits) -> f.Reset:
    return f.Reset(*_farewell(item, limits, "a RESET"))


def _hello(item: list[Any], limits: Limits) -> f.Hello:
    need(item, 7)
    lowest = take_uint(item[1], "The lowest version of a HELLO")
    highest = take_uint(item[2], "The highest version of a HELLO")
    if lowest > highest:
        refuse_frame(f"A HELLO offers the versions {lowest} to {highest}, which are none")
    if type(item[3]) is not list:
        refuse_frame(f"The features of a HELLO are an array, not {show(item[3])}")
    features = tuple([take_uint(feature, "A feature") for feature in item[3]])
    if type(item[4]) is not dict:
        refuse_frame(f"The limits of a HELLO are a map, not {show(item[4])}")
    for number, value in item[4].items():
        take_uint(number, "The number of a limit")
        take_uint(value, "A limit")
    session = None if item[5] is None else take_bytes(item[5], "The session of a HELLO")
    token = None if item[6] is None else take_bytes(item[6], "The token of a HELLO")
    if (session is None) is not (token is None):
        refuse_frame("A HELLO states a session and its token, or null for both")
    return f.Hello(lowest, highest, features, item[4], session, token, take_extensions(item, 7, limits))


def _resume(item: list[Any], limits: Limits) -> f.Resume:
    need(item, 5)
    return f.Resume(
        take_bytes(item[1], "The session of a RESUME"),
        take_bytes(item[2], "The token of a RESUME"),
        take_uint(item[3], "The attempt of a RESUME"),
        take_uint(item[4], "The received of a RESUME"),
        take_extensions(item, 5, limits),
    )


def _resumed(item: list[Any], limits: Limits) -> f.Resumed:
    need(item, 3)
    attempt = take_uint(item[1], "The attempt of a RESUMED")
    received = take_uint(item[2], "The received of a RESUMED")
    return f.Resumed(attempt, received, take_extensions(item, 3, limits))


def _ack(item: list[Any], limits: Limits) -> f.Ack:
    need(item, 2)
    return f.Ack(take_uint(item[1], "The received of an ACK"), take_extensions(item, 2, limits))


def _ping(item: list[Any], limits: Limits) -> f.Ping:
    need(item, 2)
    return f.Ping(take_uint(item[1], "The number of a PING"), take_extensions(item, 2, limits))


def _pong(item: list[Any], limits: Limits) -> f.Pong:
    need(item, 2)
    return f.Pong(take_uint(item[1], "The number of a PONG"), take_extensions(item, 2, limits))


def _position(item: list[Any], limits: Limits) -> f.Position:
    need(item, 2)
    return f.Position(take_uint(item[1], "The position of a POSITION"), take_extensions(item, 2, limits))


def _goaway(item: list[Any], limits: Limits) -> f.GoAway:
    need(item, 4)
    calls = take_uint(item[1], "The calls of a GOAWAY")
    code = take_uint(item[2], "The code of a GOAWAY")
    text = take_text(item[3], "The text of a GOAWAY", limits.reason_bytes, "reason_bytes")
    return f.GoAway(calls, code, text, take_extensions(item, 4, limits))


def _close(item: list[Any], limits: Limits) -> f.Close:
    need(item, 3)
    code = take_uint(item[1], "The code of a CLOSE")
    text = take_text(item[2], "The text of a CLOSE", limits.reason_bytes, "reason_bytes")
    return f.Close(code, text, take_extensions(item, 3, limits))


def _unassigned(item: list[Any], limits: Limits) -> f.Unknown:
    """Take a frame of an extension range: the core decides by its number (TW-FRM-033)."""
    kind = item[0]
    if not (7 <= kind <= 15 or 64 <= kind <= 65535):
        refuse_frame(f"No frame has the type {kind}")
    stream = None
    if kind >= 128:
        need(item, 2)
        stream = take_stream(item[1], f"A frame of type {kind}")
    check_plain(item)
    return f.Unknown(kind, stream)


_BY_TYPE: Final[dict[f.FrameType, Callable[[list[Any], Limits], f.Frame]]] = {
    f.FrameType.CALL: _call,
    f.FrameType.END: _end,
    f.FrameType.ITEMS: _items,
    f.FrameType.ITEM: _item,
    f.FrameType.CHUNK: _chunk,
    f.FrameType.FRAGMENT: _fragment,
    f.FrameType.GRANT: _grant,
    f.FrameType.ERROR: _error,
    f.FrameType.STOP: _stop,
    f.FrameType.RESET: _reset,
    f.FrameType.HELLO: _hello,
    f.FrameType.RESUME: _resume,
    f.FrameType.RESUMED: _resumed,
    f.FrameType.ACK: _ack,
    f.FrameType.PING: _ping,
    f.FrameType.PONG: _pong,
    f.FrameType.POSITION: _position,
    f.FrameType.GOAWAY: _goaway,
    f.FrameType.CLOSE: _close,
}

# Plain integers as keys: comparing with a member of an enum is slower.
_DECODERS: Final = {int(kind): decoder for kind, decoder in _BY_TYPE.items()}
