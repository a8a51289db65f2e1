"""An old transport that does not heed its abort: what it still delivers counts for nothing (TW-SES-033)."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from telewire import NetworkError, RemoteProtocolError, Service
from telewire.core.states import LinkState
from telewire.errors import ErrorCode
from telewire.runtime.attachment import Attachment
from tests.runtime.world import Connected, World, quiescent, until

LATE: dict[str, Callable[[Attachment], object]] = {
    "a violation": lambda old: old.violation_received(RemoteProtocolError("no batch", ErrorCode.MALFORMED)),
    "a sign of life": lambda old: old.bytes_received(),
    "room": lambda old: old.transport_writable(),
    "its end": lambda old: old.transport_lost(None),
    "its loss": lambda old: old.transport_lost(NetworkError("It was lost.")),
}


async def replaced(world: World) -> dict[str, Attachment]:
    """Lose the transport on the client's side alone, and come back; gives what the old one talks to."""
    old = {attachment.driver.connection.side: attachment for attachment in world.attachments}
    driver = world.client_driver
    old["client"].transport_lost(None)
    await until(lambda: driver.connection.link is LinkState.ATTACHED)
    assert driver.attachment is not old["client"]
    return old


@pytest.mark.parametrize("posted", [False, True])
@pytest.mark.parametrize("side", ["server", "client"])
async def test_batches_that_come_late(connected: Connected, side: str, posted: bool) -> None:
    service = Service()
    noted: list[int] = []
    release = anyio.Event()

    @service.function
    async def note(number: int) -> int:
        noted.append(number)
        await release.wait()
        return number

    async with connected(service, resume=True) as world:
        call = world.remote.note(1)
        await until(lambda: noted == [1])
        other = {"server": "client", "client": "server"}[side]
        (sent,) = (
            recorder.sent
            for recorder, attachment in zip(world.recorders, world.attachments, strict=True)
            if attachment.driver.connection.side == other
        )
        late = list(sent)
        assert late
        old = (await replaced(world))[side]
        states: list[str] = []
        world.client.on_state(states.append)
        for batch in late:
            if posted:
                old.batch_posted(batch)
            else:
                old.batch_received(batch)
        second = world.remote.note(2)
        await until(lambda: noted == [1, 2])
        release.set()
        assert [await call, await second] == [1, 2]
        assert noted == [1, 2]
        assert not states


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("side", ["server", "client"])
async def test_whatever_else_comes_late(connected: Connected, side: str, late: str) -> None:
    service = Service()

    @service.function
    async def add(left: int, right: int) -> int:
        return left + right

    async with connected(service, resume=True) as world:
        assert await world.remote.add(1, 2) == 3
        old = (await replaced(world))[side]
        states: list[str] = []
        world.client.on_state(states.append)
        before = [driver.transport for driver in (world.client_driver, world.server_driver)]
        LATE[late](old)
        await quiescent(world.remote)
        assert await world.remote.add(3, 4) == 7
        assert before == [driver.transport for driver in (world.client_driver, world.server_driver)]
        assert not states
