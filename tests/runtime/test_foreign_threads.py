"""Use of handles off their loop's thread: every public method says so, but those that are forwarded (R3)."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import anyio
import anyio.to_thread
import pytest

from telewire import ByteStream, Channel, RemoteFunction, RemoteIterator, RemotePromise, Service
from tests.runtime.world import Connected, until

Use = Callable[[Any], Any]

CLASSES: Final = {
    "stream": ByteStream,
    "channel": Channel,
    "iterator": RemoteIterator,
    "promise": RemotePromise,
    "function": RemoteFunction,
}

# What reads what Python keeps, and what telewire itself calls before anybody has the handle.
READS: Final = {
    "closed",
    "content_type",
    "describe",
    "kind",
    "name",
    "name_items",
    "peer",
    "set_item_converter",
    "set_outgoing_converter",
    "size",
    "source",
    "value",
}

# How each method is used; one of a coroutine function is driven until it waits.
REFUSED: Final[dict[str, dict[str, Use]]] = {
    "stream": {
        "__aiter__": lambda stream: aiter(stream).__anext__(),
        "__aexit__": lambda stream: stream.__aexit__(None, None, None),
        "aclose": lambda stream: stream.aclose(),
        "read": lambda stream: stream.read(),
        "receive": lambda stream: stream.receive(),
        "save": lambda stream: stream.save("never-written"),
    },
    "channel": {
        "__aiter__": aiter,
        "__aexit__": lambda channel: channel.__aexit__(None, None, None),
        "abort": lambda channel: channel.abort("value"),
        "aclose": lambda channel: channel.aclose(),
        "listen": lambda channel: channel.listen(print),
        "receive": lambda channel: channel.receive(),
        "request": lambda channel: channel.request("message"),
        "send": lambda channel: channel.send("message"),
        "send_nowait": lambda channel: channel.send_nowait("message"),
    },
    "iterator": {
        "__anext__": lambda iterator: anext(iterator).__await__(),
        "__aexit__": lambda iterator: iterator.__aexit__(None, None, None),
        "aclose": lambda iterator: iterator.aclose(),
    },
    "promise": {
        "__await__": lambda promise: promise.__await__(),
        "__aexit__": lambda promise: promise.__aexit__(None, None, None),
        "aclose": lambda promise: promise.aclose(),
    },
    "function": {
        "__aexit__": lambda function: function.__aexit__(None, None, None),
        "aclose": lambda function: function.aclose(),
    },
}

# These are forwarded from the threads of plain functions, and refused in any other.
FORWARDED: Final[dict[str, dict[str, Use]]] = {
    "stream": {
        "on_close": lambda stream: stream.on_close(lambda: None),
        "on_progress": lambda stream: stream.on_progress(lambda done, total: None),
    },
    "channel": {"on_close": lambda channel: channel.on_close(lambda: None)},
    "iterator": {"on_close": lambda iterator: iterator.on_close(lambda: None)},
    "promise": {"on_close": lambda promise: promise.on_close(lambda: None)},
    "function": {
        "__call__": lambda function: repr(function()),
        "on_close": lambda function: function.on_close(lambda: None),
    },
}


class Giving:
    """A service that gives one handle of each kind, and a plain function that uses one in its thread."""

    def __init__(self) -> None:
        self.service = Service()
        self.gate = anyio.Event()
        self.kept: list[Channel[Any, Any]] = []
        self.service.function(self.give)
        self.service.function(self.use)

    async def give(self, kind: str) -> Any:
        return self.make(kind)

    def make(self, kind: str) -> Any:
        """What the other side gets as a handle; some of it has arrived before it is used."""
        if kind == "stream":
            return ByteStream(self.chunks())
        if kind == "channel":
            channel = Channel[Any, Any]()
            channel.send_nowait("arrived")
            self.kept.append(channel)
            return channel.peer
        if kind == "function":
            return self.called
        return self.items() if kind == "iterator" else self.later()

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b"arrived"
        await self.gate.wait()

    async def items(self) -> AsyncIterator[int]:
        yield 1
        yield 2
        await self.gate.wait()

    async def later(self) -> int:
        return 3

    async def called(self) -> None: ...

    def use(self, handle: Any, kind: str) -> dict[str, str]:
        """What becomes of each use, in a thread of telewire's own."""
        table = REFUSED[kind] | FORWARDED[kind]
        return {name: outcome(use, handle) for name, use in table.items()}


def outcome(use: Use, handle: Any) -> str:
    """The sentence that a use raises, or that it raises none."""
    try:
        result = use(handle)
        if inspect.iscoroutine(result):
            try:
                result.send(None)
            finally:
                result.close()
        elif hasattr(result, "send"):
            result.send(None)
    except RuntimeError as error:
        return str(error)
    except BaseException as error:
        return f"raised {error!r}"
    return "works"


@pytest.mark.parametrize("kind", CLASSES)
def test_every_public_method_is_in_the_table(kind: str) -> None:
    public = {name for name in dir(CLASSES[kind]) if not name.startswith("_")}
    table = REFUSED[kind].keys() | FORWARDED[kind].keys()
    assert public - READS == {name for name in table if not name.startswith("__")}


@pytest.mark.parametrize("kind", CLASSES)
async def test_in_a_thread_of_somebody_else(connected: Connected, kind: str) -> None:
    giving = Giving()
    async with connected(giving.service) as world:
        handle = await world.remote.give(kind)
        await world.remote["test.round_trip"]()
        for name, use in (REFUSED[kind] | FORWARDED[kind]).items():
            sentence = await anyio.to_thread.run_sync(outcome, use, handle)
            assert "was used in another thread than its event loop's; use it on the loop" in sentence, name
        # Nothing of it has changed anything.
        assert handle.closed is (kind == "promise")
        if kind == "iterator":
            assert [await anext(handle), await anext(handle)] == [1, 2]
        elif kind == "stream":
            assert await handle.receive() == b"arrived"
        elif kind == "channel":
            assert await handle.receive() == "arrived"
        await handle.aclose()
        giving.gate.set()


@pytest.mark.parametrize("kind", CLASSES)
async def test_in_the_thread_of_a_plain_function(connected: Connected, kind: str) -> None:
    giving = Giving()
    async with connected(giving.service) as world:
        found = await world.remote.use(giving.make(kind), kind)
        for name in REFUSED[kind]:
            assert "was used in another thread than its event loop's" in found[name], name
        for name in FORWARDED[kind]:
            assert found[name] == "works", name
        giving.gate.set()
        if kind == "channel":
            await until(lambda: giving.kept[0].closed)
