"""Every example over every transport that can carry it: what arrived is what the server recorded."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import anyio
import pytest

from telewire import Abort, ByteStream, Limits, Remote, Service, TransportUnsuitable
from telewire.runtime.transport import TransportName
from telewire_transports import connect, memory, serve

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("[a-z]*.py"))
Load = Callable[[str], ModuleType]
# Not named as the backends are: a program of asyncio's has no counterpart on trio.
on_asyncio = pytest.mark.parametrize("anyio_backend", [pytest.param("asyncio", id="streams of asyncio")])


@asynccontextmanager
async def over_memory(service: Service, headers: dict[str, str] | None = None) -> AsyncIterator[Remote]:
    async with memory.connect(service, headers=headers) as remote:
        yield remote


@asynccontextmanager
async def over_websocket(service: Service, headers: dict[str, str] | None = None) -> AsyncIterator[Remote]:
    async with over_socket(service, "websocket", headers) as remote:
        yield remote


@asynccontextmanager
async def over_exchanges(service: Service, headers: dict[str, str] | None = None) -> AsyncIterator[Remote]:
    """Each call a request of its own."""
    async with over_socket(service, "exchange", headers) as remote:
        yield remote


@asynccontextmanager
async def over_http(service: Service, headers: dict[str, str] | None = None) -> AsyncIterator[Remote]:
    """A response that streams, and POSTs beside it."""
    async with over_socket(service, "http", headers) as remote:
        yield remote


@asynccontextmanager
async def over_sse(service: Service, headers: dict[str, str] | None = None) -> AsyncIterator[Remote]:
    """The same, down as events."""
    async with over_socket(service, "sse", headers) as remote:
        yield remote


@asynccontextmanager
async def over_anything(service: Service, headers: dict[str, str] | None = None) -> AsyncIterator[Remote]:
    """Whatever the client chooses; it moves to a WebSocket while the example runs."""
    async with over_socket(service, None, headers) as remote:
        yield remote


@asynccontextmanager
async def over_socket(
    service: Service, transport: TransportName | None, headers: dict[str, str] | None
) -> AsyncIterator[Remote]:
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
        url = f"http://127.0.0.1:{ports[0]}/telewire"
        async with connect(url, headers=headers, transport=transport) as remote:
            yield remote
        group.cancel_scope.cancel()


@pytest.fixture(params=[over_memory, over_websocket, over_http, over_sse, over_anything, over_exchanges])
def over(request: pytest.FixtureRequest) -> Callable[[Service], asynccontextmanager[Remote]]:
    """Connect to a service over each transport."""
    return request.param


@pytest.fixture(params=[over_memory, over_websocket, over_http, over_sse, over_anything])
def over_sessions(request: pytest.FixtureRequest) -> Callable[[Service], asynccontextmanager[Remote]]:
    """The same for arguments that one HTTP request cannot carry, and for credit, which it does not have."""
    return request.param


@pytest.fixture(params=[over_memory, over_websocket, over_http, over_sse, over_anything, over_exchanges])
def over_promoted(request: pytest.FixtureRequest) -> Callable[[Service], asynccontextmanager[Remote]]:
    """The same for answers that one HTTP request cannot carry: it goes on as a session."""
    return request.param


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until something holds."""
    with anyio.fail_after(5):
        while not condition():
            await anyio.lowlevel.checkpoint()


def test_every_example_is_tested() -> None:
    assert NAMES == [
        "ai_chat",
        "chat_room",
        "compress",
        "compress_video",
        "countdown",
        "counter",
        "dashboard",
        "download",
        "mixed",
        "notifications",
        "search",
        "team_feed",
        "ticker",
        "upload",
    ]


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


async def test_ticker_runs_ahead_by_its_window_and_no_further(
    load: Load, over_sessions, anyio_backend: str
) -> None:
    example = load("ticker")
    window = Limits().stream_window // Limits().item_cost
    async with over_sessions(example.service) as remote:
        iterator = await remote[example.on_ticks]()
        assert await anext(iterator) == 0
        await until(lambda: len(example.sent) >= window)
        produced = await remote[example.on_progress]()
        assert produced <= 2 * window
        await iterator.aclose()
        await until(lambda: example.ended)
        assert len(example.sent) == produced


async def test_notifications(load: Load, over_sessions, anyio_backend: str) -> None:
    example = load("notifications")
    shown: list[str] = []
    async with over_sessions(example.service) as remote:
        arrived = await example.client(remote, shown.append, 0)
        assert example.ended == ["unsubscribed"]
    assert arrived == shown == example.sent
    assert arrived == ["ordered: tea", "ordered: coffee", "ordered: a second coffee"]


async def test_notifications_end_when_the_client_goes_away(
    load: Load, over_sessions, anyio_backend: str
) -> None:
    example = load("notifications")
    async with over_sessions(example.service) as remote:
        await remote[example.on_subscribe](list[str]().append)
    await until(lambda: example.ended)
    assert example.ended == ["unsubscribed"]


async def test_dashboard(load: Load, over, anyio_backend: str) -> None:
    example = load("dashboard")
    shown: list[str] = []
    async with over(example.service) as remote:
        # The report of the second dashboard must be under way when the client leaves it.
        arrived = await example.client(remote, shown.append, 0.02)
        await until(lambda: example.ended)
    assert arrived == shown == example.sent
    assert len(arrived) == 5
    assert example.ended == ["the report was cancelled"]


async def test_counter(load: Load, over_sessions, anyio_backend: str) -> None:
    example = load("counter")
    shown: list[str] = []
    async with over_sessions(example.service) as remote:
        arrived = await example.client(remote, shown.append, 0.001)
        await until(lambda: example.ended)
    assert arrived == [1, 2, 3, 4, 5] == example.sent[:5]
    assert example.ended == ["the interval was cleared"]


async def test_team_feed(load: Load, over_promoted, anyio_backend: str) -> None:
    example = load("team_feed")
    shown: list[str] = []
    async with over_promoted(example.service, example.headers) as remote:
        arrived = await example.client(remote, shown.append, 0)
    assert arrived == shown == example.sent
    assert (arrived[0], arrived[-1]) == ("ann is not in team blue", "ann is not in team red")


async def test_team_feed_needs_a_login(load: Load, over, anyio_backend: str) -> None:
    example = load("team_feed")
    async with over(example.service) as remote:
        with pytest.raises(Abort) as refused:
            await remote[example.on_feed]("red")
    assert refused.value.value == "log in first"


async def test_team_feed_is_refused_to_who_is_no_member(load: Load, over, anyio_backend: str) -> None:
    example = load("team_feed")
    async with over(example.service, example.headers) as remote:
        with pytest.raises(Abort) as refused:
            await remote[example.on_feed]("blue")
    assert refused.value.value == "ann is not in team blue"


@pytest.mark.parametrize("name", ["notifications", "counter", "mixed"])
async def test_what_one_http_request_cannot_carry_says_what_can(
    load: Load, anyio_backend: str, name: str
) -> None:
    example = load(name)
    headers = getattr(example, "headers", None)
    async with over_exchanges(example.service, headers) as remote:
        with pytest.raises(TransportUnsuitable, match="Use: websocket") as unsuitable:
            await example.client(remote, list[str]().append, 0)
    assert unsuitable.value.needed == ("websocket",)
    assert unsuitable.value.retryable


async def test_search(load: Load, over, anyio_backend: str) -> None:
    example = load("search")
    shown: list[str] = []
    async with over(example.service) as remote:
        arrived = await example.client(remote, shown.append, 0)
        await until(lambda: example.ended)
    assert arrived == shown == example.sent[:5]
    assert arrived[-1] == "Article 420"
    assert len(example.sent) < 5000
    assert example.ended == ["the database was closed"]


async def test_search_closes_the_database_when_the_client_goes_away(
    load: Load, over, anyio_backend: str
) -> None:
    example = load("search")
    async with over(example.service) as remote:
        iterator = await remote[example.on_search]("Article")
        assert await anext(iterator) == "Article 1"
    await until(lambda: example.ended)
    assert example.ended == ["the database was closed"]


async def test_chat_room(load: Load, over_promoted, anyio_backend: str) -> None:
    example = load("chat_room")
    shown: list[str] = []
    async with over_promoted(example.service) as remote:
        arrived = await example.client(remote, shown.append, 0)
        await until(lambda: len(example.ended) == 2)
    assert arrived == example.sent
    assert arrived == [line for line in shown if not line.startswith("(")]
    if over_promoted is over_exchanges:
        # Each of the two has a session of its own, and between sessions there is no order.
        example.ended.sort()
    assert example.ended == ["Ann left", "Bob was thrown out: no advertising"]
    assert not example.members


async def test_chat_room_is_left_when_the_client_goes_away(
    load: Load, over_promoted, anyio_backend: str
) -> None:
    example = load("chat_room")
    async with over_promoted(example.service) as remote:
        ann = await remote[example.on_join]("Ann")
        assert not ann.closed
        assert not example.ended
    await until(lambda: example.ended)
    assert example.ended == ["Ann left"]


QUARTERS = [
    "[#####               ] 25 %",
    "[##########          ] 50 %",
    "[###############     ] 75 %",
    "[####################] 100 %",
]


@pytest.mark.parametrize("name", ["download", "upload"])
async def test_files(load: Load, over, anyio_backend: str, name: str) -> None:
    example = load(name)
    shown: list[str] = []
    async with over(example.service) as remote:
        arrived = await example.client(remote, shown.append)
        await until(lambda: example.ended)
    assert arrived == example.sent
    assert arrived[0] == example.MEGABYTES * 1_000_000
    assert shown == QUARTERS
    assert example.ended == ["the file of the server was removed"]


async def test_download_removes_the_file_when_the_client_has_enough(
    load: Load, over, anyio_backend: str
) -> None:
    example = load("download")
    async with over(example.service) as remote:
        async for _ in remote[example.on_download](2):
            assert not example.ended
            break
        await until(lambda: example.ended)
    assert example.ended == ["the file of the server was removed"]


async def test_compress(load: Load, over, anyio_backend: str) -> None:
    example = load("compress")
    shown: list[str] = []
    async with over(example.service) as remote:
        arrived = await example.client(remote, shown.append, 0)
    assert arrived == example.sent == example.LINES
    assert len(shown) == len(example.LINES)


@on_asyncio
async def test_compress_video(load: Load, over, anyio_backend: str) -> None:
    example = load("compress_video")
    shown: list[str] = []
    async with over(example.service) as remote:
        arrived = await example.client(remote, shown.append)
        await until(lambda: len(example.ended) == 2)
    assert arrived == example.sent[:1]
    assert len(shown) == 2
    assert example.ended == ["ffmpeg is gone"] * 2


@on_asyncio
async def test_compress_video_kills_ffmpeg_when_the_client_goes_away(
    load: Load, over, anyio_backend: str
) -> None:
    example = load("compress_video")
    async with over(example.service) as remote, example.camera() as pictures:
        film = await remote[example.on_compress_video](ByteStream(pictures))
        assert (await film.receive()).startswith(b"\x1aE\xdf\xa3")  # the magic number of Matroska
        assert not example.ended
    await until(lambda: example.ended)
    assert example.ended == ["ffmpeg is gone"]


@on_asyncio
async def test_compress_video_kills_ffmpeg_when_the_client_has_seen_enough(
    load: Load, over, anyio_backend: str
) -> None:
    example = load("compress_video")
    async with over(example.service) as remote, example.camera() as pictures:
        async for _ in remote[example.on_compress_video](ByteStream(pictures)):
            break  # ends the film, and with it what is still being sent for it
        await until(lambda: example.ended)
    assert example.ended == ["ffmpeg is gone"]


async def test_mixed(load: Load, over_sessions, anyio_backend: str) -> None:
    example = load("mixed")
    shown: list[str] = []
    async with over_sessions(example.service) as remote:
        arrived = await example.client(remote, shown.append, 0)
        await until(lambda: example.ended)
    assert arrived == shown == example.sent == PRINTED["mixed"]
    assert example.ended == ["everything is over"]


PRINTED = {
    "ai_chat": ["Streams, promises and callbacks cross the wire as if they were local values. "],
    "chat_room": [
        "Ann: Is somebody there?",
        "read by Bob",
        "Bob: I am",
        "read by Ann",
        "(Ann left)",
        "no advertising",
        "(Bob was thrown out: no advertising)",
    ],
    "compress": [
        "a line, there and back",
        "another line, there and back",
        "one line more, there and back",
        "the last line, there and back",
    ],
    "counter": ["1", "2", "3", "4", "5"],
    "countdown": ["3", "2", "1", "0"],
    "dashboard": [
        "Dashboard of Sales",
        "Sales closed 12 tickets",
        "the forecast is for subscribers",
        "Sales: a long report",
        "Dashboard of Support",
    ],
    "download": QUARTERS,
    "mixed": [
        "4",
        "9",
        "25",
        "Do promises cross, too? Yes.",
        "BYTES CROSS",
        "Hello, world",
        "a message, relayed, and answered",
    ],
    "notifications": ["ordered: tea", "ordered: coffee", "ordered: a second coffee"],
    "search": ["Article 42", "Article 142", "Article 242", "Article 342", "Article 420"],
    "team_feed": [
        "ann is not in team blue",
        "Budget approved",
        "Offsite in May",
        "Budget approved: the confidential part",
        "ann is not in team red",
    ],
    "upload": QUARTERS,
}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_as_a_program(
    name: str, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = run_python(EXAMPLES / f"{name}.py")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    if name == "ticker":
        assert [line.split()[0] for line in lines] == ["3000", "6000", "9000", "12000"]
    elif name == "compress_video":
        assert re.fullmatch(r"2 seconds of video are compressed to \d\.\d %", lines[0])
        assert lines[1:] == ["the beginning of a film without an end was enough"]
    else:
        assert lines == PRINTED[name]
