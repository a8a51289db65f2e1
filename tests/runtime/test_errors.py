"""Errors: Aborts cross whole, everything else as a correlation id, and the log knows the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from telewire import Abort, Context, RemoteError, Service, TelewireError
from telewire_transports import memory
from tests.runtime.world import Bugs, Connected, caught, drained, quiescent


@pytest.mark.parametrize("value", [None, "no", {"why": [1, 2.5, b"x"]}, {1, 2}, 2**70])
async def test_abort_crosses_whole(connected: Connected, value: object) -> None:
    service = Service()

    @service.function
    async def refuse() -> None:
        raise Abort(value)

    async with connected(service) as world:
        error = await caught(world.remote.refuse())
        assert type(error) is Abort
        assert error.value == value
        assert not error.retryable
        assert str(error).startswith("The other side refused")


async def test_a_bug_crosses_as_a_correlation_id(connected: Connected, bugs: Bugs) -> None:
    service = Service()

    @service.function
    async def fail() -> None:
        raise KeyError("details")

    async with connected(service) as world:
        error = await caught(world.remote.fail())
        assert type(error) is RemoteError
        assert isinstance(error, TelewireError)
        assert error.correlation_id in str(error)
        other = await caught(world.remote.fail())
        assert isinstance(other, RemoteError)
        assert other.correlation_id != error.correlation_id
    assert error.correlation_id in bugs.messages[0]
    assert isinstance(bugs.errors[0], KeyError)


async def test_errors_of_telewire_raised_by_a_body_are_bugs_too(connected: Connected, bugs: Bugs) -> None:
    service = Service()

    @service.function
    async def fail(name: str) -> None:
        import telewire

        raise getattr(telewire, name)("inside text")

    async with connected(service) as world:
        for name in (
            "InvalidArgument",
            "FunctionNotFound",
            "ResourceExhausted",
            "NetworkError",
            "DeadlineExceeded",
        ):
            error = await caught(world.remote.fail(name))
            assert type(error) is RemoteError, name
            assert "inside text" not in str(error)
    assert len(bugs.records) == 5


async def test_an_abort_that_cannot_travel_is_a_bug(connected: Connected, bugs: Bugs) -> None:
    service = Service()

    @service.function
    async def refuse() -> None:
        raise Abort(object())

    async with connected(service) as world:
        assert type(await caught(world.remote.refuse())) is RemoteError
    assert len(bugs.records) == 1


async def test_an_abort_of_another_connection_let_through_is_a_bug(connected: Connected, bugs: Bugs) -> None:
    inner, outer = Service(), Service()

    @inner.function
    async def refuse() -> None:
        raise Abort("inner secret")

    @inner.function
    async def refuse_late() -> AsyncIterator[int]:
        yield 1
        raise Abort("inner secret")

    async with memory.connect(inner) as behind:

        @outer.function
        async def through() -> None:
            await behind.refuse()

        @outer.function
        async def through_late() -> AsyncIterator[int]:
            async for number in behind.refuse_late():
                yield number

        @outer.function
        async def said_again() -> None:
            try:
                await behind.refuse()
            except Abort as abort:
                raise Abort({"told": abort.value}) from None

        async with connected(outer) as world:
            error = await caught(world.remote.through())
            assert type(error) is RemoteError
            assert "secret" not in str(error)
            items, late = await drained(world.remote.through_late())
            assert items == [1]
            assert type(late) is RemoteError
            again = await caught(world.remote.said_again())
            assert isinstance(again, Abort)
            assert again.value == {"told": "inner secret"}
    assert len(bugs.records) == 2


async def test_on_error_gets_bugs_and_their_contexts(connected: Connected, bugs: Bugs) -> None:
    told: list[tuple[Exception, Context[object]]] = []
    service = Service(on_error=lambda error, context: told.append((error, context)))

    @service.function
    async def fail() -> None:
        raise ValueError("one")

    @service.function
    async def fail_late() -> AsyncIterator[int]:
        yield 1
        raise ValueError("two")

    @service.function
    async def refuse() -> None:
        raise Abort("not a bug")

    @service.function
    async def misfit(number: int) -> int:
        return "three"  # type: ignore[return-value]  # the bug

    async with connected(service, headers={"X-Colour": "red"}) as world:
        await caught(world.remote.fail())
        await drained(world.remote.fail_late())
        await caught(world.remote.refuse())
        await caught(world.remote.misfit("not a bug of this side"))
        await caught(world.remote.misfit(1))
        await quiescent(world.remote)
    assert [str(error) for error, _ in told] == ["one", "two", "misfit() result: expected int, got str"]
    assert all(context.request.headers["x-colour"] == "red" for _, context in told)
    assert len(bugs.records) == 3


async def test_an_on_error_hook_that_fails_is_logged(connected: Connected, bugs: Bugs) -> None:
    def hook(error: Exception, context: Context[object]) -> None:
        raise RuntimeError("the hook")

    service = Service(on_error=hook)

    @service.function
    async def fail() -> None:
        raise ValueError("the bug")

    async with connected(service) as world:
        assert type(await caught(world.remote.fail())) is RemoteError
    assert [str(error) for error in bugs.errors] == ["the bug", "the hook"]


async def test_a_group_of_failures_is_one_bug(connected: Connected, bugs: Bugs) -> None:
    service = Service()

    async def fail_soon() -> None:
        raise ValueError("in the group")

    @service.function
    async def grouped() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(fail_soon)

    async with connected(service) as world:
        assert type(await caught(world.remote.grouped())) is RemoteError
    assert [type(error) for error in bugs.errors] == [ExceptionGroup]


async def test_every_error_is_a_sentence(connected: Connected, bugs: Bugs) -> None:
    service = Service()

    @service.function
    async def fail(kind: str) -> int:
        if kind == "abort":
            raise Abort
        if kind == "bug":
            raise ValueError
        return 1

    async with connected(service) as world:
        calls = (
            world.remote.fail("abort"),
            world.remote.fail("bug"),
            world.remote.fail(),
            world.remote.nope(),
        )
        for call in calls:
            text = str(await caught(call))
            assert len(text) > 20
            assert "\n" not in text
