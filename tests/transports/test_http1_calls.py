"""Calls that are exchanges live and end as calls over WebSocket do, where one request can carry them."""

from __future__ import annotations

import gc
import ssl
from collections.abc import AsyncIterator, Awaitable

import anyio
import anyio.lowlevel
import pytest

from telewire import (
    Abort,
    ByteStream,
    CallCancelled,
    CancelOutcome,
    DeadlineExceeded,
    Limits,
    LocalProtocolError,
    RemoteError,
    Return,
    Service,
    TransportUnsuitable,
    get_context,
    with_options,
)
from telewire_transports import connect
from tests.transports.exchanges import Life, calling, serving, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def life() -> Life:
    return Life()


# --- ends ----------------------------------------------------------------------------------------


async def test_leaving_a_loop_ends_the_generator_there(life: Life) -> None:
    async with calling(life.service) as client:
        async for number in client.remote.ticks():
            if number == 10:
                break
        await until(lambda: life.cleaned)
        await until(lambda: life.reasons)
    [reason] = life.reasons
    assert isinstance(reason, CallCancelled)


async def test_a_cancelled_call_is_cancelled_there_and_nobody_knows_how_far_it_came(life: Life) -> None:
    async with calling(life.service) as client:
        call = client.remote.wait()

        async def stop() -> None:
            await until(lambda: life.waiting)
            call.cancel("enough")

        async with anyio.create_task_group() as group:
            group.start_soon(stop)
            with pytest.raises(CallCancelled) as cancelled:
                await call
        assert (cancelled.value.outcome, cancelled.value.reason) == (CancelOutcome.UNKNOWN, "enough")
        await until(lambda: life.cleaned)


async def test_a_call_cancelled_before_it_left_has_not_started(life: Life) -> None:
    async with calling(life.service) as client:
        call = client.remote.wait()
        call.cancel()
        with pytest.raises(CallCancelled) as cancelled:
            await call
        assert cancelled.value.outcome is CancelOutcome.NOT_STARTED
        assert cancelled.value.retryable
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        assert life.reasons == []


async def test_a_deadline_of_a_scope_travels_and_ends_the_body(life: Life) -> None:
    async with calling(life.service) as client:
        with pytest.raises(TimeoutError), anyio.fail_after(0.1):
            await client.remote.wait()
        await until(lambda: life.cleaned)


async def test_a_timeout_bounds_the_whole_call(life: Life) -> None:
    async with calling(life.service) as client:
        with pytest.raises(DeadlineExceeded):
            await with_options(client.remote.wait, timeout=0.1)()
        iterator = await with_options(client.remote.ticks, timeout=0.1)()

        async def read() -> None:
            async for _ in iterator:
                await anyio.lowlevel.checkpoint()

        with pytest.raises(DeadlineExceeded):
            await read()
        await until(lambda: life.cleaned == 2)


async def test_aclose_from_another_task_ends_a_loop_as_if_finished(life: Life) -> None:
    async with calling(life.service) as client:
        call = client.remote.ticks()
        seen = 0
        async with anyio.create_task_group() as group:
            async for _ in call:
                seen += 1
                if seen == 5:
                    group.start_soon(call.aclose)
        assert call.closed
        await until(lambda: life.cleaned)


async def test_dropping_the_iterator_ends_it(life: Life) -> None:
    async with calling(life.service) as client:
        iterator = await client.remote.ticks()
        assert await anext(iterator) == 0
        del iterator
        gc.collect()
        await until(lambda: life.cleaned)


async def test_leaving_one_stream_leaves_its_sibling(life: Life) -> None:
    async with calling(life.service) as client:
        call = client.remote.both()
        both = await call
        async for number in both["ticks"]:
            if number == 3:
                break
        await both["ticks"].aclose()
        assert await both["title"] == "soon"
        # Now all is over here, and the server is told by the end of the connection.
        await until(lambda: life.cleaned)
        assert call.closed


async def test_leaving_the_client_ends_what_is_open(life: Life) -> None:
    async with serving(life.service) as url:
        async with connect(url, transport="exchange") as remote:
            await remote.ticks()
            iterator = await remote.ticks()
            assert await anext(iterator) >= 0
        await until(lambda: life.cleaned == 2)


async def test_the_natural_end_has_no_reason() -> None:
    service = Service()
    reasons: list[object] = []

    @service.function
    async def count(up_to: int) -> AsyncIterator[int]:
        get_context().on_close(lambda reason: reasons.append(reason))
        for number in range(up_to):
            yield number
        raise Return("done")

    async with calling(service) as client:
        call = client.remote.count(3)
        iterator = await call
        assert [number async for number in iterator] == [0, 1, 2]
        assert iterator.value == "done"
        await until(lambda: call.closed)
        await until(lambda: reasons)
    assert reasons == [None]


async def test_what_arrived_is_read_after_the_connection_has_gone() -> None:
    service = Service()

    @service.function
    async def count() -> AsyncIterator[int]:
        for number in range(100):
            yield number

    async with calling(service) as client:
        iterator = await client.remote.count()
        driver = iterator._buffer.driver
        await until(lambda: driver._gone)
        assert [number async for number in iterator] == list(range(100))
        await until(lambda: not client._exchanges)


# --- what a call carries -------------------------------------------------------------------------


async def test_errors_and_refusals_cross_as_ever() -> None:
    service = Service()

    @service.function
    async def refuse() -> None:
        raise Abort({"because": 1})

    @service.function
    async def fail() -> None:
        raise KeyError("a secret")

    async with calling(service) as client:
        with pytest.raises(Abort) as refused:
            await client.remote.refuse()
        assert refused.value.value == {"because": 1}
        with pytest.raises(RemoteError):
            await client.remote.fail()
        with pytest.raises(LookupError, match="nothing"):
            await client.remote.nothing()


async def test_the_request_of_each_call_is_in_its_context() -> None:
    service = Service(context=lambda request: request.headers["x-who"])

    @service.function
    async def who() -> list[object]:
        context = service.get_context()
        request = context.request
        assert request.peer is not None
        return [context.state, request.transport, request.path, dict(context.metadata)]

    names = iter(("ann", "bob"))
    async with calling(service, headers=lambda: {"X-Who": next(names)}) as client:
        assert await client.remote.who() == ["ann", "http", "/telewire", {}]
        tagged = with_options(client.remote.who, headers={"trace": "7"})
        assert await tagged() == ["bob", "http", "/telewire", {"trace": "7"}]


async def test_large_values_go_there_and_back() -> None:
    service = Service()

    @service.function
    async def echo(data: bytes) -> bytes:
        return data

    async with calling(service) as client:
        data = bytes(range(256)) * 20_000
        assert await client.remote.echo(data) == data


async def test_a_hundred_exchanges_at_once() -> None:
    service = Service()

    @service.function
    async def double(number: int) -> int:
        await anyio.lowlevel.checkpoint()
        return 2 * number

    async with calling(service) as client:
        calls = [client.remote.double(number) for number in range(100)]
        assert [await call for call in calls] == [2 * number for number in range(100)]


async def test_a_plain_function_calls_from_its_thread() -> None:
    service = Service()
    called: list[int] = []

    @service.function
    async def note(number: int) -> None:
        called.append(number)

    @service.function
    def relay(number: int) -> None:
        client.remote.note(number)

    async with calling(service) as client:
        await client.remote.relay(7)
        await until(lambda: called)
    assert called == [7]


async def test_over_tls(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    serving_context, trusting = tls
    life = Life()

    @life.service.function
    async def echo(data: ByteStream) -> ByteStream:
        return ByteStream(data)

    async with serving(life.service, ssl_context=serving_context) as url:
        client = connect(url.replace("http", "https"), transport="exchange", ssl_context=trusting)
        async with client:
            data = bytes(range(256)) * 10_000
            back = await client.remote.echo(ByteStream(data))
            assert await back.read() == data
            async for number in client.remote.ticks():
                if number == 1000:
                    break
            await until(lambda: life.cleaned)
            assert await (await client.remote.echo(ByteStream(b"again"))).read() == b"again"


async def test_a_server_with_small_limits_takes_what_its_clients_send_before_they_know() -> None:
    """TW-SES-071: what leaves before the hello has come keeps to the defaults."""
    service = Service()

    @service.function
    async def length(data: bytes) -> int:
        return len(data)

    @service.function
    async def echo(data: ByteStream) -> ByteStream:
        return ByteStream(aiter(data))

    limits = Limits(fragment_bytes=1024, batch_bytes=2048)
    async with serving(service, limits=limits) as url, connect(url, transport="exchange") as remote:
        assert await remote.length(bytes(300_000)) == 300_000
        assert await remote.length(bytes(300_000)) == 300_000
        assert await (await remote.echo(ByteStream(bytes(300_000)))).read() == bytes(300_000)


# --- what it does not ----------------------------------------------------------------------------


async def test_a_function_among_the_arguments_fails_before_anything_leaves(life: Life) -> None:
    async with calling(life.service) as client:

        async def promised() -> None:
            """Never runs, and nobody complains that it did not."""

        for argument in (print, {"both": [promised(), print]}):
            with pytest.raises(TransportUnsuitable, match=r"function.*Use: websocket"):
                client.remote.ticks(argument)
        assert not client._exchanges


async def test_two_streams_among_the_arguments_are_one_too_many() -> None:
    service = Service()

    @service.function
    async def lengths(one: ByteStream, two: Awaitable[int]) -> int:
        return len(await one.read()) + await two

    async def two() -> int:
        return 2

    async with calling(service) as client:
        with pytest.raises(TransportUnsuitable, match="one iterator or byte stream"):
            client.remote.lengths(ByteStream(b"abc"), ByteStream(b"abc"))
        assert await client.remote.lengths(ByteStream(b"abc"), two()) == 5


async def test_a_later_value_that_needs_more_ends_its_stream_alone() -> None:
    service = Service()
    released = anyio.Event()

    @service.function
    async def mixed() -> dict[str, object]:
        async def items() -> AsyncIterator[object]:
            yield soon(1)
            yield print
            yield 3

        async def soon(value: object) -> object:
            return value

        async def late() -> object:
            await released.wait()
            return "late"

        async def broken() -> object:
            return {"items": items(), "more": print}

        return {"items": items(), "late": late(), "broken": broken()}

    async with calling(service) as client:
        result = await client.remote.mixed()
        assert await (await anext(result["items"])) == 1
        with pytest.raises(TransportUnsuitable):
            await anext(result["items"])
        with pytest.raises(TransportUnsuitable):
            await result["broken"]
        released.set()
        assert await result["late"] == "late"


async def test_the_server_cannot_call_back() -> None:
    service = Service()

    @service.function
    async def ask() -> object:
        return await get_context().remote.name()

    async with calling(service) as client:
        with pytest.raises(TransportUnsuitable):
            await client.remote.ask()


# --- one call's own transport --------------------------------------------------------------------


async def test_one_call_of_a_websocket_client_goes_over_http_and_back() -> None:
    service = Service()

    @service.function
    async def how() -> str:
        return get_context().request.transport

    async with serving(service) as url:
        async with connect(url, transport="websocket") as remote:
            assert await remote.how() == "websocket"
            assert await with_options(remote.how, transport="exchange")() == "http"
            assert await with_options(remote.how, transport="http")() == "http"
            assert await with_options(remote.how, transport="websocket")() == "websocket"
            with pytest.raises(TransportUnsuitable, match="transport='sse'"):
                with_options(remote.how, transport="sse")()
        async with connect(url, transport="exchange") as remote:
            with pytest.raises(LocalProtocolError, match="transport='websocket'"):
                with_options(remote.how, transport="websocket")()
            with pytest.raises(ValueError, match="'sse'"):
                with_options(remote.how, transport="carrier pigeon")  # type: ignore[arg-type]  # a name of none
        async with connect(url.replace("http", "ws"), transport="websocket") as remote:
            with pytest.raises(TransportUnsuitable):
                with_options(remote.how, transport="exchange")()


async def test_what_the_caller_offers_is_called_the_way_it_came() -> None:
    service = Service()

    @service.function
    async def ask() -> None:
        with_options(get_context().remote.name, transport="exchange")()

    async with serving(service) as url, connect(url, service=Service()) as remote:
        with pytest.raises(RemoteError):
            await remote.ask()
