"""The peer grpc: ``grpc.aio`` with protobuf messages; rows, bytes and callbacks are streams of HTTP/2.

The messages are declared here instead of in a file, so that no compiler is needed; the classes are the
same that it would make. What arrives is made the dict that all peers deliver.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

# Any: classes that are made at run time have no other type.
from typing import Any, Final, final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from benchmarks.workloads import TEXT, Callback, Pipe, Session, blocks, follow, row

__all__ = ["CANNOT", "NAME", "WAYS", "connect", "serve"]

NAME: Final = "grpc"
WAYS: Final = {
    "W1": ("aio",),
    "W1c": ("aio",),
    "W2": ("aio",),
    "W3d": ("aio",),
    "W3u": ("aio",),
    "W4": ("aio",),
    "W5": ("aio",),
    "first": ("aio",),
    "beside": ("aio",),
    "streams": ("aio",),
    "sizes": ("aio",),
    "connections": ("aio",),
    "idle streams": ("aio",),
    "idle connections": ("aio",),
}
CANNOT: Final = dict.fromkeys(("W2x", "W2s"), "it is HTTP/2 with frames of its own")
OPTIONS: Final = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
SERVICE: Final = "telewire.Benchmark"


def _messages() -> dict[str, Any]:
    kinds = descriptor_pb2.FieldDescriptorProto
    declared = {
        "Pair": {"a": kinds.TYPE_INT64, "b": kinds.TYPE_STRING},
        "Row": {"id": kinds.TYPE_INT64, "name": kinds.TYPE_STRING, "ok": kinds.TYPE_BOOL},
        "Count": {"count": kinds.TYPE_INT64},
        "Chunk": {"data": kinds.TYPE_BYTES},
    }
    file = descriptor_pb2.FileDescriptorProto(
        name="telewire_benchmark.proto", package="telewire", syntax="proto3"
    )
    for name, fields in declared.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            message.field.add(name=field, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"telewire.{name}"))
        for name in declared
    }


MESSAGES: Final = _messages()
Pair: Final = MESSAGES["Pair"]
Row: Final = MESSAGES["Row"]
Count: Final = MESSAGES["Count"]
Chunk: Final = MESSAGES["Chunk"]


def _row(number: int) -> Any:
    return Row(**row(number))


# --- server --------------------------------------------------------------------------------------


async def _echo(request: Any, context: Any) -> Any:
    return Pair(a=request.a, b=request.b)


async def _rows(request: Any, context: Any) -> AsyncIterator[Any]:
    for number in range(request.count):
        yield _row(number)


async def _hold(request: Any, context: Any) -> AsyncIterator[Any]:
    yield _row(0)
    await asyncio.Event().wait()


async def _download(request: Any, context: Any) -> AsyncIterator[Any]:
    async for block in blocks(request.count):
        yield Chunk(data=block)


async def _upload(requests: AsyncIterator[Any], context: Any) -> Any:
    taken = 0
    async for chunk in requests:
        taken = follow(taken, chunk.data)
    return Count(count=taken)


async def _pipe(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
    async for message in requests:
        yield Row(id=message.id, name=message.name, ok=message.ok)


async def _call_back(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
    # The first message says how many calls; each that follows is the answer to one.
    answers = aiter(requests)
    count = (await anext(answers)).a
    right = 0
    for number in range(count):
        yield Pair(a=number, b=TEXT)
        answer = await anext(answers)
        right += answer.a == number and answer.b == TEXT
    yield Pair(a=right)


def _handlers() -> Any:
    def decode(kind: Any) -> dict[str, Any]:
        return {"request_deserializer": kind.FromString, "response_serializer": _bytes_of}

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "echo": grpc.unary_unary_rpc_method_handler(_echo, **decode(Pair)),
            "rows": grpc.unary_stream_rpc_method_handler(_rows, **decode(Count)),
            "hold": grpc.unary_stream_rpc_method_handler(_hold, **decode(Count)),
            "download": grpc.unary_stream_rpc_method_handler(_download, **decode(Count)),
            "upload": grpc.stream_unary_rpc_method_handler(_upload, **decode(Chunk)),
            "pipe": grpc.stream_stream_rpc_method_handler(_pipe, **decode(Row)),
            "call_back": grpc.stream_stream_rpc_method_handler(_call_back, **decode(Pair)),
        },
    )


def _bytes_of(message: Any) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded


async def serve(way: str, started: Callable[[int], object]) -> None:
    """Serve until cancelled; ``started`` learns the port."""
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((_handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    started(port)
    try:
        await asyncio.Event().wait()
    finally:
        await server.stop(0)


# --- client --------------------------------------------------------------------------------------


@final
class _Session:
    """One channel of gRPC."""

    def __init__(self, channel: Any) -> None:
        def method(kind: str, name: str, answer: Any) -> Any:
            return getattr(channel, kind)(
                f"/{SERVICE}/{name}", request_serializer=_bytes_of, response_deserializer=answer.FromString
            )

        self._echo = method("unary_unary", "echo", Pair)
        self._rows = method("unary_stream", "rows", Row)
        self._hold = method("unary_stream", "hold", Row)
        self._download = method("unary_stream", "download", Chunk)
        self._upload = method("stream_unary", "upload", Count)
        self._pipe = method("stream_stream", "pipe", Row)
        self._call_back = method("stream_stream", "call_back", Pair)

    async def echo(self, number: int, text: str) -> object:
        answer = await self._echo(Pair(a=number, b=text))
        return {"a": answer.a, "b": answer.b}

    async def rows(self, count: int) -> AsyncIterator[object]:
        async for item in self._rows(Count(count=count)):
            yield {"id": item.id, "name": item.name, "ok": item.ok}

    async def hold(self) -> AsyncIterator[object]:
        async for item in self._hold(Count()):
            yield {"id": item.id, "name": item.name, "ok": item.ok}

    async def download(self, count: int) -> AsyncIterator[bytes]:
        async for chunk in self._download(Count(count=count)):
            yield chunk.data

    async def upload(self, chunks: AsyncIterator[bytes]) -> object:
        async def messages() -> AsyncIterator[Any]:
            async for chunk in chunks:
                yield Chunk(data=chunk)

        taken = await self._upload(messages())
        return taken.count

    async def pipe(self) -> Pipe:
        return _Pipe(self._pipe())

    async def call_back(self, callback: Callback, count: int) -> object:
        call = self._call_back()
        await call.write(Pair(a=count))
        while True:
            asked = await call.read()
            if not asked.b:
                await call.done_writing()
                return asked.a
            answer: Any = await callback(asked.a, asked.b)
            await call.write(Pair(**answer))


@final
class _Pipe:
    """A stream both ways."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def send(self, message: object, /) -> None:
        await self._call.write(Row(**message))  # type: ignore[arg-type]  # a row, by the workload

    async def receive(self) -> object:
        item = await self._call.read()
        return {"id": item.id, "name": item.name, "ok": item.ok}

    async def aclose(self) -> None:
        await self._call.done_writing()
        if await self._call.read() is not grpc.aio.EOF:
            raise ValueError("A message came back that nobody had sent.")


@asynccontextmanager
async def connect(port: int, way: str) -> AsyncIterator[Session]:
    """One connection."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
        await channel.channel_ready()
        yield _Session(channel)
