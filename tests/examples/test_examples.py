"""Every example over every transport that can carry it: what arrived is what the server recorded."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import anyio
import pytest

from telewire import Limits, Remote, Service
from telewire_transports import connect, memory, serve

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("[a-z]*.py"))
Load = Callable[[str], ModuleType]


@asynccontextmanager
async def over_memory(service: Service) -> AsyncIterator[Remote]:
    async with memory.connect(service) as remote:
        yield remote


@asynccontextmanager
async def over_websocket(service: Service) -> AsyncIterator[Remote]:
    ports: list[int] = []
    started = anyio.Event()

    def on_started(port: int) -> None:
        ports.append(port)
        started.set()

    async def serving() -> None:
        await serve(service, port=0, on_started=on_started)

    async with anyio.create_task_group() as group:
        group.start_soon(serving)
        await started.wait()
        async with connect(f"ws://127.0.0.1:{ports[0]}/telewire") as remote:
            yield remote
        group.cancel_scope.cancel()


@pytest.fixture(params=[over_memory, over_websocket])
def over(request: pytest.FixtureRequest) -> Callable[[Service], asynccontextmanager[Remote]]:
    """Connect to a service over each transport."""
    return request.param


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until something holds."""
    with anyio.fail_after(5):
        while not condition():
            await anyio.lowlevel.checkpoint()


def test_every_example_is_tested() -> None:
    assert NAMES == ["ai_chat", "countdown", "ticker"]


async def test_countdown(load: Load, over, anyio_backend: str) -> None:
    example = load("countdown")
    shown: list[int] = []
    async with over(example.service) as remote:
        arrived = await example.client(remote, shown.append, 0)
    assert arrived == shown == example.sent == [3, 2, 1, 0]


async def test_ai_chat(load: Load, over, anyio_backend: str) -> None:
    example = load("ai_chat")
    shown: list[str] = []
    async with over(example.service) as remote:
        arrived = await example.client(remote, shown.append, 0)
        await until(lambda: example.ended)
    assert "".join(arrived) == example.ANSWER
    assert arrived == shown == example.sent
    assert example.ended == ["the request to the model was cancelled"]


async def test_ai_chat_cancels_the_request_to_the_model_while_it_waits_for_a_token(
    load: Load, over, anyio_backend: str
) -> None:
    example = load("ai_chat")
    async with over(example.service) as remote:
        an_hour = 3600.0
        call = remote[example.on_prompt]("?", an_hour)
        await call
        assert not example.ended
        with anyio.fail_after(5):
            await call.aclose()
            await until(lambda: example.ended)
    assert example.sent == []
    assert example.ended == ["the request to the model was cancelled"]


async def test_ticker(load: Load, over, anyio_backend: str) -> None:
    example = load("ticker")
    shown: list[str] = []
    async with over(example.service) as remote:
        arrived = await example.client(remote, shown.append, 0)
        await until(lambda: example.ended)
    assert len(arrived) == example.PAUSES * example.BETWEEN_PAUSES
    assert arrived == example.sent[: len(arrived)]
    assert len(shown) == example.PAUSES
    assert example.ended == ["the ticker was stopped"]


async def test_ticker_runs_ahead_by_its_window_and_no_further(load: Load, over, anyio_backend: str) -> None:
    example = load("ticker")
    window = Limits().stream_window // Limits().item_cost
    async with over(example.service) as remote:
        iterator = await remote[example.on_ticks]()
        assert await anext(iterator) == 0
        await until(lambda: len(example.sent) >= window)
        produced = await remote[example.on_progress]()
        assert produced <= 2 * window
        await iterator.aclose()
        await until(lambda: example.ended)
        assert len(example.sent) == produced


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_as_a_program(
    name: str, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = run_python(EXAMPLES / f"{name}.py")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    if name == "ticker":
        assert [line.split()[0] for line in lines] == ["3000", "6000", "9000", "12000"]
    elif name == "countdown":
        assert lines == ["3", "2", "1", "0"]
    else:
        assert lines == ["Streams, promises and callbacks cross the wire as if they were local values. "]
