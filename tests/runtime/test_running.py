"""What still runs when a client is left or a server stops: it is waited for, within bounds."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import anyio
import pytest

from telewire import Client, Service, get_context
from telewire_transports import connect, memory, serve


def watched() -> tuple[Service[None], list[str]]:
    """A service whose clean-ups take several passes of the loop, and what they have noted."""
    service: Service[None] = Service()
    noted: list[str] = []

    async def slowly(what: str) -> None:
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        noted.append(what)

    @service.function
    async def forever() -> AsyncIterator[int]:
        get_context().on_close(lambda: slowly("on_close"))
        get_context().start_soon(background)
        try:
            yield 1
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await slowly("finally")

    async def background() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await slowly("background")

    return service, noted


async def test_a_client_in_this_process_leaves_nothing_running(anyio_backend: str) -> None:
    service, noted = watched()
    async with memory.connect(service) as remote:
        items = await remote.forever()
        assert await anext(items) == 1
    assert sorted(noted) == ["background", "finally", "on_close"]


async def test_a_server_that_stops_waits_for_what_cleans_up(anyio_backend: str) -> None:
    service, noted = watched()
    ports: list[int] = []
    started, stopped = anyio.Event(), anyio.Event()

    def on_started(port: int) -> None:
        ports.append(port)
        started.set()

    async def serving() -> None:
        with scope:
            await serve(service, port=0, on_started=on_started)
        stopped.set()

    scope = anyio.CancelScope()
    async with anyio.create_task_group() as group:
        group.start_soon(serving)
        await started.wait()
        async with connect(f"ws://127.0.0.1:{ports[0]}/telewire") as remote:
            items = await remote.forever()
            assert await anext(items) == 1
        scope.cancel()
        await stopped.wait()
    assert sorted(noted) == ["background", "finally", "on_close"]


async def test_the_callback_that_leaves_a_client_does_not_wait_for_itself(anyio_backend: str) -> None:
    service, _ = watched()
    left: list[Client] = []
    over = anyio.Event()

    async def leave() -> None:
        await left[0].__aexit__(None, None, None)
        over.set()

    client = memory.connect(service)
    left.append(client)
    remote = await client.__aenter__()
    call = remote.forever()
    call.on_close(leave)
    await call
    with anyio.fail_after(4):  # less than the time a clean-up gets
        await call.aclose()
        await over.wait()


async def test_a_process_that_has_ended_by_itself_is_no_failure(
    anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    service: Service[None] = Service()

    def gone() -> None:
        raise ProcessLookupError("no such process")

    def broken() -> None:
        raise LookupError("another kind")

    @service.function
    async def run() -> None:
        get_context().on_close(gone)
        get_context().on_close(broken)

    with caplog.at_level(logging.ERROR, "telewire"):
        async with memory.connect(service) as remote:
            await remote.run()
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [LookupError]
