"""What a service tells of its functions, and what it keeps to itself."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import msgspec
import pytest

from telewire import Abort, ByteStream, FunctionNotFound, Remote, Service
from telewire.runtime.introspection import Description, describe, signature_text
from tests.runtime.world import Connected, caught


async def countdown(start: int, *, pace: float = 1.0) -> AsyncIterator[int]:
    """Count down to zero.

    One number a second.
    """
    yield start


async def told(remote: Remote) -> list[Description]:
    """What a server tells of its functions, but for what every test serves."""
    listed: list[Description] = await remote["telewire.list"]()
    return [each for each in listed if not each["name"].startswith("test.")]


async def test_functions_are_told_with_signature_and_first_line(connected: Connected) -> None:
    service = Service(introspection=True)
    service.add(countdown)
    service.add(lambda: None, "chat.leave")
    async with connected(service) as world:
        assert await told(world.remote) == [
            {"name": "chat.leave", "signature": "()", "summary": ""},
            {
                "name": "countdown",
                "signature": "(start: int, *, pace: float = 1.0) -> AsyncIterator[int]",
                "summary": "Count down to zero.",
            },
        ]


async def test_nothing_is_told_where_it_is_not_allowed(connected: Connected) -> None:
    """TW-CAL-072: not even that there is such a question."""
    service = Service()
    service.add(countdown)
    async with connected(service) as world:
        asked = await caught(world.remote["telewire.list"]())
        unknown = await caught(world.remote["telewire.lisp"]())
        assert isinstance(asked, FunctionNotFound)
        assert str(asked) == str(unknown).replace("lisp", "list")


async def test_a_reserved_name_that_does_not_exist_is_not_found(connected: Connected) -> None:
    async with connected(Service(introspection=True)) as world:
        assert isinstance(await caught(world.remote["telewire.nothing"]()), FunctionNotFound)
        assert await told(world.remote) == []


async def test_each_included_service_decides_for_its_own_functions(connected: Connected) -> None:
    outer, open_one, kept = Service(introspection=True), Service(introspection=True), Service()
    hidden = Service(introspection=True)
    for name, service in (("a", outer), ("b", open_one), ("c", kept), ("d", hidden)):
        service.add(countdown, name)
    outer.include(open_one, "told")
    outer.include(kept, "kept")
    kept.include(hidden)
    async with connected(outer) as world:
        assert [each["name"] for each in await told(world.remote)] == ["a", "told.b"]
        # An included service is not asked by itself, under whatever name.
        assert isinstance(await caught(world.remote["told.telewire.list"]()), FunctionNotFound)


async def test_an_included_service_does_not_answer_for_the_one_that_is_called(connected: Connected) -> None:
    outer, inner = Service(), Service(introspection=True)
    inner.add(countdown)
    outer.include(inner)
    async with connected(outer) as world:
        assert isinstance(await caught(world.remote["telewire.list"]()), FunctionNotFound)


async def test_of_two_functions_of_one_name_the_one_that_would_be_called_is_told(
    connected: Connected,
) -> None:
    outer, first, second = (Service(introspection=True) for _ in range(3))
    first.add(countdown, "same")
    second.add(lambda other: None, "same")
    outer.include(first)
    outer.include(second)
    async with connected(outer) as world:
        (only,) = await told(world.remote)
        assert only["signature"].startswith("(start")


async def test_the_provider_stands_before_the_question(connected: Connected) -> None:
    def nobody(request: object) -> None:
        raise Abort("log in first")

    async with connected(Service(context=nobody, introspection=True)) as world:
        refused = await caught(world.remote["telewire.list"]())
        assert isinstance(refused, Abort)
        assert refused.value == "log in first"


def test_reserved_names_cannot_be_offered() -> None:
    """TW-CAL-070."""
    service = Service()
    with pytest.raises(ValueError, match=r"'telewire\.list' cannot be offered"):
        service.add(countdown, "telewire.list")
    for prefix in ("telewire", "telewire.more"):
        with pytest.raises(ValueError, match=f"prefix='{prefix}' cannot be used"):
            service.include(Service(), prefix)
    service.add(countdown, "telewires")
    service.include(Service(), "telewired")


def positional(first: int, /, second: str = "hidden") -> None: ...
def only_positional(first: int, /) -> None: ...
def many(*values: int, flag: bool = False, **others: str) -> dict[str, int]: ...
def unresolved(value: Nonsense, more: int = -1) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def plain(value, more=3, nothing=None, text="hidden"): ...  # type: ignore[no-untyped-def]
def bounded(size: Annotated[int, msgspec.Meta(ge=1)], upload: ByteStream | None = None) -> ByteStream: ...


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (positional, "(first: int, /, second: str = ...) -> None"),
        (only_positional, "(first: int, /) -> None"),
        (many, "(*values: int, flag: bool = False, **others: str) -> dict[str, int]"),
        (unresolved, "(value, more: int = -1) -> None"),
        (plain, "(value, more=3, nothing=None, text=...)"),
        (bounded, "(size: int where ge=1, upload: ByteStream | None = None) -> ByteStream"),
        (functools.partial(positional, 1), "(second: str = ...) -> None"),
        (dict, "(...)"),
    ],
)
def test_signatures_as_people_read_them(function: Callable[..., Any], text: str) -> None:
    assert signature_text(function) == text


def test_signatures_read_as_pythons_own() -> None:
    for function in (positional, only_positional, many, plain):
        ours = signature_text(function).replace("...", "'hidden'")
        theirs = str(inspect.signature(function, eval_str=True))
        assert ours == theirs


def test_a_summary_is_one_short_line() -> None:
    def talkative() -> None: ...

    talkative.__doc__ = "x" * 1000 + "\nand more"
    (described,) = describe([("talkative", talkative)])
    assert described["summary"] == "x" * 200
