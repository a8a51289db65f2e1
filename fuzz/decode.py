"""Any bytes as a stream of batches: frames, or one RemoteProtocolError, however the bytes are cut."""

from __future__ import annotations

from typing import Final

from fuzz.choices import Choices
from telewire.errors import RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch, encode_batch, encode_frame
from telewire.wire.reader import BatchReader

__all__ = ["target"]

LIMITS: Final = (
    Limits(),
    Limits(
        **{"fragment_bytes": 1024, "batch_bytes": 2048, "batch_frames": 8, "references": 2, "nesting": 3},
        **{"name_bytes": 8, "metadata_bytes": 16, "reason_bytes": 4},
    ),
)


def target(data: bytes) -> None:
    """Decode ``data``: byte 0 chooses the limits and whether it is one batch or a stream of them."""
    choices = Choices(data)
    limits = LIMITS[choices.below(2)]
    if choices.below(2):
        batches = _split(choices, limits)
    else:
        batches = [choices.rest()]
    for batch in batches:
        try:
            frames = decode_batch(batch, limits)
        except RemoteProtocolError as error:
            assert str(error).isprintable(), "the sentence of an error has bytes of the peer in it"
            assert len(str(error)) < 600
            continue
        _check_again(frames, batch)


def _split(choices: Choices, limits: Limits) -> list[bytes]:
    """Cut a stream at places that the data choose; where it is cut must not matter."""
    steps = [1 + choices.byte() for _ in range(4)]
    stream = choices.rest()
    whole, pieces = BatchReader(limits), BatchReader(limits)
    refused: list[str] = []
    batches: list[list[bytes]] = [[], []]
    try:
        whole.receive_data(stream)
    except RemoteProtocolError as error:
        refused.append(str(error))
    batches[0] += whole.completed
    at, turn = 0, 0
    while at < len(stream):
        try:
            pieces.receive_data(stream[at : at + steps[turn % 4]])
        except RemoteProtocolError as error:
            batches[1] += pieces.completed
            assert refused == [str(error)], "cut elsewhere, the stream is refused otherwise"
            return batches[1]
        batches[1] += pieces.completed
        at += steps[turn % 4]
        turn += 1
    assert refused == []
    assert batches[0] == batches[1]
    return batches[1]


def _check_again(frames: list[f.Frame], batch: bytes) -> None:
    """What was decoded encodes to something no longer, which decodes to the same."""
    assert frames
    again = encode_batch([encode_frame(frame) for frame in frames])
    assert len(again) <= len(batch)
    # A sender leaves out what is empty (TW-FRM-070), and knows nothing of the contents of unknown frames.
    for frame in frames:
        if not isinstance(frame, f.Unknown):
            frame.extensions = frame.extensions or None
    decoded = decode_batch(again, Limits(metadata_bytes=1 << 20))
    assert encode_batch([encode_frame(frame) for frame in decoded]) == again, "one encoding for one meaning"
    if b"\xf9\x7e\x00" not in again:  # A NaN in an extension is equal to nothing.
        assert decoded == frames
