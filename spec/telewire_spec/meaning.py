"""What values and frames mean, as JSON: the common tongue in which two implementations are compared.

JSON has fewer types than telewire, so whatever is not null, a boolean, a text, an array or an integer
that every language can hold is an object with one key that names its type. ``vectors/README.md`` has
the table.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, TypeAlias, final
from uuid import UUID

from telewire.wire import frames as f

__all__ = ["Json", "Placed", "ascii_json", "frame_meaning", "value_meaning"]

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"

_SAFE: Final = (1 << 53) - 1


@final
class Placed:
    """What stands in a decoded value where the payload refers to a declaration."""

    __slots__ = ("details", "index")

    def __init__(self, index: int, details: Mapping[str, object] | None = None) -> None:
        self.index = index
        self.details = details

    def __eq__(self, other: object) -> bool:
        """References to one declaration are the same member of a set (TW-VAL-017)."""
        return isinstance(other, Placed) and self.index == other.index

    def __hash__(self) -> int:
        return hash(("reference", self.index))


def ascii_json(value: Json) -> str:
    """Return the one text of a meaning: in ASCII, so that its order is the same in every language."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)


# ---- values -------------------------------------------------------------------------------------
# Any, in this section: each function takes its own type, which is the key of the table below.


def _integer(value: int) -> Json:
    if -_SAFE <= value <= _SAFE:
        return value
    return {"int": hex(value)}


def _float(value: float) -> Json:
    return {"float": "nan" if value != value else struct.pack(">d", value).hex()}


def _array(value: list[object] | tuple[object, ...]) -> Json:
    return [value_meaning(part) for part in value]


def _map(value: Mapping[object, object]) -> Json:
    return {"map": [[value_meaning(key), value_meaning(part)] for key, part in value.items()]}


def _set(value: set[object] | frozenset[object]) -> Json:
    members = sorted(map(value_meaning, value), key=ascii_json)
    return {"set": members}


def _datetime(value: datetime) -> Json:
    kind = "local_datetime" if value.tzinfo is None else "datetime"
    return {kind: value.isoformat()}


def _decimal(value: Decimal) -> Json:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        return {"decimal": ("-" if sign else "") + ("NaN" if exponent == "n" else "Infinity")}
    if sign and not value:
        return {"decimal": f"-0E{exponent:+d}"}
    return {"decimal": [exponent, _integer(int(Decimal((sign, digits, 0))))]}


def _duration(value: timedelta) -> Json:
    return {"duration": [value.days, value.seconds, value.microseconds]}


def _placed(value: Placed) -> Json:
    meaning: dict[str, Json] = {"reference": value.index}
    if value.details is not None:
        meaning["details"] = [[key, value_meaning(part)] for key, part in value.details.items()]
    return meaning


_MEANINGS: Final[dict[type, Callable[[Any], Json]]] = {
    type(None): lambda value: None,
    bool: bool,
    int: _integer,
    float: _float,
    str: str,
    bytes: lambda value: {"bytes": value.hex()},
    list: _array,
    tuple: _array,
    set: _set,
    frozenset: _set,
    datetime: _datetime,
    date: lambda value: {"date": value.isoformat()},
    time: lambda value: {"time": value.isoformat()},
    timedelta: _duration,
    Decimal: _decimal,
    Fraction: lambda value: {"rational": [_integer(value.numerator), _integer(value.denominator)]},
    UUID: lambda value: {"uuid": value.hex},
    IPv4Address: lambda value: {"ipv4": value.packed.hex()},
    IPv6Address: lambda value: {"ipv6": value.packed.hex()},
    Placed: _placed,
}


def value_meaning(value: object) -> Json:
    """Return what a decoded value means.

    Raises TypeError for an object that no payload decodes to.
    """
    meaning = _MEANINGS.get(type(value))
    if meaning is not None:
        return meaning(value)
    if isinstance(value, Mapping):  # A dict, and what stands for one in the key of a map.
        return _map(value)
    raise TypeError(f"A {type(value).__name__} is no value that a payload decodes to.")


# ---- frames -------------------------------------------------------------------------------------


def _unordered(value: object) -> Json:
    """Return what a value outside payloads means, where the order of a map says nothing."""
    if isinstance(value, Mapping):
        pairs: list[Json] = [[_unordered(key), _unordered(part)] for key, part in value.items()]
        return {"map": sorted(pairs, key=ascii_json)}
    if isinstance(value, list | tuple):
        return [_unordered(part) for part in value]
    return value_meaning(value)


def _declaration(declaration: f.Declaration) -> Json:
    head: list[Json] = [declaration.stream, int(declaration.kind)]
    return head if declaration.number is None else [*head, declaration.number]


def frame_meaning(frame: f.Frame) -> Json:
    """Return what a frame means: its name and its fields by their names, what is left out left out."""
    name = type(frame).__name__.upper()
    meaning: dict[str, Json] = {"frame": name}
    for field in fields(frame):
        value: object = getattr(frame, field.name)
        if field.name == "declarations":
            if frame_declarations := getattr(frame, "declarations", ()):
                meaning["declarations"] = [_declaration(each) for each in frame_declarations]
        elif field.name == "extensions":
            if value is not None:
                pairs = sorted(getattr(frame, "extensions", {}).items())
                meaning["extensions"] = [[key, _unordered(part)] for key, part in pairs]
        elif isinstance(value, dict):
            meaning[field.name] = [[number, limit] for number, limit in sorted(value.items())]
        elif isinstance(value, bytes):
            meaning[field.name] = value.hex()
        elif isinstance(value, tuple):
            meaning[field.name] = list(value)
        elif not (isinstance(frame, f.Unknown) and value is None):
            meaning[field.name] = _plain_field(value)
    return meaning


def _plain_field(value: object) -> Json:
    if value is None or isinstance(value, int | str):
        return value
    raise TypeError(f"A field of a frame is no {type(value).__name__}.")
