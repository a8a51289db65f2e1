"""Cuts sessions for a while: behind every byte in virtual time, then hundreds of times on real sockets.

``python tests/simulation/soak.py [--cuts N] [--seed N] [--stride N]``, or ``make soak``. What the sides got
is compared with what was sent, item by item; it ends with status 1 at the first difference, and says
where the cut was.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

import anyio

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "spec")]
    sys.path.remove(str(Path(__file__).parent))

from telewire.runtime.transport import TransportName
from telewire_transports import connect
from tests.simulation.cuts import TOLD, check_cut, offsets
from tests.simulation.everything import Everything, exchange_everything, serving
from tests.transports.middle import middle_of

TRANSPORTS: tuple[TransportName, ...] = ("websocket", "sse", "http")
SECONDS = 30.0


def say(text: str) -> None:
    """Tell the reader."""
    sys.stdout.write(f"soak: {text}\n")
    sys.stdout.flush()


def cut_bytes(stride: int) -> None:
    """Cut the recorded conversation behind every byte, with each kind of notice in turn."""
    began, count = time.monotonic(), 0
    for way, byte in offsets(stride):
        check_cut(way, byte, TOLD[count % len(TOLD)])
        count += 1
    say(f"{count} cuts of the recorded conversation in {time.monotonic() - began:.0f} s, nothing differs")


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


def main() -> int:
    """Take the arguments of the command line."""
    parser = argparse.ArgumentParser(description="Cut sessions, and compare what arrives.")
    parser.add_argument("--cuts", type=int, default=300, help="on real sockets, of each transport")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stride", type=int, default=1, help="in virtual time, every so many bytes")
    options = parser.parse_args()
    for transport in TRANSPORTS:
        began = time.monotonic()
        done = anyio.run(cut_sockets, transport, options.cuts, options.seed)
        seconds = time.monotonic() - began
        say(f"{transport}: {done} cuts of {options.cuts} in {seconds:.0f} s, nothing differs")
    cut_bytes(options.stride)
    return 0


if __name__ == "__main__":
    sys.exit(main())
