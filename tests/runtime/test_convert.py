"""Values and annotations: what fits comes as its type, what does not is refused without being shown."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import sys
import types
import typing
import uuid
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    MutableSequence,
    Sequence,
)
from typing import Annotated, Any, Literal, Optional, Union

import annotated_types
import msgspec
import pydantic
import pytest
import typing_extensions

from telewire.errors import InvalidArgument
from telewire.runtime.convert import ANY, converter_for
from tests.runtime import converted_types as ct
from tests.runtime.converted_types import (
    Box,
    Cat,
    Checked,
    Circle,
    Cleaned,
    Closed,
    Colour,
    FakeBytes,
    FakeChannel,
    FakeIterator,
    FakePromise,
    FrozenMap,
    Fussy,
    Holder,
    IntBox,
    Key,
    Late,
    Left,
    Level,
    Live,
    Loose,
    Name,
    Node,
    Numbers,
    OnTick,
    Partly,
    Person,
    Point,
    Positive,
    Ranged,
    Right,
    Row,
    Settings,
    Short,
    Spot,
    Strict,
    T,
    TeamId,
    Track,
    User,
    refused,
)

# A map where a hash is needed comes as one that cannot change.
FROZEN = FrozenMap({"x": 1})
NOW = dt.datetime(2024, 5, 6, 7, 8, 9)


class Plain:
    """A class that nothing knows how to build."""

    def __len__(self) -> int:
        return 1


PLAIN = Plain()


# --- what does not fit ---------------------------------------------------------------------------

MISFITS: list[tuple[Any, object, str]] = [
    (int, "1", "on_x(a): expected int, got str"),
    (int, True, "on_x(a): expected int, got bool"),
    (int, 1.0, "on_x(a): expected int, got float"),
    (int, None, "on_x(a): expected int, got NoneType"),
    (bool, 1, "on_x(a): expected bool, got int"),
    (float, True, "on_x(a): expected float, got bool"),
    (float, decimal.Decimal(1), "on_x(a): expected float, got Decimal"),
    (float, 10**400, "on_x(a): expected float, got an int beyond its range"),
    (str, b"", "on_x(a): expected str, got bytes"),
    (bytes, "", "on_x(a): expected bytes, got str"),
    (None, 0, "on_x(a): expected None, got int"),
    (dt.datetime, "2024-01-01", "on_x(a): expected datetime, got str"),
    (dt.date, NOW, "on_x(a): expected date, got datetime"),
    (uuid.UUID, str(uuid.UUID(int=0)), "on_x(a): expected UUID, got str"),
    (decimal.Decimal, 1, "on_x(a): expected Decimal, got int"),
    (fractions.Fraction, 1, "on_x(a): expected Fraction, got int"),
    (list[int], "abc", "on_x(a): expected list[int], got str"),
    (list[int], {1}, "on_x(a): expected list[int], got set"),
    (list, 1, "on_x(a): expected list, got int"),
    (Sequence[str], "abc", "on_x(a): expected Sequence[str], got str"),
    (Iterable[int], 3, "on_x(a): expected Iterable[int], got int"),
    (set[int], [1], "on_x(a): expected set[int], got list"),
    (list[int], [1, 2, "x"], "on_x(a[2]): expected int, got str"),
    (set[int], {"x"}, "on_x(a[...]): expected int, got str"),
    (set[Point], {Key("x")}, "on_x(a[...]): expected Point, got Key"),
    (tuple[int, str], [1], "on_x(a): expected tuple[int, str], got list of length 1"),
    (tuple[int, str], [1, 2], "on_x(a[1]): expected str, got int"),
    (tuple[()], [1], "on_x(a): expected tuple[()], got list of length 1"),
    (tuple[int, ...], [1, None], "on_x(a[1]): expected int, got NoneType"),
    (dict[str, int], {"k": "v"}, "on_x(a.values()): expected int, got str"),
    (dict[int, int], {"k": 1}, "on_x(a.keys()): expected int, got str"),
    (dict, [], "on_x(a): expected dict, got list"),
    (Literal["a", 1], "b", "on_x(a): expected Literal['a', 1], got str"),
    (Literal[1], True, "on_x(a): expected Literal[1], got bool"),
    (Literal[1], [], "on_x(a): expected Literal[1], got list"),
    (Literal[Level.LOW], 2, "on_x(a): expected Literal[Level.LOW], got int"),
    (Colour, "blue", "on_x(a): expected Colour, got str"),
    (Level, True, "on_x(a): expected Level, got bool"),
    (Level, 1.0, "on_x(a): expected Level, got float"),
    (Level, {}, "on_x(a): expected Level, got dict"),
    (Right, 8, "on_x(a): expected Right, got int"),
    (int | None, "x", "on_x(a): expected int | None, got str"),
    (Optional[int], "x", "on_x(a): expected int | None, got str"),  # noqa: UP045
    (Union[int, fractions.Fraction], "x", "on_x(a): expected int | Fraction, got str"),  # noqa: UP007
    (Point | None, {"x": "1"}, "on_x(a.x): expected int, got str"),
    (Point | Circle, {"x": "1", "y": 1.0, "radius": 1.0}, "on_x(a): expected Point | Circle, got dict"),
    (TeamId, "x", "on_x(a): expected int, got str"),
    (Point, {"x": 1, "tags": ["a", 1]}, "on_x(a.tags[1]): expected str, got int"),
    (Point, {}, "on_x(a.x): expected int, got nothing"),
    (Point, [1, 2], "on_x(a): expected Point, got list"),
    (
        Node,
        {"value": 1, "children": [{"value": 1}, {}]},
        "on_x(a.children[1].value): expected int, got nothing",
    ),
    (Box[int], {"content": "x"}, "on_x(a.content): expected int, got str"),
    (list[Box[int]], [3], "on_x(a[0]): expected Box[int], got int"),
    (IntBox, {"content": "x"}, "on_x(a.content): expected int, got str"),
    (Fussy, {"text": "secret"}, "on_x(a): expected Fussy, got dict"),
    (Row, [1, 2], "on_x(a.name): expected str, got int"),
    (Row, [], "on_x(a): expected Row, got list of length 0"),
    (Row, {"id": 1}, "on_x(a): expected Row, got dict"),
    (Settings, {"name": "x"}, "on_x(a.depth): expected int, got nothing"),
    (Person, {"name": "x", "age": "1"}, "on_x(a.age): expected int, got str"),
    (Spot, {"place": "x", "size": 0}, "on_x(a): expected Spot, got dict"),
    (Spot, {"place": "x", "_count": "1"}, "on_x(a._count): expected int, got str"),
    (Positive, 0, "on_x(a): expected int where gt=0, got int"),
    (Track, {"title": "x", "seconds": 0}, "on_x(a.seconds): expected int where gt=0, got int"),
    (Cat, {"type": "Dog", "petName": "x"}, "on_x(a): expected Cat, got dict"),
    (Short, "long text", "on_x(a): expected str where max_length=3, got str"),
    (list[Short], ["a", "long text"], "on_x(a[1]): expected str where max_length=3, got str"),
    (
        Annotated[list[int], msgspec.Meta(max_length=1)],
        [1, 2],
        "on_x(a): expected list[int] where max_length=1, got list",
    ),
    (User, {"name": 1}, "on_x(a.name): expected str, got int"),
    (User, {"name": "x", "age": 0}, "on_x(a.age): expected int where gt=0, got int"),
    (User, {"name": "x", "years": 0}, "on_x(a.age): expected int where gt=0, got int"),
    (User, {"name": "x", "years": "1"}, "on_x(a.age): expected int, got str"),
    (User, {}, "on_x(a.name): expected str, got nothing"),
    (User, {"name": "x", "site": "no url"}, "on_x(a.site): expected HttpUrl | None, got str"),
    (User, 1, "on_x(a): expected User, got int"),
    (
        User,
        {"name": "x", "address": {"street": "y", "colours": [9]}},
        "on_x(a.address.colours[0]): expected Colour, got int",
    ),
    (Holder, {"user": {"name": 1}, "points": {}}, "on_x(a.user.name): expected str, got int"),
    (set[Point], {FROZEN}, "on_x(a): expected set[Point], got set"),
    (dict[Point, int], {FROZEN: 1}, "on_x(a): expected dict[Point, int], got dict"),
    (Partly, {"known": "x"}, "on_x(a.known): expected int, got str"),
    (Closed, {"name": "x", "more": 1}, "on_x(a): expected Closed, got dict"),
    (Ranged, {"first": 2, "last": 1}, "on_x(a): expected Ranged, got dict"),
    (Strict, {"name": "x", "more": 1}, "on_x(a): expected Strict, got dict"),
    (Annotated[Positive, msgspec.Meta(lt=9)], 0, "on_x(a): expected int where gt=0, lt=9, got int"),
    (Annotated[int | None, annotated_types.Lt(9)], 9, "on_x(a): expected int | None where lt=9, got int"),
    (Annotated[Plain, annotated_types.Len(1)], {}, "on_x(a): expected Plain, got dict"),
    (
        Annotated[Plain, annotated_types.Len(2)],
        PLAIN,
        "on_x(a): expected Plain where min_length=2, got Plain",
    ),
    (Annotated[TeamId, msgspec.Meta(lt=9)], 9, "on_x(a): expected TeamId where lt=9, got int"),
    (Numbers, [1, "x"], "on_x(a[1]): expected int, got str"),
    (Cleaned, {"tags": 3}, "on_x(a.tags): expected list[str], got int"),
    (Checked, {"count": 0}, "on_x(a): expected Checked, got dict"),
    (AsyncIterator[int], 1, "on_x(a): expected AsyncIterator[int], got int"),
    (AsyncIterator[int], FakePromise(), "on_x(a): expected AsyncIterator[int], got FakePromise"),
    (Awaitable[int] | None, FakeIterator(), "on_x(a): expected Awaitable[int] | None, got FakeIterator"),
    (Callable[[int], str], 1, "on_x(a): expected Callable[[int], str], got int"),
    (Callable[..., str], 1, "on_x(a): expected Callable[..., str], got int"),
    (OnTick, 1, "on_x(a): expected OnTick, got int"),
    (FakeBytes, b"x", "on_x(a): expected FakeBytes, got bytes"),
    (FakeChannel[int, str], FakeBytes(), "on_x(a): expected FakeChannel[int, str], got FakeBytes"),
    (Live, {"title": "x", "items": 3}, "on_x(a.items): expected AsyncIterator[int] | None, got int"),
    (ct.FakeHandle, 1, "on_x(a): expected FakeHandle, got int"),
]


@pytest.mark.parametrize(("annotation", "value", "message"), MISFITS)
def test_a_misfit_is_told_by_place_and_types(annotation: Any, value: object, message: str) -> None:
    assert refused(annotation, value) == message
    assert refused(annotation, value, outgoing=True) == message


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("on_x(rows)", "on_x(rows[0].x): expected int, got str"),
        ("on_feed() item", "on_feed() item[0].x: expected int, got str"),
        ("on_feed()", "on_feed()[0].x: expected int, got str"),
    ],
)
def test_the_path_follows_the_place(place: str, message: str) -> None:
    assert refused(list[Point], [{"x": "1"}], place) == message


def test_union_failures_stay_cheap() -> None:
    tangled: object = {"next": 5}
    for _ in range(60):
        tangled = {"next": tangled}
    assert refused(Left, tangled) == "on_x(a.next): expected Left | Right_ | None, got dict"


def test_what_contains_itself_is_refused() -> None:
    endless: dict[str, object] = {"value": 1}
    endless["children"] = [endless]
    assert refused(Node, endless) == "on_x(a): expected Node, got a value nested too deeply"
    assert refused(Node, endless, outgoing=True) == "on_x(a): expected Node, got a value nested too deeply"


# --- conversions that are no round trips ---------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "wire", "expected"),
    [
        (float, 3, 3.0),
        (list[float], [1, 2.5], [1.0, 2.5]),
        (float | None, 1, 1.0),
        (bytearray, b"x", bytearray(b"x")),
        (bytes, bytearray(b"x"), b"x"),
        (tuple, [1, "x"], (1, "x")),
        (list, (1, 2), [1, 2]),
        (frozenset, {1}, frozenset({1})),
        (dict, {1: "x"}, {1: "x"}),
        (Point, {"x": 1, "newer": 2}, Point(1)),
        (Person, {"name": "x", "newer": 2}, {"name": "x"}),
        (User, {"name": "x", "newer": 2}, User(name="x")),
        (User, {"name": "x", "age": 7}, User(name="x", years=7)),
        (User, {"name": "x", "site": "http://h/"}, User(name="x", site=pydantic.HttpUrl("http://h/"))),
        (Cleaned, {"tags": "a,b"}, Cleaned(tags=["a", "b"])),
        (Partly, {"known": 1, "unknown": "x"}, Partly(1, "x")),
        (Ranged, "1-2", Ranged(first=1, last=2)),
        (Late, {"node": {"size": "xyz"}}, Late.model_validate({"node": {"size": "abc"}})),
        (Annotated[Plain, annotated_types.Len(1)], PLAIN, PLAIN),
        (Loose, {"name": "x", "more": 2}, Loose.model_validate({"name": "x", "more": 2})),
        (Row, [1], Row(1)),
        (Cat, {"petName": "x"}, Cat("x")),
        (types.MappingProxyType[str, float], {"x": 1}, types.MappingProxyType({"x": 1.0})),
        (MutableSequence[int], [1], [1]),
        (Iterable[float], [1], [1.0]),
        (Annotated[int, "a remark"], 1, 1),
        (T, "x", "x"),
        (list[T], ["x"], ["x"]),  # type: ignore[valid-type]
        (Box, {"content": "x"}, Box("x")),
        (dict[str, Any], {"x": object}, {"x": object}),
        (typing.LiteralString, "x", "x"),
    ],
)
def test_conversion(annotation: Any, wire: object, expected: object) -> None:
    arrived = converter_for(annotation).convert(wire, "on_x(a)")
    assert arrived == expected
    assert type(arrived) is type(expected)
    assert repr(arrived) == repr(expected)


@pytest.mark.parametrize(
    "annotation", [Any, object, T, "Missing", typing.Hashable, typing.Self, typing.Never]
)
def test_what_says_nothing_lets_everything_through_at_no_cost(annotation: Any) -> None:
    assert converter_for(annotation) is ANY
    assert ANY.identity
    value = object()
    assert ANY.convert(value, "on_x(a)") is value


def test_converters_are_cached_and_unions_keep_their_order() -> None:
    assert converter_for(list[Point]) is converter_for(list[Point])
    assert converter_for(Name | str).convert("ada", "on_x(a)") is Name.ADA
    assert type(converter_for(str | Name).convert("ada", "on_x(a)")) is str


def test_unhashable_metadata_is_no_obstacle() -> None:
    assert refused(Annotated[int, ["remark"]], "x") == "on_x(a): expected int, got str"


class TypeAliasType:
    """What the statement ``type Tree = int | list[Tree]`` makes where Python has it."""

    __name__ = "Tree"
    __type_params__ = ()

    @property
    def __value__(self) -> Any:
        return Union[int, types.GenericAlias(list, (self,))]  # noqa: UP007


def test_type_aliases() -> None:
    tree = converter_for(list[TypeAliasType()])  # type: ignore[misc]
    assert tree.convert([1, [2, [3]]], "on_x(a)") == [1, [2, [3]]]
    with pytest.raises(InvalidArgument, match=r"^on_x\(a\[1\]\[1\]\[0\]\): expected int \| list\[Tree\], "):
        tree.convert([1, [2, ["x"]]], "on_x(a)")
    pair: Any = typing_extensions.TypeAliasType("Pair", tuple[T, T], type_params=(T,))  # type: ignore[arg-type]
    assert converter_for(pair[int]).convert([1, 2], "on_x(a)") == (1, 2)
    assert refused(pair[int], [1, "x"]) == "on_x(a[1]): expected int, got str"


def test_an_alias_of_what_does_not_exist_takes_anything() -> None:
    class TypeAliasType:
        __name__ = "Nothing"
        __type_params__ = ()

        @property
        def __value__(self) -> Any:
            raise NameError

    assert converter_for(TypeAliasType()).convert("x", "on_x(a)") == "x"


def test_a_limit_that_cannot_be_kept_is_refused_when_the_function_is_added() -> None:
    for base in (str, int | None):
        with pytest.raises(TypeError, match="cannot be limited as its annotation says"):
            converter_for(Annotated[base, msgspec.Meta(ge=1)])


def test_limits_of_pydantic_need_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(TypeError, match=r"needs pydantic to be enforced: install telewire\[pydantic\]"):
        converter_for(Annotated[int, annotated_types.Gt(71)])


def test_validators_of_pydantic_that_run_first_see_the_raw_value() -> None:
    number = Annotated[int, pydantic.BeforeValidator(lambda value: int(value, 16))]
    assert converter_for(number).convert("ff", "on_x(a)") == 255
    assert refused(number, "secret") == "on_x(a): expected int, got str"
