"""Resume as an application sees it: a lost connection is a pause, or an error that says what is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

from telewire import (
    Abort,
    ByteStream,
    Channel,
    Limits,
    NetworkError,
    Request,
    Service,
    SessionLost,
    get_context,
    with_options,
)
from telewire.core.states import LinkState
from tests.runtime.world import Connected, World, caught, until

COUNT = 400


async def cut(world: World) -> None:
    """Lose the transport and wait until both sides know."""
    world.cut()
    await until(lambda: world.client.state == "reconnecting")


async def back(world: World) -> None:
    """Wait until the session goes on."""
    await until(lambda: world.client.state == "connected")


async def test_a_generator_goes_on_where_it_was(connected: Connected) -> None:
    service = Service()
    sent: list[int] = []

    @service.function
    async def count() -> AsyncIterator[int]:
        for number in range(COUNT):
            sent.append(number)
            yield number

    async with connected(service, resume=True) as world:
        arrived = []
        async for number in world.remote.count():
            arrived.append(number)
            if number % 50 == 25:
                await back(world)
                await cut(world)
        assert arrived == sent == list(range(COUNT))
        # Two for each transport; what came after the last cut may have been here already.
        assert len(world.attachments) >= 2 * COUNT // 50


async def test_on_close_waits_and_states_are_told(connected: Connected) -> None:
    service = Service()
    ended: list[object] = []

    @service.function
    async def forever() -> AsyncIterator[int]:
        get_context().on_close(lambda reason: ended.append(reason))
        yield 1
        await anyio.sleep_forever()

    async with connected(service, resume=True) as world:
        states: list[str] = []
        stop = world.client.on_state(states.append)
        items = await world.remote.forever()
        assert await anext(items) == 1
        await cut(world)
        assert not ended
        await back(world)
        assert states == ["reconnecting", "connected"]
        stop()
        await cut(world)
        await back(world)
        assert states == ["reconnecting", "connected"]
        assert not ended
        await items.aclose()
        await until(lambda: ended == [None])


async def test_calls_that_are_made_while_detached_wait(connected: Connected) -> None:
    service = Service()
    calls: list[int] = []

    @service.function
    async def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    async with connected(service, resume=True) as world:
        await cut(world)
        pending = [world.remote.double(number) for number in range(20)]
        assert [await call for call in pending] == [2 * number for number in range(20)]
        assert calls == list(range(20))


async def test_every_kind_survives_a_cut(connected: Connected) -> None:
    service = Service()
    messages: list[str] = []
    done = anyio.Event()

    @service.function
    async def everything(
        data: ByteStream, numbers: AsyncIterator[int], tick: Callable[[int], Any]
    ) -> dict[str, Any]:
        channel = Channel[str, str]()

        async def answer(message: str) -> str:
            messages.append(message)
            return message.upper()

        async def later() -> str:
            await done.wait()
            return "kept"

        async def echo() -> AsyncIterator[bytes]:
            async for chunk in data:
                yield chunk

        async def doubled() -> AsyncIterator[int]:
            async for number in numbers:
                await tick(number)
                yield 2 * number

        channel.listen(answer)
        return {
            "channel": channel.peer,
            "promise": later(),
            "bytes": ByteStream(echo()),
            "numbers": doubled(),
            "function": lambda text: f"called with {text}",
        }

    async def numbers() -> AsyncIterator[int]:
        for number in range(50):
            yield number

    def blocks() -> list[bytes]:
        return [bytes([number]) * 5000 for number in range(60)]

    async with connected(service, resume=True) as world:
        ticks: list[int] = []
        call = world.remote.everything(ByteStream(iter(blocks())), numbers(), ticks.append)
        result = await call
        await cut(world)
        assert await result["channel"].request("one") == "ONE"
        await cut(world)
        assert await result["bytes"].read() == b"".join(blocks())
        await cut(world)
        assert [number async for number in result["numbers"]] == [2 * number for number in range(50)]
        assert ticks == list(range(50))
        await cut(world)
        done.set()
        assert await result["promise"] == "kept"
        assert await result["function"]("text") == "called with text"
        await result["channel"].send("two")
        await result["channel"].aclose()
        await until(lambda: messages == ["one", "two"])
        await call.aclose()


async def test_a_session_that_expires_says_what_is_lost(connected: Connected) -> None:
    service = Service()
    reasons: list[BaseException | None] = []
    started = anyio.Event()

    @service.function
    async def wait() -> None:
        get_context().on_close(lambda reason: reasons.append(reason))
        started.set()
        await anyio.sleep_forever()

    limits = Limits(resume_seconds=0.05)
    async with connected(service, limits=limits, resume=True, settle=False) as world:
        call = world.remote.wait()
        error_seen: list[BaseException | None] = []
        call.on_close(lambda reason: error_seen.append(reason))
        await started.wait()
        world.shut()
        world.cut()
        error = await caught(call)
        assert isinstance(error, SessionLost)
        await until(lambda: len(reasons) == len(error_seen) == 1)
        assert isinstance(reasons[0], SessionLost)
        assert isinstance(error_seen[0], SessionLost)
        assert world.client.state == "lost"
        with pytest.raises(NetworkError):
            await world.remote.wait()


async def test_a_lost_session_says_what_may_have_run_and_its_ends_are_told_as_much(
    connected: Connected,
) -> None:
    """A call that never left never started; what ``on_close`` is told says as much as what is raised."""
    service = Service()
    reasons: list[BaseException | None] = []
    started = anyio.Event()

    @service.function
    async def wait(name: str) -> None:
        get_context().on_close(lambda reason: reasons.append(reason))
        started.set()
        await anyio.sleep_forever()

    limits = Limits(resume_seconds=0.05)
    async with connected(service, limits=limits, resume=True, settle=False) as world:
        told: list[BaseException | None] = []
        may_have_run = world.remote.wait("first")
        may_have_run.on_close(lambda reason: told.append(reason))
        await started.wait()
        world.shut()
        # It leaves; whether it arrives nobody says.
        unheard = world.remote.wait("unheard")
        await until(lambda: unheard._state.core.number is not None)
        never_left: list[Any] = []

        def call_while_away(state: str) -> None:
            if state == "reconnecting":
                never_left.append(world.remote.wait("second"))

        world.client.on_state(call_while_away)
        world.cut()
        await until(lambda: bool(never_left))
        error, unsent = await caught(may_have_run), await caught(never_left[0])
        await caught(unheard)
        assert isinstance(error, SessionLost)
        assert isinstance(unsent, SessionLost)
        assert (error.retryable, unsent.retryable) == (False, True)
        await until(lambda: bool(reasons and told))
        assert isinstance(told[0], SessionLost)
        assert isinstance(reasons[0], SessionLost)
        numbers = (error.first_missing, error.last_missing)
        assert numbers[0] is not None
        assert (told[0].first_missing, told[0].last_missing) == numbers


async def test_a_call_that_is_not_resumable(connected: Connected) -> None:
    service = Service()
    reasons: list[BaseException | None] = []
    started: list[str] = []

    @service.function
    async def wait(name: str) -> str:
        get_context().on_close(lambda reason: reasons.append(reason))
        started.append(name)
        await release.wait()
        return name

    release = anyio.Event()
    async with connected(service, resume=True) as world:
        lost = with_options(world.remote.wait, resumable=False)("lost")
        kept = world.remote.wait("kept")
        await until(lambda: len(started) == 2)
        world.cut()
        assert isinstance(await caught(lost), SessionLost)
        await back(world)
        await until(lambda: len(reasons) == 1)
        assert isinstance(reasons[0], NetworkError)
        release.set()
        assert await kept == "kept"


async def test_somebody_else_cannot_take_the_session(connected: Connected) -> None:
    who = ["ann"]

    def principal(request: Request) -> str:
        return who[0]

    service = Service(principal=principal)
    started = anyio.Event()

    @service.function
    async def wait() -> None:
        started.set()
        await anyio.sleep_forever()

    async with connected(service, resume=True, settle=False) as world:
        call = world.remote.wait()
        await started.wait()
        who[0] = "eve"
        world.cut()
        assert isinstance(await caught(call), SessionLost)


async def test_a_client_can_be_left_while_it_reconnects(connected: Connected) -> None:
    service = Service()

    @service.function
    async def wait() -> None:
        await anyio.sleep_forever()

    async with connected(service, resume=True, settle=False) as world:
        call = world.remote.wait()
        world.shut()
        world.cut()
        await until(lambda: world.client.state == "reconnecting")
    assert isinstance(await caught(call), NetworkError)
    assert world.client.state == "lost"


async def test_aborting_while_detached_is_told_later(connected: Connected) -> None:
    service = Service()

    @service.function
    async def refuse() -> None:
        await release.wait()
        raise Abort("later")

    release = anyio.Event()
    async with connected(service, resume=True) as world:
        call = world.remote.refuse()
        await until(lambda: bool(world.server_driver.connection._theirs))
        world.cut()
        release.set()
        error = await caught(call)
        assert isinstance(error, Abort)
        assert error.value == "later"


async def test_the_new_transport_wins(connected: Connected) -> None:
    service = Service()

    @service.function
    async def add(left: int, right: int) -> int:
        return left + right

    async with connected(service, resume=True) as world:
        assert await world.remote.add(1, 2) == 3
        # Only the client has lost it: the server's side still looks alive.
        driver = world.client_driver
        old = driver.transport
        assert driver.attachment is not None
        driver.attachment.transport_lost(None)
        await until(lambda: driver.connection.link is LinkState.ATTACHED)
        assert driver.transport is not old
        assert await world.remote.add(3, 4) == 7
        old.abort()
        assert await world.remote.add(5, 6) == 11


async def test_a_failing_listener_of_states_disturbs_nobody(connected: Connected, log: Any) -> None:
    service = Service()
    async with connected(service, resume=True) as world:
        log.expected = True
        told: list[str] = []

        def broken(state: str) -> None:
            raise ValueError(state)

        world.client.on_state(broken)
        world.client.on_state(told.append)
        await cut(world)
        await back(world)
        assert told == ["reconnecting", "connected"]
        assert len(log.records) == 2
