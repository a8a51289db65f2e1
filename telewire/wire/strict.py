"""cbor2 in strict mode: one whole item, bounded depth, and every failure as a RemoteProtocolError."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from typing import Any, Final, NoReturn, TypeAlias

import cbor2

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.wire.flooding import find_flooding, may_flood
from telewire.wire.plain import is_plain

__all__ = [
    "CBOR2_TAGS",
    "NOTHING",
    "TagDecoder",
    "load_quick",
    "load_strict",
    "refuse_tag",
    "refuse_unknown_tag",
    "refusing",
    "show",
]

# Any: the content of a tag is whatever the peer put there, and the decoder decides what it becomes.
TagDecoder: TypeAlias = Callable[[Any, bool], Any]

# Every tag that cbor2 decodes by itself. cbor2 has no allow-list, so each one that we do not take
# is overridden; a test walks all small tags and fails when a new cbor2 learns another.
CBOR2_TAGS: Final = frozenset(
    {0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799}
)

NOTHING: Final = object()
"""What :func:`load_quick` returns where it did not decode."""

_loads: Final = cbor2.loads
_SMALL_BYTES: Final = 4096
_PAIR: Final = b"\x82"
# A byte string that stands in no data but by intent, and shows where an item has ended.
_MARK: Final = b"telewire\xff"
_MARKED: Final = bytes([0x40 + len(_MARK)]) + _MARK
_LAST: Final = _MARK[-1]  # No text holds it, and it is found in a third of the time.

_shorten: Final = reprlib.Repr()
_shorten.maxstring = _shorten.maxother = 60
_shorten.maxlevel = 2


def show(value: object) -> str:
    """Return a short, escaped text of a value for error messages, whatever its size."""
    if type(value) is int and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    return _shorten.repr(value)


def refuse_tag(tag: int) -> NoReturn:
    """Raise: this tag has no place here (TW-VAL-002)."""
    raise RemoteProtocolError(
        f"Tag {tag} is not allowed here; spec/registries/tags.csv lists the tags that are.",
        ErrorCode.FORBIDDEN_TAG,
    )


def refusing(tag: int) -> TagDecoder:
    """Return a decoder for ``semantic_decoders`` that refuses ``tag``."""
    return lambda content, immutable: refuse_tag(tag)


def refuse_unknown_tag(tag: cbor2.CBORTag, immutable: bool) -> NoReturn:
    """Refuse, as ``tag_hook``, every tag that cbor2 does not know."""
    refuse_tag(tag.tag)


def load_quick(data: bytes, max_depth: int, decoders: Mapping[int, TagDecoder]) -> object:
    """Decode one item that fills ``data``; NOTHING where :func:`load_strict` has to say what is wrong.

    ``data`` must not flood.
    """
    # loads ignores what follows an item. A second item that `data` does not contain shows its end, for
    # less than half of what a file object costs.
    if _LAST in data and _MARKED in data:
        return NOTHING
    try:
        value, end = _loads(
            _PAIR + data + _MARKED,
            max_depth=max_depth,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            tag_hook=refuse_unknown_tag,
            semantic_decoders=decoders,
        )
    except cbor2.CBORDecodeError:
        return NOTHING
    return value if end == _MARK else NOTHING


def _nothing() -> None:
    """Do nothing before another attempt: most decoders note nothing."""


def load_strict(
    data: bytes,
    what: str,
    max_depth: int,
    decoders: Mapping[int, TagDecoder],
    malformed: ErrorCode,
    again: Callable[[], object] = _nothing,
    plain: bool = False,
) -> object:
    """Decode exactly one item that fills ``data``.

    ``what`` names the data in messages, ``malformed`` is the code for all that has no code of its own.
    What cannot be decoded at the first attempt is tried in other ways; ``again`` is called before each,
    for ``decoders`` that note what they were given. ``plain`` says that :func:`is_plain` is known to hold.
    Raises RemoteProtocolError and nothing else, for any bytes.
    """
    if not plain and may_flood(data) and not is_plain(data):
        problem = find_flooding(data, lambda key: _load(BytesIO(key), max_depth + 1, decoders))
        again()
        if problem is not None:
            raise RemoteProtocolError(f"The {what} is refused: {problem}.", malformed)
    if len(data) <= _SMALL_BYTES:
        value = load_quick(data, max_depth, decoders)
        if value is not NOTHING:
            return value
        again()
    file = BytesIO(data)
    try:
        # cbor2 does not count an array or map that is empty: one level less allows what max_depth does.
        if max_depth:
            value = _load(file, max_depth - 1, decoders)
        else:
            value = _load_deep(file, what, max_depth, decoders, malformed)
    except cbor2.CBORDecodeError as error:
        refusal = _translate(error, what, max_depth, malformed)
        if refusal.code is not ErrorCode.NESTING_TOO_DEEP:
            try:
                raise refusal from error
            finally:
                # Its traceback holds this frame: who drops it must not need a collector.
                del refusal
        again()
        value = _load_deep(file, what, max_depth, decoders, malformed)
    if file.tell() != len(data):
        raise RemoteProtocolError(
            f"The {what} ends at byte {file.tell()}, but {len(data)} bytes came; send one data item, whole.",
            malformed,
        )
    return value


def _load(file: BytesIO, max_depth: int, decoders: Mapping[int, TagDecoder]) -> object:
    return cbor2.load(
        file,
        max_depth=max_depth,
        allow_indefinite=False,
        allow_duplicate_keys=False,
        tag_hook=refuse_unknown_tag,
        semantic_decoders=decoders,
    )


def _load_deep(
    file: BytesIO, what: str, max_depth: int, decoders: Mapping[int, TagDecoder], malformed: ErrorCode
) -> object:
    """Decode what nests nearly too deep, and look for an empty array or map one level beyond."""
    file.seek(0)
    try:
        value = _load(file, max_depth, decoders)
    except cbor2.CBORDecodeError as error:
        raise _translate(error, what, max_depth, malformed) from error
    if _nests_deeper(file.getvalue(), max_depth):
        raise _too_deep(what, max_depth)
    return value


def _nests_deeper(data: bytes, bound: int) -> bool:
    """Whether the first item of ``data``, which is well-formed, has more than ``bound`` levels."""
    position = 0
    open_items = [1]  # Items still to come, level by level.
    while open_items:
        if not open_items[-1]:
            open_items.pop()
            continue
        open_items[-1] -= 1
        major, argument = data[position] >> 5, data[position] & 0x1F
        position += 1
        if argument >= 24:
            size = 1 << argument - 24
            argument = int.from_bytes(data[position : position + size], "big")
            position += size
        if major in (2, 3):
            position += argument
        elif major in (4, 5, 6):
            open_items.append({4: argument, 5: 2 * argument, 6: 1}[major])
            if len(open_items) - 1 > bound:
                return True
    return False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what caused it: cbor2 wraps what a decoder of ours raises."""
    while error is not None:
        yield error
        error = error.__cause__


def _translate(error: Exception, what: str, max_depth: int, malformed: ErrorCode) -> RemoteProtocolError:
    """Turn an error of cbor2 into ours. The only place that knows cbor2's texts (pinned by a test)."""
    for cause in _causes(error):
        if isinstance(cause, RemoteProtocolError):
            # Another one: who raised this with what wraps it as its cause would make a ring.
            return RemoteProtocolError(str(cause), cause.code)
        text = str(cause)
        if text.startswith("maximum container nesting depth"):
            return _too_deep(what, max_depth)
        if "Duplicate map key" in text:
            return RemoteProtocolError(
                f"A map in the {what} has the same key twice; send each key once.", ErrorCode.DUPLICATE_KEY
            )
    return RemoteProtocolError(f"The {what} cannot be decoded: {str(error)[:160]}.", malformed)


def _too_deep(what: str, max_depth: int) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"The {what} nests deeper than {max_depth} levels; send flatter data.", ErrorCode.NESTING_TOO_DEEP
    )
