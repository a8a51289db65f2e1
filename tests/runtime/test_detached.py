"""Detached sessions of a server: how many are kept, and which goes first."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from telewire import Call, Client, ServerLimits, Service, SessionLost, get_context
from telewire.errors import NetworkError
from telewire.runtime.admission import Admission
from telewire.runtime.backend import current_backend
from telewire.runtime.server import Server
from telewire.runtime.transport import AcceptTransport, Transport
from telewire_transports import MemoryLink
from tests.runtime.world import caught, until


class Party:
    """A client that can lose its link, and stay away."""

    def __init__(self, server: Server) -> None:
        self.away = False
        self.link: MemoryLink | None = None

        async def open_transport(accept: AcceptTransport) -> Transport:
            if self.away:
                raise NetworkError("There is no way through.")
            self.link = link = MemoryLink(current_backend())
            link.server.accept(server.accept)
            link.client.accept(accept)
            return link.client

        self.client = Client(open_transport, resume=True)

    def vanish(self) -> None:
        """Lose the link for good."""
        self.away = True
        assert self.link is not None
        self.link.cut()


@pytest.mark.parametrize(
    "limits", [ServerLimits(detached=1), ServerLimits(sessions=2)], ids=["detached", "all"]
)
async def test_the_session_that_has_waited_longest_goes_first(
    guarded: None, limits: ServerLimits, anyio_backend: str
) -> None:
    service: Service[None] = Service()
    over: list[tuple[str, BaseException | None]] = []
    started: list[str] = []

    @service.function
    async def wait(name: str) -> None:
        get_context().on_close(lambda reason: over.append((name, reason)))
        started.append(name)
        await anyio.sleep_forever()

    admission = Admission(limits)
    server = Server(current_backend(), service, None, admission)
    first, second, third = Party(server), Party(server), Party(server)
    async with first.client as one, second.client as two:
        calls = [one.wait("first"), two.wait("second")]
        await until(lambda: len(started) == 2)
        first.vanish()
        await until(lambda: first.client.state == "reconnecting")
        assert over == []
        if limits.detached == 1:
            second.vanish()
        else:
            # Whoever comes in takes the place of one that nobody is attached to.
            assert admission.refusal(None, conversation=True) is None
            async with third.client as three:
                assert admission.refusal(None, conversation=True) is not None
                three.wait("third").cancel()
        await until(lambda: bool(over))
        name, reason = over[0]
        assert name == "first"
        assert isinstance(reason, SessionLost)
        if limits.detached == 1:
            assert [each for each, _ in over] == ["first"]
    assert [isinstance(await caught(call), NetworkError) for call in calls] == [True, True]
    await server.aclose()
    assert (admission.conversations, admission.unknown) == (0, 0)


async def test_one_that_holds_what_others_need_goes_first(guarded: None, anyio_backend: str) -> None:
    service: Service[None] = Service()
    over: list[tuple[str, BaseException | None]] = []

    @service.function
    async def wait(name: str) -> None:
        get_context().on_close(lambda reason: over.append((name, reason)))
        await anyio.sleep_forever()

    @service.function
    async def give(size: int) -> bytes:
        return bytes(size)

    # Half of it is for what is kept.
    admission = Admission(ServerLimits(held_bytes=1 << 19))
    server = Server(current_backend(), service, None, admission)
    idle, holder, other = Party(server), Party(server), Party(server)
    async with idle.client as one, holder.client as two, other.client as three:
        calls: list[Call[Any]] = [one.wait("idle"), two.wait("holder"), two.give(1 << 22)]
        await until(lambda: admission.pool.left_to_grow < 1 << 17)
        idle.vanish()
        holder.vanish()
        await until(lambda: len(server._detached) == 2)
        assert over == []
        assert await three.give(1 << 18) == bytes(1 << 18)
        # Longer away, but it has nothing that anybody could use.
        assert [name for name, _ in over] == ["holder"]
        assert isinstance(over[0][1], SessionLost)
    for call in calls:
        assert isinstance(await caught(call), NetworkError)
    await server.aclose()
    assert (admission.pool.left, admission.pool.left_to_grow) == (1 << 19, 1 << 18)


async def test_who_comes_back_needs_no_place(guarded: None, anyio_backend: str) -> None:
    service: Service[None] = Service()
    over: list[BaseException | None] = []
    go_on = anyio.Event()

    @service.function
    async def wait() -> str:
        get_context().on_close(over.append)
        await go_on.wait()
        return "went on"

    admission = Admission(ServerLimits(sessions=1))
    server = Server(current_backend(), service, None, admission)
    party = Party(server)
    async with party.client as remote:
        call = remote.wait()
        await until(lambda: admission.conversations == 1 and admission.unknown == 0)
        assert admission.refusal(None, conversation=True) is not None
        party.vanish()
        await until(lambda: len(server._detached) == 1)
        # It is let in, as anybody would be in its place.
        assert admission.refusal(None, conversation=True) is None
        party.away = False
        await until(lambda: not server._detached)
        go_on.set()
        assert await call == "went on"
        assert over == [None]
        assert admission.conversations == 1
    await server.aclose()
    assert (admission.conversations, admission.unknown) == (0, 0)
