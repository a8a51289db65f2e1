"""What objects become on the wire, and what cannot travel."""

from __future__ import annotations

import collections
import types
from typing import TypeVar, Union

import msgspec
import pydantic
import pytest

from telewire.runtime.convert import converter_for, to_wire
from tests.runtime.converted_types import (
    Address,
    Box,
    Cat,
    Colour,
    FakeIterator,
    Loose,
    Numbers,
    Packed,
    Point,
    Right,
    Spot,
    Track,
)


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (Point(1, 2.0), {"x": 1, "y": 2.0, "tags": []}),
        (Spot("p"), {"place": "p", "_count": 0, "size": 1}),
        (Track("t"), {"title": "t", "seconds": 1, "rows": ()}),
        (Cat("c"), {"type": "Cat", "petName": "c"}),
        (Packed(1, "b"), [1, "b"]),
        (Address(street="s"), {"street": "s", "colours": ()}),
        (Loose.model_validate({"name": "n", "more": 1}), {"name": "n", "more": 1}),
        (Numbers([1]), [1]),
        (pydantic.HttpUrl("http://h/"), "http://h/"),
        (Colour.RED, "red"),
        (Right.READ | Right.WRITE, 3),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.UserDict(a=1), {"a": 1}),
        (collections.deque([1]), [1]),
        (range(2), [0, 1]),
        ({"a": 1}.keys(), ["a"]),
        ({"a": 1}.values(), [1]),
        ({"a": 1}.items(), [("a", 1)]),
        (memoryview(b"x"), b"x"),
        (bytearray(b"x"), b"x"),
    ],
)
def test_what_objects_become(value: object, wire: object) -> None:
    assert to_wire(value) == wire
    assert type(to_wire(value)) is type(wire)


def test_unset_fields_of_a_struct_stay_at_home() -> None:
    struct = msgspec.defstruct("Patch", [("name", Union[str, msgspec.UnsetType], msgspec.UNSET)])  # noqa: UP007
    assert to_wire(struct()) == {}
    assert converter_for(struct).convert({}, "on_x(a)") == struct()


def test_parts_are_left_to_the_encoder() -> None:
    handle: FakeIterator[int] = FakeIterator()
    wire = to_wire(Box(handle))
    assert isinstance(wire, dict)
    assert wire["content"] is handle


@pytest.mark.parametrize("value", [object(), Point, open, types, TypeVar("Q")])
def test_what_cannot_travel_is_named_with_the_way_out(value: object) -> None:
    with pytest.raises(TypeError, match=r"^A [\w.]+ cannot travel: pass its data as builtin types, "):
        to_wire(value)
