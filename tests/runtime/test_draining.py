"""Draining: clients go on elsewhere when their server goes away; nothing is lost, runs twice or hangs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from telewire import (
    CallCancelled,
    Channel,
    Client,
    DeadlineExceeded,
    GoingAway,
    Limits,
    NetworkError,
    ResourceExhausted,
    ServerLimits,
    Service,
    get_context,
    with_options,
)
from telewire.errors import CancelOutcome
from telewire.runtime import succession
from telewire.runtime.admission import Admission
from telewire.runtime.backend import current_backend
from telewire.runtime.draining import Farewell
from telewire.runtime.driver import Driver
from telewire.runtime.server import Server
from telewire.runtime.transport import AcceptTransport, Transport
from telewire_transports import MemoryLink
from tests.runtime.world import caught, drained, until


class Site:
    """Servers of one service, of which one is reached at a time, and a client of them."""

    def __init__(
        self, servers: int = 2, limits: Limits | None = None, server_limits: ServerLimits | None = None
    ) -> None:
        self.ran: list[tuple[int, str]] = []
        """Which server ran what."""
        self.go_on = anyio.Event()
        self.servers = [
            Server(current_backend(), self.service(number), None, Admission(server_limits))
            for number in range(servers)
        ]
        self.reached = 0
        self.shut = False
        self.tries = 0
        self.link: MemoryLink | None = None
        self.states: list[str] = []
        self.on_close: Callable[[BaseException | None], object] = lambda reason: None

        async def open_transport(accept: AcceptTransport) -> Transport:
            self.tries += 1
            if self.shut:
                raise NetworkError("There is no way through.")
            self.link = link = MemoryLink(current_backend())
            link.server.accept(self.servers[self.reached].accept)
            link.client.accept(accept)
            return link.client

        self.client = Client(open_transport, resume=True, limits=limits)
        self.client.on_state(self.states.append)

    def service(self, number: int) -> Service[None]:
        service: Service[None] = Service()

        @service.function
        async def note(name: str) -> int:
            self.ran.append((number, name))
            return number

        @service.function
        async def wait(name: str) -> int:
            self.ran.append((number, name))
            get_context().on_close(lambda reason: self.on_close(reason))
            await self.go_on.wait()
            return number

        @service.function
        async def count(most: int) -> AsyncIterator[int]:
            for each in range(most):
                if each == 1:
                    await self.go_on.wait()
                yield each

        @service.function
        async def collect(items: Any) -> list[Any]:
            return [number, *[item async for item in items]]

        @service.function
        async def room() -> Any:
            channel = Channel[int, int]()
            channel.listen(lambda message: message + 1)
            return channel.peer

        return service

    def driver(self, number: int = 0) -> Driver:
        (driver,) = self.servers[number]._drivers
        return driver

    async def close(self) -> None:
        for server in self.servers:
            await server.aclose()


# --- moving --------------------------------------------------------------------------------------


async def test_calls_move_and_what_is_open_stays(guarded: None) -> None:
    site = Site()
    async with site.client as remote, anyio.create_task_group() as group:
        assert await remote.note("before") == 0
        waiting = remote.wait("open")
        items = await remote.count(3)
        assert await anext(items) == 0
        await until(lambda: (0, "open") in site.ran)
        site.reached = 1
        group.start_soon(site.servers[0].drain, 60.0)
        await until(lambda: site.client.state == "reconnecting" or len(site.states) > 2)
        # Made while nobody is there yet, or after: they run where calls are taken.
        assert await remote.note("after") == 1
        assert site.client.state == "connected"
        site.go_on.set()
        assert await waiting == 0
        assert await drained(items) == ([1, 2], None)
        # Nothing is open there any more, so it closes by itself, and the drain has ended.
        await until(lambda: not site.servers[0]._drivers)
        assert await remote.note("last") == 1
    assert site.ran == [(0, "before"), (0, "open"), (1, "after"), (1, "last")]
    assert site.states == ["connected", "reconnecting", "connected", "lost"]
    await site.close()


async def test_what_an_open_call_lent_works_until_it_is_over(guarded: None) -> None:
    site = Site()
    async with site.client as remote, anyio.create_task_group() as group:
        room = await remote.room()
        site.reached = 1
        group.start_soon(site.servers[0].drain, 60.0)
        await until(lambda: len(site.servers[1]._drivers) == 1)
        assert await remote.note("x") == 1
        assert await room.request(1) == 2
        await room.aclose()
        await until(lambda: not site.servers[0]._drivers)
    await site.close()


async def test_calls_wait_for_a_successor_in_their_order_with_all_that_lives_in_them(guarded: None) -> None:
    site = Site()

    async def letters() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    async with site.client as remote, anyio.create_task_group() as group:
        await remote.note("before")
        site.reached, site.shut = 1, True
        group.start_soon(site.servers[0].drain, 60.0)
        await until(lambda: site.client.state == "reconnecting" and site.tries > 2)
        calls = [remote.note(str(number)) for number in range(10)]
        collected = remote.collect(letters())
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        assert site.ran == [(0, "before")]
        site.shut = False
        assert [await call for call in calls] == [1] * 10
        assert await collected == [1, "a", "b"]
    assert site.ran[1:] == [(1, str(number)) for number in range(10)]
    await site.close()


async def test_who_lands_on_a_server_that_drains_moves_on(guarded: None) -> None:
    site = Site(3)
    async with site.client as remote, anyio.create_task_group() as group:
        assert await remote.note("x") == 0
        site.reached = 1
        for server in site.servers[:2]:
            group.start_soon(server.drain, 60.0)
        await until(lambda: site.tries > 2)
        site.reached = 2
        await until(lambda: len(site.servers[2]._drivers) == 1)
        assert await remote.note("y") == 2
        await until(lambda: not site.servers[0]._drivers and not site.servers[1]._drivers)
    assert site.ran == [(0, "x"), (2, "y")]
    await site.close()


async def test_a_session_that_is_away_may_come_back_to_what_is_open(guarded: None) -> None:
    site = Site()
    async with site.client as remote, anyio.create_task_group() as group:
        waiting = remote.wait("open")
        await until(lambda: bool(site.ran))
        assert site.link is not None
        driver = site.driver()
        site.link.cut()
        await until(lambda: driver.connection.detached)
        group.start_soon(site.servers[0].drain, 60.0)
        # It comes back, hears of the drain, and goes on in both places.
        await until(lambda: driver.connection.going_away and not driver.connection.detached)
        site.reached = 1
        await until(lambda: len(site.servers[1]._drivers) == 1)
        site.go_on.set()
        assert await waiting == 0
        assert await remote.note("x") == 1
        await until(lambda: not site.servers[0]._drivers)
    await site.close()


# --- calls that wait -----------------------------------------------------------------------------


@pytest.fixture
async def alone(guarded: None) -> AsyncIterator[Site]:
    """A site whose only server drains, and no other can be reached."""
    site = Site(limits=Limits(queued_calls=3))
    async with site.client as remote, anyio.create_task_group() as group:
        await remote.note("before")
        site.reached, site.shut = 1, True
        group.start_soon(site.servers[0].drain, 60.0)
        await until(lambda: site.client.state == "reconnecting" and site.tries > 1)
        yield site
        site.shut = False
        assert await remote.note("after") == 1
        assert [name for _, name in site.ran] == ["before", "after"]
    await site.close()


async def test_to_cancel_a_call_that_waits(alone: Site) -> None:
    reasons: list[BaseException | None] = []
    call = alone.client.remote.note("x")
    call.on_close(reasons.append)
    call.cancel("enough")
    error = await caught(call)
    assert isinstance(error, CallCancelled)
    assert error.outcome is CancelOutcome.NOT_STARTED
    assert error.retryable
    assert call.closed
    await until(lambda: reasons == [error])
    quiet = alone.client.remote.note("y")
    await quiet.aclose()
    assert quiet.closed


async def test_the_time_of_a_call_that_waits(alone: Site) -> None:
    timed = with_options(alone.client.remote.note, timeout=0.01)
    assert isinstance(await caught(timed("x")), DeadlineExceeded)
    with anyio.move_on_after(0.01) as scope:
        await alone.client.remote.note("y")
    assert scope.cancelled_caught


async def test_so_many_calls_wait_and_no_more(alone: Site) -> None:
    calls = [alone.client.remote.note(str(number)) for number in range(3)]
    with pytest.raises(ResourceExhausted, match="call 4 that waits"):
        alone.client.remote.note("4")
    for call in calls:
        call.cancel()
        assert isinstance(await caught(call), CallCancelled)


async def test_what_cannot_travel_fails_when_it_would(guarded: None) -> None:
    site = Site()
    async with site.client as remote, anyio.create_task_group() as group:
        await remote.note("before")
        site.reached, site.shut = 1, True
        group.start_soon(site.servers[0].drain, 60.0)
        await until(lambda: site.client.state == "reconnecting" and site.tries > 1)
        call = remote.note(object())
        site.shut = False
        with pytest.raises(ValueError, match="cannot travel"):
            await call
    await site.close()


async def test_to_leave_while_calls_wait(guarded: None) -> None:
    site = Site()
    ran: list[str] = []

    async def never() -> None:
        ran.append("it ran")

    async with site.client as remote, anyio.create_task_group() as group:
        await remote.note("before")
        site.shut = True
        group.start_soon(site.servers[0].drain, 60.0)
        await until(lambda: site.client.state == "reconnecting" and site.tries > 1)
        call = remote.collect(never())
    assert isinstance(await caught(call), GoingAway)
    assert call.closed
    assert ran == []
    with pytest.raises(NetworkError):
        remote.note("late")
    await site.close()


async def test_who_leaves_looks_for_no_successor(guarded: None) -> None:
    site = Site()
    async with site.client as remote, anyio.create_task_group() as group:
        await remote.note("before")
        assert site.link is not None
        driver = site.driver()
        site.shut = True
        site.link.cut()
        await until(lambda: driver.connection.detached and site.tries > 1)
        group.start_soon(site.servers[0].drain, 60.0)
        await until(lambda: driver.connection.going_away)
        group.cancel_scope.cancel()
        # It comes back only to say that it leaves, and hears then that it should.
        site.shut = False
        tries = site.tries
    for _ in range(50):
        await anyio.lowlevel.checkpoint()
    assert site.tries == tries + 1
    await site.close()


# --- no way --------------------------------------------------------------------------------------


async def test_without_a_successor_the_client_is_lost_and_says_so(guarded: None) -> None:
    site = Site(limits=Limits(resume_seconds=0.05))
    async with site.client as remote:
        await remote.note("before")
        site.shut = True
        assert await site.servers[0].drain(60.0)
        await until(lambda: site.client.state in ("reconnecting", "lost"))

        async def call() -> None:
            # Where the machine is busy the client may be lost before this begins, and says so at once.
            await remote.note("x")

        error = await caught(call())
        assert isinstance(error, GoingAway)
        assert error.retryable
        assert isinstance(error.__cause__, NetworkError)
        assert site.client.state == "lost"
        with pytest.raises(GoingAway, match="no successor"):
            remote.note("y")
    assert site.ran == [(0, "before")]
    await site.close()


async def test_what_lives_on_ends_typed_when_the_grace_is_over(guarded: None) -> None:
    site = Site()
    farewell = Farewell(text="stopping", elsewhere="memory://other")
    async with site.client as remote:
        waiting, items = remote.wait("open"), await remote.count(3)
        assert await anext(items) == 0
        await until(lambda: bool(site.ran))
        site.reached = 1
        with anyio.move_on_after(0):
            await site.servers[0].drain(60.0)
        # The grace of nothing: who is still there is closed.
        assert not await site.servers[0].drain(0, farewell)
        await site.servers[0].aclose()
        error = await caught(waiting)
        assert isinstance(error, GoingAway)
        assert not error.retryable
        got, failed = await drained(items)
        assert got == []
        assert isinstance(failed, GoingAway)
        assert not failed.retryable
    assert site.ran == [(0, "open")]
    await site.close()


async def test_when_and_where_to_go_stands_in_the_error(guarded: None) -> None:
    site = Site()
    async with site.client as remote:
        waiting = remote.wait("open")
        await until(lambda: bool(site.ran))
        farewell = Farewell(reconnect_after=60.0, elsewhere="https://b.example/telewire")
        await site.servers[0].drain(0, farewell)
        await until(lambda: site.client.state == "reconnecting")
        await site.servers[0].aclose()
        error = await caught(waiting)
        assert isinstance(error, GoingAway)
        assert (error.reconnect_after, error.elsewhere) == (60.0, "https://b.example/telewire")
    await site.close()


async def test_who_was_asked_to_wait_does_and_adds_a_time_of_its_own(
    guarded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site()
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await anyio.lowlevel.checkpoint()

    async with site.client as remote, anyio.create_task_group() as group:
        await remote.note("before")
        monkeypatch.setattr(succession.anyio, "sleep", sleep)
        site.reached = 1
        group.start_soon(site.servers[0].drain, 60.0, Farewell(reconnect_after=30.0))
        await until(lambda: bool(waits))
        assert await remote.note("after") == 1
    [wait] = waits
    assert 30 <= wait <= 60
    await site.close()


async def test_a_detached_session_ends_typed_when_the_grace_is_over(guarded: None) -> None:
    site = Site()
    reasons: list[BaseException | None] = []
    site.on_close = reasons.append
    async with site.client as remote:
        remote.wait("open")
        await until(lambda: bool(site.ran))
        assert site.link is not None
        driver = site.driver()
        site.shut = True
        site.link.cut()
        await until(lambda: driver.connection.detached)
        assert not await site.servers[0].drain(0)
        await site.servers[0].aclose()
        [reason] = reasons
        assert isinstance(reason, GoingAway)


# --- refused in one step -------------------------------------------------------------------------


async def test_calls_that_were_refused_are_made_again_once(guarded: None) -> None:
    site = Site()
    async with site.client as remote:
        await remote.note("before")
        assert site.link is not None
        site.link.hold()
        crossing = [remote.note("1"), remote.note("2")]
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        # Without a warning: what is on its way will be refused.
        driver = site.driver()
        driver.connection.go_away()
        driver.schedule()
        site.reached = 1
        site.link.release()
        assert [await call for call in crossing] == [1, 1]
    assert site.ran == [(0, "before"), (1, "1"), (1, "2")]
    await site.close()


# --- age -----------------------------------------------------------------------------------------


async def test_a_session_that_is_old_is_asked_to_leave(guarded: None) -> None:
    site = Site(server_limits=ServerLimits(age_seconds=0.02, age_jitter=0.5, grace_seconds=60))
    async with site.client as remote:
        waiting = remote.wait("open")
        await until(lambda: bool(site.ran))
        site.reached = 1
        await until(lambda: site.servers[1]._drivers != set())
        assert await remote.note("x") == 1
        site.go_on.set()
        assert await waiting == 0
        await until(lambda: not site.servers[0]._drivers)
    await site.close()


async def test_after_its_grace_an_old_session_is_closed(guarded: None) -> None:
    site = Site(server_limits=ServerLimits(age_seconds=0.01, grace_seconds=0.01))
    async with site.client as remote:
        waiting = remote.wait("open")
        error = await caught(waiting)
        assert isinstance(error, GoingAway)
        assert not error.retryable
        assert isinstance(await remote.note("x"), int)
    await site.close()
