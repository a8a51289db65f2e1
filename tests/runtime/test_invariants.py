"""The invariants of the design that need both sides: remote finally blocks, and secrets that stay home."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

import annotated_types
import anyio
import pydantic
import pytest

from telewire import Abort, InvalidArgument, Remote, Request, Service, get_context, with_options
from tests.runtime.world import Bugs, Connected, caught, drained, quiescent


async def break_the_loop(remote: Remote, name: str) -> None:
    async for _ in remote[name]():
        break


async def drop_the_iterator(remote: Remote, name: str) -> None:
    iterator = await remote[name]()
    assert await anext(iterator) == 0


async def close_the_iterator(remote: Remote, name: str) -> None:
    iterator = await remote[name]()
    assert await anext(iterator) == 0
    await iterator.aclose()


async def close_the_call(remote: Remote, name: str) -> None:
    call = remote[name]()
    assert await anext(await call) == 0
    await call.aclose()


async def cancel_the_call(remote: Remote, name: str) -> None:
    call = remote[name]()
    assert await anext(await call) == 0
    call.cancel()


async def cancel_the_task(remote: Remote, name: str) -> None:
    got = anyio.Event()

    async def iterate() -> None:
        async for _ in remote[name]():
            got.set()

    async with anyio.create_task_group() as group:
        group.start_soon(iterate)
        await got.wait()
        group.cancel_scope.cancel()


async def let_time_run_out(remote: Remote, name: str) -> None:
    with anyio.move_on_after(0.03):
        async for _ in remote[name]():
            pass


async def raise_in_the_loop(remote: Remote, name: str) -> None:
    async def loop() -> None:
        async for number in remote[name]():
            1 / number

    with pytest.raises(ZeroDivisionError):
        await loop()


Leave = Callable[[Remote, str], Awaitable[None]]

WAYS: list[Leave] = [
    break_the_loop,
    drop_the_iterator,
    close_the_iterator,
    close_the_call,
    cancel_the_call,
    cancel_the_task,
    let_time_run_out,
    raise_in_the_loop,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", ["parked", "blocked"])
async def test_i4_break_runs_the_remote_finally(connected: Connected, way: Leave, name: str) -> None:
    service = Service()
    ended: list[str] = []

    @service.function
    async def parked() -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                yield number
                number += 1
        finally:
            ended.append("parked")

    @service.function
    async def blocked() -> AsyncIterator[int]:
        try:
            yield 0
            await anyio.sleep_forever()
        finally:
            ended.append("blocked")

    async with connected(service) as world:
        await way(world.remote, name)
        await quiescent(world.remote)
        assert ended == [name]
        await world.settled()


async def test_i4_a_cancelled_call_has_run_its_finally_when_it_is_answered(connected: Connected) -> None:
    service = Service()
    ended: list[str] = []
    started = anyio.Event()

    @service.function
    async def wait() -> None:
        try:
            started.set()
            await anyio.sleep_forever()
        finally:
            ended.append("wait")

    async with connected(service) as world:
        call = world.remote.wait()
        await started.wait()
        call.cancel()
        await caught(call)
        assert ended == ["wait"]


# --- I6 ------------------------------------------------------------------------------------------


SECRET = secrets.token_hex(16)


class Model(pydantic.BaseModel):
    """Its validator puts the secret and the value into its message."""

    word: str

    @pydantic.field_validator("word")
    @classmethod
    def check(cls, word: str) -> str:
        raise ValueError(f"{SECRET} {word}")


def secretive_service(secret: str) -> Service[Any]:
    """Everything that can go wrong in user code, each with ``secret`` wherever text can be."""

    async def provider(request: Request) -> None:
        if request.headers.get("x-fail"):
            raise PermissionError(secret)

    service = Service(context=provider)

    @service.function
    async def in_text() -> None:
        raise ValueError(secret, {"args": secret})

    @service.function
    async def in_locals() -> None:
        password = secret
        assert not password

    @service.function
    async def in_cause() -> None:
        try:
            raise KeyError(secret)
        except KeyError as error:
            raise RuntimeError("wrapped") from error

    @service.function
    async def in_group() -> None:
        raise ExceptionGroup(secret, [ValueError(secret)])

    @service.function
    async def in_note() -> None:
        error = ValueError("noted")
        error.add_note(secret)
        raise error

    @service.function
    async def in_name() -> None:
        raise type(f"E{secret}", (Exception,), {})

    @service.function
    async def in_validator(model: Model) -> None:
        """Never reached."""

    @service.function
    async def in_constraint(word: Annotated[str, annotated_types.Predicate(lambda word: False)]) -> None:
        """Never reached."""

    @service.function
    async def in_result() -> int:
        return secret  # type: ignore[return-value]  # the bug

    @service.function
    async def in_unencodable() -> object:
        return {secret: type(f"T{secret}", (), {})()}

    @service.function
    async def in_abort() -> None:
        raise Abort({"key": type(f"T{secret}", (), {})()})

    @service.function
    async def in_cause_of_abort() -> None:
        try:
            raise KeyError(secret)
        except KeyError as error:
            raise Abort("fine") from error

    @service.function
    async def in_on_close() -> None:
        def fail() -> None:
            raise ValueError(secret)

        async def fail_later() -> None:
            raise ValueError(secret)

        get_context().on_close(fail)
        get_context().on_close(fail_later)

    @service.function
    async def in_generator() -> AsyncIterator[int]:
        yield 1
        raise ValueError(secret)

    @service.function
    async def in_item() -> AsyncIterator[int]:
        yield 1
        yield secret  # type: ignore[misc]  # the bug

    @service.function
    async def in_cleanup() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            raise ValueError(secret)

    @service.function
    async def in_timeout() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError(secret)

    return service


async def test_i6_no_secret_crosses(connected: Connected, bugs: Bugs) -> None:
    secret = SECRET
    service = secretive_service(secret)
    texts: list[str] = []

    def note(error: BaseException | None) -> None:
        if error is not None:
            texts.extend([str(error), repr(error), repr(error.__cause__), repr(error.__context__)])
            texts.extend(getattr(error, "__notes__", ()))

    async with connected(service) as world:
        remote = world.remote
        plain = [name for name in service._functions if name.startswith("in_")]
        for name in plain:
            if name == "in_validator":
                note(await caught(remote[name]({"word": "open"})))
            elif name == "in_constraint":
                note(await caught(remote[name]("open")))
            elif name == "in_timeout":
                note(await caught(with_options(remote[name], timeout=0.02)()))
            elif name == "in_on_close":
                await remote[name]()
            elif name == "in_cleanup":
                async for _ in remote[name]():
                    break
            elif name in ("in_generator", "in_item"):
                note((await drained(remote[name]()))[1])
            else:
                note(await caught(remote[name]()))
        await quiescent(remote)
        await world.settled()
        emitted = world.sent
    async with connected(service, headers={"X-Fail": "yes"}) as world:
        note(await caught(world.remote.in_text()))
        emitted += world.sent
    assert len(plain) == 17
    assert len(texts) >= 15 * 4
    assert secret.encode() not in emitted
    for text in texts:
        assert secret not in text
    # It has been somewhere: this side's log tells everything.
    assert sum(secret in repr(error) or secret in str(error.__cause__) for error in bugs.errors if error) > 5


async def test_i6_a_secret_on_the_clients_side_stays_there_too(connected: Connected) -> None:
    secret = SECRET
    service = Service()

    @service.function(name="feed")
    async def feed() -> AsyncIterator[object]:
        while True:
            yield {"word": "open"}

    elsewhere: Service[Any] = Service()

    @elsewhere.function(name="feed")
    async def strict() -> AsyncIterator[Model]:
        yield Model(word="never")

    async with connected(service) as world:
        _, error = await drained(world.remote[strict]())
        assert isinstance(error, InvalidArgument)
        assert secret not in str(error)
        try:
            async for _ in world.remote.feed():
                raise ValueError(secret)
        except ValueError:
            pass
        await quiescent(world.remote)
        assert secret.encode() not in world.sent
