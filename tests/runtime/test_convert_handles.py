"""Live things inside values: told how to convert what they carry, and let out where they are annotated."""

from __future__ import annotations

import asyncio
import types
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Annotated, Any, Literal

import pytest

from telewire.errors import InvalidArgument
from telewire.runtime.convert import converter_for, item_annotation
from tests.runtime.converted_types import (
    FakeChannel,
    FakeFunction,
    FakeHandle,
    FakeIterator,
    FakePromise,
    Function,
    Level,
    Live,
    Name,
    OnTick,
    Point,
    refused,
)


@pytest.mark.parametrize(
    ("annotation", "make"),
    [
        (AsyncIterator[int], FakeIterator),
        (AsyncIterable[int], FakeIterator),
        (AsyncGenerator[int, None], FakeIterator),
        (Iterator[int], FakeIterator),
        (Iterable[int], FakeIterator),
        (Generator[int, None, str], FakeIterator),
        (FakeIterator[int], FakeIterator),
        (Awaitable[int], FakePromise),
        (Coroutine[Any, Any, int], FakePromise),
        (asyncio.Future[int], FakePromise),
        (FakePromise[int], FakePromise),
        (Callable[[str], int], FakeFunction),
        (Callable[..., Awaitable[int]], FakeFunction),
        (Callable[[str], Coroutine[Any, Any, int]], FakeFunction),
        (Callable[[], FakePromise[int]], FakeFunction),
        (Function[[str], int], FakeFunction),
        (Function[..., int], FakeFunction),
    ],
)
def test_a_handle_converts_what_it_carries(annotation: Any, make: Callable[[], FakeHandle]) -> None:
    handle = make()
    assert converter_for(annotation).convert(handle, "on_x(a)") is handle
    assert handle.item is not None
    assert handle.item.convert(1, "on_x(a) item") == 1
    with pytest.raises(InvalidArgument, match=r"^on_x\(a\) item: expected int, got str$"):
        handle.item.convert("x", "on_x(a) item")


@pytest.mark.parametrize("annotation", [AsyncIterator, AsyncIterator[Any], FakeIterator, Iterable])
def test_a_handle_of_anything_is_left_alone(annotation: Any) -> None:
    handle: FakeIterator[Any] = FakeIterator()
    assert converter_for(annotation).convert(handle, "on_x(a)") is handle
    assert handle.item is None


def test_channels_have_a_converter_for_each_direction() -> None:
    channel: FakeChannel[Any, Any] = FakeChannel()
    converter_for(FakeChannel[int, str]).convert(channel, "on_x(a)")
    assert channel.item is not None
    assert channel.outgoing is not None
    assert (channel.item.expected, channel.outgoing.expected) == ("int", "str")


def test_a_callback_protocol_is_a_function() -> None:
    function = FakeFunction()
    converter_for(OnTick).convert(function, "on_x(a)")
    assert function.item is not None
    assert function.item.expected == "str"


def test_handles_stand_anywhere_in_a_value() -> None:
    inner: FakeIterator[int] = FakeIterator()
    page = converter_for(list[Live]).convert([{"title": "x", "items": inner}], "on_x(a)")
    assert page == [{"title": "x", "items": inner}]
    assert inner.item is not None
    assert inner.item.expected == "int"
    assert converter_for(Live).convert({"title": "x", "items": None}, "on_x(a)") == {
        "title": "x",
        "items": None,
    }


def test_going_out_live_things_stand_for_handles() -> None:
    async def ticks() -> AsyncIterator[int]:
        yield 1

    async def answer() -> int:
        return 1

    ticking, coming, foreign = ticks(), answer(), FakeIterator[Any]()
    page = {"title": "x", "items": ticking}
    converter_for(Live).check(page, "on_x() result")
    converter_for(Live).check({"title": "x", "items": foreign}, "on_x() result")
    converter_for(Awaitable[int]).check(coming, "on_x() result")
    converter_for(Callable[[], int]).check(answer, "on_x() result")
    converter_for(Iterator[int]).check(iter([1]), "on_x() result")
    converter_for(Iterable[int]).check((n for n in [1]), "on_x() result")
    converter_for(AsyncIterator[int]).check(ticking, "on_x() result")
    assert foreign.item is None
    assert refused(Live, {"title": 1, "items": ticking}, "on_x() result", outgoing=True) == (
        "on_x() result.title: expected str, got int"
    )
    assert refused(AsyncIterator[int], coming, outgoing=True).endswith("got coroutine")
    assert refused(Callable[[], int], ticking, outgoing=True).endswith("got async_generator")
    assert refused(AsyncIterator[int], ticking).endswith("got async_generator")
    coming.close()


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, Level.LOW),
        (Point, Point("wrong inside")),  # type: ignore[arg-type]
        (Sequence[int], range(3)),
        (Collection[str], {"x": 1}.keys()),
        (Mapping[str, int], types.MappingProxyType({"x": 1})),
        (Literal["ada"], Name.ADA),
        (list[Point], [Point(1), {"x": 1}]),
    ],
)
def test_going_out_what_the_other_side_would_take_is_right(annotation: Any, value: object) -> None:
    converter_for(annotation).check(value, "on_x() result")


@pytest.mark.parametrize(
    ("annotation", "item"),
    [
        (AsyncIterator[int], int),
        (Generator[Point, None, None], Point),
        (Iterable[str], str),
        (Annotated[Iterator[int], "remark"], int),
        (FakeIterator[int], int),
        (AsyncIterator, Any),
        (int, None),
        (list[int], None),
        (Awaitable[int], None),
        (FakePromise[int], None),
        (Any, None),
    ],
)
def test_items_of_an_annotation(annotation: Any, item: Any) -> None:
    assert item_annotation(annotation) == item
