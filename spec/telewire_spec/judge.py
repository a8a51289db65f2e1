"""What telewire's own codec says of bytes, in the words of the vectors: a meaning, or an error's code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from telewire.errors import RemoteProtocolError
from telewire.limits import Limits
from telewire.wire.codec import decode_batch
from telewire.wire.reader import BatchReader
from telewire.wire.values import decode_items, decode_value
from telewire_spec.meaning import Json, Placed, frame_meaning, value_meaning

__all__ = ["REPEATABLE", "Case", "Kind", "judge"]

Kind: TypeAlias = Literal["batch", "frame", "value", "items", "stream"]

REPEATABLE: Final = frozenset({1, 4})
"""Kinds of streams that one payload may refer to more than once: promises and functions."""


@dataclass(frozen=True, slots=True)
class Case:
    """Bytes and what is known where they arrive.

    Attributes:
        kind: ``batch``; ``frame``, one without its batch; ``value``, a payload; ``items``, the payload
            of ITEMS; ``stream``, a transport of bytes.
        data: the bytes.
        limits: those of the receiver that are not the defaults.
        declarations: kinds of the streams that a value's payload declares.
        count: of the items.
    """

    kind: Kind
    data: bytes
    limits: Mapping[str, int] = field(default_factory=dict)
    declarations: Sequence[int] = ()
    count: int = 0


def judge(case: Case) -> dict[str, Json]:
    """Decode a case: ``{"meaning": …}``, or ``{"error": the name of a code}``."""
    limits = Limits(**case.limits)
    try:
        return {"meaning": _decode(case, limits)}
    except RemoteProtocolError as error:
        return {"error": error.code.name}


def _decode(case: Case, limits: Limits) -> Json:
    if case.kind == "batch":
        return [frame_meaning(frame) for frame in decode_batch(case.data, limits)]
    if case.kind == "frame":
        frames = decode_batch(b"\x81" + case.data, limits)
        return frame_meaning(frames[0])
    if case.kind == "items":
        return [value_meaning(item) for item in decode_items(case.data, case.count, limits.nesting)]
    if case.kind == "stream":
        return _split(case.data, limits)
    kinds = case.declarations
    value = decode_value(
        case.data,
        [Placed(index) for index in range(len(kinds))],
        _describe,
        lambda index: kinds[index] in REPEATABLE,
        limits.nesting,
    )
    return value_meaning(value)


def _describe(place: object, details: dict[str, object]) -> object:
    if not isinstance(place, Placed):
        raise TypeError(f"A {type(place).__name__} takes the place of a reference.")
    return Placed(place.index, details)


def _split(data: bytes, limits: Limits) -> Json:
    """Return the batches of a stream of bytes, and how many of its bytes wait for the rest."""
    reader = BatchReader(limits)
    batches: list[Json] = []
    taken = 0
    # One byte at a time: where the bytes were cut must not matter.
    for position in range(len(data)):
        for batch in reader.receive_data(data[position : position + 1]):
            batches.append(batch.hex())
            taken = position + 1
    return {"batches": batches, "waiting": len(data) - taken}
