"""Any bytes as a payload: a value that can be sent back and means the same, or a named refusal."""

from __future__ import annotations

from fuzz.choices import Choices
from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.wire.frames import Kind
from telewire.wire.values import Reference, decode_items, decode_value, encode_value
from telewire_spec.judge import REPEATABLE
from telewire_spec.meaning import Placed, ascii_json, value_meaning

__all__ = ["target"]

REASONS = frozenset(
    {
        ErrorCode.MALFORMED_VALUE,
        ErrorCode.NESTING_TOO_DEEP,
        ErrorCode.DUPLICATE_KEY,
        ErrorCode.FORBIDDEN_TAG,
    }
)


def target(data: bytes) -> None:
    """Decode ``data`` as a value with up to three declarations, or as the payload of ITEMS."""
    choices = Choices(data)
    kinds = [Kind(1 + choices.below(5)) for _ in range(choices.below(4))]
    nesting = choices.one((64, 64, 3, 0))
    try:
        if choices.below(4) == 3:
            value: object = decode_items(choices.rest(), len(kinds), nesting)
            kinds.clear()
            nesting += 1
        else:
            value = decode_value(
                choices.rest(),
                [Placed(index) for index in range(len(kinds))],
                _describe,
                lambda index: kinds[index] in REPEATABLE,
                nesting,
            )
    except RemoteProtocolError as error:
        assert error.code in REASONS
        assert str(error).isprintable(), "the sentence of an error has bytes of the peer in it"
        assert len(str(error)) < 600
        return
    again = encode_value(value, _refer, nesting)
    places = [Placed(index) for index in range(len(kinds))]
    decoded = decode_value(again, places, _describe, lambda index: kinds[index] in REPEATABLE, nesting)
    assert ascii_json(value_meaning(decoded)) == ascii_json(value_meaning(value))


def _describe(place: object, details: dict[str, object]) -> object:
    assert isinstance(place, Placed)
    return Placed(place.index, details or None)  # Empty ones say nothing, and do not travel.


def _refer(value: object) -> Reference:
    assert isinstance(value, Placed), f"A {type(value).__name__} was decoded and cannot be encoded."
    return Reference(value.index, value.details)
