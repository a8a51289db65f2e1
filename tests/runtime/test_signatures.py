"""Binding arguments: every way to misfit a signature has its sentence, and defaults stay the function's."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from telewire.errors import InvalidArgument
from telewire.runtime.signatures import Signature
from tests.runtime.converted_types import FakeFunction, Point, Row

if TYPE_CHECKING:
    from elsewhere import Missing  # type: ignore[import-not-found]


async def on_join(team_id: int, name: str = "none", *, loud: bool = False) -> Point:
    return Point(team_id)


def on_rows(first: Row, /, *rows: Row, limit: int, **options: float) -> Iterator[Row]:
    yield first


def on_mixed(known: int, unknown: Missing, also: list[Missing] | None = None) -> Missing: ...


async def on_feed(since: Point | None = None) -> AsyncIterator[int]:
    yield 1


def refused(function: Callable[..., Any], *args: object, **kwargs: object) -> str:
    with pytest.raises(InvalidArgument) as caught:
        Signature(function).bind(list(args), kwargs)
    assert caught.value.__context__ is None
    return str(caught.value)


@pytest.mark.parametrize(
    ("args", "kwargs", "bound"),
    [
        ([1], {}, ([1], {})),
        ([1, "x"], {}, ([1, "x"], {})),
        ([1], {"name": "x"}, ([1], {"name": "x"})),
        ([], {"team_id": 1, "loud": True}, ([], {"team_id": 1, "loud": True})),
    ],
)
def test_arguments_are_bound_and_defaults_left_alone(
    args: list[object], kwargs: dict[str, object], bound: tuple[list[object], dict[str, object]]
) -> None:
    assert Signature(on_join).bind(args, kwargs) == bound


def test_every_argument_is_converted() -> None:
    args, kwargs = Signature(on_rows).bind([[1], [2, "x"]], {"limit": 1, "weight": 2})
    assert args == [Row(1), Row(2, "x")]
    assert all(type(row) is Row for row in args)
    assert kwargs == {"limit": 1, "weight": 2.0}
    assert type(kwargs["weight"]) is float
    assert Signature(on_feed).bind([{"x": 1}], {}) == ([Point(1)], {})
    assert Signature(on_feed).bind([], {"since": {"x": 1}}) == ([], {"since": Point(1)})


@pytest.mark.parametrize(
    ("message", "function", "args", "kwargs"),
    [
        ("on_join(team_id): expected int, got str", on_join, ["x"], {}),
        ("on_join(team_id): expected int, got str", on_join, [], {"team_id": "x"}),
        ("on_join(loud): expected bool, got int", on_join, [1], {"loud": 1}),
        ("on_join() misses the argument team_id", on_join, [], {}),
        ("on_join() misses the argument team_id", on_join, [], {"name": "x"}),
        ("on_join() has no parameter teamid", on_join, [1], {"teamid": 1}),
        ("on_join() has no parameter of the name given", on_join, [1], {"a secret": 1}),
        ("on_join() has no parameter of the name given", on_join, [1], {"a" * 65: 1}),
        ("on_join() got the argument team_id twice", on_join, [1], {"team_id": 1}),
        ("on_join() takes at most 2 positional arguments, got 3", on_join, [1, "x", True], {}),
        ("on_feed() takes at most 1 positional argument, got 2", on_feed, [None, None], {}),
        ("on_rows() misses the argument limit", on_rows, [[1]], {}),
        ("on_rows() misses the argument first", on_rows, [], {"limit": 1}),
        ("on_rows(options.values()): expected float, got str", on_rows, [[1]], {"limit": 1, "secret": "x"}),
        ("on_rows(rows[1].id): expected int, got str", on_rows, [[1], [2], ["x"]], {"limit": 1}),
        ("on_rows(first): expected Row, got int", on_rows, [1], {"limit": 1}),
    ],
)
def test_misfits(
    message: str, function: Callable[..., Any], args: list[object], kwargs: dict[str, object]
) -> None:
    assert refused(function, *args, **kwargs) == message


def test_a_positional_only_name_is_free_for_others() -> None:
    assert Signature(on_rows).bind([[1]], {"limit": 1, "first": 2.0}) == (
        [Row(1)],
        {"limit": 1, "first": 2.0},
    )


def test_an_annotation_that_does_not_resolve_takes_anything_and_costs_no_other() -> None:
    marker = object()
    signature = Signature(on_mixed)
    assert signature.bind([1, marker, marker], {}) == ([1, marker, marker], {})
    assert signature.result.identity
    assert refused(on_mixed, "x", 1) == "on_mixed(known): expected int, got str"


def test_classes_of_the_enclosing_function_resolve_where_the_body_uses_them() -> None:
    class Local(Point):
        pass

    def on_local(point: Local) -> Local:
        return Local(point.x)

    ((point,), _) = Signature(on_local).bind([{"x": 1}], {})
    assert type(point) is Local


class Room:
    def enter(self, name: str) -> int:
        return len(name)

    def __call__(self, name: str) -> float:
        return 1.0


def plain(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


@functools.wraps(on_join)
async def wrapped(*args: Any, **kwargs: Any) -> Any:
    return await on_join(*args, **kwargs)


@pytest.mark.parametrize(
    ("function", "name", "message"),
    [
        (Room().enter, "enter", "enter(name): expected str, got float"),
        (Point, "Point", "Point(x): expected int, got float"),
        (Room(), "Room", "Room(name): expected str, got float"),
        (functools.partial(on_join, name="x"), "on_join", "on_join(team_id): expected int, got float"),
        (functools.partial(on_join, 1), "on_join", "on_join(name): expected str, got float"),
        (wrapped, "on_join", "on_join(team_id): expected int, got float"),
    ],
)
def test_callables_of_every_kind(function: Callable[..., Any], name: str, message: str) -> None:
    assert Signature(function).name == name
    assert refused(function, 1.5) == message


def test_builtins() -> None:
    received: list[object] = []
    assert Signature(received.append).bind([1], {}) == ([1], {})
    assert refused(received.append) == "append() misses the argument object"
    unknown = Signature(dict.fromkeys if not _has_signature(dict.fromkeys) else max)
    assert not unknown.known
    assert unknown.bind([1, 2], {"default": 3}) == ([1, 2], {"default": 3})


def _has_signature(function: Callable[..., Any]) -> bool:
    return Signature(function).known


def test_a_function_that_calls_itself_is_read_before_it_has_its_name() -> None:
    signatures = []

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        signatures.append(Signature(function))
        return function

    @register
    def on_again(count: int) -> int:
        return on_again(count - 1) if count else 0

    assert signatures[0].result.expected == "int"


def test_the_name_may_be_given() -> None:
    signature = Signature(on_join, "chat.join")
    with pytest.raises(InvalidArgument, match=r"^chat\.join\(\) misses the argument team_id$"):
        signature.bind([], {})


def test_results_and_items() -> None:
    join, rows, feed = Signature(on_join), Signature(on_rows), Signature(on_feed)
    assert join.item is None
    assert join.result.convert({"x": 1}, "on_join() result") == Point(1)
    assert rows.item is not None
    assert rows.item.convert([1], "on_rows() item") == Row(1)
    assert feed.item is not None
    with pytest.raises(InvalidArgument, match=r"^on_feed\(\) item: expected int, got str$"):
        feed.item.check("x", "on_feed() item")


def test_a_callback_argument_gets_the_converter_of_its_results() -> None:
    def on_init(on_tick: Callable[[int], str]) -> None: ...

    callback = FakeFunction()
    assert Signature(on_init).bind([callback], {}) == ([callback], {})
    assert callback.item is not None
    assert callback.item.expected == "str"


def test_unannotated_arguments_pass_as_they_are() -> None:
    def on_any(a, b=2, *, c=3): ...  # type: ignore[no-untyped-def]

    args: list[object] = [object()]
    assert Signature(on_any).bind(args, {})[0] is args
    assert Signature(plain).bind([1, 2], {"x": 1}) == ([1, 2], {"x": 1})
