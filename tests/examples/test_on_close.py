"""When `on_close` fires, for every example and each way in which its call can end: once, and in time.

At once where somebody ends it. On a natural end it waits for who consumes: nothing is over while more
than a window is unread, or while a handle is held. (The last window is not waited for: a stream has
ended for its sender when its end has left.)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import telewire
from telewire import Abort, ByteStream, Call, CallCancelled, Channel, Context, Limits, NetworkError, Remote
from tests.runtime.world import World, lived, memory_world, quiescent, until, websocket_world

Load = Callable[[str], ModuleType]
HOUR = 3600.0
WORLDS = {"memory": memory_world, "websocket": websocket_world}
# Four items fill a window.
SMALL = Limits(stream_window=1024, stream_window_read=1024)
REASONS: dict[str, type[BaseException] | None] = {
    "break": None,
    "cancel": CallCancelled,
    "cut": NetworkError,
    "drop": None,
    "leave": None,
    "stop": None,
}
# Not named as the backends are: a program of asyncio's has no counterpart on trio.
on_asyncio = pytest.mark.parametrize("anyio_backend", [pytest.param("asyncio", id="streams of asyncio")])


class Visit:
    """One call of an example: how it is going, what the client holds of it, what `on_close` was told."""

    def __init__(self, example: ModuleType, remote: Remote, stack: AsyncExitStack) -> None:
        self.example = example
        self.remote = remote
        self.stack = stack
        self.reasons: list[BaseException | None] = []
        # Any: each example gives something else.
        self.call: Call[Any] | None = None
        self.held: Any = None

    async def never(self) -> AsyncIterator[Any]:
        """A source that gives one thing and then waits."""
        yield b"a line\n"
        await anyio.Event().wait()


Open = Callable[[Visit], Call[Any]]
Step = Callable[[Visit], Awaitable[object]]


@dataclass
class Row:
    """An example: how it is called, what shows that it is under way, and how it can end."""

    open: Open
    begun: Step
    ways: str
    ended: list[str]
    # Consumes it to its natural end; it is opened by ``whole`` then, and leaves ``left`` in the record.
    finish: Step | None = None
    whole: Open | None = None
    left: list[str] | None = None
    limits: Limits | None = None


async def first(visit: Visit) -> None:
    """Take one item or chunk."""
    await anext(aiter(visit.held))


async def nothing(visit: Visit) -> None:
    """That the result is here shows enough."""


async def everything(visit: Visit) -> None:
    """Take all items."""
    async for _ in visit.held:
        pass


def subscribe(visit: Visit) -> Call[Any]:
    return visit.remote[visit.example.on_subscribe](list[str]().append)


def count(visit: Visit) -> Call[Any]:
    visit.held = arrived = anyio.Event()
    return visit.remote[visit.example.on_count](lambda number: arrived.set(), 0.001)


async def counting(visit: Visit) -> None:
    await until(lambda: len(visit.example.sent) > 1)


async def dashboard_loaded(visit: Visit) -> None:
    parts = visit.held
    await parts["summary"]
    with pytest.raises(Abort):
        await parts["forecast"]
    await parts["report"]


async def feed_read(visit: Visit) -> None:
    assert [headline async for headline in visit.held["headlines"]]
    await visit.held["details"]("Budget approved")
    await quiescent()
    # All is read, and a handle is held.
    assert visit.reasons == []
    await telewire.aclose(visit.held)


async def room_left(visit: Visit) -> None:
    await visit.held.aclose()


def feed(visit: Visit) -> Call[Any]:
    visit.example.MEMBERS["red"].add("ann")
    return visit.remote[visit.example.on_feed]("red")


def mix(visit: Visit) -> Call[Any]:
    async def numbers() -> AsyncIterator[int]:
        yield 2

    async def question() -> str:
        return "Question?"

    async def name() -> str:
        return "world"

    mine = Channel[str, str]()
    mine.listen(lambda message: message)
    return visit.remote[visit.example.on_mixed](numbers(), question(), ByteStream(b"bytes"), name, mine.peer)


async def mixed_taken(visit: Visit) -> None:
    parts = visit.held
    assert [square async for square in parts["squares"]] == [4]
    await parts["answer"]
    await parts["loud"].read()
    await parts["greet"]("Hello")
    await parts["channel"].request("message")
    await quiescent()
    assert visit.reasons == []
    await telewire.aclose(parts)


def lines(visit: Visit) -> Call[Any]:
    return visit.remote[visit.example.on_compress](ByteStream(visit.never()))


def whole_lines(visit: Visit) -> Call[Any]:
    return visit.remote[visit.example.on_compress](ByteStream([b"a line\n"] * 100))


async def uploading(visit: Visit) -> None:
    await quiescent()
    assert visit.reasons == []


async def taken(visit: Visit) -> None:
    assert visit.held == 5


ANY = "break cancel cut drop leave stop"
ALIVE = "cancel cut drop leave stop"
CALLED = "cancel cut leave stop"

ROWS: dict[str, Row] = {
    "ai_chat": Row(
        lambda visit: visit.remote[visit.example.on_prompt]("?", 0.0),
        first,
        ANY,
        ["the request to the model was cancelled"],
    ),
    "chat_room": Row(
        lambda visit: visit.remote[visit.example.on_join]("Ann"), nothing, ALIVE, ["Ann left"], room_left
    ),
    "compress": Row(lines, first, ANY, [], everything, whole_lines, limits=SMALL),
    "countdown": Row(
        lambda visit: visit.remote[visit.example.on_countdown](3, HOUR),
        first,
        ANY,
        [],
        everything,
        lambda visit: visit.remote[visit.example.on_countdown](9, 0.0),
        limits=SMALL,
    ),
    "counter": Row(count, counting, CALLED, ["the interval was cleared"]),
    "dashboard": Row(
        lambda visit: visit.remote[visit.example.on_load]("Sales", HOUR),
        nothing,
        ALIVE,
        ["the report was cancelled"],
        dashboard_loaded,
        lambda visit: visit.remote[visit.example.on_load]("Sales", 0.001),
        left=[],
    ),
    "download": Row(
        lambda visit: visit.remote[visit.example.on_download](2),
        first,
        ANY,
        ["the file of the server was removed"],
        everything,
    ),
    "mixed": Row(mix, nothing, ALIVE, ["everything is over"], mixed_taken),
    "notifications": Row(subscribe, nothing, CALLED, ["unsubscribed"]),
    "search": Row(
        lambda visit: visit.remote[visit.example.on_search]("Article"),
        first,
        ANY,
        ["the database was closed"],
        everything,
        lambda visit: visit.remote[visit.example.on_search]("Article 9999"),
        limits=SMALL,
    ),
    "team_feed": Row(feed, nothing, ALIVE, [], feed_read),
    "ticker": Row(
        lambda visit: visit.remote[visit.example.on_ticks](), first, ANY, ["the ticker was stopped"]
    ),
    "upload": Row(
        lambda visit: visit.remote[visit.example.on_upload](ByteStream(visit.never())),
        uploading,
        CALLED,
        [],
        taken,
        lambda visit: visit.remote[visit.example.on_upload](ByteStream(b"bytes")),
        left=["the file of the server was removed"],
    ),
}
# Their result is not there before they are over, or says nothing.
WITHOUT_RESULT = {"counter", "upload"}
# They wait for nobody: what they give fits into a window, or is there at once.
UNCONSUMED = {"dashboard", "upload"}


async def film(visit: Visit) -> Call[Any]:
    pictures = await visit.stack.enter_async_context(visit.example.camera())
    return visit.remote[visit.example.on_compress_video](ByteStream(pictures))


def test_every_example_is_in_the_table() -> None:
    from tests.examples.test_examples import NAMES

    assert sorted([*ROWS, "compress_video"]) == NAMES


async def end(way: str, world: World, visit: Visit) -> None:
    """End a call that is under way."""
    assert visit.call is not None
    if way == "break":
        async for _ in visit.call:
            break
    elif way == "cancel":
        visit.call.cancel("enough")
    elif way == "cut":
        world.cut()
    elif way == "drop":
        visit.call = visit.held = None
    elif way == "stop":
        await visit.call.aclose()


async def ends_once(
    load: Load, transport: str, name: str, way: str, row: Row, opened: Callable[[Visit], Awaitable[Call[Any]]]
) -> None:
    example = load(name)
    reasons: list[BaseException | None] = []

    @example.service.middleware
    async def note(context: Context[Any], proceed: Callable[[], Awaitable[Any]]) -> Any:
        context.on_close(lambda reason: reasons.append(reason))
        return await proceed()

    headers = getattr(example, "headers", None)
    world_of = WORLDS[transport](example.service, None, headers, None)
    async with AsyncExitStack() as stack:
        async with lived(world_of, settle=False) as world:
            visit = Visit(example, world.remote, stack)
            visit.reasons = reasons
            visit.call = await opened(visit)
            if name not in WITHOUT_RESULT:
                visit.held = await visit.call
            if way != "break":
                await row.begun(visit)
            assert reasons == []
            assert getattr(example, "ended", []) == []
            await end(way, world, visit)
            if way != "leave":
                await until(lambda: len(reasons) == 1, lambda: f"on_close after {way}")
                if row.ended:
                    await until(lambda: example.ended == row.ended, lambda: example.ended)
                if visit.call is not None:
                    # What ended while nobody awaited it is no news.
                    visit.call.cancel()
                visit.call = visit.held = None
        await until(lambda: len(reasons) == 1, lambda: f"on_close after {way}")
        if row.ended:
            await until(lambda: example.ended == row.ended, lambda: example.ended)
        # Nothing of it runs a second time.
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
    assert len(reasons) == 1
    assert getattr(example, "ended", []) == row.ended
    expected = REASONS[way]
    assert reasons[0] is None if expected is None else isinstance(reasons[0], expected)


# Over a WebSocket those that the carrier has a part in; the examples' own tests run over both.
@pytest.mark.parametrize(
    ("name", "way", "transport"),
    [(name, way, "memory") for name, row in ROWS.items() for way in row.ways.split()]
    + [(name, way, "websocket") for name in ROWS for way in ("cut", "leave")],
)
async def test_at_once_where_somebody_ends_it(
    load: Load, name: str, way: str, transport: str, anyio_backend: str
) -> None:
    row = ROWS[name]

    async def opened(visit: Visit) -> Call[Any]:
        return row.open(visit)

    await ends_once(load, transport, name, way, row, opened)


@on_asyncio
@pytest.mark.parametrize("way", ANY.split())
async def test_of_compress_video_at_once_where_somebody_ends_it(
    load: Load, way: str, anyio_backend: str
) -> None:
    row = Row(lines, first, ANY, ["ffmpeg is gone"])
    await ends_once(load, "memory", "compress_video", way, row, film)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.finish is not None])
async def test_on_a_natural_end_it_waits_for_who_consumes(load: Load, name: str, anyio_backend: str) -> None:
    row = ROWS[name]
    assert row.finish is not None
    example = load(name)
    reasons: list[BaseException | None] = []

    @example.service.middleware
    async def note(context: Context[Any], proceed: Callable[[], Awaitable[Any]]) -> Any:
        context.on_close(lambda reason: reasons.append(reason))
        return await proceed()

    world_of = memory_world(example.service, row.limits, getattr(example, "headers", None))
    async with AsyncExitStack() as stack, lived(world_of, settle=False) as world:
        visit = Visit(example, world.remote, stack)
        visit.reasons = reasons
        call = (row.whole or row.open)(visit)
        visit.held = await call
        if name not in UNCONSUMED:
            await quiescent()
            assert reasons == []
            assert getattr(example, "ended", []) == []
        await row.finish(visit)
        await until(lambda: len(reasons) == 1, lambda: "on_close")
        left = row.ended if row.left is None else row.left
        if left:
            await until(lambda: example.ended == left, lambda: example.ended)
        visit.held = None
        await quiescent()
    assert reasons == [None]
    assert getattr(example, "ended", []) == left


@on_asyncio
async def test_of_compress_video_on_a_natural_end(load: Load, anyio_backend: str) -> None:
    example = load("compress_video")
    reasons: list[BaseException | None] = []

    @example.service.middleware
    async def note(context: Context[Any], proceed: Callable[[], Awaitable[Any]]) -> Any:
        context.on_close(lambda reason: reasons.append(reason))
        return await proceed()

    async with (
        lived(memory_world(example.service, None, None), settle=False) as world,
        example.camera(":duration=2") as pictures,
    ):
        stream = await world.remote[example.on_compress_video](ByteStream(pictures))
        await stream.receive(1)
        assert reasons == []
        async for _ in stream:
            pass
        await until(lambda: len(reasons) == 1, lambda: "on_close")
        await until(lambda: example.ended == ["ffmpeg is gone"], lambda: example.ended)
    assert reasons == [None]
