"""World: a client and a server joined by a transport, with everything a test wants to look into."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeAlias

import anyio
import anyio.lowlevel

from telewire import Call, Client, Limits, Remote, Service
from telewire.core.connection import Connection
from telewire.errors import NetworkError
from telewire.runtime.attachment import Attachment
from telewire.runtime.backend import current_backend
from telewire.runtime.driver import Driver
from telewire.runtime.server import Server
from telewire.runtime.transport import AcceptTransport, Request, Transport, TransportHandler
from telewire_transports import MemoryLink, connect_websocket, serve_websocket

__all__ = ["Bugs", "Connected", "RemoteOf", "World", "caught", "drained", "leftovers", "quiescent", "until"]

PATIENCE = 5.0
PASSES = 20


class Recorder:
    """A transport that writes down what is sent on it."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.sent: list[bytes] = []

    @property
    def request(self) -> Request:
        return self.transport.request

    @property
    def writable(self) -> bool:
        return self.transport.writable

    def send(self, batches: Sequence[bytes]) -> None:
        self.sent += batches
        self.transport.send(batches)

    def close(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()


class World:
    """Both sides of one connection. ``sent`` is every byte that either side has emitted."""

    client: Client
    remote: Remote
    server: Server
    connect: Callable[..., AbstractAsyncContextManager[World]]

    def __init__(self) -> None:
        self.recorders: list[Recorder] = []
        self.attachments: list[Attachment] = []
        self.link: MemoryLink | None = None
        self.shut_off = False

    @property
    def sent(self) -> bytes:
        return b"".join(batch for recorder in self.recorders for batch in recorder.sent)

    @property
    def drivers(self) -> list[Driver]:
        """Those of both sides; of a session, one, whatever transports it had."""
        return list(dict.fromkeys(attachment.driver for attachment in self.attachments))

    @property
    def connections(self) -> list[Connection]:
        return [driver.connection for driver in self.drivers]

    @property
    def server_driver(self) -> Driver:
        (driver,) = (each for each in self.drivers if each.connection.side == "server")
        return driver

    @property
    def client_driver(self) -> Driver:
        (driver,) = (each for each in self.drivers if each.connection.side == "client")
        return driver

    def watch(self, accept: AcceptTransport) -> AcceptTransport:
        """``accept``, with the transport recorded and the driver noted."""

        def watched(transport: Transport) -> TransportHandler:
            recorder = Recorder(transport)
            self.recorders.append(recorder)
            attachment = accept(recorder)
            assert isinstance(attachment, Attachment)
            self.attachments.append(attachment)
            return attachment

        return watched

    def cut(self) -> None:
        """Lose the transport, as a network would."""
        if self.link is not None:
            self.link.cut()
        else:
            self.server_driver.transport.abort()

    def shut(self) -> None:
        """Let no further transport through."""
        self.shut_off = True

    async def settled(self, calls: int = 0) -> None:
        """Wait until nothing but ``calls`` is open on either side; fails if that does not come."""
        await until(
            lambda: not leftovers(self.connections, calls), lambda: leftovers(self.connections, calls)
        )


class Connected(Protocol):
    """The fixture ``connected``: serve, connect and yield the world; check the tables at its end."""

    def __call__(
        self,
        # Any: services of every provider.
        service: Service[Any],
        *,
        limits: Limits | None = None,
        headers: Mapping[str, str] | None = None,
        settle: bool = True,
        client_service: Service[Any] | None = None,
        resume: bool = False,
    ) -> AbstractAsyncContextManager[World]: ...


# Any: services of every provider.
RemoteOf: TypeAlias = Callable[[Service[Any]], AbstractAsyncContextManager[Remote]]
"""The fixture ``remote_of``: the same where a test needs the remote alone."""


class Bugs(logging.Handler):
    """What telewire and the loop have logged; a test that does not expect any fails with them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []
        self.expected = False

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    @property
    def errors(self) -> list[BaseException | None]:
        return [record.exc_info[1] if record.exc_info else None for record in self.records]


async def until(condition: Callable[[], bool], describe: Callable[[], object] = lambda: "") -> None:
    """Let the loop run until ``condition`` holds; what has not come after long is not coming."""
    end = anyio.current_time() + PATIENCE
    while not condition():
        assert anyio.current_time() < end, f"this never came: {describe()}"
        await anyio.lowlevel.checkpoint()


async def quiescent(remote: Remote | None = None) -> None:
    """A collection, one round trip where there is a ``remote``, and then whatever follows at once."""
    gc.collect()
    if remote is not None:
        await remote["test.round_trip"]()
    # anyio sleeps before it looks a second time; by then most has happened already.
    for _ in range(PASSES):
        await anyio.lowlevel.checkpoint()
    await anyio.wait_all_tasks_blocked()


def leftovers(connections: Sequence[Connection], calls: int = 0) -> list[str]:
    """Everything that a connection still holds though nothing but ``calls`` is open."""
    found: list[str] = []
    for connection in connections:
        held: dict[str, Any] = {
            name: getattr(connection, name) for name in ("_unsent", "_waiting_calls", "_argument_bytes")
        }
        if not calls:
            held |= {
                "_ours": connection._ours,
                "_theirs": connection._theirs,
                "_outgoing_calls": connection._outgoing_calls,
                "_incoming_calls": connection._incoming_calls,
                "_declared": any(connection._declared),
                "_accepted": any(connection._accepted),
                "_budget": connection.limits.session_budget - connection._budget.left,
            }
        elif connection._outgoing_calls + connection._incoming_calls != calls:
            held["calls"] = connection._outgoing_calls + connection._incoming_calls
        found += [f"{connection.side}: {name} = {value}" for name, value in held.items() if value]
    return found


async def caught(call: Call[Any]) -> BaseException:
    """What awaiting ``call`` raises."""
    try:
        result = await call
    except Exception as error:
        return error
    raise AssertionError(f"nothing was raised; the result is {result!r}")


async def drained(items: AsyncIterable[Any]) -> tuple[list[Any], Exception | None]:
    """The items, and what the loop over them raised behind the last."""
    found = []
    try:
        async for item in items:
            found.append(item)
    except Exception as error:
        return found, error
    return found, None


# --- opening -------------------------------------------------------------------------------------


# Any: services of every provider.
@asynccontextmanager
async def memory_world(
    service: Service[Any],
    limits: Limits | None,
    headers: Mapping[str, str] | None,
    client_service: Service[Any] | None = None,
    resume: bool = False,
) -> AsyncIterator[World]:
    """A world over the memory transport."""
    async with contextless(service, limits) as world:

        async def open_transport(accept: AcceptTransport) -> Transport:
            if world.shut_off:
                raise NetworkError("There is no way through.")
            names = {name.lower(): value for name, value in (headers or {}).items()}
            world.link = link = MemoryLink(current_backend(), Request(headers=names, transport="memory"))
            link.server.accept(world.watch(world.server.accept))
            link.client.accept(world.watch(accept))
            return link.client

        world.client = Client(open_transport, limits=limits, service=client_service, resume=resume)
        yield world


@asynccontextmanager
async def websocket_world(
    service: Service[Any],
    limits: Limits | None,
    headers: Mapping[str, str] | None,
    client_service: Service[Any] | None = None,
    resume: bool = False,
) -> AsyncIterator[World]:
    """A world over a WebSocket on this machine."""
    async with contextless(service, limits) as world:
        listener = await serve_websocket(world.watch(world.server.accept), port=0, limits=limits)
        url = f"http://127.0.0.1:{listener.port}/telewire"

        async def open_transport(accept: AcceptTransport) -> Transport:
            if world.shut_off:
                raise NetworkError("There is no way through.")
            return await connect_websocket(url, world.watch(accept), headers=headers, limits=limits)

        world.client = Client(open_transport, limits=limits, service=client_service, resume=resume)
        try:
            yield world
        finally:
            with anyio.CancelScope(shield=True):
                await listener.aclose()


@asynccontextmanager
async def contextless(service: Service[Any], limits: Limits | None) -> AsyncIterator[World]:
    """A world whose client is still to be made."""
    if service.find("test.round_trip") is None:
        service.add(round_trip, "test.round_trip")
    world = World()
    world.server = Server(current_backend(), service, limits)
    yield world


async def round_trip() -> None:
    """Served to every test, so that it can wait for one round trip."""


@asynccontextmanager
async def lived(opened: AbstractAsyncContextManager[World], settle: bool) -> AsyncIterator[World]:
    """Enter the client, and see at the end that neither side has kept anything."""
    async with opened as world:
        async with world.client as world.remote:
            yield world
            gc.collect()
            if settle:
                await world.settled()
        gc.collect()
        await until(lambda: not world.server._drivers, lambda: "the server still has a conversation")
        await world.settled()


def expect_network_error(error: object) -> None:
    """A lost connection is told as such."""
    assert isinstance(error, NetworkError), repr(error)
    assert str(error)
