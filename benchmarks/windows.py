"""Windows that tune themselves, over time: what a link carries, what is on its way, what is granted.

``make windows`` runs downloads on links of virtual time, as the tests of it do, and draws them; it takes
a few seconds and gives the same on every machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "spec")]

from benchmarks.plots import Line, lines
from telewire.core.streams import Stream
from tests.simulation.pipes import MBIT, Chat, Pipe

__all__ = ["draw_windows", "main"]

LINKS: Final = ((1000, 300), (1000, 20), (100, 100), (10, 100))
"""Mbit/s and milliseconds there and back."""
ROUNDS: Final = 16
NOTE: Final = (
    "Two machines in virtual time, no other hardware. One download, windows and replay up to 64 MiB."
)


def sampled(pipe: Pipe, pause: float, count: int, probe: Callable[[], float]) -> list[tuple[float, float]]:
    """What a probe says at times that lie so far apart, counted from 1; what is 0 is left out."""
    points = []
    for number in range(1, count + 1):
        pipe.run(pause)
        value = probe()
        if value > 0:
            points.append((float(number), value))
    return points


def carried(pipe: Pipe, pause: float) -> Callable[[], float]:
    """A probe of what crosses the bottleneck on the way down, in bytes a second since it was last asked."""
    before = pipe.server.way.carried

    def probe() -> float:
        nonlocal before
        now, before = pipe.server.way.carried - before, pipe.server.way.carried
        return now / pause

    return probe


def window_of(pipe: Pipe) -> float:
    """The window of the one download, in bytes; 0 before it has begun."""
    halves = [stream.receive for stream in pipe.client.read]
    return float(halves[0].window.window) if halves and halves[0] is not None else 0.0


def over_rounds(probe: Callable[[Pipe, float], Callable[[], float]]) -> list[Line]:
    """A curve for each link: what a probe says after each round trip of a download."""
    curves = []
    for mbit, milliseconds in LINKS:
        trip = milliseconds / 1000
        pipe = Pipe(mbit * MBIT, trip)
        pipe.download()
        pipe.run(trip / 2)
        curves.append(
            Line(f"{mbit} Mbit/s, {milliseconds} ms", sampled(pipe, trip, ROUNDS, probe(pipe, trip)))
        )
    return curves


def reading_less() -> list[Line]:
    """A reader at 100 Mbit/s and 100 ms that reads a hundredth of it from the fourth second on."""
    pipe = Pipe(100 * MBIT, 0.1)
    [end] = begun(pipe)
    half = end.receive
    assert half is not None
    window, held, rates = [], [], []
    rate = carried(pipe, 1.0)
    for second in range(1, 101):
        if second == 4:
            pipe.client.reads = lambda stream: False
        for _ in range(10):
            if second >= 4 and half.window.units:
                size = min(half.window.units, 12_500)
                pipe.client.read[end] += size
                pipe.client.connection.consumed(end, size)
                pipe.client.pump()
            pipe.run(0.1)
        window.append((float(second), float(half.window.window)))
        held.append((float(second), float(half.window.grown)))
        if (speed := rate()) > 0:
            rates.append((float(second), speed))
    thin = [0, 1, 2, 3, 4, 6, 9, 14, 19, 29, 39, 49, 59, 69, 79, 99]
    return [
        Line("window, bytes", [window[index] for index in thin]),
        Line("memory held, bytes", [held[index] for index in thin]),
        Line("carried, bytes/s", [point for point in rates if int(point[0]) - 1 in thin]),
    ]


def begun(pipe: Pipe) -> list[Stream]:
    """The ends of a download that has begun."""
    ends = pipe.download()
    pipe.run(pipe.trip * 1.5)
    return ends


def chatting() -> list[Line]:
    """How long a message waits beside a download at most, by the length of the way, at two rates."""
    curves = []
    for rate in (1e6, 5e6):
        points = []
        for milliseconds in (1, 5, 20, 50, 100, 200, 300):
            pipe = Pipe(rate, milliseconds / 1000)
            chat = Chat(pipe, 0.037)
            pipe.run(1.0)
            pipe.download()
            pipe.run(20.0)
            points.append((float(milliseconds), 1000 * max(chat.waits)))
        curves.append(Line(f"{rate / 1e6:.0f} MB/s", points))
    return curves


def draw_windows(folder: Path) -> list[Path]:
    """Draw all of it as SVG into a folder; returns the files that were written."""
    drawn = {
        "windows-rate": lines(
            "A download finds its rate",
            "round trips since it began",
            "bytes/s carried",
            NOTE,
            over_rounds(carried),
        ),
        "windows-size": lines(
            "Its window grows with it",
            "round trips since it began",
            "bytes of the window",
            NOTE,
            over_rounds(lambda pipe, trip: lambda: window_of(pipe)),
        ),
        "windows-flight": lines(
            "And no more is on its way than twice what the link holds",
            "round trips since it began",
            "bytes that have left and are not acknowledged",
            NOTE,
            over_rounds(lambda pipe, trip: lambda: float(pipe.server.flying)),
        ),
        "windows-less": lines(
            "A reader reads a hundredth from the fourth second on",
            "seconds",
            "100 Mbit/s, 100 ms there and back",
            NOTE,
            reading_less(),
        ),
        "windows-chat": lines(
            "How long a message waits behind a download at most",
            "milliseconds there and back",
            "milliseconds more than the way takes, in 20 s from the begin of the download on",
            NOTE,
            chatting(),
        ),
    }
    files = []
    for name, text in drawn.items():
        files.append(folder / f"{name}.svg")
        files[-1].write_text(text, encoding="utf-8")
    return files


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plots", type=Path, default=Path(__file__).parent / "plots", metavar="FOLDER")
    folder: Path = parser.parse_args(arguments).plots
    folder.mkdir(parents=True, exist_ok=True)
    for file in draw_windows(folder):
        print(f"windows: {file.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
