"""Payloads → values: strict, and with an allow-list of tags, since the bytes are anybody's."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from itertools import chain
from typing import Any, Final, NoReturn, final

import cbor2

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.wire import tags
from telewire.wire.flooding import ONE_HASH, SHORT, many_collide, may_flood
from telewire.wire.plain import is_plain
from telewire.wire.strict import CBOR2_TAGS, NOTHING, TagDecoder, load_quick, load_strict, refusing, show

__all__ = ["decode_items", "decode_value"]

_MALFORMED: Final = ErrorCode.MALFORMED_VALUE

# Hours and minutes are bounded here: fromisoformat takes 99 minutes in an offset, and a later Python hour 24.
_HM: Final = r"(?:[01]\d|2[0-3]):[0-5]\d"
_SECONDS: Final = r":[0-5]\d(?:\.\d{6})?"
_DAY: Final = r"\d{4}-\d\d-\d\d"
_MOMENT: Final = re.compile(rf"{_DAY}[Tt]{_HM}:[0-5]\d(?:\.\d{{1,9}})?(?:[Zz]|[+-]{_HM})", re.ASCII)
_DATE: Final = re.compile(_DAY, re.ASCII)
_LOCAL: Final = re.compile(rf"{_DAY}T{_HM}{_SECONDS}", re.ASCII)
_TIME: Final = re.compile(rf"{_HM}{_SECONDS}(?:[+-]{_HM}(?:{_SECONDS})?)?", re.ASCII)
_DECIMAL_TEXT: Final = re.compile(r"-?NaN|-?Infinity|-0E[+-]\d{1,6}", re.ASCII)

# Heads of undefined and of unassigned simple values. Text and floats may hold these bytes too, so a
# hit only says that it is worth looking.
_unassigned_heads = re.compile(rb"[\xe0-\xf3\xf7\xf8]").search
_UNASSIGNED: Final = frozenset({cbor2.CBORSimpleValue, type(cbor2.undefined)})


def decode_value(
    payload: bytes,
    references: Sequence[object] = (),
    describe: Callable[[object, dict[str, object]], object] | None = None,
    repeatable: Callable[[int], bool] | None = None,
    nesting: int = tags.NESTING,
) -> object:
    """Return the value that ``payload`` carries (TW-VAL-001).

    ``references[i]`` is put where the payload refers to declaration ``i``. Each must be used, and those
    for whose index ``repeatable`` is not true no more than once (TW-VAL-031). Where a reference has
    details, ``describe(references[i], details)`` returns what is put there instead; it is called once
    for each such place, also where the value is refused afterwards. Keys of ``DETAILS`` have been
    checked, unknown ones are to be ignored. Without ``describe`` details are. ``nesting`` is how many
    levels are taken; more than 64 never are (TW-VAL-004).

    Raises RemoteProtocolError, and nothing else for any bytes, with the code NESTING_TOO_DEEP,
    DUPLICATE_KEY, FORBIDDEN_TAG or, for all other faults, MALFORMED_VALUE; what ``describe`` raises is
    such a fault. The fault is the payload's, not the connection's: reset what it introduced.
    """
    if nesting > tags.NESTING:
        nesting = tags.NESTING
    if not references:
        if len(payload) < SHORT:
            # Nothing that load_strict looks for can be in it, but for what cbor2 refuses.
            value = load_quick(payload, nesting, _DECODERS)
            if value is not NOTHING:
                if _unassigned_heads(payload):
                    _check_small(value)
                return value
        value = load_strict(payload, "value", nesting, _DECODERS, _MALFORMED)
    else:
        places = _Places(references, describe, repeatable)
        decoders = {**_DECODERS, tags.TAG_REFERENCE: places.fill}
        value = load_strict(payload, "value", nesting, decoders, _MALFORMED, places.again)
        if len(places.used) != len(references):
            unused = next(index for index in range(len(references)) if index not in places.used)
            _refuse(f"The value came with {len(references)} declarations, but does not use number {unused}")
    if _unassigned_heads(payload) and not is_plain(payload):
        _check_assigned(value, places.filled if references else ())
    return value


@final
class _Places:
    """The places of one payload where streams stand, in order: decoding may have to begin again."""

    __slots__ = ("describe", "filled", "next", "references", "repeatable", "used")

    def __init__(
        self,
        references: Sequence[object],
        describe: Callable[[object, dict[str, object]], object] | None,
        repeatable: Callable[[int], bool] | None,
    ) -> None:
        self.references = references
        self.describe = describe
        self.repeatable = repeatable
        self.used: set[int] = set()
        self.filled: list[object] = []
        self.next = 0

    def again(self) -> None:
        """Begin again: the same places come in the same order."""
        self.next = 0

    def fill(self, content: Any, immutable: bool) -> object:
        """Return what stands in the next place."""
        if immutable:
            _refuse("The key of a map refers to a stream; only values can")
        if self.next == len(self.filled):
            self.filled.append(self._refer(content))
        self.next += 1
        return self.filled[self.next - 1]

    def _refer(self, content: Any) -> object:
        details: Any = None
        index = content
        if type(content) is list and len(content) == 2:
            index, details = content
            if type(details) is not dict:
                _refuse(f"The details of a reference are a map, not {show(details)}")
            problem = tags.wrong_detail(details)
            if problem is not None:
                _refuse(problem)
        references = self.references
        if type(index) is not int or not 0 <= index < len(references):
            _refuse(f"The value refers to declaration {show(index)}; {len(references)} came with it")
        if index in self.used and (self.repeatable is None or not self.repeatable(index)):
            _refuse(f"The value refers to declaration {index} twice; only promises and functions can repeat")
        self.used.add(index)
        if details is None or self.describe is None:
            return references[index]
        return self.describe(references[index], details)


def decode_items(payload: bytes, count: int, nesting: int = tags.NESTING) -> list[object]:
    """Return the ``count`` values of an ITEMS payload, which hold no references (TW-FRM-042).

    Raises RemoteProtocolError like :func:`decode_value`, also when the payload is no array of
    exactly ``count`` values.
    """
    # The array is not part of the values, so it does not count as one of their levels.
    depth = min(nesting, tags.NESTING) + 1
    doubtful = _unassigned_heads(payload) is not None
    plain = (doubtful or may_flood(payload)) and is_plain(payload)
    items = load_strict(payload, "array of items", depth, _DECODERS, _MALFORMED, plain=plain)
    if type(items) is not list or len(items) != count:
        _refuse(f"An array of {count} items was announced, but not sent: {show(items)}")
    if doubtful and not plain:
        _check_assigned(items, ())
    return items


def _refuse(problem: str) -> NoReturn:
    raise RemoteProtocolError(f"{problem}.", _MALFORMED)


def _check_assigned(value: object, foreign_parts: Sequence[object]) -> None:
    """Refuse undefined and unassigned simple values anywhere in a decoded value (TW-VAL-005)."""
    foreign = {id(part) for part in foreign_parts}  # Not the payload's: not looked into.
    level: list[Any] = [value]
    while level:
        # Types are few: a level of thousands of small maps is looked at in a few steps.
        kinds = set(map(type, level))
        if not _UNASSIGNED.isdisjoint(kinds):
            _refuse("The value contains undefined or an unassigned simple value; send null")
        if foreign or not kinds <= _CONTAINERS:
            level = [part for part in level if type(part) in _CONTAINERS and id(part) not in foreign]
        maps = level if kinds <= _MAPS else [part for part in level if type(part) in _MAPS]
        level = [*chain.from_iterable(level), *chain.from_iterable([part.values() for part in maps])]


# Any: what cbor2 decoded.
def _check_small(value: Any) -> None:
    """The same for a value of few parts: one after the other costs less than level by level."""
    kind = type(value)
    if kind is list:
        for part in value:
            if type(part) not in _PLAIN:
                _check_small(part)
    elif kind is dict:
        for key, part in value.items():
            if type(key) not in _PLAIN:
                _check_small(key)
            if type(part) not in _PLAIN:
                _check_small(part)
    elif kind not in _PLAIN:
        _check_assigned(value, ())


_PLAIN: Final = frozenset({int, str, bytes, bool, float, type(None)})
_MAPS: Final = frozenset({dict, cbor2.frozendict})
_CONTAINERS: Final = _MAPS | {list, tuple, set, frozenset}


# ---- one function for each tag: content and "must be hashable" in, value out ------------------------
# Any: the content is what the peer put under the tag. What Python refuses (a 30th of February) raises
# ValueError, which cbor2 wraps and load_strict turns into MALFORMED_VALUE.


def _positive_bignum(content: Any, immutable: bool) -> int:
    if type(content) is not bytes or len(content) > tags.MAX_BIGNUM_BYTES:
        _refuse(f"A big integer is a byte string of at most {tags.MAX_BIGNUM_BYTES} bytes")
    return int.from_bytes(content, "big")


def _negative_bignum(content: Any, immutable: bool) -> int:
    return ~_positive_bignum(content, immutable)


def _integers(content: Any, length: int, what: str) -> list[int]:
    if isinstance(content, (list, tuple)) and [type(number) for number in content] == [int] * length:
        return list(content)
    _refuse(f"{what} is an array of {length} integers")


def _decimal(content: Any, immutable: bool) -> Decimal:
    exponent, mantissa = _integers(content, 2, "A decimal")
    if abs(exponent) > tags.MAX_EXPONENT:
        _refuse(f"The exponent of a decimal is {show(exponent)}; at most {tags.MAX_EXPONENT} is accepted")
    # By its digits: arithmetic would round to the precision of the current context.
    sign, digits, _ = Decimal(mantissa).as_tuple()
    return Decimal((sign, digits, exponent))


def _decimal_text(content: Any, immutable: bool) -> Decimal:
    return Decimal(
        _match(_DECIMAL_TEXT, content, "A special decimal is NaN, Infinity or -0E and an exponent")
    )


def _fraction(content: Any, immutable: bool) -> Fraction:
    numerator, denominator = _integers(content, 2, "A rational")
    if denominator < 1:
        _refuse("The denominator of a rational is at least 1")
    return Fraction(numerator, denominator)


def _ipv4(content: Any, immutable: bool) -> IPv4Address:
    if type(content) is not bytes or len(content) != 4:
        _refuse(f"An IPv4 address is 4 bytes, not {show(content)}")
    return IPv4Address(content)


def _ipv6(content: Any, immutable: bool) -> IPv6Address:
    if type(content) is not bytes or len(content) != 16:
        _refuse(f"An IPv6 address is 16 bytes, not {show(content)}")
    return IPv6Address(content)


def _match(pattern: re.Pattern[str], content: Any, rule: str) -> str:
    if type(content) is not str or not pattern.fullmatch(content):
        _refuse(f"{rule}, not {show(content)}")
    return content


def _datetime(content: Any, immutable: bool) -> datetime:
    return datetime.fromisoformat(_match(_MOMENT, content, "A date and time reads as in RFC 3339").upper())


def _date(content: Any, immutable: bool) -> date:
    return date.fromisoformat(_match(_DATE, content, "A date reads YYYY-MM-DD"))


def _local_datetime(content: Any, immutable: bool) -> datetime:
    rule = "A date and time without offset reads YYYY-MM-DDThh:mm:ss, with six decimals or none"
    return datetime.fromisoformat(_match(_LOCAL, content, rule))


def _time(content: Any, immutable: bool) -> time:
    rule = "A time reads hh:mm:ss, with six decimals or none, and may have an offset"
    return time.fromisoformat(_match(_TIME, content, rule))


def _timedelta(content: Any, immutable: bool) -> timedelta:
    days, seconds, microseconds = _integers(content, 3, "A duration")
    if not (abs(days) <= 999_999_999 and 0 <= seconds < 86_400 and 0 <= microseconds < 1_000_000):
        _refuse("A duration is days, seconds of less than a day and microseconds of less than a second")
    return timedelta(days, seconds, microseconds)


def _set(content: Any, immutable: bool) -> set[Any] | frozenset[Any]:
    if not isinstance(content, (list, tuple)):
        _refuse(f"A set is an array of its members, not {show(content)}")
    parts = content if immutable else [_hashable(member) for member in content]
    if len(parts) >= ONE_HASH and many_collide(parts):
        _refuse(f"{ONE_HASH} members of a set have the same hash, which does not happen by chance")
    members = frozenset(parts) if immutable else set(parts)
    if len(members) != len(content):
        _refuse("A set has the same member twice")
    return members


def _hashable(part: Any) -> Any:
    """Return what can be in a set, as cbor2 makes it of map keys: tuples for arrays, and so on."""
    if type(part) is list:
        return tuple([_hashable(element) for element in part])
    if type(part) is dict:
        return cbor2.frozendict({key: _hashable(element) for key, element in part.items()})
    return frozenset(part) if type(part) is set else part


def _undeclared(content: Any, immutable: bool) -> NoReturn:
    _refuse(f"The value refers to declaration {show(content)}, but none came with it")


# Tag 37 (UUID) is decoded by cbor2 as we want it.
_DECODERS: Final[dict[int, TagDecoder]] = {
    **{tag: refusing(tag) for tag in CBOR2_TAGS - tags.ALLOWED_TAGS},
    tags.TAG_DATETIME: _datetime,
    tags.TAG_POSITIVE_BIGNUM: _positive_bignum,
    tags.TAG_NEGATIVE_BIGNUM: _negative_bignum,
    tags.TAG_DECIMAL: _decimal,
    tags.TAG_RATIONAL: _fraction,
    tags.TAG_IPV4: _ipv4,
    tags.TAG_IPV6: _ipv6,
    tags.TAG_SET: _set,
    tags.TAG_DATE: _date,
    tags.TAG_REFERENCE: _undeclared,
    tags.TAG_LOCAL_DATETIME: _local_datetime,
    tags.TAG_TIME: _time,
    tags.TAG_TIMEDELTA: _timedelta,
    tags.TAG_DECIMAL_TEXT: _decimal_text,
}
