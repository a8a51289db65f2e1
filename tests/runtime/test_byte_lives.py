"""The life of a byte stream: credit, failures, and its end from either side."""

from __future__ import annotations

import gc
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
from tests.runtime.lives import Endless
from tests.runtime.world import Bugs, Connected, drained, quiescent, until

WINDOW = 64 * 1024


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
