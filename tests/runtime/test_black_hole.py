"""What is sent with await into a black hole, and then cut, arrives once and in order."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from tests.runtime.channels import ends_service, open_ends
from tests.runtime.world import Connected, Recorder, until

COUNT = 600
SIZE = 10_000


class Hole:
    """In the place of what a transport sends: nothing leaves, and nobody is told."""

    def __init__(self) -> None:
        self.vanished = 0

    def swallow(self, recorder: Recorder) -> None:
        """Let nothing more leave over this transport."""

        def send(batches: Sequence[bytes]) -> None:
            self.vanished += sum(map(len, batches))

        recorder.send = send  # type: ignore[method-assign]  # in the place of it


@pytest.mark.parametrize("sender", ["client", "server"])
async def test_3_600_awaited_sends_through_a_black_hole_and_a_cut_all_arrive_once_and_in_order(
    connected: Connected, sender: str
) -> None:
    service, theirs = ends_service()
    payloads = [number.to_bytes(2, "big") + bytes(SIZE) for number in range(COUNT)]
    arrived: list[bytes] = []
    async with connected(service, resume=True) as world:
        mine, other = await open_ends(world, theirs, "server")
        giver, taker = (mine, other) if sender == "client" else (other, mine)
        if sender == "client":
            recorders = {"sends": world.client_driver.transport, "takes": world.server_driver.transport}
        else:
            recorders = {"sends": world.server_driver.transport, "takes": world.client_driver.transport}

        async def send() -> None:
            for payload in payloads:
                await giver.send(payload)
            await giver.aclose()

        async def receive() -> None:
            async for message in taker:
                arrived.append(message)

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            group.start_soon(receive)
            await until(lambda: len(arrived) >= 100)
            hole = Hole()
            for way in ("sends", "takes"):
                recorder = recorders[way]
                assert isinstance(recorder, Recorder)
                hole.swallow(recorder)
                # What is granted still comes through, so the sender goes on until much has vanished.
                await until(lambda: hole.vanished > SIZE)
            assert len(arrived) < COUNT
            world.cut()
        assert arrived == payloads
        assert len(world.attachments) == 4
        await taker.aclose()
