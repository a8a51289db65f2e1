"""Processes: the two sides of a peer, started, pinned, asked and ended by ``run.py``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from types import MappingProxyType, TracebackType

# Any: what JSON brings.
from typing import Any, Final, Self, final

from benchmarks.entrants import command_of

__all__ = ["PINNING", "SideFailed", "Sides"]

ROOT: Final = Path(__file__).resolve().parents[1]
END_SECONDS: Final = 10.0

PINNING: Final = hasattr(os, "sched_setaffinity")
"""Whether this system lets a process be kept on one CPU."""


class SideFailed(Exception):
    """A process ended instead of answering; what it said stands on standard error."""


def _spawn(role: str, peer: str, *arguments: str, also: Mapping[str, str]) -> subprocess.Popen[str]:
    # Where the compiled packages lie, if they are asked for: ahead of the checkout's own.
    ahead = [also["TELEWIRE_BENCHMARK_COMPILED"]] if "TELEWIRE_BENCHMARK_COMPILED" in also else []
    places = [*ahead, str(ROOT), str(ROOT / "transports"), str(ROOT / "spec")]
    inherited = os.environ.get("PYTHONPATH")
    # -P: the folder it starts in, which is the checkout, must not come before what is ahead of it.
    ours = [sys.executable, "-P", "-m", "benchmarks.side", role]
    return subprocess.Popen(
        [*(command_of(peer, role) or ours), peer, *arguments],
        cwd=ROOT,
        # This checkout is measured, whatever is installed.
        env={
            **os.environ,
            **also,
            "PYTHONPATH": os.pathsep.join([*places, *([inherited] if inherited else [])]),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def _read_line(process: subprocess.Popen[str], who: str) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        status = process.wait()
        raise SideFailed(f"The {who} ended with exit status {status} before it had answered.")
    return line


@final
class Sides:
    """Server and client of one peer in one of its ways, each in a process of its own.

    ``also``: variables of their environment.
    """

    def __init__(self, peer: str, way: str, also: Mapping[str, str] = MappingProxyType({})) -> None:
        self.peer = peer
        self.way = way
        self._server = _spawn("server", peer, way, also=also)
        self._processes = [self._server]
        try:
            port = _read_line(self._server, f"server of {peer} ({way})").strip()
            self._client = _spawn("client", peer, way, port, also=also)
            self._processes.append(self._client)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self.close()

    def measure(
        self,
        workload: str,
        count: int,
        *,
        one_cpu: bool = False,
        seconds: float | None = None,
        points: Sequence[int] = (),
    ) -> dict[str, Any]:
        """Have the client do one measurement; with ``one_cpu`` both processes share one CPU meanwhile.

        With ``seconds`` it does less than ``count`` where all would take longer; the answer says how much.

        Raises:
            SideFailed: the client ended.
        """
        everywhere = os.sched_getaffinity(0) if PINNING else set()
        if one_cpu and PINNING:
            self._keep_on({max(everywhere)})
        order = {"workload": workload, "count": count, "seconds": seconds, "server": self._server.pid}
        try:
            assert self._client.stdin is not None
            try:
                self._client.stdin.write(json.dumps({**order, "points": list(points)}) + "\n")
                self._client.stdin.flush()
            except BrokenPipeError:
                raise SideFailed(f"The client of {self.peer} ({self.way}) had ended.") from None
            figures: dict[str, Any] = json.loads(
                _read_line(self._client, f"client of {self.peer} ({self.way}), asked for {workload},")
            )
            return figures
        finally:
            if one_cpu and PINNING and all(process.poll() is None for process in self._processes):
                self._keep_on(everywhere)

    def _keep_on(self, cpus: Set[int]) -> None:
        for process in self._processes:
            os.sched_setaffinity(process.pid, cpus)

    def close(self) -> None:
        """End both processes, the client first."""
        for process in reversed(self._processes):
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
