"""I1 on real sockets: a session that mixes everything, cut at random bytes; both sides have got the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from telewire.runtime.transport import TransportName
from telewire_transports.memory import connect
from tests.simulation.everything import Everything, exchange_everything
from tests.simulation.soak import cut_sockets

ROOT = Path(__file__).resolve().parents[2]
CUTS = 15
"""Of each transport; hundreds by ``make soak``."""


@pytest.mark.anyio
@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_i1_cut_on_real_sockets_both_sides_have_got_the_same(transport: TransportName) -> None:
    assert await cut_sockets(transport, CUTS, seed=2) > CUTS // 2


@pytest.mark.anyio
async def test_what_is_missing_is_noticed() -> None:
    everything = Everything()

    class Forgetful:
        def __getattr__(self, name: str) -> object:
            everything.note = lambda what, value: None  # type: ignore[method-assign]  # it forgets on purpose
            return getattr(remote, name)

    async with connect(everything.service) as remote:
        await exchange_everything(remote, everything)
        with pytest.raises(AssertionError):
            await exchange_everything(Forgetful(), everything)


def test_the_command_tells_what_it_did() -> None:
    command = [
        sys.executable,
        str(ROOT / "tests" / "simulation" / "soak.py"),
        "--cuts",
        "1",
        "--stride",
        "2000",
        "--share",
        "40",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("nothing differs") == 11
