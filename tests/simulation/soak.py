"""Strains sessions for a while: cut hundreds of times on real sockets, on slow links, cut behind every byte.

``python tests/simulation/soak.py [--cuts N] [--seed N] [--share N] [--stride N]``, or ``make soak``. What the
sides got is compared with what was sent, item by item; it ends with status 1 at the first difference, and
says where the cut was. The cuts behind every byte are made once more where batches come again and out of
order, as POSTs do, there behind every seventh. On the slow links nobody may be declared dead, though two
seconds of silence do that.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "spec")]
    sys.path.remove(str(Path(__file__).parent))

from telewire import Limits, Service
from telewire.runtime.transport import TransportName
from telewire_transports import connect
from tests.simulation.cuts import TOLD, check_cut, offsets
from tests.simulation.everything import Everything, exchange_everything, serving
from tests.transports.middle import middle_of

TRANSPORTS: tuple[TransportName, ...] = ("websocket", "sse", "http")
SECONDS = 30.0
MIB = 1 << 20
SLOW = ((40 * MIB, 1_000_000), (100 * MIB, 5_000_000))
"""Bytes of a download, and the bytes a second that its link carries."""
STATED_STRIDE = 7
"""Of the cuts behind every byte so many times fewer, where batches state their positions."""
IMPATIENT = Limits(idle_seconds=0.5, dead_seconds=2.0)


def say(text: str) -> None:
    """Tell the reader."""
    sys.stdout.write(f"soak: {text}\n")
    sys.stdout.flush()


def cut_bytes(stride: int, stated: bool = False) -> None:
    """Cut the recorded conversation behind every byte, with each kind of notice in turn.

    ``stated``: on a carrier that repeats and reorders, where batches state their positions.
    """
    began, count = time.monotonic(), 0
    for way, byte in offsets(stride, stated=stated):
        check_cut(way, byte, TOLD[count % len(TOLD)], stated)
        count += 1
    what = f"the recorded conversation{', its positions stated,' if stated else ''}"
    say(f"{count} cuts of {what} in {time.monotonic() - began:.0f} s, nothing differs")


async def cut_sockets(transport: TransportName, cuts: int, seed: int) -> int:
    """Cut a session on real sockets at random bytes; how many cuts came to pass.

    Raises:
        AssertionError: something is missing, has come twice or differs.
        TimeoutError: something never came.
    """
    everything = Everything()
    choose = random.Random(f"{transport} {seed}")
    async with (
        serving(everything.service) as port,
        middle_of(port) as middle,
        connect(f"http://127.0.0.1:{middle.port}/telewire", transport=transport) as remote,
    ):
        await exchange_everything(remote, everything)
        once = middle.passed
        done = 0
        for _ in range(cuts):
            byte = choose.randrange(once)
            middle.passed, middle.cut_after = 0, byte
            try:
                with anyio.fail_after(SECONDS):
                    await exchange_everything(remote, everything)
            except BaseException as error:
                error.add_note(f"{transport}: cut behind byte {byte} of about {once}, seed {seed}")
                raise
            # A conversation may need fewer bytes than the first one did.
            done += middle.cut_after is None
    return done


async def download(transport: TransportName, size: int, rate: int, seed: int) -> float:
    """Download from a generator of bytes over a slow link; how many seconds it took.

    Raises:
        AssertionError: something is missing, differs, or the link was taken for dead.
    """
    piece = random.Random(seed).randbytes(64 * 1024)
    service: Service[None] = Service()

    @service.function
    async def blocks() -> AsyncIterator[bytes]:
        for number in range(size // len(piece)):
            yield number.to_bytes(4, "big") + piece[4:]

    states: list[str] = []
    began = anyio.current_time()
    async with serving(service, limits=IMPATIENT) as port, middle_of(port) as middle:
        middle.rate = rate
        url = f"http://127.0.0.1:{middle.port}/telewire"
        client = connect(url, transport=transport, limits=IMPATIENT)
        client.on_state(states.append)
        async with client as remote:
            number = 0
            async for block in remote.blocks():
                assert block == number.to_bytes(4, "big") + piece[4:], f"{transport}: block {number} differs"
                number += 1
            assert number == size // len(piece), f"{transport}: {number} blocks came"
            assert states == ["connected"], f"{transport}: the link was taken for dead: {states}"
    return anyio.current_time() - began


def main() -> int:
    """Take the arguments of the command line."""
    parser = argparse.ArgumentParser(description="Cut sessions, and compare what arrives.")
    parser.add_argument("--cuts", type=int, default=300, help="on real sockets, of each transport")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=int, default=1, help="of the slow downloads, one part of so many")
    parser.add_argument("--stride", type=int, default=1, help="in virtual time, every so many bytes")
    options = parser.parse_args()
    for transport in TRANSPORTS:
        began = time.monotonic()
        done = anyio.run(cut_sockets, transport, options.cuts, options.seed)
        seconds = time.monotonic() - began
        say(f"{transport}: {done} cuts of {options.cuts} in {seconds:.0f} s, nothing differs")
        for size, rate in SLOW:
            seconds = anyio.run(download, transport, size // options.share, rate, options.seed)
            what = f"{size // options.share / MIB:g} MiB at {rate / 1e6:g} MB/s"
            say(f"{transport}: {what} in {seconds:.0f} s, nothing differs, nobody was taken for dead")
    cut_bytes(options.stride)
    cut_bytes(STATED_STRIDE * options.stride, stated=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
