"""Exchanges that go on as sessions, over real sockets: who is answered so sees nothing of it."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

from telewire import (
    ByteStream,
    Channel,
    Client,
    Limits,
    NetworkError,
    ReferenceReleased,
    ServerLimits,
    Service,
    SessionLost,
    TransportUnsuitable,
    get_context,
)
from telewire.core.connection import Connection
from telewire.core.events import CallResolved
from telewire.runtime.backend import current_backend
from telewire.runtime.server import Server
from telewire.testing.relay import open_relay
from telewire.wire.reader import BatchReader, write_batch
from telewire_transports import connect, serve_http1
from telewire_transports.http1.events import NO_BATCH
from tests.compiled import Beside
from tests.transports.exchanges import serving, until
from tests.transports.middle import middle_of
from tests.transports.raw_http import Raw, port_of

pytestmark = pytest.mark.anyio
HOSTS = ("127.0.0.1",)
CUTS = 12
NO_ARGUMENTS = bytes([0x82, 0x80, 0xA0])


class Rich:
    """A service whose answers need more than an exchange has."""

    def __init__(self) -> None:
        self.service: Service[Any] = Service()
        self.reasons: list[object] = []
        self.heard: list[str] = []
        self.produced = 0
        for name in ("rich", "tools", "sink"):
            self.service.add(getattr(self, name), name)

    async def rich(self, numbers: AsyncIterator[int] | None = None) -> dict[str, Any]:
        get_context().on_close(lambda reason: self.reasons.append(reason))
        channel = Channel[str, str]()

        async def answer(message: str) -> str:
            self.heard.append(message)
            return message.upper()

        channel.listen(answer)

        async def squares() -> AsyncIterator[int]:
            async for number in numbers or count(40):
                yield number * number

        async def soon() -> str:
            return "soon"

        async def apply(function: Callable[[int], Any], value: int) -> int:
            return await function(value) + 1

        return {
            "squares": squares(),
            "numbers": count(40),
            "bytes": ByteStream(iter([bytes(997)] * 40)),
            "soon": soon(),
            "apply": apply,
            "channel": channel.peer,
        }

    async def tools(self) -> Callable[[int], Any]:
        get_context().on_close(lambda reason: self.reasons.append(reason))

        async def double(value: int) -> int:
            self.produced += 1
            return 2 * value

        return double

    async def sink(self, data: ByteStream, numbers_first: bool = False) -> Callable[[], Any]:
        async def read() -> int:
            return len(await data.read())

        return read


async def count(end: int) -> AsyncIterator[int]:
    for number in range(end):
        yield number


async def use(remote: Any, *args: Any) -> list[object]:
    """Use all that ``rich`` gives; what came, in one list."""
    value = await remote.rich(*args)
    squares = [number async for number in value["squares"]]
    numbers = [number async for number in value["numbers"]]
    size = len(await value["bytes"].read())
    back: list[int] = []

    async def note(number: int) -> int:
        back.append(number)
        return 10 * number

    applied = [await value["apply"](note, number) for number in range(5)]
    replies = [await value["channel"].request(f"message {number}") for number in range(5)]
    soon = await value["soon"]
    await value["channel"].aclose()
    await value["apply"].aclose()
    return [squares, numbers, size, applied, back, replies, soon]


EXPECTED: list[object] = [
    [n * n for n in range(40)],
    list(range(40)),
    40 * 997,
    [10 * n + 1 for n in range(5)],
    list(range(5)),
    [f"MESSAGE {n}" for n in range(5)],
    "soon",
]


@asynccontextmanager
async def calling(rich: Rich, **options: Any) -> AsyncIterator[Client]:
    async with serving(rich.service, **options) as url:
        client = connect(url, transport="exchange")
        async with client:
            yield client


# --- what works ----------------------------------------------------------------------------------


async def test_functions_channels_and_several_streams_come_in_the_answer_of_an_exchange() -> None:
    rich = Rich()
    async with calling(rich) as client:
        for _ in range(3):
            assert await use(client.remote) == EXPECTED
        assert client.state == "connected"
        # There is no session of the client's: each call has its own, or none.
        assert client.transport is None
        await until(lambda: len(rich.reasons) == 3)
        await until(lambda: not client._exchanges)


async def test_many_at_a_time() -> None:
    rich = Rich()
    async with calling(rich) as client:
        results: list[object] = []

        async def one() -> None:
            results.append(await use(client.remote))

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(one)
        assert results == [EXPECTED] * 10


async def test_a_stream_of_the_arguments_goes_over_from_the_request_to_the_posts() -> None:
    rich = Rich()
    async with calling(rich) as client:
        gate = anyio.Event()

        async def numbers() -> AsyncIterator[int]:
            for number in range(20):
                yield number
            await gate.wait()
            for number in range(20, 40):
                yield number

        value = await client.remote.rich(numbers())
        assert await value["channel"].request("hello") == "HELLO"
        gate.set()
        assert [number async for number in value["squares"]] == [n * n for n in range(40)]


@pytest.mark.parametrize("size", [1000, 3_000_000])
async def test_an_upload_that_nobody_reads_yet_does_not_hold_back_the_call_that_reads_it(size: int) -> None:
    rich = Rich()
    blocks = [bytes(1000)] * (size // 1000)
    async with calling(rich) as client:
        for source in (iter(blocks), bytes(size)):
            read = await client.remote.sink(ByteStream(source))
            assert await read() == size
            await read.aclose()


async def test_over_a_route_that_is_chosen_for_each_call() -> None:
    """TW-SES-110: a balancer sees the same route on the exchange and on what is posted behind it."""
    rich = Rich()
    routes: dict[str, set[bool]] = {}

    def note(request: Any) -> None:
        session = "telewire-session" in request.headers
        routes.setdefault(request.headers["telewire-route"], set()).add(session)

    rich.service.principal = note
    async with calling(rich) as client:
        assert await use(client.remote) == EXPECTED
        assert await use(client.remote) == EXPECTED
    assert list(routes.values()) == [{False, True}] * 2


# --- lives ---------------------------------------------------------------------------------------


async def test_the_session_ends_with_its_call() -> None:
    rich = Rich()
    async with calling(rich) as client:
        double = await client.remote.tools()
        assert await double(4) == 8
        assert rich.reasons == []
        await double.aclose()
        await until(lambda: rich.reasons == [None])
        await until(lambda: not client._exchanges)


async def test_leaving_the_client_ends_it() -> None:
    rich = Rich()
    async with serving(rich.service) as url:
        async with connect(url, transport="exchange") as remote:
            double = await remote.tools()
            assert await double(1) == 2
            assert rich.reasons == []
        await until(lambda: rich.reasons)
        with pytest.raises(ReferenceReleased):
            await double(2)


async def test_a_server_that_ends_says_why() -> None:
    rich = Rich()
    async with anyio.create_task_group() as group:
        left = anyio.Event()
        entered: list[str] = []

        async def serve_it() -> None:
            async with serving(rich.service) as url:
                entered.append(url)
                await left.wait()

        group.start_soon(serve_it)
        await until(lambda: entered)
        async with connect(entered[0], transport="exchange") as remote:
            value = await remote.rich()
            assert await anext(value["numbers"]) == 0
            left.set()

            async def ask_on() -> None:
                while True:
                    await value["channel"].request("x")

            with pytest.raises(NetworkError):
                await ask_on()


# --- cuts ----------------------------------------------------------------------------------------


async def test_a_cut_anywhere_behind_the_promotion_is_a_pause() -> None:
    """I1: the response in flight, or a POST, is lost at random offsets; nothing is lost or comes twice."""
    rich = Rich()
    choose = random.Random(11)
    async with serving(rich.service, hosts=HOSTS) as url, middle_of(port_of(url)) as middle:
        client = connect(f"http://127.0.0.1:{middle.port}/telewire", transport="exchange")
        async with client as remote:
            before = middle.passed
            value = await remote.rich()
            begun = middle.passed - before
            await value["channel"].aclose()
            await value["apply"].aclose()
            for name in ("squares", "numbers", "bytes", "soon"):
                await value[name].aclose()
            await until(lambda: not client._exchanges)
            before = middle.passed
            assert await use(remote) == EXPECTED
            once = middle.passed - before
            for _ in range(CUTS):
                rich.heard.clear()
                middle.passed, middle.cut_after = 0, choose.randrange(begun, once)
                with anyio.fail_after(10):
                    assert await use(remote) == EXPECTED
                assert rich.heard == [f"message {number}" for number in range(5)]
            assert middle.cuts > CUTS // 2


async def test_the_response_in_flight_may_be_lost_and_time_goes_by() -> None:
    rich = Rich()
    async with serving(rich.service, hosts=HOSTS) as url, open_relay("localhost", port_of(url)) as relay:
        client = connect(f"http://127.0.0.1:{relay.port}/telewire", transport="exchange")
        async with client as remote:
            value = await remote.rich()
            assert await anext(value["numbers"]) == 0
            relay.cut()
            assert await value["channel"].request("after") == "AFTER"
            assert [number async for number in value["numbers"]] == list(range(1, 40))
            assert client.state == "connected"
            assert rich.reasons == []


async def test_a_cut_while_an_upload_crosses_the_promotion_loses_nothing() -> None:
    rich = Rich()
    async with serving(rich.service, hosts=HOSTS) as url, open_relay("localhost", port_of(url)) as relay:
        client = connect(f"http://127.0.0.1:{relay.port}/telewire", transport="exchange")
        async with client as remote:
            read = await remote.sink(ByteStream(iter([bytes(1000)] * 2000)))
            relay.cut()
            assert await read() == 2_000_000


async def test_a_client_that_does_not_come_back_is_not_waited_for_longer_than_for_any() -> None:
    rich = Rich()
    options = {"hosts": HOSTS, "resume_window": 0.05}
    async with serving(rich.service, **options) as url, open_relay("localhost", port_of(url)) as relay:
        client = connect(f"http://127.0.0.1:{relay.port}/telewire", transport="exchange")
        async with client as remote:
            value = await remote.rich()
            relay.hold()
            relay.cut()
            await until(lambda: rich.reasons)
            assert isinstance(rich.reasons[0], SessionLost)
            assert "squares" in value


# --- who may not ---------------------------------------------------------------------------------


async def test_a_server_without_sessions_refuses_as_ever_and_that_is_no_bug() -> None:
    rich = Rich()
    bugs: list[Exception] = []
    service: Service[Any] = Service(on_error=lambda error, context: bugs.append(error))
    service.include(rich.service)
    server = Server(current_backend(), service)
    listener = await serve_http1(server.accept_exchange, port=0, hosts=("localhost",))
    url = f"http://localhost:{listener.port}/telewire"
    async with connect(url, transport="exchange") as remote:
        for call in (remote.tools(), remote.rich()):
            with pytest.raises(TransportUnsuitable) as unsuitable:
                await call
            assert unsuitable.value.needed == ("websocket",)
    assert bugs == []
    await listener.aclose()
    await server.aclose()


class RawExchange(Raw):
    """An exchange made by hand."""

    def __init__(self, port: int, *, offers: bool = True) -> None:
        super().__init__(port)
        self.core = Connection("client", exchange=True, promotion=offers)
        self.events: list[object] = []

    async def begin(self, name: str, **headers: str) -> None:
        """Make the call, and hear its answer."""
        self.core.call(name, NO_ARGUMENTS)
        body = b"".join(map(write_batch, self.core.data_to_send()))
        self.stream = await self._send(headers, body)
        data = b""
        while b"\r\n\r\n" not in data:
            data += await self.stream.receive()
        head, _, self.rest = data.partition(b"\r\n\r\n")
        assert b"telewire-session" not in head.lower()
        self.reader = BatchReader(Limits())
        if b"content-length" in head.lower():
            self.rest = b"%x\r\n%b\r\n" % (len(self.rest), self.rest)
        await self.hear(self.answered)
        self.session = self.core.downlink

    async def to_the_last_chunk(self) -> None:
        """Read what is left of the response; its connection goes on."""
        while not self.rest.endswith(b"0\r\n\r\n"):
            self.rest += await self.stream.receive()
        await self.stream.aclose()

    def answered(self) -> bool:
        """Whether the answer is there."""
        self.events += self.core.events_received()
        return any(type(event).__name__ in ("CallResolved", "CallRejected") for event in self.events)


async def test_a_client_that_does_not_offer_it_is_refused() -> None:
    rich = Rich()
    async with serving(rich.service) as url:
        raw = RawExchange(port_of(url), offers=False)
        await raw.begin("tools")
        [event] = [event for event in raw.events if type(event).__name__ == "CallRejected"]
        assert event.code == 15  # type: ignore[attr-defined]
        await raw.stream.aclose()


async def test_who_may_post_to_it() -> None:
    rich = Rich()
    rich.service.principal = lambda request: request.headers.get("x-who")
    async with serving(rich.service) as url, serving(Rich().service) as other:
        raw, elsewhere = RawExchange(port_of(url)), Raw(port_of(other))
        await raw.begin("tools", **{"X-Who": "ann"})
        [resolved] = [event for event in raw.events if isinstance(event, CallResolved)]
        raw.core.call(resolved.declared[0], bytes([0x82, 0x81, 4, 0xA0]))
        body = raw.say()
        ann = {"X-Who": "ann"}
        worker, name, secret = raw.session.split(".")
        elsewhere.session = raw.session
        assert await elsewhere.post(body, **ann) == 421
        assert await raw.post(body, **{"X-Who": "eve"}) == 403
        assert await raw.post(body, **ann, Origin="https://evil.example") == 403
        for session in (f"{worker}.{name}.{secret[::-1]}", f"{worker}.other.{secret}"):
            assert await raw.post(body, **ann, **{"Telewire-Session": session}) == 410
        assert rich.produced == 0
        assert await raw.post(body, **ann) == 204
        assert await raw.post(body, **ann) == 204
        raw.events.clear()
        await raw.hear(raw.answered)
        assert rich.produced == 1
        # The session belongs to ann, too.
        eve = Raw(port_of(url))
        await eve.open(**{"X-Who": "eve"})
        raw.core.receive_eof(0.0)
        raw.core.attach(0.0)
        assert await eve.post(raw.say(), **{"X-Who": "eve"}) == 204
        await until(lambda: rich.reasons)
        await raw.stream.aclose()
        await eve.stream.aclose()


async def test_nothing_is_posted_behind_its_end() -> None:
    rich = Rich()
    async with serving(rich.service) as url:
        raw = RawExchange(port_of(url))
        await raw.begin("tools")
        raw.core.close()
        body = raw.say()
        assert await raw.post(body) == 204
        await raw.to_the_last_chunk()
        with anyio.fail_after(5):
            while (status := await raw.post(body)) == 204:
                await anyio.lowlevel.checkpoint()
        assert status == 410


async def test_a_farewell_without_a_word_ends_the_response() -> None:
    rich = Rich()
    async with serving(rich.service) as url:
        raw = RawExchange(port_of(url))
        await raw.begin("tools")
        assert await raw.post(b"") == 204
        await raw.to_the_last_chunk()


async def test_it_gives_signs_of_life() -> None:
    rich = Rich()
    async with serving(rich.service, limits=Limits(idle_seconds=0.02)) as url:
        raw = RawExchange(port_of(url))
        await raw.begin("tools")
        data = b""
        while data.count(b"1\r\n" + NO_BATCH + b"\r\n") < 3:
            data += await raw.stream.receive()
        await raw.stream.aclose()


async def test_signs_of_life_keep_a_silent_session() -> None:
    rich = Rich()
    limits = Limits(idle_seconds=0.02, dead_seconds=0.5)
    async with serving(rich.service, limits=limits) as url:
        client = connect(url, transport="exchange", limits=limits)
        async with client as remote:
            double = await remote.tools()
            driver = next(iter(client._exchanges._open))
            transport = driver.transport
            heard: list[bytes] = []
            core = driver.connection

            def note(now: float) -> bool:
                heard.append(b"")
                return core.receive_bytes(now)

            driver.connection = Beside(core, receive_bytes=note)  # type: ignore[assignment]  # in its place
            await until(lambda: len(heard) >= 3)
            assert driver.transport is transport
            assert await double(3) == 6


async def test_secrets_stand_in_no_message(caplog: pytest.LogCaptureFixture) -> None:
    rich = Rich()
    caplog.set_level(logging.DEBUG)
    async with serving(rich.service) as url:
        raw = RawExchange(port_of(url))
        await raw.begin("tools")
        status, text = await raw.ask({"Telewire-Session": raw.session + "x", "Connection": "close"}, b"\xff")
        assert status == 410
        said = text.decode() + caplog.text + repr(raw.core) + repr(raw.events)
        for secret in (*raw.session.split("."), str(raw.core.token)):
            assert secret not in said
        await raw.stream.aclose()


# --- several workers -----------------------------------------------------------------------------


async def test_a_post_that_meets_another_worker_finds_its_own() -> None:
    rich = Rich()
    async with (
        serving(rich.service, hosts=HOSTS) as url,
        serving(Rich().service, hosts=HOSTS) as other,
        middle_of(port_of(url)) as middle,
    ):
        turns = iter([port_of(other), port_of(other)])
        middle.post_target = lambda: next(turns, None)
        async with connect(f"http://127.0.0.1:{middle.port}/telewire", transport="exchange") as remote:
            assert await use(remote) == EXPECTED


async def test_posts_that_never_meet_their_worker_are_told_what_would_do() -> None:
    rich = Rich()
    async with (
        serving(rich.service, hosts=HOSTS) as url,
        serving(Rich().service, hosts=HOSTS) as other,
        middle_of(port_of(url)) as middle,
    ):
        middle.post_target = lambda: port_of(other)
        async with connect(f"http://127.0.0.1:{middle.port}/telewire", transport="exchange") as remote:
            double = await remote.tools()
            with pytest.raises(TransportUnsuitable) as unsuitable:
                await double(1)
            assert unsuitable.value.needed[0] == "websocket"


# --- bounds --------------------------------------------------------------------------------------


async def test_it_takes_a_place_as_any_session_and_gives_it_back() -> None:
    rich = Rich()
    limits = ServerLimits(sessions=1)
    async with (
        serving(rich.service, server_limits=limits) as url,
        connect(url, transport="exchange") as remote,
    ):
        double = await remote.tools()
        with pytest.raises(NetworkError, match="503"):
            await remote.tools()
        assert await double(2) == 4
        await double.aclose()
        await until(lambda: rich.reasons)
        with anyio.fail_after(5):
            while True:
                try:
                    double = await remote.tools()
                    break
                except NetworkError:
                    await anyio.lowlevel.checkpoint()
        assert await double(3) == 6


async def test_of_too_many_detached_ones_the_oldest_goes() -> None:
    rich = Rich()
    limits = ServerLimits(detached=1)
    options = {"hosts": HOSTS, "server_limits": limits}
    async with serving(rich.service, **options) as url, open_relay("localhost", port_of(url)) as relay:
        client = connect(f"http://127.0.0.1:{relay.port}/telewire", transport="exchange")
        async with client as remote:
            values = [await remote.rich(), await remote.rich()]
            relay.hold()
            relay.cut()
            await until(lambda: rich.reasons)
            assert [type(reason) for reason in rich.reasons] == [SessionLost]
            assert len(values) == 2
