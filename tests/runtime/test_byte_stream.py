"""Byte streams as their receiver sees them: reading, saving, progress, sizes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from telewire import (
    ByteStream,
    CallCancelled,
    InvalidArgument,
    Limits,
    LocalProtocolError,
    RemoteError,
    RemoteProtocolError,
    ResourceExhausted,
    Service,
)
from telewire.runtime.byte_source import LocalBytes
from tests.runtime.world import Bugs, Connected, drained, quiescent


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 1000


def short(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


class Liar(ByteStream):
    """A stream whose reference says another size than its source has; its sender does not look."""

    __slots__ = ()

    def __init__(self, data: bytes, said: int) -> None:
        super().__init__([data], size=said)
        local = self._bytes
        assert isinstance(local, LocalBytes)

    # Any: the sources are telewire's own.
    def source(self) -> Any:
        source = super().source()
        local = self._bytes
        local.size = None
        return source


# --- reading -------------------------------------------------------------------------------------


async def test_receive_gives_no_more_than_asked_for(connected: Connected) -> None:
    service = Service()

    @service.function
    async def file() -> ByteStream:
        return ByteStream([bytes(range(200)), bytes(range(200, 256))])

    async with connected(service) as world:
        stream = await world.remote.file()
        found = []
        while len(b"".join(found)) < 256:
            found.append(await stream.receive(60))
        assert b"".join(found) == bytes(range(256))
        assert max(map(len, found)) == 60
        assert all(found)
        for _ in range(2):
            with pytest.raises(anyio.EndOfStream):
                await stream.receive(1)
        with pytest.raises(ValueError, match="at least one"):
            await stream.receive(0)


async def test_read_is_bounded(connected: Connected) -> None:
    service = Service()

    @service.function
    async def of(size: int, said: bool) -> ByteStream:
        return ByteStream([b"x"] * size, size=size if said else None)

    limits = Limits(message_bytes=70_000)
    async with connected(service, limits=limits) as world:
        assert len(await (await world.remote.of(70_000, False)).read()) == 70_000
        assert len(await (await world.remote.of(70_000, True)).read()) == 70_000
        assert len(await (await world.remote.of(70_001, True)).read(max_bytes=70_001)) == 70_001
        assert len(await (await world.remote.of(10, True)).read(10)) == 10
        for said, size, bound in ((True, 70_001, None), (False, 70_001, None), (False, 11, 10)):
            stream = await world.remote.of(size, said)
            with pytest.raises(ResourceExhausted, match="in chunks"):
                await stream.read(bound)
            # One that said how much it has was not touched, and can still be taken in chunks.
            assert stream.closed is not said
            assert len(b"".join([chunk async for chunk in stream])) == (size if said else 0)


async def test_a_loop_over_the_call_takes_the_chunks(connected: Connected) -> None:
    service = Service()
    closed = anyio.Event()

    @service.function
    async def file() -> ByteStream:
        async def chunks() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 1000
            finally:
                closed.set()

        return ByteStream(chunks())

    async with connected(service) as world:
        taken = 0
        async for chunk in world.remote.file():
            taken += len(chunk)
            if taken > 300_000:
                break
        await closed.wait()


async def test_annotations_know_byte_streams(connected: Connected) -> None:
    service = Service()

    @service.function
    async def takes(file: ByteStream) -> int:
        return len(await file.read())

    @service.function
    async def takes_many(files: list[ByteStream | None]) -> list[int | None]:
        return [None if file is None else len(await file.read()) for file in files]

    async with connected(service) as world:
        assert await world.remote.takes(ByteStream(b"abc")) == 3
        assert await world.remote.takes_many([None, ByteStream(b"abc")]) == [None, 3]
        with pytest.raises(InvalidArgument, match=r"takes\(file\): expected ByteStream, got bytes"):
            await world.remote.takes(b"abc")
        with pytest.raises(InvalidArgument, match="expected ByteStream, got RemoteIterator"):
            await world.remote.takes(endless())


async def test_progress_is_told_on_both_sides(connected: Connected) -> None:
    service = Service()
    sent: list[tuple[int, int | None]] = []

    @service.function
    async def file(said: bool) -> ByteStream:
        stream = ByteStream([b"x" * 30_000] * 10, size=300_000 if said else None)
        stream.on_progress(lambda done, total: sent.append((done, total)))
        return stream

    async with connected(service) as world:
        for said in (True, False):
            sent.clear()
            taken: list[tuple[int, int | None]] = []
            later: list[int] = []

            async def slowly(done: int, total: int | None, later: list[int] = later) -> None:
                await anyio.lowlevel.checkpoint()
                later.append(done)

            stream = await world.remote.file(said)
            stream.on_progress(lambda done, total, taken=taken: taken.append((done, total)))
            stream.on_progress(slowly)
            await stream.read()
            await quiescent()
            for told in (sent, taken):
                assert told[-1] == (300_000, 300_000 if said else None)
                assert [done for done, _ in told] == sorted({done for done, _ in told})
                assert len(told) > 1
            # It hears the latest whenever it is through with what it heard before.
            assert later == sorted(set(later))
            assert later[-1] == 300_000


async def test_a_failing_progress_callback_disturbs_nothing(connected: Connected, bugs: Bugs) -> None:
    service = Service()

    @service.function
    async def file() -> ByteStream:
        return ByteStream([b"x" * 30_000] * 10)

    def fails(done: int, total: int | None) -> None:
        raise RuntimeError("no bar")

    async def fails_later(done: int, total: int | None) -> None:
        raise RuntimeError("no bar later")

    async with connected(service) as world:
        stream = await world.remote.file()
        stream.on_progress(fails)
        assert len(await stream.receive(10)) == 10
        stream.on_progress(fails_later)
        assert len(await stream.receive(10)) == 10
        await quiescent()
        await stream.aclose()
    assert [str(error) for error in bugs.errors] == ["no bar", "no bar later"]


# --- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [99, 101, 0])
async def test_a_source_of_another_size_is_an_error_of_its_sender(
    connected: Connected, bugs: Bugs, said: int, tmp_path: Path
) -> None:
    service = Service()
    reasons: list[object] = []

    @service.function
    async def file() -> ByteStream:
        stream = ByteStream([b"x" * 50, b"y" * 50], size=said)
        stream.on_close(lambda reason: reasons.append(reason))
        return stream

    @service.function
    async def save(file: ByteStream) -> int:
        return await file.save(tmp_path / "uploaded")

    async with connected(service) as world:
        for take in ("read", "save", "loop"):
            stream = await world.remote.file()
            error: BaseException | None = None
            try:
                if take == "read":
                    await stream.read()
                elif take == "save":
                    await stream.save(tmp_path / "downloaded")
                else:
                    error = (await drained(stream))[1]
            except RemoteError as raised:
                error = raised
            assert isinstance(error, RemoteError)
            # It stays an error: no second look takes it for an end.
            with pytest.raises(RemoteError):
                await stream.receive()
            assert stream.closed
        with pytest.raises(RemoteError):
            await world.remote.save(ByteStream([b"x" * 100], size=said))
    assert short(tmp_path) == []
    assert len(reasons) == 3
    assert all(isinstance(reason, ValueError) and f"of {said} bytes" in str(reason) for reason in reasons)


@pytest.mark.parametrize("said", [99, 101, 0])
async def test_the_receiver_counts_too(connected: Connected, said: int, tmp_path: Path) -> None:
    service = Service()
    found: list[BaseException | None] = []

    @service.function
    async def file() -> ByteStream:
        return Liar(b"x" * 100, said)

    @service.function
    async def nothing() -> ByteStream:
        return Liar(b"", said)

    @service.function
    async def take(file: ByteStream, first: anyio.Event | None = None) -> None:
        await anyio.wait_all_tasks_blocked()
        found.append((await drained(file))[1])
        file.on_close(lambda reason: found.append(reason))

    async with connected(service) as world:
        stream = await world.remote.file()
        with pytest.raises(RemoteProtocolError, match=f"of {said} bytes"):
            await stream.save(tmp_path / "file")
        with pytest.raises(RemoteProtocolError):
            await stream.receive()
        await world.remote.take(Liar(b"x" * 100, said))
        if said:
            # Here the end has come before anybody knows the size.
            await world.remote.take(Liar(b"", said))
            with pytest.raises(RemoteProtocolError, match="after 0"):
                await (await world.remote.nothing()).read()
    assert short(tmp_path) == []
    assert len(found) == (4 if said else 2)
    assert all(isinstance(error, RemoteProtocolError) for error in found)


async def test_a_local_one_keeps_to_its_size_too(guarded: None) -> None:
    for said in (2, 4):
        stream = ByteStream([b"abc"], size=said)
        with pytest.raises(ValueError, match=f"of {said} bytes"):
            await stream.read()


async def test_what_is_left_is_passed_with_the_size_that_is_left(connected: Connected) -> None:
    service = Service()

    @service.function
    async def rest(file: ByteStream) -> tuple[int | None, bytes]:
        return file.size, await file.read()

    @service.function
    async def file() -> ByteStream:
        return ByteStream([b"0123456789", b"abc"], size=13)

    async with connected(service) as world:
        stream = ByteStream([b"0123456789", b"abc"], size=13)
        assert await stream.receive(4) == b"0123"
        assert await world.remote.rest(stream) == [9, b"456789abc"]
        received = await world.remote.file()
        assert await received.receive(4) == b"0123"
        assert await world.remote.rest(received) == [9, b"456789abc"]


# --- saving --------------------------------------------------------------------------------------


async def test_save_replaces_the_file_when_it_is_whole(connected: Connected, tmp_path: Path) -> None:
    service = Service()
    data = bytes(range(256)) * 9000
    go_on = anyio.Event()

    @service.function
    async def file() -> ByteStream:
        async def chunks() -> AsyncIterator[bytes]:
            yield data[:1_000_000]
            await go_on.wait()
            yield data[1_000_000:]

        return ByteStream(chunks(), size=len(data))

    target = tmp_path / "file.bin"
    target.write_bytes(b"old")
    async with connected(service) as world:
        stream = await world.remote.file()

        def halfway(done: int, total: int | None) -> None:
            if done == 1_000_000:
                assert target.read_bytes() == b"old"
                assert len(short(tmp_path)) == 2
                go_on.set()

        stream.on_progress(halfway)
        assert await stream.save(str(target)) == len(data)
    assert go_on.is_set()
    assert target.read_bytes() == data
    assert short(tmp_path) == ["file.bin"]
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert target.stat().st_mode == ordinary.stat().st_mode


async def test_a_save_that_fails_leaves_nothing_and_closes_the_stream(
    connected: Connected, tmp_path: Path, bugs: Bugs
) -> None:
    service = Service()
    closed: list[str] = []

    async def fails() -> AsyncIterator[bytes]:
        yield b"x" * 10_000
        raise ValueError("broken")

    @service.function
    async def file(kind: str) -> ByteStream:
        stream = ByteStream(fails() if kind == "fails" else endless())
        stream.on_close(lambda: closed.append(kind))
        return stream

    target = tmp_path / "file.bin"
    target.write_bytes(b"old")
    async with connected(service) as world:
        with pytest.raises(RemoteError):
            await (await world.remote.file("fails")).save(target)

        stream = await world.remote.file("directory")
        with pytest.raises(IsADirectoryError):
            await stream.save(tmp_path)
        assert stream.closed

        with pytest.raises(FileNotFoundError):
            await (await world.remote.file("missing")).save(tmp_path / "missing" / "file")

        stream = await world.remote.file("cancelled")
        with anyio.CancelScope() as scope:
            stream.on_progress(lambda done, total: scope.cancel() if done > 100_000 else None)
            await stream.save(target)
        assert scope.cancelled_caught

        stream = await world.remote.file("closed")
        async with anyio.create_task_group() as group:

            async def save() -> None:
                with pytest.raises(CallCancelled):
                    await stream.save(target)

            stream.on_progress(lambda done, total: group.start_soon(stream.aclose) if done > 9000 else None)
            group.start_soon(save)
        await world.settled()
    assert sorted(closed) == ["cancelled", "closed", "directory", "fails", "missing"]
    assert target.read_bytes() == b"old"
    assert short(tmp_path) == ["file.bin"]


async def test_saving_a_local_one(guarded: None, tmp_path: Path) -> None:
    assert await ByteStream([b"abc", b"def"]).save(tmp_path / "file") == 6
    assert (tmp_path / "file").read_bytes() == b"abcdef"


# --- passing -------------------------------------------------------------------------------------


async def test_the_same_one_twice_is_an_error_that_names_its_place(connected: Connected) -> None:
    service = Service()

    @service.function
    async def take(*files: Any) -> int:
        for file in files:
            await file.read()
        return len(files)

    async with connected(service) as world:
        stream = ByteStream(b"abc")
        with pytest.raises(InvalidArgument, match=r"\[1\].*twice"):
            await world.remote.take(stream, stream)
        # Nothing has crossed, so it may be passed still; once.
        with pytest.raises(InvalidArgument, match="cannot travel"):
            await world.remote.take(stream, object())
        assert await world.remote.take(stream) == 1
        with pytest.raises(InvalidArgument, match="passed already"):
            await world.remote.take(stream)
        with pytest.raises(LocalProtocolError, match="passed on"):
            await stream.read()
        with pytest.raises(LocalProtocolError):
            await stream.receive()
        with pytest.raises(LocalProtocolError):
            await drained_or_raise(stream)
        closed = ByteStream(b"abc")
        await closed.aclose()
        with pytest.raises(InvalidArgument, match="closed"):
            await world.remote.take(closed)


async def drained_or_raise(stream: ByteStream) -> None:
    async for _ in stream:
        pytest.fail("a stream that was passed gives nothing")


async def test_what_it_shows_of_itself(connected: Connected) -> None:
    service = Service()

    @service.function
    async def file() -> ByteStream:
        return ByteStream(b"abc", name="x.bin")

    async with connected(service) as world:
        stream = await world.remote.file()
        assert repr(stream) == "<ByteStream 'x.bin' of 3 bytes, open>"
        assert await stream.read() == b"abc"
        assert repr(stream) == "<ByteStream 'x.bin' of 3 bytes, closed>"
        assert repr(ByteStream([])) == "<ByteStream, open>"
