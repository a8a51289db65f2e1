"""serve_until_signal: a program that is told to end ends its calls in order, and only then itself."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from telewire import NetworkError, Service
from telewire_transports import connect, serve_until_signal, until_signal

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("transport", ["http", "websocket"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_calls_in_order(transport: str, number: signal.Signals) -> None:
    service = Service()
    cleaned: list[str] = []

    @service.function
    async def ticks() -> AsyncIterator[int]:
        try:
            yield 1
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(10):
                    await anyio.lowlevel.checkpoint()
            cleaned.append("cleaned")

    before = signal.getsignal(number)

    async def visit(port: int) -> None:
        url = f"http://127.0.0.1:{port}/telewire"
        async with connect(url, transport=transport) as remote:  # type: ignore[arg-type]
            iterator = await remote.ticks()
            assert await anext(iterator) == 1
            signal.raise_signal(number)
            with pytest.raises(NetworkError, match="going away"):
                await anext(iterator)

    async with anyio.create_task_group() as group:
        with anyio.fail_after(10):
            ended = await serve_until_signal(
                service, port=0, drain_seconds=0, on_started=lambda port: group.start_soon(visit, port)
            )
        assert ended is number
        assert cleaned == ["cleaned"]
    assert signal.getsignal(number) is before


async def test_a_second_signal_is_not_ours() -> None:
    mine: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: mine.append(number))
    try:

        async def stubborn() -> None:
            signal.raise_signal(signal.SIGTERM)
            with anyio.CancelScope(shield=True):
                signal.raise_signal(signal.SIGTERM)
                await anyio.lowlevel.checkpoint()

        assert await until_signal(stubborn) is signal.SIGTERM
        assert mine == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_what_ends_by_itself_had_no_signal() -> None:
    async def work() -> None:
        await anyio.lowlevel.checkpoint()

    before = signal.getsignal(signal.SIGINT)
    assert await until_signal(work) is None
    assert signal.getsignal(signal.SIGINT) is before


async def test_another_thread_gets_no_signals(anyio_backend_name: str) -> None:
    async def work() -> None:
        await anyio.lowlevel.checkpoint()

    def run() -> object:
        return anyio.run(until_signal, work, backend=anyio_backend_name)

    before = signal.getsignal(signal.SIGINT)
    assert await anyio.to_thread.run_sync(run) is None
    assert signal.getsignal(signal.SIGINT) is before


async def test_an_error_of_serving_is_the_callers() -> None:
    async def fail() -> None:
        raise OSError("the address is taken")

    with pytest.raises(OSError, match="taken"):
        await until_signal(fail)
