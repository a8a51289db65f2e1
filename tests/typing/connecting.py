"""Connecting and serving as programs do it: over the network, and in one process for tests."""

from __future__ import annotations

import signal
import ssl
from collections.abc import Callable
from typing import Any, assert_type

import anyio

from telewire import Client, Limits, Remote, ServerLimits, Service, with_options
from telewire_transports import connect, memory, serve, serve_until_signal

service = Service()


@service.function
async def double(number: int) -> int:
    return 2 * number


def fresh() -> dict[str, str]:
    return {"authorization": "Bearer …"}


async def fresh_from_afar() -> dict[str, str]:
    return fresh()


async def over_the_network() -> None:
    async with connect("ws://127.0.0.1:8000/telewire") as remote:
        assert_type(remote, Remote)
        assert_type(await remote[double](2), int)
    client = connect(
        "https://example.org/telewire",
        headers={"authorization": "Bearer …"},
        timeout=3,
        ssl_context=ssl.create_default_context(),
        limits=Limits(message_bytes=1_000_000),
        follow=lambda url: url.endswith(".example.org/telewire"),
    )
    assert_type(client, Client)
    async with connect("http://127.0.0.1:8000/telewire", transport="http", headers=fresh) as remote:
        assert_type(await with_options(remote[double], transport="websocket")(2), int)
    connect("http://127.0.0.1:8000/telewire", headers=fresh_from_afar, transport="websocket")
    assert_type(client.remote, Remote)
    assert_type(client.state, str)


async def in_one_process() -> None:
    async with memory.connect(service, headers={"authorization": "ann"}, limits=Limits()) as remote:
        assert_type(remote, Remote)
        assert_type(await remote[double](2), int)
    assert_type(memory.connect(service), Client)


async def serving(ready: Callable[[int], None]) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(serve, service)
        await serve(service, host="127.0.0.1", port=0, path="/telewire", on_started=ready)
        await serve(service, origins=["https://example.org"], hosts=["example.org"], limits=Limits())
        await serve(service, trusted_proxies=("10.0.0.0/8",), server_limits=ServerLimits(sessions=100))
        await serve(service, until=anyio.Event().wait, drain_seconds=5, reconnect_after=1.5, elsewhere=None)
        await serve(service, server_limits=ServerLimits(age_seconds=3600, age_jitter=0.2, grace_seconds=60))
        await serve(service, ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), on_started=ports.append)


async def serving_as_the_main_thing() -> None:
    assert_type(await serve_until_signal(service, port=0, origins=()), signal.Signals | None)
    await serve_until_signal(service, prot=0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


ports: list[int] = []
limits = Limits(stream_window=65536, idle_seconds=15)
assert_type(limits.stream_window, int)
assert_type(limits.idle_seconds, float)


async def mistakes(other: Service[Any]) -> None:
    connect("http://127.0.0.1", transport="pigeon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    connect(8000)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    connect("ws://127.0.0.1", timeout="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    memory.connect(double)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await serve(other, "127.0.0.1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await serve(other, port="8000")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Limits(stream_windows=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    limits.stream_window = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
