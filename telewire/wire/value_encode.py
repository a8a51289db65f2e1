"""Values → payloads: small plain ones at once, large ones by cbor2, all others part by part, with a path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from itertools import chain
from typing import Any, Final, NoReturn, TypeAlias
from uuid import UUID

import cbor2

from telewire.wire import tags
from telewire.wire.heads import ARRAY, BYTES, MAP, TAG, encode_head, encode_int, encode_text
from telewire.wire.quick import SMALL_LEVELS, encode_small
from telewire.wire.strict import show
from telewire.wire.value_error import ValueEncodeError

__all__ = ["encode_value"]

_SCALARS: Final = frozenset({int, str, float, bool, type(None), bytes})
_scalars_only = _SCALARS.issuperset
_dumps = cbor2.dumps
_BIGNUM: Final = tags.MAX_BIGNUM_BYTES
_INT_BOUND: Final = 1 << _BIGNUM * 8
_REPLACEMENTS: Final = 8  # A default that never arrives at something encodable must end.


def encode_value(
    value: object, default: Callable[[object], object] | None = None, nesting: int = tags.NESTING
) -> bytes:
    """Return the payload that carries ``value`` (TW-VAL-001).

    ``default`` is called once for each object of a type that has no encoding and returns what travels
    in its place, or a :class:`Reference` whose declaration the caller sends along. What it raises
    passes through, with a note of the path. ``nesting`` is how many levels the receiver takes; more
    than 64 are never sent.

    Raises ValueEncodeError for a type without encoding, lone surrogates in text, integers beyond 8 KiB
    and values that nest deeper than that or contain themselves.
    """
    if nesting >= SMALL_LEVELS:
        small = encode_small(value)
        if small is not None:
            return small
    nesting = min(nesting, tags.NESTING)
    plain = _dump_plain(value, nesting - 1)
    if plain is None:
        return _Encoder(default, nesting).encode(value, 0)
    return plain


def _dump_plain(value: object, levels: int) -> bytes | None:
    """Encode a value of JSON-like types and bytes by cbor2, None if it is more or goes too deep.

    cbor2 overruns the stack when a value nests deeply, and encodes some types in ways that we
    do not: it is given only what has been looked at. A big integer is a level of its own, so the
    caller asks for one level less than there is.
    """
    if type(value) not in _SCALARS and not _is_plain(value, levels):
        return None
    try:
        data = _dumps(value)
    except UnicodeEncodeError:
        return None
    if len(data) > _BIGNUM and _has_huge_int(value):
        return None
    return data


def _is_plain(value: object, levels: int) -> bool:
    """Whether a container holds nothing but plain types, in at most ``levels`` levels."""
    outer: list[Any] = [value]
    for _ in range(levels):
        maps = [container for container in outer if type(container) is dict]
        arrays = [container for container in outer if type(container) is list or type(container) is tuple]
        if len(maps) + len(arrays) < len(outer) or not _scalars_only(map(type, chain.from_iterable(maps))):
            return False
        values = [chain.from_iterable(map(dict.values, maps)), chain.from_iterable(arrays)]
        inner = [child for child in chain.from_iterable(values) if type(child) not in _SCALARS]
        if not inner:
            return True
        # Each container once a level: one that contains itself twice would double each time.
        outer = list({id(child): child for child in inner}.values())
    return False


def _has_huge_int(value: object) -> bool:
    """Whether a plain value holds an integer that is too large."""
    pending: list[Any] = [value]
    while pending:
        part = pending.pop()
        if type(part) is dict:
            pending += part
            pending += part.values()
        elif type(part) is list or type(part) is tuple:
            pending += part
        elif type(part) is int and not -_INT_BOUND <= part < _INT_BOUND:
            return True
    return False


class _Encoder:
    """Encodes one value part by part; ``path`` leads to the part that is being encoded."""

    __slots__ = ("default", "dotted", "in_key", "nesting", "path")

    def __init__(self, default: Callable[[object], object] | None, nesting: int) -> None:
        self.default = default
        self.nesting = nesting
        self.path: list[str] = []
        self.in_key = False
        self.dotted = False  # The next map stands for an object: its keys are attributes.

    def encode(self, value: object, around: int) -> bytes:
        """Encode a part with ``around`` levels around it."""
        for _ in range(_REPLACEMENTS):
            method = _find(type(value))
            if method is not None:
                return method(self, value, around)
            value = self.replace(value)
        self.fail(f"is replaced again and again, at last by a {type(value).__name__}; return a plain value")

    def replace(self, value: object) -> object:
        """Ask ``default`` what travels in place of ``value``."""
        if self.default is None:
            self.fail(
                f"is a {type(value).__name__}, which has no encoding; "
                "send a plain value, a dataclass or a model instead"
            )
        try:
            replacement = self.default(value)
        except ValueEncodeError as error:
            raise ValueEncodeError(error.problem, self.where() + error.path.removeprefix("value")) from error
        except Exception as error:
            error.add_note(f"While encoding {self.where()}.")
            raise
        # A map that stands for an object comes next or not at all; one further on stands for itself.
        self.dotted = isinstance(replacement, dict) and not isinstance(value, Mapping)
        return replacement

    def where(self) -> str:
        """Return the path as text."""
        return "value" + "".join(self.path)

    def fail(self, problem: str) -> NoReturn:
        """Raise ValueEncodeError at the current path."""
        raise ValueEncodeError(problem, self.where())

    def tagged(self, tag: int, content: bytes, around: int, levels: int = 1) -> bytes:
        """Return ``content`` under ``tag``, which together are ``levels`` levels."""
        self.enter(around, levels)
        return encode_head(TAG, tag) + content

    def enter(self, around: int, levels: int) -> None:
        """Check that ``levels`` more levels are allowed."""
        if around + levels > self.nesting:
            self.fail(f"nests deeper than {self.nesting} levels; does it contain itself?")

    def elements(self, values: Iterable[object], around: int) -> list[bytes]:
        """Encode the elements of an array or set."""
        parts = []
        for index, value in enumerate(values):
            self.path.append(f"[{index}]")
            parts.append(self.encode(value, around))
            self.path.pop()
        return parts


# ---- one function for each type -------------------------------------------------------------------


def _none(encoder: _Encoder, value: None, around: int) -> bytes:
    return b"\xf6"


def _bool(encoder: _Encoder, value: bool, around: int) -> bytes:
    return b"\xf5" if value else b"\xf4"


def _int(encoder: _Encoder, value: int, around: int) -> bytes:
    value = int.__int__(value)  # Members of an IntEnum are their value.
    if -(1 << 64) <= value < 1 << 64:
        return encode_int(value)
    if not -_INT_BOUND <= value < _INT_BOUND:
        encoder.fail(f"is an integer of {value.bit_length()} bits; send bytes beyond {_BIGNUM * 8}")
    tag = tags.TAG_POSITIVE_BIGNUM if value >= 0 else tags.TAG_NEGATIVE_BIGNUM
    magnitude = value if value >= 0 else ~value
    data = magnitude.to_bytes((magnitude.bit_length() + 7) // 8, "big")
    return encoder.tagged(tag, _bytes(encoder, data, around), around)


def _float(encoder: _Encoder, value: float, around: int) -> bytes:
    return cbor2.dumps(float.__float__(value))


def _str(encoder: _Encoder, value: str, around: int) -> bytes:
    try:
        return encode_text(str.__str__(value))
    except UnicodeEncodeError as error:
        encoder.fail(f"has a lone surrogate at index {error.start}, which is no text; send bytes instead")


def _bytes(encoder: _Encoder, value: bytes | bytearray | memoryview, around: int) -> bytes:
    data = memoryview(value).tobytes()
    return encode_head(BYTES, len(data)) + data


def _array(encoder: _Encoder, value: list[object] | tuple[object, ...], around: int) -> bytes:
    encoder.enter(around, 1)
    plain = _dump_plain(value, encoder.nesting - 1 - around)
    if plain is not None:
        return plain
    parts = encoder.elements(value, around + 1)
    return encode_head(ARRAY, len(parts)) + b"".join(parts)


def _set(encoder: _Encoder, value: Set[object], around: int) -> bytes:
    encoder.enter(around, 2)
    parts = encoder.elements(value, around + 2)
    return encoder.tagged(tags.TAG_SET, encode_head(ARRAY, len(parts)) + b"".join(parts), around)


def _map(encoder: _Encoder, value: Mapping[object, object], around: int) -> bytes:
    encoder.enter(around, 1)
    dotted, encoder.dotted = encoder.dotted, False
    plain = _dump_plain(value, encoder.nesting - 1 - around)
    if plain is not None:
        return plain
    parts = []
    for key, part in value.items():
        text = f".{key}" if dotted and isinstance(key, str) else f"[{show(key)}]"
        encoder.path.append(f" (its key {show(key)})")
        outside, encoder.in_key = encoder.in_key, True
        parts.append(encoder.encode(key, around + 1))
        encoder.in_key = outside
        encoder.path[-1] = text
        parts.append(encoder.encode(part, around + 1))
        encoder.path.pop()
    return encode_head(MAP, len(value)) + b"".join(parts)


def _datetime(encoder: _Encoder, value: datetime, around: int) -> bytes:
    offset = datetime.utcoffset(value)
    if offset is None:
        return encoder.tagged(tags.TAG_LOCAL_DATETIME, encode_text(datetime.isoformat(value)), around)
    if offset % timedelta(minutes=1):
        # RFC 3339 has no seconds in an offset, which zones had before clocks were set by wire.
        try:
            value = datetime.astimezone(value, UTC)
        except OverflowError:
            encoder.fail("has seconds in its offset and is out of range in UTC; send it with another offset")
    text = datetime.isoformat(value)
    if text.endswith("+00:00"):
        text = text[:-6] + "Z"
    return encoder.tagged(tags.TAG_DATETIME, encode_text(text), around)


def _date(encoder: _Encoder, value: date, around: int) -> bytes:
    return encoder.tagged(tags.TAG_DATE, encode_text(date.isoformat(value)), around)


def _time(encoder: _Encoder, value: time, around: int) -> bytes:
    if value.tzinfo is not None and value.utcoffset() is None:
        encoder.fail("is a time in a zone whose offset depends on the date; send a datetime instead")
    return encoder.tagged(tags.TAG_TIME, encode_text(time.isoformat(value)), around)


def _timedelta(encoder: _Encoder, value: timedelta, around: int) -> bytes:
    parts = map(encode_int, (value.days, value.seconds, value.microseconds))
    return encoder.tagged(tags.TAG_TIMEDELTA, b"\x83" + b"".join(parts), around, 2)


def _decimal(encoder: _Encoder, value: Decimal, around: int) -> bytes:
    sign, digits, exponent = Decimal.as_tuple(value)
    if not isinstance(exponent, int):
        if value.is_snan():
            encoder.fail("is a signalling NaN, which raises wherever it is used; send Decimal('NaN') instead")
        text = ("-" if sign else "") + ("NaN" if value.is_nan() else "Infinity")
        return encoder.tagged(tags.TAG_DECIMAL_TEXT, encode_text(text), around)
    if abs(exponent) > tags.MAX_EXPONENT:
        encoder.fail(f"is a decimal with the exponent {exponent}; at most {tags.MAX_EXPONENT} travels")
    if sign and not value:
        return encoder.tagged(tags.TAG_DECIMAL_TEXT, encode_text(f"-0E{exponent:+d}"), around)
    # Through a decimal without exponent: int(text) is refused by Python from 4,300 digits on.
    mantissa = int(Decimal((sign, digits, 0)))
    encoder.enter(around, 2)
    content = b"\x82" + encode_int(exponent) + _int(encoder, mantissa, around + 2)
    return encoder.tagged(tags.TAG_DECIMAL, content, around, 2)


def _fraction(encoder: _Encoder, value: Fraction, around: int) -> bytes:
    encoder.enter(around, 2)
    numerator = _int(encoder, value.numerator, around + 2)
    denominator = _int(encoder, value.denominator, around + 2)
    return encoder.tagged(tags.TAG_RATIONAL, b"\x82" + numerator + denominator, around, 2)


def _uuid(encoder: _Encoder, value: UUID, around: int) -> bytes:
    return encoder.tagged(tags.TAG_UUID, encode_head(BYTES, 16) + value.bytes, around)


def _ipv4(encoder: _Encoder, value: IPv4Address, around: int) -> bytes:
    return encoder.tagged(tags.TAG_IPV4, encode_head(BYTES, 4) + value.packed, around)


def _ipv6(encoder: _Encoder, value: IPv6Address, around: int) -> bytes:
    if value.scope_id is not None:
        encoder.fail(f"has the scope {show(value.scope_id)}, which means nothing elsewhere; send it without")
    return encoder.tagged(tags.TAG_IPV6, encode_head(BYTES, 16) + value.packed, around)


def _reference(encoder: _Encoder, value: tags.Reference, around: int) -> bytes:
    if encoder.in_key:
        encoder.fail("stands in the key of a map, where nothing with a life of its own can; make it a value")
    index = encode_int(value.index)
    if not value.details:
        return encoder.tagged(tags.TAG_REFERENCE, index, around)
    problem = tags.wrong_detail(value.details)
    if problem is not None:
        encoder.fail(f"is described wrongly: {problem}")
    content = b"\x82" + index + encoder.encode(dict(value.details), around + 2)
    return encoder.tagged(tags.TAG_REFERENCE, content, around, 3)


# Any: each function takes its own type, which is the key.
_Method: TypeAlias = Callable[[_Encoder, Any, int], bytes]
_METHODS: Final[dict[type, _Method]] = {
    type(None): _none,
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    bytes: _bytes,
    bytearray: _bytes,
    memoryview: _bytes,
    list: _array,
    tuple: _array,
    set: _set,
    frozenset: _set,
    dict: _map,
    cbor2.frozendict: _map,  # What a map in a key was decoded to.
    datetime: _datetime,
    date: _date,
    time: _time,
    timedelta: _timedelta,
    Decimal: _decimal,
    Fraction: _fraction,
    UUID: _uuid,
    IPv4Address: _ipv4,
    IPv6Address: _ipv6,
    tags.Reference: _reference,
}

# Subclasses of addresses that are more than an address: their network would be lost.
_NOT_INHERITED: Final = frozenset({IPv4Interface, IPv6Interface})


def _find(kind: type) -> _Method | None:
    """Return the function for a type or for the nearest type that it extends."""
    for base in kind.__mro__:
        if base in _METHODS:
            return _METHODS[base]
        if base in _NOT_INHERITED:
            break
    return None
