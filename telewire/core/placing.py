"""Placing: positions that are written down, on carriers where a batch may come twice, late or not at all.

What a POST has carried up may have been taken though its answer was lost, so it is sent again
(TW-SES-050 to 057). Pure functions for both directions; none keeps anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import frames as wire
from telewire.wire.codec import encode_batch, encode_frame

__all__ = ["cut", "cut_stated", "into_batches", "place"]

BATCH_HEAD_BYTES: Final = 9
POSITION_BYTES: Final = 11
_BARE: Final = (wire.Hello, wire.Resume, wire.Resumed, wire.Ack, wire.Ping, wire.Pong, wire.Position)


def _has_position(frame: wire.Frame) -> bool:
    if isinstance(frame, wire.Unknown):
        return frame.type >= wire.FIRST_POSITIONED
    return not isinstance(frame, _BARE)


def place(frames: Sequence[wire.Frame], expected: int) -> tuple[Sequence[wire.Frame], int]:
    """The frames of a batch that are new where position ``expected`` comes next, and how many are not.

    The number is negative where the batch is to be refused whole: what comes before it is missing.
    Raises RemoteProtocolError: the batch has positions and does not state them (TW-SES-050).
    """
    first = frames[0] if frames else None
    if not isinstance(first, wire.Position):
        if any(_has_position(frame) and not isinstance(frame, wire.Close) for frame in frames):
            raise RemoteProtocolError(
                "A batch on a carrier that may repeat or reorder does not begin with its position.",
                ErrorCode.INVALID_STATE,
            )
        return frames, 0
    if first.position > expected:
        return (), expected - first.position
    taken = left = expected - first.position
    fresh: list[wire.Frame] = []
    for frame in frames[1:]:
        if left and _has_position(frame):
            left -= 1
        else:
            fresh.append(frame)
    return fresh, taken - left


def into_batches(
    frames: list[bytes], size: int, bare: int, old: int, position: int, limits: Limits, stated: bool
) -> list[bytes]:
    """Cut frames of at most ``size`` bytes for a peer of ``limits``; with their positions where ``stated``.

    The first ``bare`` of them are signs, those up to ``old`` leave again.
    """
    if (
        not (bare or stated)
        and size <= limits.batch_bytes - BATCH_HEAD_BYTES
        and len(frames) <= limits.batch_frames
    ):
        return [encode_batch(frames)] if frames else []
    ahead: list[bytes] = []
    if 0 < bare < old:
        # RESUMED does not wait, on a slow link, for all that is replayed behind it (TW-SES-046).
        ahead, frames, bare = [encode_batch(frames[:bare])], frames[bare:], 0
    if stated:
        return ahead + cut_stated(frames, bare, position, limits)
    return ahead + cut(frames, limits)


def cut(frames: list[bytes], limits: Limits) -> list[bytes]:
    """Cut frames, one or more, into batches that a peer of ``limits`` accepts."""
    room = limits.batch_bytes - BATCH_HEAD_BYTES
    batches: list[bytes] = []
    begin = filled = 0
    for index, frame in enumerate(frames):
        if index > begin and (filled + len(frame) > room or index - begin >= limits.batch_frames):
            batches.append(encode_batch(frames[begin:index]))
            begin, filled = index, 0
        filled += len(frame)
    batches.append(encode_batch(frames[begin:]))
    return batches


def cut_stated(frames: list[bytes], bare: int, position: int, limits: Limits) -> list[bytes]:
    """Cut frames into batches that begin with their positions and that a peer of ``limits`` accepts.

    The first ``bare`` frames have no position, the one behind them has ``position``.
    """
    room = limits.batch_bytes - BATCH_HEAD_BYTES - POSITION_BYTES
    batches: list[bytes] = []
    begin = filled = 0
    for index in range(len(frames) + 1):
        size = len(frames[index]) if index < len(frames) else room
        if index > begin and (filled + size > room or index - begin >= limits.batch_frames - 1):
            stated = []
            if index > bare:
                stated.append(encode_frame(wire.Position(position + max(0, begin - bare))))
            batches.append(encode_batch(stated + frames[begin:index]))
            begin, filled = index, 0
        filled += size
    return batches
