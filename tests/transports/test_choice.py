"""What a client chooses: it begins with HTTP, moves its live session to WebSocket, and falls back."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from telewire import Client, NetworkError, Service, TransportUnsuitable, get_context, with_options
from telewire.runtime import upgrading
from telewire_transports import choosing, connect
from tests.transports.exchanges import serving, until
from tests.transports.middle import Middle, middle_of
from tests.transports.mixing import Everything, mixed
from tests.transports.raw_http import port_of

pytestmark = pytest.mark.anyio
HOSTS = ("127.0.0.1",)
WINDOW = 400


class Numbers:
    """A service that counts down to nothing, and up what the client sends it; it notes what went by."""

    def __init__(self) -> None:
        self.service: Service[Any] = Service()
        self.sent: list[tuple[int, str]] = []
        self.taken: list[int] = []
        self.ended: list[object] = []
        for function in (self.count, self.take, self.how):
            self.service.add(function)

    async def count(self) -> AsyncIterator[int]:
        context = get_context()
        context.on_close(self.ended.append)
        number = 0
        while True:
            self.sent.append((number, context.request.transport))
            yield number
            number += 1

    async def take(self, numbers: AsyncIterator[int]) -> int:
        async for number in numbers:
            self.taken.append(number)
        return len(self.taken)

    async def how(self) -> str:
        return get_context().request.transport


def where(middle: Middle) -> str:
    return f"http://127.0.0.1:{middle.port}/telewire"


async def moved(client: Client, name: str = "websocket") -> None:
    """Wait until the session goes over a transport of this name, and is attached."""
    driver = client._driver
    assert driver is not None
    await until(lambda: client.transport == name and not driver.connection.detached)


async def test_a_live_session_moves_through_a_slow_proxy_and_no_item_is_lost_repeated_or_reordered() -> None:
    numbers = Numbers()
    async with serving(numbers.service, hosts=HOSTS) as url, middle_of(port_of(url)) as middle:
        middle.piece = 300
        middle.websocket_gate = anyio.Event()
        client = connect(where(middle))
        states: list[str] = []
        client.on_state(states.append)
        uploaded: list[int] = []
        over: list[str] = []
        stop = anyio.Event()

        async def upload() -> AsyncIterator[int]:
            while not stop.is_set():
                uploaded.append(len(uploaded))
                yield uploaded[-1]

        async with client as remote:
            taking = remote.take(upload())
            arrived: list[int] = []
            after = 0
            async for number in remote.count():
                arrived.append(number)
                over.append(client.transport or "")
                if len(arrived) == WINDOW:
                    assert set(over) == {"http"}
                    middle.websocket_gate.set()
                after += over[-1] == "websocket"
                if after == 30 * WINDOW:
                    break
            stop.set()
            assert await taking == len(uploaded)
            assert await remote.how() == "websocket"
            assert client.state == "connected"
        # One by one: before, during and after the switch.
        assert arrived == list(range(len(arrived)))
        assert [number for number, _ in numbers.sent][: len(arrived)] == arrived
        assert {name for _, name in numbers.sent} == {"http", "websocket"}
        assert over == sorted(over)
        assert numbers.taken == uploaded == list(range(len(uploaded)))
        assert len(uploaded) > WINDOW
        assert numbers.ended == [None]
        assert states == ["connected", "lost"]
        assert middle.upgrades == 1


async def test_every_kind_of_value_survives_the_switch() -> None:
    everything = Everything()
    async with serving(everything.service, hosts=HOSTS) as url, middle_of(port_of(url)) as middle:
        for piece in (64, 300, 1000, 5000):
            middle.piece = piece
            everything.heard.clear()
            async with connect(where(middle)) as remote:
                assert await mixed(remote) == [
                    40 * 997,
                    [n * n for n in range(40)],
                    list(range(40)),
                    [f"MESSAGE {n}" for n in range(10)],
                ]
        assert middle.upgrades == 4


async def test_where_websocket_is_blocked_all_goes_over_http() -> None:
    numbers = Numbers()
    async with serving(numbers.service, hosts=HOSTS) as url, middle_of(port_of(url)) as middle:
        middle.refuses_websocket = True
        client = connect(where(middle))
        async with client as remote:
            assert await remote.how() == "http"
            refused = with_options(remote.how, transport="websocket")
            await until(lambda: client._upgrading is not None and client._upgrading.refused)
            with pytest.raises(TransportUnsuitable, match="Use: websocket"):
                refused()
            assert await remote.how() == "http"
            assert await with_options(remote.how, transport="exchange")() == "http"
        assert numbers.sent == []


async def test_a_websocket_that_is_swallowed_disturbs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrading, "FIRST_SECONDS", 0.01)
    numbers = Numbers()
    async with serving(numbers.service, hosts=HOSTS) as url, middle_of(port_of(url)) as middle:
        middle.websocket_gate = anyio.Event()
        client = connect(where(middle), timeout=0.5)
        states: list[str] = []
        async with client as remote:
            client.on_state(states.append)
            assert [number async for number, _ in azip(remote.count(), 1000)] == list(range(1000))
            await until(lambda: middle.upgrades >= 2)
            assert await remote.how() == "http"
            middle.websocket_gate.set()
            await moved(client)
            assert await remote.how() == "websocket"
            assert await with_options(remote.how, transport="websocket")() == "websocket"
            assert states == []


async def azip(call: Any, count: int) -> AsyncIterator[tuple[int, int]]:
    """The first items of a call, with their places."""
    place = 0
    async for item in call:
        yield item, place
        place += 1
        if place == count:
            return


async def test_a_websocket_that_breaks_is_left_for_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrading, "FIRST_SECONDS", 0.01)
    numbers = Numbers()
    async with serving(numbers.service, hosts=HOSTS) as url, middle_of(port_of(url)) as middle:
        client = connect(where(middle))
        states: list[str] = []
        async with client as remote:
            client.on_state(states.append)
            arrived: list[int] = []
            switches: list[str] = []
            async for number in remote.count():
                arrived.append(number)
                assert client._driver is not None
                name = client.transport or ""
                if not switches or switches[-1] != name:
                    switches.append(name)
                if name == "websocket" and len(switches) < 6 and not client._driver.connection.detached:
                    middle.cut_websockets()
                elif len(switches) == 6 and len(arrived) % 1000 == 0:
                    break
            assert switches == ["http", "websocket"] * 3
            assert arrived == list(range(len(arrived)))
            assert set(states) == {"reconnecting", "connected"}
        assert numbers.ended == [None]


async def test_a_session_does_not_move_to_another_worker() -> None:
    numbers, others = Numbers(), Numbers()
    async with (
        serving(numbers.service, hosts=HOSTS) as url,
        serving(others.service, hosts=HOSTS) as other,
        middle_of(port_of(url)) as middle,
    ):
        middle.websocket_target = port_of(other)
        client = connect(where(middle))
        async with client as remote:
            items = remote.count()
            assert [number async for number, _ in azip(items, 10)] == list(range(10))
            await until(lambda: client._upgrading is not None and client._upgrading.refused)
            assert await remote.how() == "http"
            assert client.state == "connected"


async def test_where_http_leads_to_many_workers_websocket_is_taken_at_once() -> None:
    numbers, others = Numbers(), Numbers()
    async with (
        serving(numbers.service, hosts=HOSTS) as url,
        serving(others.service, hosts=HOSTS) as other,
        middle_of(port_of(url)) as middle,
    ):
        middle.post_target = lambda: port_of(other)
        client = connect(where(middle))
        states: list[str] = []
        client.on_state(states.append)
        async with client as remote:
            assert await remote.how() == "websocket"
            for _ in range(100):
                await anyio.lowlevel.checkpoint()
            # It is where it would move to: another WebSocket might lead to another worker.
            assert middle.upgrades == 1
            assert await with_options(remote.how, transport="websocket")() == "websocket"
            middle.cut_websockets()
            await until(lambda: client.state == "reconnecting")
            assert await remote.how() == "websocket"
        assert states == ["connected", "reconnecting", "connected", "lost"]


async def test_where_http_is_swallowed_websocket_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "SHARE", 0.02)
    numbers = Numbers()
    async with serving(numbers.service, hosts=HOSTS) as url, middle_of(port_of(url)) as middle:
        # All answers of POSTs are lost.
        middle.forgets = lambda: True
        async with connect(where(middle), timeout=5) as remote:
            assert await remote.how() == "websocket"


async def test_where_there_is_no_way_both_are_told() -> None:
    async with serving(Service(), hosts=HOSTS) as url:
        with pytest.raises(NetworkError, match="refused the WebSocket handshake with status 404") as found:
            async with connect(f"http://127.0.0.1:{port_of(url)}/elsewhere"):
                pass
        assert "refused the session with status 404" in str(found.value.__cause__)


async def test_leaving_at_any_moment_of_the_switch_is_an_end_in_order() -> None:
    numbers = Numbers()
    async with serving(numbers.service, hosts=HOSTS) as url, middle_of(port_of(url)) as middle:
        for passes in range(40):
            client = connect(where(middle))
            states: list[str] = []
            client.on_state(states.append)
            async with client as remote:
                call = remote.count()
                await call
                for _ in range(passes):
                    await anyio.lowlevel.checkpoint()
                await call.aclose()
            assert states == ["connected", "lost"]
        await until(lambda: len(numbers.ended) == 40)
        assert set(numbers.ended) == {None}


async def test_headers_that_do_not_do_any_more_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrading, "FIRST_SECONDS", 0.01)
    numbers = Numbers()
    asked = 0

    def headers() -> dict[str, str]:
        nonlocal asked
        asked += 1
        # The first are those of the session, the next those of two WebSockets.
        return {"X-Who": "bad\n"} if asked in (2, 3) else {"X-Who": "good"}

    async with serving(numbers.service, hosts=HOSTS) as url, middle_of(port_of(url)) as middle:
        client = connect(where(middle), headers=headers)
        async with client as remote:
            assert await remote.how() == "http"
            await moved(client)
            assert asked == 4
            assert await remote.how() == "websocket"


async def test_workers_that_nobody_steers_to_are_found_by_trying() -> None:
    """As several processes behind one port are: each connection meets another one."""
    numbers, others = Numbers(), Numbers()
    async with (
        serving(numbers.service, hosts=HOSTS) as url,
        serving(others.service, hosts=HOSTS) as other,
        middle_of(port_of(url)) as middle,
    ):
        ports = [port_of(url), port_of(other), port_of(other), port_of(other)]
        turns = itertools.count()
        middle.post_target = lambda: ports[next(turns) % len(ports)]
        middle.websocket_gate = anyio.Event()
        middle.websocket_target = port_of(other)
        client = connect(where(middle))
        async with client as remote:
            # The connection that has found the worker is lost, and the next three meet others.
            once = iter([True])
            middle.forgets = lambda: next(once, False)
            assert [await remote.how() for _ in range(5)] == ["http"] * 5
            assert next(turns) > len(ports)
            middle.websocket_gate.set()
            await until(lambda: middle.upgrades >= 3)
            middle.websocket_target = port_of(url)
            await moved(client)
            assert await remote.how() == "websocket"
        assert others.taken == []
