"""Through a real nginx with its defaults: it buffers, speaks HTTP/1.0 behind it, and tires of silence."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from telewire import Limits, Service, TransportUnsuitable, get_context
from telewire.runtime.transport import TransportName
from telewire_transports import connect
from tests.transports.exchanges import serving, until
from tests.transports.mixing import MIXED, Everything, mixed
from tests.transports.nginx import FOUND, UPGRADE, nginx_before, nginx_of
from tests.transports.raw_http import port_of

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        FOUND is None and sys.platform != "linux", reason="nginx is tried on Linux, whose set-up brings it"
    ),
]
README = Path(__file__).resolve().parents[2] / "README.md"
HOSTS = ("127.0.0.1", "servers")


def service_of(name: str) -> Service[Any]:
    everything = Everything()
    service = everything.service

    @service.function
    async def who() -> tuple[str, str]:
        return name, get_context().request.transport

    @service.function
    async def count(number: int) -> AsyncIterator[int]:
        for each in range(number):
            yield each

    return service


async def ask(port: int, transport: TransportName | None, **options: Any) -> tuple[Any, list[object]]:
    """Who answers, and what a conversation of everything brings."""
    url = f"http://127.0.0.1:{port}/telewire"
    async with connect(url, transport=transport, **options) as remote:
        assert [number async for number in remote.count(20_000)] == list(range(20_000))
        return await remote.who(), await mixed(remote)


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_sessions_pass_an_nginx_of_which_nobody_has_asked_anything(
    tmp_path: Path, transport: TransportName
) -> None:
    async with serving(service_of("one"), hosts=HOSTS) as url:
        with nginx_before(tmp_path, [port_of(url)]) as port:
            assert await ask(port, transport) == (["one", transport], MIXED)


async def test_exchanges_pass_it_too(tmp_path: Path) -> None:
    async with serving(service_of("one"), hosts=HOSTS) as url:
        with nginx_before(tmp_path, [port_of(url)]) as port:
            where = f"http://127.0.0.1:{port}/telewire"
            async with connect(where, transport="exchange") as remote:
                assert [number async for number in remote.count(20_000)] == list(range(20_000))


async def test_websockets_pass_it_where_it_is_told_of_them(tmp_path: Path) -> None:
    async with serving(service_of("one"), hosts=HOSTS) as url:
        with nginx_before(tmp_path, [port_of(url)], UPGRADE) as port:
            assert await ask(port, "websocket") == (["one", "websocket"], MIXED)


async def test_who_may_choose_moves_to_websocket_or_stays_with_http(tmp_path: Path) -> None:
    async with serving(service_of("one"), hosts=HOSTS) as url:
        with nginx_before(tmp_path, [port_of(url)]) as port:
            assert await ask(port, None) == (["one", "http"], MIXED)
        with nginx_before(tmp_path, [port_of(url)], UPGRADE) as port:
            client = connect(f"http://127.0.0.1:{port}/telewire")
            async with client as remote:
                assert await mixed(remote) == MIXED
                await until(lambda: client.transport == "websocket")
                assert await remote.who() == ["one", "websocket"]
                assert await mixed(remote) == MIXED


@pytest.mark.parametrize("transport", ["http", "sse", "websocket"])
async def test_a_session_that_is_silent_is_not_cut_off(tmp_path: Path, transport: TransportName) -> None:
    limits = Limits(idle_seconds=0.25)
    async with serving(service_of("one"), hosts=HOSTS, limits=limits) as url:
        # By default its patience is a minute, and telewire's silence a quarter of that: so it is here.
        with nginx_before(tmp_path, [port_of(url)], UPGRADE + "proxy_read_timeout 1s;") as port:
            client = connect(f"http://127.0.0.1:{port}/telewire", transport=transport, limits=limits)
            changed = anyio.Event()
            async with client as remote:
                client.on_state(lambda state: changed.set())
                # nginx knows no virtual clock.
                with anyio.move_on_after(1.5):
                    await changed.wait()
                assert not changed.is_set()
                assert await remote.who() == ["one", transport]


async def test_a_balancer_that_sends_a_route_to_one_worker(tmp_path: Path) -> None:
    async with (
        serving(service_of("one"), hosts=HOSTS) as one,
        serving(service_of("two"), hosts=HOSTS) as two,
    ):
        ports = [port_of(one), port_of(two)]
        with nginx_before(tmp_path, ports, UPGRADE, balance="hash $http_telewire_route consistent;") as port:
            names = set()
            while len(names) < 2:
                (name, _), brought = await ask(port, "sse")
                assert brought == MIXED
                names.add(name)
            assert (await ask(port, None))[1] == MIXED


def written(ports: Sequence[int], own: int) -> str:
    """What the README says to nginx, with the addresses of this test."""
    [block] = re.findall(
        r"^```nginx\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    for old, new in [
        ("127.0.0.1:8001", f"127.0.0.1:{ports[0]}"),
        ("127.0.0.1:8002", f"127.0.0.1:{ports[1]}"),
        ("\nserver {\n", f"\nserver {{\n    listen 127.0.0.1:{own};\n"),
    ]:
        assert block.count(old) == 1
        block = block.replace(old, new)
    return block


async def test_what_the_readme_says_to_nginx(tmp_path: Path) -> None:
    options: dict[str, Any] = {"hosts": ("telewire",), "trusted_proxies": ("localhost",)}
    async with (
        serving(service_of("one"), **options) as one,
        serving(service_of("two"), **options) as two,
    ):
        with nginx_of(tmp_path, lambda own: written([port_of(one), port_of(two)], own)) as port:
            names = set()
            for transport in ("websocket", "http", "sse", None):
                (name, _), brought = await ask(port, transport)
                assert brought == MIXED
                names.add(name)
            while len(names) < 2:
                names.add((await ask(port, "http"))[0][0])


async def test_a_balancer_that_does_not(tmp_path: Path) -> None:
    async with (
        serving(service_of("one"), hosts=HOSTS) as one,
        serving(service_of("two"), hosts=HOSTS) as two,
    ):
        with nginx_before(tmp_path, [port_of(one), port_of(two)], UPGRADE) as port:
            with pytest.raises(TransportUnsuitable, match="different workers"):
                await ask(port, "http")
            assert await ask(port, "websocket") in (
                (["one", "websocket"], MIXED),
                (["two", "websocket"], MIXED),
            )
