"""A value that crossed equals the value that was sent; a value that does not fit is never shown."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import fractions
import ipaddress
import traceback
import typing
import uuid
from collections.abc import (
    Collection,
    Mapping,
    Sequence,
)
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telewire.runtime.convert import converter_for
from tests.runtime.converted_types import (
    Address,
    Box,
    Cat,
    Checked,
    Circle,
    Colour,
    Dog,
    Holder,
    IntBox,
    Left,
    Level,
    Name,
    Node,
    Numbers,
    Packed,
    Person,
    Point,
    Positive,
    Right,
    Row,
    Settings,
    Short,
    Spot,
    TeamId,
    Track,
    User,
    refusal,
    travel,
)

text = st.text(max_size=5)
ints = st.integers()
floats = st.floats(allow_nan=False)
points = st.builds(Point, ints, floats, st.lists(text, max_size=3))
users = st.builds(
    lambda name, age, street, colours: User(
        name=name, years=age, address=Address(street=street, colours=tuple(colours))
    ),
    text,
    st.integers(1, 90),
    text,
    st.lists(st.sampled_from(Colour), max_size=2),
)
nodes = st.recursive(st.builds(Node, ints), lambda inner: st.builds(Node, ints, st.lists(inner, max_size=3)))

ROUND_TRIPS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (None, st.none()),
    (bool, st.booleans()),
    (int, ints),
    (float, floats),
    (str, text),
    (bytes, st.binary(max_size=5)),
    (list[int], st.lists(ints)),
    (list[float], st.lists(floats)),
    (typing.List[str], st.lists(text)),  # noqa: UP006 - the old spelling is still written
    (tuple[int, str], st.tuples(ints, text)),
    (tuple[float, ...], st.lists(floats).map(tuple)),
    (tuple[()], st.just(())),
    (set[int], st.sets(ints)),
    (frozenset[tuple[int, str]], st.frozensets(st.tuples(ints, text))),
    (set[Row], st.sets(st.builds(Row, ints, text))),
    (dict[str, float], st.dictionaries(text, floats)),
    (
        dict[tuple[int, int], list[Point]],
        st.dictionaries(st.tuples(ints, ints), st.lists(points, max_size=2)),
    ),
    (dict[Colour, int], st.dictionaries(st.sampled_from(Colour), ints)),
    (Mapping[str, Sequence[int]], st.dictionaries(text, st.lists(ints))),
    (Collection[Row], st.lists(st.builds(Row, ints, text))),
    (collections.deque[int], st.lists(ints).map(collections.deque)),
    (collections.OrderedDict[str, int], st.dictionaries(text, ints).map(collections.OrderedDict)),
    (collections.Counter[str], st.dictionaries(text, st.integers(1)).map(collections.Counter)),
    (collections.defaultdict[str, int], st.dictionaries(text, ints)),
    (dt.datetime, st.datetimes().map(lambda moment: moment.replace(fold=0))),
    (dt.date, st.dates()),
    (dt.time, st.times().map(lambda moment: moment.replace(fold=0))),
    (dt.timedelta, st.timedeltas()),
    (decimal.Decimal, st.decimals(allow_nan=False)),
    (fractions.Fraction, st.fractions()),
    (uuid.UUID, st.uuids()),
    (ipaddress.IPv4Address, st.ip_addresses(v=4)),
    (ipaddress.IPv6Address | ipaddress.IPv4Address, st.ip_addresses()),
    (Literal["a", 1, True], st.sampled_from(["a", 1, True])),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Name, st.sampled_from(Name)),
    (Name | str, st.sampled_from([Name.ADA, "bob"])),
    (Right, st.sampled_from([Right.READ, Right.READ | Right.WRITE, Right(0)])),
    (int | None, st.none() | ints),
    (int | fractions.Fraction, ints | st.fractions()),
    (float | int, ints | floats),
    (list[float] | list[int], st.lists(ints) | st.lists(floats)),
    (Point | Circle, points | st.builds(Circle, ints, floats, floats)),
    (
        dict[str, Point | Circle | None],
        st.dictionaries(text, points | st.builds(Circle, ints, floats, floats)),
    ),
    (Cat | Dog, st.builds(Cat, text) | st.builds(Dog, text)),
    (TeamId, ints),
    (Positive, st.integers(1)),
    (Short, st.text(max_size=3)),
    (Point, points),
    (Node, nodes),
    (Left, st.recursive(st.builds(Left), lambda inner: st.builds(Left, inner))),
    (Box[int], st.builds(Box, ints)),
    (Box[list[Point]], st.builds(Box, st.lists(points, max_size=2))),
    (IntBox, st.builds(IntBox, ints, text)),
    (Row, st.builds(Row, ints, text)),
    (Settings, st.fixed_dictionaries({"depth": ints}, optional={"name": text})),
    (Person, st.fixed_dictionaries({"name": text}, optional={"age": ints})),
    (Spot, st.builds(Spot, text, ints, st.integers(1))),
    (Track, st.builds(Track, text, st.integers(1), st.lists(st.builds(Row, ints, text)).map(tuple))),
    (Packed, st.builds(Packed, ints, text)),
    (User, users),
    (list[User | Point], st.lists(users | points, max_size=3)),
    (Holder, st.builds(Holder, users, st.dictionaries(text, points, max_size=2))),
    (Numbers, st.lists(ints).map(Numbers)),
    (Checked, st.builds(Checked, st.integers(1))),
]


@pytest.mark.parametrize(("annotation", "values"), ROUND_TRIPS, ids=lambda part: str(part)[:60])
@given(data=st.data())
def test_a_value_comes_back_as_its_annotation(
    annotation: Any, values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    value = data.draw(values)
    converter = converter_for(annotation)
    converter.check(value, "on_x() result")
    wire = travel(value)
    converter.check(wire, "on_x() result")
    arrived = converter.convert(wire, "on_x(a)")
    assert arrived == value
    if annotation not in (collections.defaultdict[str, int],):
        assert type(arrived) is type(value)
    assert repr(arrived) == repr(value) or isinstance(value, (set, frozenset, dict))


@pytest.mark.parametrize(("annotation", "values"), ROUND_TRIPS, ids=lambda part: str(part)[:60])
@given(data=st.data())
def test_nothing_of_a_wrong_value_is_shown(
    annotation: Any, values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    secret = data.draw(st.uuids()).hex
    wrong = data.draw(
        st.sampled_from(
            [
                {secret: secret},
                {"x": secret, "name": {secret: 1}, "depth": secret},
                [secret, {secret}, secret],
                {(secret, secret): [secret]},
                {"text": secret, "title": secret, "seconds": -1, "rows": [[secret, secret]]},
                {"name": "ada", "years": secret, "user": {"name": secret, "age": -1}},
                (secret,),
                object(),
                {"type": secret, "petName": secret},
            ]
        )
    )
    converter = converter_for(annotation)
    for method in (converter.convert, converter.check):
        error = refusal(method, wrong)
        if error is not None:
            assert error.__cause__ is None
            assert error.__context__ is None
            shown = [str(error), repr(error), str(vars(error)), *traceback.format_exception_only(error)]
            assert secret not in "".join(shown)
