"""Ends of byte streams: natural ones, those of files and relays, and those of streams never sent."""

from __future__ import annotations

import asyncio
import gc
import io
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from telewire import (
    Abort,
    ByteStream,
    RemoteError,
    Service,
    get_context,
)
from telewire.wire.frames import Kind
from tests.runtime.lives import Endless
from tests.runtime.world import Bugs, Connected, quiescent, until


async def test_a_natural_end_is_told_after_the_last_chunk_is_taken(connected: Connected) -> None:
    service = Service()
    told: list[str] = []

    @service.function
    async def down() -> ByteStream:
        get_context().on_close(lambda: told.append("call"))
        return ByteStream([b"abc"])

    async with connected(service) as world:
        call = world.remote.down()
        call.on_close(lambda: told.append("call here"))
        stream = await call
        stream.on_close(lambda: told.append("stream"))
        # A thread reads the list.
        await until(lambda: told == ["call"])
        await quiescent(world.remote)
        assert told == ["call"]
        assert await stream.receive() == b"abc"
        assert told[1:] == ["stream"] or sorted(told[1:]) == ["call here", "stream"]
        await quiescent()
        assert sorted(told) == ["call", "call here", "stream"]


async def test_what_has_arrived_whole_stays_readable(connected: Connected) -> None:
    service = Service()
    contexts: list[Any] = []

    @service.function
    async def down() -> dict[str, Any]:
        async def later() -> AsyncIterator[int]:
            yield 1
            await anyio.sleep_forever()

        contexts.append(get_context())
        return {"file": ByteStream([b"abc"] * 10), "numbers": later()}

    async with connected(service) as world:
        result = await world.remote.down()
        # Its end has left when the server has forgotten it; a thread reads the list.
        streams = world.server_driver.connection._ours
        await until(lambda: all(stream.kind is not Kind.BYTES for stream in streams.values()))
        await quiescent(world.remote)
        await contexts[0].aclose()
        await quiescent(world.remote)
        assert await result["file"].read() == b"abc" * 10


async def test_files_are_closed_where_they_were_opened_here(connected: Connected, tmp_path: Path) -> None:
    service = Service()
    path = tmp_path / "file"
    path.write_bytes(bytes(3_000_000))
    opened = path.open("rb")
    memory = io.BytesIO(bytes(3_000_000))

    @service.function
    async def files() -> list[ByteStream]:
        return [ByteStream(path), ByteStream(opened), ByteStream(memory)]

    async with connected(service) as world:
        for stop in (True, False):
            opened.seek(0)
            memory.seek(0)
            for stream in await world.remote.files():
                await stream.receive()
                if stop:
                    await stream.aclose()
                else:
                    await stream.read()
            await world.settled()
    # What was left open by us would warn here, and fail the test.
    gc.collect()
    assert not opened.closed
    assert not memory.closed
    opened.close()


async def test_a_step_that_blocks_is_waited_for_and_then_closed(connected: Connected) -> None:
    service = Service()
    step, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    threads: list[threading.Thread] = []
    reasons: list[object] = []

    def blocks() -> Iterator[bytes]:
        try:
            yield b"first"
            step.set()
            threads.append(threading.current_thread())
            assert go_on.wait(10)
            yield b"second"
        finally:
            threads.append(threading.current_thread())
            ended.set()

    @service.function
    async def down() -> ByteStream:
        stream = ByteStream(blocks())
        stream.on_close(lambda reason: reasons.append(reason))
        return stream

    async with connected(service) as world:
        stream = await world.remote.down()
        assert await stream.receive() == b"first"
        assert step.wait(10)
        await stream.aclose()
        await quiescent(world.remote)
        # Told at once, though the thread is still at it.
        assert reasons == [None]
        assert not ended.is_set()
        go_on.set()
        await until(ended.is_set)
    assert threads[0] is threads[1]


async def test_leaving_takes_its_streams_with_it(connected: Connected) -> None:
    service = Service()
    source = Endless()

    @service.function
    async def down() -> ByteStream:
        return source.stream()

    async with connected(service, settle=False) as world:
        stream = await world.remote.down()
        await stream.receive()
    await source.closed.wait()
    assert stream.closed


# --- passing on ----------------------------------------------------------------------------------


async def test_a_received_one_is_relayed(connected: Connected) -> None:
    service = Service()
    source = Endless()

    @service.function
    async def same(file: ByteStream) -> ByteStream:
        return file

    @service.function
    async def endless() -> ByteStream:
        return source.stream()

    async with connected(service) as world:
        back = await world.remote.same(ByteStream([b"abc"] * 5000, name="x", size=15_000, content_type="a/b"))
        assert (back.name, back.size, back.content_type) == ("x", 15_000, "a/b")
        assert await back.read() == b"abc" * 5000

        there_and_back = await world.remote.same(await world.remote.endless())
        assert len(await there_and_back.receive()) > 0
        await quiescent(world.remote)
        # Backpressure reaches the source through both relays.
        assert source.given < 6_000_000
        await there_and_back.aclose()
        await source.closed.wait()


async def test_a_relay_whose_source_is_cut_short_is_an_error(connected: Connected, bugs: Bugs) -> None:
    service = Service()
    source = Endless()

    @service.function
    async def same(file: ByteStream) -> ByteStream:
        return file

    async with connected(service) as world:
        stream = source.stream()
        back = await world.remote.same(stream)
        await back.receive()
        await stream.aclose()
        with pytest.raises(RemoteError):
            await back.read()
        await source.closed.wait()


# --- before it is passed -------------------------------------------------------------------------


async def test_a_local_one_is_closed_with_its_source(guarded: None, bugs: Bugs) -> None:
    source = Endless()
    async with source.stream() as stream:
        assert len(await stream.receive(10)) == 10
        assert not stream.closed
    assert source.closed.is_set()
    assert stream.closed
    assert source.reasons == [None]
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()

    async def fails() -> AsyncIterator[bytes]:
        yield b"x"
        raise ValueError("here")

    stream = ByteStream(fails())
    assert await stream.receive() == b"x"
    for _ in range(2):
        with pytest.raises(ValueError, match="here"):
            await stream.receive()
    assert stream.closed


async def test_a_cancelled_read_of_a_generator_does_not_look_like_its_end(guarded: None) -> None:
    async def waits() -> AsyncIterator[bytes]:
        yield b"x"
        await anyio.sleep_forever()

    stream = ByteStream(waits())
    assert await stream.receive() == b"x"
    with anyio.move_on_after(0):
        await stream.receive()
    with pytest.raises(Exception, match="cancelled in the middle"):
        await stream.read()


@pytest.mark.parametrize("anyio_backend", [pytest.param("asyncio", id="streams of asyncio")])
async def test_a_cancelled_read_of_a_reader_loses_nothing(guarded: None, anyio_backend: str) -> None:
    reader = asyncio.StreamReader()
    stream = ByteStream(reader)
    with anyio.move_on_after(0):
        await stream.receive()
    reader.feed_data(b"abc")
    reader.feed_eof()
    assert await stream.read() == b"abc"


async def test_a_stream_that_was_never_read_leaves_nothing_behind(connected: Connected) -> None:
    service = Service()
    # No loop was asked for either.
    unused = ByteStream(bytes(10))
    del unused

    @service.function
    async def refuses(file: ByteStream) -> None:
        raise Abort("no")

    async with connected(service) as world:
        source = Endless()
        with pytest.raises(Abort):
            await world.remote.refuses(source.stream())
        gc.collect()
        await world.settled()
        await until(lambda: bool(source.reasons))
        assert len(source.reasons) == 1
