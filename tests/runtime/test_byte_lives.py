"""The life of a byte stream: credit, failures, and its end from either side."""

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
    CallCancelled,
    Limits,
    NetworkError,
    RemoteError,
    Service,
    get_context,
)
from tests.runtime.world import Bugs, Connected, drained, quiescent, until

WINDOW = 64 * 1024


class Endless:
    """A source that never ends and tells what becomes of it."""

    def __init__(self, chunk: int = 1000) -> None:
        self.given = 0
        self.chunk = chunk
        self.closed = anyio.Event()
        self.reasons: list[object] = []

    async def generator(self) -> AsyncIterator[bytes]:
        task = current_task()
        try:
            while True:
                self.given += self.chunk
                yield bytes(self.chunk)
        finally:
            assert current_task() == task
            self.closed.set()

    def stream(self) -> ByteStream:
        stream = ByteStream(self.generator())
        stream.on_close(lambda reason: self.reasons.append(reason))
        return stream


def current_task() -> int:
    return anyio.get_current_task().id


# --- credit --------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [10, 1000, 100_000])
@pytest.mark.parametrize("upwards", [False, True])
async def test_the_source_is_never_more_than_its_credit_ahead(
    connected: Connected, chunk: int, upwards: bool
) -> None:
    service = Service()
    source = Endless(chunk)
    received: list[ByteStream] = []

    @service.function
    async def down() -> ByteStream:
        return source.stream()

    @service.function
    async def up(file: ByteStream) -> None:
        received.append(file)

    limits = Limits(stream_window_read=WINDOW)
    async with connected(service, limits=limits) as world:
        if upwards:
            await world.remote.up(source.stream())
        else:
            received.append(await world.remote.down())
        taken = 0
        for _ in range(20):
            await quiescent()
            # One chunk stands at the source, and one more where the credit is not all used.
            assert source.given - taken <= WINDOW + 2 * max(chunk, 256)
            taken += len(await received[0].receive(30_000))
        await received[0].aclose()
        await source.closed.wait()
    assert source.given > 300_000 or chunk < 1000


async def test_a_blocking_source_is_no_further_ahead(connected: Connected) -> None:
    service = Service()
    given = 0

    def endless() -> Iterator[bytes]:
        nonlocal given
        while True:
            given += 1000
            yield bytes(1000)

    @service.function
    async def down() -> ByteStream:
        return ByteStream(endless())

    async with connected(service, limits=Limits(stream_window_read=WINDOW)) as world:
        stream = await world.remote.down()
        taken = 0
        for _ in range(20):
            await quiescent(world.remote)
            assert given - taken <= WINDOW + 2000
            taken += len(await stream.receive(30_000))
        await stream.aclose()


async def test_unread_streams_disturb_nobody(connected: Connected) -> None:
    service = Service()
    sources = [Endless(50_000) for _ in range(3)]

    @service.function
    async def several() -> dict[str, Any]:
        async def numbers() -> AsyncIterator[int]:
            for number in range(3000):
                yield number

        async def promise() -> str:
            return "kept"

        return {
            "unread": [source.stream() for source in sources],
            "file": ByteStream([b"x" * 50_000] * 40),
            "numbers": numbers(),
            "promise": promise(),
        }

    async with connected(service) as world:
        result = await world.remote.several()
        await quiescent()
        assert len(await result["file"].read()) == 2_000_000
        assert [number async for number in result["numbers"]] == list(range(3000))
        assert await result["promise"] == "kept"
        assert all(source.given < 4 * WINDOW for source in sources)
        for stream in result["unread"]:
            await stream.aclose()


async def test_a_failing_stream_disturbs_nobody(connected: Connected, bugs: Bugs) -> None:
    service = Service()

    async def fails() -> AsyncIterator[bytes]:
        yield b"before"
        raise ValueError("secret")

    @service.function
    async def several() -> list[ByteStream]:
        return [ByteStream(fails()), ByteStream([b"x" * 50_000] * 10)]

    async with connected(service) as world:
        failing, fine = await world.remote.several()
        found, error = await drained(failing)
        assert found == [b"before"]
        assert isinstance(error, RemoteError)
        assert len(await fine.read()) == 500_000
        assert b"secret" not in world.sent


# --- failures ------------------------------------------------------------------------------------


async def test_an_abort_in_the_source_crosses_behind_its_chunks(connected: Connected) -> None:
    service = Service()
    reasons: list[object] = []

    @service.function
    async def file(blocking: bool) -> ByteStream:
        async def refuses() -> AsyncIterator[bytes]:
            yield b"some"
            raise Abort({"code": 7})

        def refuses_here() -> Iterator[bytes]:
            yield b"some"
            raise Abort({"code": 7})

        stream = ByteStream(refuses_here() if blocking else refuses())
        stream.on_close(lambda reason: reasons.append(reason))
        return stream

    async with connected(service) as world:
        for blocking in (False, True):
            stream = await world.remote.file(blocking)
            stream.on_close(lambda reason: reasons.append(reason))
            await quiescent(world.remote)
            assert not stream.closed
            assert await stream.receive() == b"some"
            with pytest.raises(Abort) as caught:
                await stream.receive()
            assert caught.value.value == {"code": 7}
            assert stream.closed
    assert [type(reason) for reason in reasons] == [Abort] * 4


async def test_a_file_that_vanishes_is_an_error(connected: Connected, bugs: Bugs, tmp_path: Path) -> None:
    service = Service()
    path = tmp_path / "file"

    @service.function
    async def file() -> ByteStream:
        path.write_bytes(b"abc")
        stream = ByteStream(path)
        path.unlink()
        return stream

    async with connected(service) as world:
        with pytest.raises(RemoteError):
            await (await world.remote.file()).read()
    (error,) = bugs.errors
    assert isinstance(error, FileNotFoundError)


async def test_a_lost_connection_fails_the_reader_and_closes_the_source(connected: Connected) -> None:
    service = Service()
    source = Endless()
    reasons: list[object] = []

    @service.function
    async def down() -> ByteStream:
        return source.stream()

    async with connected(service, settle=False) as world:
        stream = await world.remote.down()
        stream.on_close(lambda reason: reasons.append(reason))
        await stream.receive()
        world.cut()
        with pytest.raises(NetworkError):
            await stream.read()
        with pytest.raises(NetworkError):
            await stream.receive()
        await source.closed.wait()
        await until(lambda: bool(source.reasons))
    for (reason,) in (reasons, source.reasons):
        assert isinstance(reason, NetworkError)


# --- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["aclose", "with", "drop", "call", "break"])
@pytest.mark.parametrize("waiting", [False, True])
async def test_the_receiver_ends_it(connected: Connected, how: str, waiting: bool) -> None:
    service = Service()
    source = Endless()
    closed: list[object] = []
    blocked = anyio.Event()

    async def waits() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            blocked.set()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            source.closed.set()

    @service.function
    async def down() -> ByteStream:
        get_context().on_close(lambda reason: closed.append(reason))
        if not waiting:
            return source.stream()
        stream = ByteStream(waits())
        stream.on_close(lambda reason: source.reasons.append(reason))
        return stream

    async with connected(service) as world:
        call = world.remote.down()
        if how == "break":
            async for _ in call:
                break
        else:
            stream = await call
            stream.on_close(lambda reason: closed.append(reason))
            await stream.receive()
            if waiting:
                await blocked.wait()
            if how == "aclose":
                await stream.aclose()
                await stream.aclose()
            elif how == "with":
                async with stream:
                    pass
            elif how == "call":
                await call.aclose()
            if how != "drop":
                assert stream.closed
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()
                with pytest.raises(CallCancelled):
                    await stream.read()
            del stream
            gc.collect()
        del call
        await source.closed.wait()
        await world.settled()
    assert source.reasons == [None]
    assert closed == [None] if how == "break" else closed == [None, None]


async def test_a_reader_that_waits_is_woken_by_an_end_here(connected: Connected) -> None:
    service = Service()

    async def silent() -> AsyncIterator[bytes]:
        await anyio.sleep_forever()
        yield b""

    @service.function
    async def down() -> ByteStream:
        return ByteStream(silent())

    async with connected(service) as world:
        for cancel in (False, True):
            call = world.remote.down()
            stream = await call
            errors: list[Exception | None] = []

            async def loop(stream: ByteStream = stream, errors: list[Any] = errors) -> None:
                errors.append((await drained(stream))[1])

            async with anyio.create_task_group() as group:
                group.start_soon(loop)
                await quiescent(world.remote)
                if cancel:
                    call.cancel("enough")
                else:
                    await stream.aclose()
            if cancel:
                (error,) = errors
                assert isinstance(error, CallCancelled)
                assert error.reason == "enough"
            else:
                assert errors == [None]


@pytest.mark.parametrize("how", ["stream", "context"])
async def test_the_sender_ends_it_and_nobody_takes_it_for_all(connected: Connected, how: str) -> None:
    service = Service()
    source = Endless()
    streams: list[ByteStream] = []
    contexts: list[Any] = []
    reasons: list[object] = []

    @service.function
    async def down() -> ByteStream:
        streams.append(source.stream())
        contexts.append(get_context())
        return streams[0]

    async with connected(service) as world:
        stream = await world.remote.down()
        stream.on_close(lambda reason: reasons.append(reason))
        await stream.receive()
        if how == "stream":
            await streams[0].aclose()
            await streams[0].aclose()
            assert streams[0].closed
        else:
            await contexts[0].aclose()
        with pytest.raises(CallCancelled):
            await stream.read()
        with pytest.raises(CallCancelled):
            await stream.receive()
        await source.closed.wait()
        await world.settled()
    assert source.reasons == [None]
    assert reasons == [None]


async def test_an_upload_is_ended_by_either_side(connected: Connected) -> None:
    service = Service()

    @service.function
    async def first(file: ByteStream) -> int:
        size = len(await file.receive(10))
        await file.aclose()
        return size

    @service.function
    async def ignores(file: ByteStream) -> str:
        return "no, thanks"

    @service.function
    async def all_of(file: ByteStream) -> str:
        try:
            return str(len(await file.read()))
        except CallCancelled:
            return "cut short"

    async with connected(service) as world:
        for name in ("first", "ignores"):
            source = Endless()
            assert await world.remote[name](source.stream()) in (10, "no, thanks")
            gc.collect()
            await source.closed.wait()
            assert source.reasons == [None]
        closed = anyio.Event()

        async def stops() -> AsyncIterator[bytes]:
            try:
                yield b"x"
                await anyio.sleep_forever()
            finally:
                closed.set()

        stream = ByteStream(stops())
        call = world.remote.all_of(stream)
        await quiescent(world.remote)
        await stream.aclose()
        assert await call == "cut short"
        await closed.wait()


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


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
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
