"""The adapter of examples/adapters: under 100 lines, keeps the contract, and carries a countdown."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import anyio
import pytest

from telewire import ByteStream, Service, get_context
from telewire.demo.table import load
from telewire.runtime.transport import AcceptTransport
from telewire.testing import check_transport
from telewire.testing.relay import Relay, open_unix_relay

ADAPTERS = Path(__file__).resolve().parents[2] / "examples" / "adapters"

# Not named as the backends are: streams of asyncio's have no counterpart on trio.
on_asyncio = pytest.mark.parametrize("anyio_backend", [pytest.param("asyncio", id="streams of asyncio")])


@pytest.fixture
def adapter() -> ModuleType:
    """The adapter as a module."""
    loaded = load(ADAPTERS, "unix_socket")
    assert isinstance(loaded, ModuleType)
    return loaded


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: that of a Unix socket may have about a hundred characters."""
    with tempfile.TemporaryDirectory(prefix="tw") as name:
        yield Path(name)


def test_it_has_under_100_lines() -> None:
    assert len((ADAPTERS / "unix_socket.py").read_text(encoding="utf-8").splitlines()) < 100


@on_asyncio
@pytest.mark.parametrize("side", ["client", "server"])
async def test_it_keeps_the_contract(adapter: ModuleType, folder: Path, side: str) -> None:
    import asyncio

    numbers = iter(range(1000))

    @asynccontextmanager
    async def make_pair(left: AcceptTransport, right: AcceptTransport) -> AsyncIterator[Relay]:
        connects, accepts = (left, right) if side == "client" else (right, left)
        accepted = anyio.Event()
        path, relayed = (folder / str(next(numbers)) for _ in range(2))

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            adapter.StreamTransport(reader, writer, accepts)
            accepted.set()

        listener = await asyncio.start_unix_server(connected, path)
        async with open_unix_relay(relayed, path) as relay:
            adapter.StreamTransport(*await asyncio.open_unix_connection(relayed), connects)
            await accepted.wait()
            yield relay
        listener.close()

    await check_transport(make_pair)


@on_asyncio
async def test_it_carries_a_countdown(adapter: ModuleType, folder: Path) -> None:
    service = Service()
    reasons: list[object] = []

    @service.function
    async def on_countdown(start: int) -> AsyncIterator[int]:
        get_context().on_close(reasons.append)
        for number in range(start, -1, -1):
            yield number

    @service.function
    async def echo(data: ByteStream) -> ByteStream:
        return data

    path = str(folder / "socket")
    async with adapter.serve_unix(service, path), adapter.connect_unix(path) as remote:
        assert [number async for number in remote.on_countdown(3)] == [3, 2, 1, 0]
        assert await (await remote.echo(ByteStream(b"x" * 1_000_000))).read() == b"x" * 1_000_000
    assert reasons == [None]


@on_asyncio
async def test_a_server_that_is_gone_is_noticed(adapter: ModuleType, folder: Path) -> None:
    service = Service()

    @service.function
    async def wait() -> None:
        await anyio.sleep_forever()

    client = adapter.connect_unix(str(folder / "socket"))
    with anyio.fail_after(10):
        async with adapter.serve_unix(service, str(folder / "socket")):
            remote = await client.__aenter__()
            call = remote.wait()
            await anyio.lowlevel.checkpoint()
        with pytest.raises(ConnectionError):
            await call
        await client.__aexit__(None, None, None)


def test_it_is_no_demonstration() -> None:
    """The folder of the examples holds programs for every transport; adapters stand beside them."""
    assert "unix_socket" not in {path.stem for path in ADAPTERS.parent.glob("*.py")}
