"""What a connection leaves: nothing that only a collector finds, since one that runs stops everybody."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator

import pytest

from telewire import Connection, Limits, Service
from telewire.runtime.driver import Driver
from telewire.wire import frames as f
from telewire.wire.reader import write_batch
from tests.core.dialogue import batch, hello
from tests.runtime.world import until
from tests.security.serving import POST, Raw, dialled, serving

pytestmark = pytest.mark.usefixtures("guarded")


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Let nobody collect for a while."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def nonsense(raw: Raw) -> None:
    """No request at all."""
    await raw.send(b"\x00\xff" * 50 + b"\r\n\r\n")
    await raw.until_closed()


async def an_upgrade(raw: Raw) -> None:
    """A WebSocket that goes away after its hello."""
    await raw.upgrade()
    await raw.say_hello()


async def a_bad_frame(raw: Raw) -> None:
    """A WebSocket whose frames break a rule."""
    await raw.upgrade()
    await raw.say_hello()
    await raw.message(batch(f.End(77, 0, 0, b"")))
    await raw.until_closed()


async def a_bad_batch(raw: Raw) -> None:
    """One whose batch is none."""
    await raw.upgrade()
    await raw.message(b"\x9f\x00\xff")
    await raw.until_closed()


async def a_call(raw: Raw) -> None:
    """One call over plain HTTP, whole."""
    body = write_batch(batch(hello(), f.Call(0, "add", 0, 3, b"\x82\x01\x02")))
    await raw.send(POST.format(port=raw.port, more="").encode())
    await raw.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    assert b" 200 " in await raw.head()


async def a_bad_body(raw: Raw) -> None:
    """A request over plain HTTP whose body is no batch."""
    await raw.send(POST.format(port=raw.port, more="").encode() + b"5\r\n\xff\xff\xff\xff\xff\r\n0\r\n\r\n")
    await raw.until_closed()


VISITS = [nonsense, an_upgrade, a_bad_frame, a_bad_batch, a_call, a_bad_body]


@pytest.mark.parametrize("visit", VISITS, ids=[visit.__name__ for visit in VISITS])
async def test_a_connection_goes_without_a_collector(
    uncollected: None, visit: Callable[[Raw], Awaitable[None]]
) -> None:
    limits = Limits(hello_seconds=0.2, cleanup_seconds=0.2, resume_seconds=0)

    def alive() -> list[object]:
        return [each for each in gc.get_objects() if isinstance(each, Driver | Connection)]

    async with serving(Service(), limits=limits) as port:
        before = len(alive())
        for _ in range(3):
            async with dialled(port) as raw:
                await visit(raw)
        await until(lambda: len(alive()) == before, alive)
