"""Sources of byte streams: each kind, in each place where a value can cross, byte by byte."""

from __future__ import annotations

import asyncio
import io
import os
import sqlite3
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from telewire import ByteStream, Service, get_context
from tests.runtime.world import Bugs, Connected, until

DATA = bytes(range(256)) * 1200


class Upload:
    """What Starlette's UploadFile is to us."""

    def __init__(self, data: bytes) -> None:
        self.filename = "holiday.jpg"
        self.size = len(data)
        self.content_type = "image/jpeg"
        self._file = io.BytesIO(data)

    async def read(self, size: int = -1) -> bytes:
        await anyio.lowlevel.checkpoint()
        return self._file.read(size)


class SyncUpload(Upload):
    """What Flask's FileStorage is to us."""

    def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        return self._file.read(size)


class HiddenAsync(Upload):
    """A read that does not look async."""

    # Any: a coroutine.
    def read(self, size: int = -1) -> Any:
        return super().read(size)


class Iterable:
    """An async iterable that is no iterator."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield DATA[:7]
        yield b""
        yield DATA[7:]


async def pieces() -> AsyncIterator[bytes]:
    for begin in range(0, len(DATA), 7000):
        yield DATA[begin : begin + 7000]


async def views() -> AsyncIterator[bytes | bytearray | memoryview]:
    yield bytearray(DATA[:1000])
    yield memoryview(DATA)[1000:]


def steps() -> Iterator[bytes]:
    for begin in range(0, len(DATA), 7000):
        yield DATA[begin : begin + 7000]


def made(kind: str, path: Path) -> ByteStream:
    """A stream of DATA, made of one kind of source."""
    if not path.exists():
        path.write_bytes(DATA)
    # Any: the kinds have nothing else in common.
    sources: dict[str, Callable[[], Any]] = {
        "bytes": lambda: DATA,
        "bytearray": lambda: bytearray(DATA),
        "memoryview": lambda: memoryview(DATA).cast("B", (len(DATA) // 256, 256)),
        "str": lambda: str(path),
        "path": lambda: path,
        "memory file": lambda: io.BytesIO(DATA),
        "list": lambda: [DATA[:5], b"", DATA[5:]],
        "generator": steps,
        "async generator": pieces,
        "async iterable": Iterable,
        "views": views,
        "upload": lambda: Upload(DATA),
        "sync upload": lambda: SyncUpload(DATA),
        "hidden async": lambda: HiddenAsync(DATA),
        "byte stream": lambda: ByteStream(pieces()),
    }
    return ByteStream(sources[kind]())


KINDS = [
    "bytes", "bytearray", "memoryview", "str", "path", "memory file", "list", "generator", "async generator",
    "async iterable", "views", "upload", "sync upload", "hidden async", "byte stream",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_crosses_everywhere(connected: Connected, kind: str, tmp_path: Path) -> None:
    service = Service()
    path = tmp_path / "data.bin"

    @service.function
    async def result() -> ByteStream:
        return made(kind, path)

    @service.function
    async def nested() -> dict[str, Any]:
        return {"title": "nested", "files": [made(kind, path), made(kind, path)]}

    @service.function
    async def items() -> AsyncIterator[ByteStream]:
        yield made(kind, path)
        yield made(kind, path)

    @service.function
    async def argument(file: ByteStream) -> bool:
        return await file.read() == DATA

    @service.function
    async def nested_argument(files: dict[str, list[ByteStream]]) -> list[bool]:
        return [await file.read() == DATA for file in files["files"]]

    async with connected(service) as world:
        remote = world.remote
        assert await (await remote.result()).read() == DATA
        answer = await remote.nested()
        assert answer["title"] == "nested"
        assert [await file.read() for file in answer["files"]] == [DATA, DATA]
        assert [await file.read() async for file in remote.items()] == [DATA, DATA]
        assert await remote.argument(made(kind, path)) is True
        assert await remote.nested_argument({"files": [made(kind, path), made(kind, path)]}) == [True, True]
        assert b"".join([chunk async for chunk in remote.result()]) == DATA


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_is_read_here(kind: str, guarded: None, tmp_path: Path) -> None:
    stream = made(kind, tmp_path / "data.bin")
    begin = await stream.receive(3)
    assert begin == DATA[:3]
    rest = b"".join([chunk async for chunk in stream])
    assert begin + rest == DATA
    assert stream.closed
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()


async def test_what_the_source_says_about_itself(connected: Connected, tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    path.write_bytes(b"twelve bytes")
    service = Service()

    @service.function
    async def files() -> list[ByteStream]:
        return [
            ByteStream(path),
            ByteStream(b"four", name="x.bin", content_type="text/plain"),
            ByteStream(Upload(b"abc")),
            ByteStream(Upload(b"abc"), name="other.png", size=3, content_type="image/png"),
            ByteStream([b"z"]),
        ]

    def said(stream: ByteStream) -> tuple[str | None, int | None, str | None]:
        return stream.name, stream.size, stream.content_type

    async with connected(service) as world:
        found = await world.remote.files()
        assert [said(stream) for stream in found] == [
            ("report.txt", 12, None),
            ("x.bin", 4, "text/plain"),
            ("holiday.jpg", 3, "image/jpeg"),
            ("other.png", 3, "image/png"),
            (None, None, None),
        ]
        with path.open("rb") as file:
            assert ByteStream(file).name == "report.txt"
        for stream in found:
            await stream.aclose()


def test_what_is_no_source_is_refused_where_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ByteStream(tmp_path / "missing")
    with pytest.raises(TypeError, match="not int"):
        ByteStream(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match='mode "rb"'):
        ByteStream(io.StringIO("text"))  # type: ignore[arg-type]
    for size in (-1, 1 << 53, True, 1.5):
        with pytest.raises(ValueError, match="number of bytes"):
            ByteStream(b"", size=size)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="name="):
        ByteStream(b"", name=b"x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="content_type="):
        ByteStream(b"", content_type=7)  # type: ignore[arg-type]


async def test_nothing_and_a_file_without_bytes(connected: Connected, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    service = Service()

    @service.function
    async def nothing() -> list[ByteStream]:
        return [
            ByteStream(empty),
            ByteStream(b""),
            ByteStream([]),
            ByteStream([b"", b""]),
            ByteStream([], size=0),
        ]

    @service.function
    async def lengths(files: list[ByteStream]) -> list[int]:
        return [len(await file.read()) for file in files]

    async with connected(service) as world:
        found = await world.remote.nothing()
        assert [await stream.read() for stream in found] == [b""] * 5
        assert [stream.size for stream in found] == [0, 0, None, None, 0]
        assert await found[0].save(tmp_path / "copy") == 0
        assert (tmp_path / "copy").read_bytes() == b""
        assert await world.remote.lengths([ByteStream(empty), ByteStream(b"")]) == [0, 0]


@pytest.mark.parametrize("length", [1, 37, 1_000_000, 5_000_000])
async def test_five_megabytes_there_and_back(connected: Connected, length: int) -> None:
    data = os.urandom(1 << 16) * (80 if length > 37 else 8)
    service = Service()

    async def cut() -> AsyncIterator[bytes]:
        for begin in range(0, len(data), length):
            yield data[begin : begin + length]

    def cut_here() -> Iterator[bytes]:
        for begin in range(0, len(data), length):
            yield data[begin : begin + length]

    @service.function
    async def back(file: ByteStream) -> ByteStream:
        async def again() -> AsyncIterator[bytes]:
            async for chunk in file:
                yield chunk

        return ByteStream(again())

    async with connected(service) as world:
        if length > 1:
            assert await (await world.remote.back(ByteStream(cut()))).read() == data
        assert await (await world.remote.back(ByteStream(cut_here(), size=len(data)))).read() == data


async def test_a_generator_lives_in_one_thread_that_is_not_the_loop(connected: Connected) -> None:
    service = Service()
    threads: list[threading.Thread] = []
    contexts: list[object] = []

    def rows() -> Iterator[bytes]:
        try:
            database = sqlite3.connect(":memory:")
            for number in range(300):
                threads.append(threading.current_thread())
                contexts.append(get_context().metadata)
                yield b"%d,%d;" % database.execute("select ?, ?", (number, number)).fetchone()
            database.close()
        finally:
            threads.append(threading.current_thread())

    @service.function
    async def table() -> ByteStream:
        return ByteStream(rows())

    async with connected(service) as world:
        streams = [await world.remote.table() for _ in range(3)]
        for stream in streams:
            assert (await stream.read()).count(b";") == 300
        assert len(set(threads)) == 3
        assert threading.current_thread() not in threads
        assert len(contexts) == 900


async def test_the_thread_of_a_plain_function_steps_what_it_made(connected: Connected) -> None:
    service = Service()
    threads: list[threading.Thread] = []

    @service.function
    def table() -> ByteStream:
        database = sqlite3.connect(":memory:")
        cursor = database.execute(
            "with recursive n(i) as (select 1 union all select i+1 from n where i<50) select i from n"
        )
        stream = ByteStream(b"%d;" % row for row in cursor)
        threads.append(threading.current_thread())
        stream.on_close(lambda: threads.append(threading.current_thread()))
        get_context().on_close(database.close)
        return stream

    async with connected(service) as world:
        assert (await (await world.remote.table()).read()).count(b";") == 50
        await world.settled()
        await until(lambda: len(threads) == 2)
    assert threads[0] is threads[1] is not threading.current_thread()


async def test_a_source_that_blocks_hands_over_what_it_has(connected: Connected) -> None:
    service = Service()
    go_on = threading.Event()

    def tail() -> Iterator[bytes]:
        yield b"first"
        assert go_on.wait(10)
        yield b"second"

    @service.function
    async def log() -> ByteStream:
        return ByteStream(tail())

    async with connected(service) as world:
        stream = await world.remote.log()
        assert await stream.receive() == b"first"
        go_on.set()
        assert await stream.receive() == b"second"
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()


async def test_gzip_while_it_is_still_coming_in(connected: Connected) -> None:
    service = Service()

    @service.function
    def compress(file: ByteStream) -> ByteStream:
        async def packed() -> AsyncIterator[bytes]:
            packer = zlib.compressobj(wbits=31)
            async for chunk in file:
                yield packer.compress(chunk) + packer.flush(zlib.Z_SYNC_FLUSH)
            yield packer.flush()

        return ByteStream(packed(), name=f"{file.name}.gz", content_type="application/gzip")

    send, receive = anyio.create_memory_object_stream[bytes](1)
    async with connected(service) as world:
        packed = await world.remote.compress(ByteStream(receive, name="log"))
        assert (packed.name, packed.content_type) == ("log.gz", "application/gzip")
        unpacker = zlib.decompressobj(wbits=31)
        for number in range(5):
            line = b"line %d\n" % number * 1000
            await send.send(line)
            found = b""
            # The next line leaves only once this one is back.
            while len(found) < len(line):
                found += unpacker.decompress(await packed.receive())
            assert found == line
        await send.aclose()
        assert unpacker.decompress(await packed.read()) == b""
        assert unpacker.eof
    await receive.aclose()


@pytest.mark.parametrize("anyio_backend", [pytest.param("asyncio", id="streams of asyncio")])
async def test_the_output_of_a_process(connected: Connected, anyio_backend: str) -> None:
    service = Service()

    @service.function
    async def run() -> ByteStream:
        program = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 4000)"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        get_context().on_close(process.wait)
        return ByteStream(process.stdout)

    async with connected(service) as world:
        assert await (await world.remote.run()).read() == bytes(range(256)) * 4000


async def test_the_output_of_a_process_of_anyio(connected: Connected) -> None:
    service = Service()

    @service.function
    async def run() -> ByteStream:
        program = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 4000)"
        process = await anyio.open_process([sys.executable, "-c", program], stderr=None)
        get_context().on_close(process.aclose)
        assert process.stdout is not None
        return ByteStream(process.stdout)

    async with connected(service) as world:
        assert await (await world.remote.run()).read() == bytes(range(256)) * 4000


async def test_a_pipe_by_its_path(connected: Connected, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    service = Service()

    @service.function
    async def read_pipe() -> ByteStream:
        return ByteStream(pipe)

    async with connected(service) as world:
        stream = await world.remote.read_pipe()
        assert stream.size is None

        def write() -> None:
            with pipe.open("wb") as file:
                file.write(DATA)

        writer = threading.Thread(target=write)
        writer.start()
        assert await stream.read() == DATA
        writer.join()


@pytest.mark.parametrize("chunk", ["text", 5, None])
async def test_a_source_of_something_else_is_a_bug(connected: Connected, bugs: Bugs, chunk: Any) -> None:
    service = Service()

    async def wrong() -> AsyncIterator[Any]:
        yield b"right"
        yield chunk

    @service.function
    async def both() -> list[ByteStream]:
        return [ByteStream(wrong()), ByteStream([b"right", chunk])]

    async with connected(service) as world:
        for stream in await world.remote.both():
            assert await stream.receive() == b"right"
            with pytest.raises(Exception, match="failed on the other side"):
                await stream.receive()
    assert len(bugs.errors) == 2
    for error in bugs.errors:
        assert isinstance(error, TypeError)
        assert type(chunk).__name__ in str(error)
