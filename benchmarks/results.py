"""Results: what was measured, and medians, spreads and ratios out of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from statistics import median
from types import MappingProxyType

# Any: what JSON may hold.
from typing import Any, Final

import telewire

__all__ = [
    "OURS",
    "CurvePoint",
    "Measurement",
    "Percentiles",
    "Samples",
    "Spread",
    "Summary",
    "document",
    "percentiles",
    "summarise",
]

FORMAT: Final = 2
OURS: Final = "telewire"
PACKAGES: Final = (
    *("cbor2", "wsproto", "msgspec", "websockets", "aiohttp", "starlette", "httpx", "uvicorn", "grpcio"),
    *("protobuf", "python-socketio", "rpyc", "rsocket"),
)
ENOUGH: Final = 1_000
"""As many samples must there be for one in a thousand to mean something."""


@dataclass(frozen=True)
class Measurement:
    """One peer, in one way, at one workload, in one round. ``rate`` is units of work a second."""

    workload: str
    peer: str
    way: str
    round: int
    count: int
    seconds: float
    client_cpu_seconds: float

    @property
    def rate(self) -> float:
        return self.count / self.seconds


@dataclass(frozen=True)
class Samples:
    """Single calls of one peer, in one way, in one round, in seconds; and how fast bytes came beside them."""

    workload: str
    peer: str
    way: str
    round: int
    samples: list[float]
    bytes_a_second: float | None


@dataclass(frozen=True)
class Percentiles:
    """All rounds of one peer in one way: seconds. ``p999`` is None where there are too few for it."""

    workload: str
    peer: str
    way: str
    count: int
    p50: float
    p99: float
    p999: float | None
    bytes_a_second: float | None


@dataclass(frozen=True)
class CurvePoint:
    """What one size has cost: ``at`` so many streams, connections or bytes.

    ``rate``: units a second; CPU in microseconds a unit; bytes of memory for each of ``at``. None: not
    what was asked.
    """

    curve: str
    peer: str
    way: str
    round: int
    at: float
    rate: float | None = None
    client_us: float | None = None
    server_us: float | None = None
    client_bytes: float | None = None
    server_bytes: float | None = None


@dataclass(frozen=True)
class Spread:
    """The middle of some figures, the least and the greatest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Iterable[float]) -> Spread:
        """The spread of at least one figure."""
        known = sorted(figures)
        return cls(median(known), known[0], known[-1])


@dataclass(frozen=True)
class Summary:
    """All rounds of one peer in one way at one workload.

    ``ratio`` is how many times as fast telewire was, round by round, so that what slows a whole round
    down does not count; None for telewire itself. ``fastest``: of the peer's ways, the one with the
    lowest ratio, to be compared with: rates over all rounds may say otherwise by the noise between
    them. ``goal`` is the ratio that telewire aims at, where it names one for this peer.
    """

    workload: str
    peer: str
    way: str
    rate: Spread
    ratio: Spread | None
    fastest: bool
    goal: float | None


def summarise(measurements: Sequence[Measurement], goals: dict[tuple[str, str], float]) -> list[Summary]:
    """One summary for each workload, peer and way, in the order of their first measurement.

    ``goals``: (workload, peer) → ratio. A round without telewire counts towards no ratio.
    """
    rates: dict[tuple[str, str, str], dict[int, float]] = {}
    for each in measurements:
        rates.setdefault((each.workload, each.peer, each.way), {})[each.round] = each.rate
    ours = {workload: rounds for (workload, peer, _), rounds in rates.items() if peer == OURS}
    ratios: dict[tuple[str, str, str], Spread] = {}
    for (workload, peer, way), rounds in rates.items():
        shared = sorted(rounds.keys() & ours.get(workload, {}).keys()) if peer != OURS else []
        if shared:
            ratios[workload, peer, way] = Spread.of(ours[workload][each] / rounds[each] for each in shared)
    summaries = []
    for key, rounds in rates.items():
        workload, peer, way = key
        ratio = ratios.get(key)
        fastest = ratio is not None and ratio.median == min(
            other.median for (*entrant, _), other in ratios.items() if entrant == [workload, peer]
        )
        goal = goals.get((workload, peer))
        summaries.append(Summary(workload, peer, way, Spread.of(rounds.values()), ratio, fastest, goal))
    return summaries


def percentiles(samples: Sequence[Samples]) -> list[Percentiles]:
    """The percentiles of each workload, peer and way over all rounds, in the order they came first."""
    together: dict[tuple[str, str, str], list[Samples]] = {}
    for each in samples:
        together.setdefault((each.workload, each.peer, each.way), []).append(each)
    found = []
    for (workload, peer, way), rounds in together.items():
        known = sorted(sample for each in rounds for sample in each.samples)
        speeds = [each.bytes_a_second for each in rounds if each.bytes_a_second is not None]

        def at(part: float, known: list[float] = known) -> float:
            return known[min(len(known) - 1, int(len(known) * part))]

        speed = median(speeds) if speeds else None
        p999 = at(0.999) if len(known) >= ENOUGH else None
        found.append(Percentiles(workload, peer, way, len(known), at(0.5), at(0.99), p999, speed))
    return found


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def document(
    measurements: Sequence[Measurement],
    summaries: Sequence[Summary],
    *,
    pinned: bool,
    samples: Sequence[Samples] = (),
    points: Sequence[CurvePoint] = (),
    missing: Mapping[str, str] = MappingProxyType({}),
    failures: Mapping[str, str] = MappingProxyType({}),
    note: str = "",
) -> dict[str, Any]:
    """Everything as one value for JSON; of the machine only what explains figures."""
    return {
        "format": FORMAT,
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpus": os.cpu_count(),
            "system": platform.system(),
            "architecture": platform.machine(),
            "python": f"{platform.python_implementation()} {platform.python_version()}",
        },
        "versions": {OURS: telewire.__version__, **{name: _version(name) for name in PACKAGES}},
        "pinned": pinned,
        "measurements": [{**asdict(each), "rate": each.rate} for each in measurements],
        "summary": [asdict(each) for each in summaries],
        "latencies": [asdict(each) for each in percentiles(samples)],
        "curves": [asdict(each) for each in points],
        "missing": dict(missing),
        "failures": dict(failures),
        "note": note,
    }
