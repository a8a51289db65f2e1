"""HTTP sessions over real sockets: what is posted takes effect once, and a lost response is a pause."""

from __future__ import annotations

import logging
import random
import ssl
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.abc
import pytest

from telewire import (
    ByteStream,
    Limits,
    NetworkError,
    Service,
    TransportUnsuitable,
    get_context,
    with_options,
)
from telewire.runtime.transport import Request, TransportName
from telewire.testing.relay import open_relay
from telewire_transports import connect
from telewire_transports.http1.events import COMMENT, NO_BATCH
from tests.transports.exchanges import serving, until
from tests.transports.middle import middle_of
from tests.transports.mixing import MIXED, Everything, mixed
from tests.transports.raw_http import Raw, port_of

pytestmark = pytest.mark.anyio
both = pytest.mark.parametrize("transport", ["http", "sse"])
HOSTS = ("127.0.0.1",)
CUTS = 20


# --- the requests themselves ---------------------------------------------------------------------


def noting() -> tuple[Service[Any], list[int]]:
    service: Service[Any] = Service()
    noted: list[int] = []

    @service.function
    async def note(number: int) -> int:
        noted.append(number)
        return number

    return service, noted


@pytest.mark.parametrize("accept", ["application/telewire", "text/event-stream"])
async def test_posts_that_are_retried_reordered_and_duplicated_take_effect_once(accept: str) -> None:
    service, noted = noting()
    async with serving(service) as url:
        raw = Raw(port_of(url))
        head = await raw.open(Accept=accept)
        assert f"content-type: {accept}" in head.lower()
        assert "x-accel-buffering: no" in head.lower()
        assert "cache-control: no-store, no-transform" in head.lower()
        bodies = []
        for number in range(4):
            raw.core.call("note", bytes([0x82, 0x81, number, 0xA0]))
            bodies.append(raw.say())
        first, second, third, fourth = bodies
        assert await raw.post(second) == 409
        assert await raw.post(first) == 204
        assert await raw.post(first) == 204
        assert await raw.post(third) == 409
        assert await raw.post(first + second) == 204
        for body in (second, third, third, fourth, second, first, fourth):
            assert await raw.post(body) == 204
        answered: list[object] = []

        def all_answered() -> bool:
            answered.extend(raw.core.events_received())
            return sum(type(event).__name__ == "CallResolved" for event in answered) == 4

        await raw.hear(all_answered)
        assert noted == [0, 1, 2, 3]
        await raw.stream.aclose()


async def test_what_a_post_may_not_be() -> None:
    service, noted = noting()
    service.principal = lambda request: request.headers.get("x-who")
    async with serving(service) as url, serving(service) as other:
        raw, elsewhere = Raw(port_of(url)), Raw(port_of(other))
        await raw.open(**{"X-Who": "ann"})
        raw.core.call("note", bytes([0x82, 0x81, 7, 0xA0]))
        body = raw.say()
        worker, name, secret = raw.session.split(".")
        elsewhere.session = raw.session
        assert await elsewhere.post(body, **{"X-Who": "ann"}) == 421
        assert await raw.post(body, **{"X-Who": "eve"}) == 403
        for session in (f"{worker}.{name}.{secret[::-1]}", f"{worker}.other.{secret}"):
            assert await raw.post(body, **{"X-Who": "ann", "Telewire-Session": session}) == 410
        for session in ("x", f"{worker}.{name}", f"{worker}.{name}.{secret}.more", "é.b.c"):
            assert await raw.post(body, **{"X-Who": "ann", "Telewire-Session": session}) in (400, 421)
        assert await raw.post(body[:-1], **{"X-Who": "ann"}) == 400
        assert await raw.post(body, **{"X-Who": "ann", "Content-Type": "text/plain"}) == 415
        assert await raw.post(body, **{"X-Who": "ann", "Origin": "https://evil.example"}) == 403
        assert noted == []
        assert await raw.post(body, **{"X-Who": "ann"}) == 204
        await until(lambda: noted == [7])
        # That ends the session, so it comes last.
        assert await raw.post(b"\xff", **{"X-Who": "ann"}) == 400
        status, _ = await raw.ask({"Telewire-Session": "open", "Connection": "close"}, body)
        assert status == 400
        await raw.stream.aclose()


async def test_nothing_is_taken_for_a_response_that_has_ended() -> None:
    service, noted = noting()
    async with serving(service) as url:
        raw = Raw(port_of(url))
        await raw.open()
        raw.core.call("note", bytes([0x82, 0x81, 7, 0xA0]))
        body = raw.say()
        assert await raw.post(b"") == 204
        await raw.to_the_end()
        with anyio.fail_after(5):
            while (status := await raw.post(body)) == 204:
                await anyio.lowlevel.checkpoint()
        assert status == 410
        assert noted == []


@pytest.mark.parametrize(
    ("accept", "sign"),
    [("text/event-stream", COMMENT), ("application/telewire", b"1\r\n" + NO_BATCH + b"\r\n")],
)
async def test_a_response_that_is_silent_gives_signs_of_life(accept: str, sign: bytes) -> None:
    async with serving(Service(), limits=Limits(idle_seconds=0.02)) as url:
        raw = Raw(port_of(url))
        await raw.open(Accept=accept)
        data = b""
        while data.count(sign) < 3:
            data += await raw.stream.receive()
        await raw.stream.aclose()


async def test_secrets_of_a_session_stand_in_no_message(caplog: pytest.LogCaptureFixture) -> None:
    service: Service[Any] = Service()
    requests: list[Request] = []

    @service.function
    async def look() -> None:
        requests.append(get_context().request)
        raise ValueError("a bug")

    caplog.set_level(logging.DEBUG)
    async with serving(service) as url:
        raw = Raw(port_of(url))
        await raw.open()
        raw.core.call("look", bytes([0x82, 0x80, 0xA0]))
        assert await raw.post(raw.say()) == 204
        await raw.hear(lambda: bool(requests))
        status, text = await raw.ask({"Telewire-Session": raw.session + "x", "Connection": "close"}, b"\xff")
        assert status == 410
        said = text.decode() + caplog.text + repr(requests)
        for secret in raw.session.split("."):
            assert secret not in said
        await raw.stream.aclose()


# --- the client ----------------------------------------------------------------------------------


@both
async def test_answers_that_are_lost_repeat_nothing(transport: TransportName) -> None:
    service, noted = noting()
    choose = random.Random(7)
    async with serving(service, hosts=HOSTS) as url, middle_of(port_of(url)) as middle:
        middle.forgets = lambda: choose.random() < 0.4
        async with connect(f"http://127.0.0.1:{middle.port}/telewire", transport=transport) as remote:
            for number in range(25):
                assert await remote.note(number) == number
            middle.forgets = lambda: False
        assert noted == list(range(25))


def canned(status: int, text: str = "") -> bytes:
    head = f"HTTP/1.1 {status} Canned\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
    return (head + text).encode()


@both
async def test_a_large_post_has_the_time_that_it_takes_on_a_slow_link(transport: TransportName) -> None:
    """TW-SES-104: beyond ``dead_seconds``, while the response gives signs of life."""
    service: Service[Any] = Service()

    @service.function
    async def size(data: bytes) -> int:
        return len(data)

    # No ping is under way when the call begins: a small POST has no more than the dead time.
    quick, patient = Limits(idle_seconds=0.1, dead_seconds=0.6), Limits(idle_seconds=0.1)
    async with serving(service, hosts=HOSTS, limits=patient) as url, middle_of(port_of(url)) as middle:
        where = f"http://127.0.0.1:{middle.port}/telewire"
        states: list[str] = []
        client = connect(where, transport=transport, limits=quick)
        client.on_state(states.append)
        async with client as remote:
            middle.mute = anyio.Event()
            call = remote.size(bytes(60_000))
            late = anyio.current_time() + 1.5 * quick.dead_seconds
            while anyio.current_time() < late:
                await anyio.lowlevel.checkpoint()
            middle.mute.set()
            assert await call == 60_000
            assert states == ["connected"]


@both
async def test_there_is_one_post_in_flight(transport: TransportName) -> None:
    """TW-SES-053, seen from between."""
    service, noted = noting()
    async with serving(service, hosts=HOSTS) as url, middle_of(port_of(url)) as middle:
        async with connect(f"http://127.0.0.1:{middle.port}/telewire", transport=transport) as remote:
            before = middle.posters
            middle.mute = anyio.Event()
            calls = []
            for number in range(50):
                calls.append(remote.note(number))
                await anyio.wait_all_tasks_blocked()
            assert middle.posters <= max(1, before)
            middle.mute.set()
            assert [await call for call in calls] == list(range(50))
        assert noted == list(range(50))


@both
async def test_a_post_that_finds_the_server_busy_is_made_again(transport: TransportName) -> None:
    service, noted = noting()
    async with serving(service, hosts=HOSTS) as url, middle_of(port_of(url)) as middle:
        middle.canned = [canned(503), canned(429), b"", canned(502)]
        client = connect(f"http://127.0.0.1:{middle.port}/telewire", transport=transport)
        async with client as remote:
            assert await remote.note(1) == 1
            assert middle.canned == []
            assert client.state == "connected"
        assert noted == [1]


@both
async def test_a_post_that_is_refused_ends_its_transport_with_a_sentence(transport: TransportName) -> None:
    service, noted = noting()
    async with serving(service, hosts=HOSTS) as url, middle_of(port_of(url)) as middle:
        where = f"http://127.0.0.1:{middle.port}/telewire"
        middle.canned = [canned(403, "Not from here.")]
        with pytest.raises(NetworkError, match="request of the session with status 403: Not from here"):
            async with connect(where, transport=transport):
                pass
        middle.canned = [b""] * 20
        with pytest.raises(NetworkError, match="did not answer a request of the session"):
            async with connect(where, transport=transport):
                pass
        assert len(middle.canned) == 15
        middle.canned = []
        async with connect(where, transport=transport) as remote:
            assert await remote.note(1) == 1
        assert noted == [1]


@both
async def test_cold_stream_of_100_000_items(transport: TransportName) -> None:
    """Failure 1 of the prior art: a fresh link that deadlocks on credit."""
    service: Service[Any] = Service()

    @service.function
    async def count() -> AsyncIterator[int]:
        for number in range(100_000):
            yield number

    async with serving(service) as url, connect(url, transport=transport) as remote:
        expected = 0
        async for number in remote.count():
            assert number == expected
            expected += 1
        assert expected == 100_000


@both
async def test_unread_siblings_do_not_stop_each_other(transport: TransportName) -> None:
    """Failure 4 of the prior art: a sibling that nobody reads, one that fails, and hundreds in one value."""
    service: Service[Any] = Service()

    @service.function
    async def many() -> dict[str, Any]:
        async def numbers() -> AsyncIterator[bytes]:
            for _ in range(1000):
                yield bytes(1000)

        async def fails() -> int:
            raise ValueError("this one fails")

        return {
            "unread": [numbers() for _ in range(300)],
            "fails": fails(),
            "bytes": ByteStream(bytes(300_000)),
            "read": numbers(),
        }

    async with serving(service) as url, connect(url, transport=transport) as remote:
        value = await remote.many()
        with pytest.raises(Exception, match="failed on the other side"):
            await value["fails"]
        assert len([item async for item in value["read"]]) == 1000
        assert len(await value["bytes"].read()) == 300_000
        assert len([item async for item in value["unread"][150]]) == 1000


@pytest.mark.parametrize("transport", ["http", "sse", "websocket", None])
async def test_a_cut_anywhere_is_a_pause(transport: TransportName | None) -> None:
    """I1 on real sockets: at random offsets, either way, on any of the session's connections."""
    everything = Everything()
    choose = random.Random(transport or "any")
    async with serving(everything.service, hosts=HOSTS) as url, middle_of(port_of(url)) as middle:
        client = connect(f"http://127.0.0.1:{middle.port}/telewire", transport=transport)
        async with client as remote:
            assert await mixed(remote) == MIXED
            once = middle.passed
            for _ in range(CUTS):
                middle.passed, middle.cut_after = 0, choose.randrange(once)
                everything.heard.clear()
                with anyio.fail_after(10):
                    assert await mixed(remote) == MIXED
                assert everything.heard == [f"message {number}" for number in range(10)]
            assert middle.cuts > CUTS // 2


@pytest.mark.parametrize("transport", ["http", "sse", "websocket"])
async def test_a_dead_line_is_noticed_and_left(transport: TransportName) -> None:
    """A black hole: nothing arrives any more, either way, and nobody says so."""
    service, noted = noting()
    limits = Limits(idle_seconds=0.1, dead_seconds=0.3)
    async with (
        serving(service, hosts=HOSTS, limits=limits) as url,
        open_relay("localhost", port_of(url)) as hole,
    ):
        where = f"http://127.0.0.1:{hole.port}/telewire"
        client = connect(where, transport=transport, limits=limits, timeout=1)
        states: list[str] = []
        async with client as remote:
            client.on_state(states.append)
            assert await remote.note(1) == 1
            hole.hold()
            # One piece that was read already may still pass.
            first = remote.note(2)
            await until(lambda: states == ["reconnecting"])
            second = remote.note(3)
            # What is held now comes too late, on connections that both sides have left.
            hole.release()
            assert [await first, await second] == [2, 3]
            assert states == ["reconnecting", "connected"]
        assert noted == [1, 2, 3]


@both
@pytest.mark.parametrize("way", ["deaf", "mute"])
async def test_a_way_that_is_dead_alone_is_noticed_too(transport: TransportName, way: str) -> None:
    """What comes down is lost and what goes up is not, or the other way round; nobody says so."""
    service, noted = noting()
    limits = Limits(idle_seconds=0.1, dead_seconds=0.4)
    async with serving(service, hosts=HOSTS, limits=limits) as url, middle_of(port_of(url)) as middle:
        where = f"http://127.0.0.1:{middle.port}/telewire"
        client = connect(where, transport=transport, limits=limits, timeout=1)
        states: list[str] = []
        async with client as remote:
            client.on_state(states.append)
            assert await remote.note(1) == 1
            passing = getattr(middle, way)
            setattr(middle, way, anyio.Event())
            first = remote.note(2)
            await until(lambda: states == ["reconnecting"])
            setattr(middle, way, passing)
            assert [await first, await remote.note(3)] == [2, 3]
            assert states == ["reconnecting", "connected"]
        assert noted == [1, 2, 3]


@both
async def test_a_worker_that_does_not_own_the_session_is_told_of(transport: TransportName) -> None:
    service, _ = noting()
    async with (
        serving(service, hosts=HOSTS) as url,
        serving(service, hosts=HOSTS) as other,
        middle_of(port_of(url)) as middle,
    ):
        where = f"http://127.0.0.1:{middle.port}/telewire"
        middle.post_target = lambda: port_of(other)
        with pytest.raises(TransportUnsuitable, match=r"different workers.*Use: websocket") as found:
            async with connect(where, transport=transport):
                pass
        assert found.value.needed[0] == "websocket"
        middle.post_target = lambda: None
        client = connect(where, transport=transport)
        async with client as remote:
            assert await remote.note(1) == 1
            middle.post_target = lambda: port_of(other)
            # The connection that stands is given up after this, and the next one leads elsewhere.
            once = iter([True])
            middle.forgets = lambda: next(once, False)
            # It was taken, and its result is here; that it was is not known of.
            assert await remote.note(2) == 2
            with pytest.raises(TransportUnsuitable, match="Telewire-Route"):
                await remote.note(3)
            assert client.state == "lost"


async def test_what_the_server_may_call() -> None:
    service: Service[Any] = Service()
    mine: Service[Any] = Service()

    @mine.function
    async def name() -> str:
        return "mine"

    @service.function
    async def ask() -> str:
        said: str = await get_context().remote.name()
        return said

    async with serving(service) as url, connect(url, transport="sse", service=mine) as remote:
        assert await remote.ask() == "mine"


@both
async def test_over_tls_with_headers_of_its_own(
    transport: TransportName, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    serving_context, trusting = tls
    service: Service[Any] = Service()
    asked = 0

    @service.function
    async def who() -> tuple[str, str]:
        request = get_context().request
        return request.headers["x-who"], request.transport

    def headers() -> dict[str, str]:
        nonlocal asked
        asked += 1
        return {"X-Who": f"ann {asked}"}

    async with serving(service, ssl_context=serving_context) as url:
        client = connect(
            url.replace("http", "https"), transport=transport, ssl_context=trusting, headers=headers
        )
        async with client as remote:
            assert await remote.who() == ["ann 1", transport]
            assert await with_options(remote.who, transport=transport)() == ["ann 1", transport]
            with pytest.raises(TransportUnsuitable):
                with_options(remote.who, transport="websocket")()


@both
async def test_who_is_no_server_of_sessions_is_named(transport: TransportName) -> None:
    async with serving(Service()) as url:
        with pytest.raises(NetworkError, match=r"status 404.*Check the path"):
            async with connect(url + "/elsewhere", transport=transport):
                pass
    with pytest.raises(NetworkError, match="Is a server listening there"):
        async with connect(url, transport=transport):
            pass
