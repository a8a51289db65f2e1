"""Plots: a run as SVG, to be read in light and in dark, without a library for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Any: a document as JSON has it.
from typing import Any, Final
from xml.sax.saxutils import escape

from benchmarks.workloads import WORKLOADS

__all__ = ["Line", "bars", "draw", "lines"]

WIDTH: Final = 760
STYLE: Final = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 16px; font-weight: 600 } .note { font-size: 11px; fill: #57606a }
  .grid { stroke: #d0d7de; stroke-width: 1 } .back { fill: #ffffff }
  .c0 { --c: #0969da } .c1 { --c: #8c959f } .c2 { --c: #bc4c00 } .c3 { --c: #8250df }
  .c4 { --c: #1a7f37 } .c5 { --c: #bf3989 } .c6 { --c: #9a6700 } .c7 { --c: #57606a }
  .fill { fill: var(--c) } .line { stroke: var(--c); fill: none; stroke-width: 2.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .note { fill: #8d96a0 } .grid { stroke: #30363d } .back { fill: #0d1117 }
    .c0 { --c: #58a6ff } .c1 { --c: #6e7681 } .c2 { --c: #f0883e } .c3 { --c: #bc8cff }
    .c4 { --c: #3fb950 } .c5 { --c: #f778ba } .c6 { --c: #d29922 } .c7 { --c: #8d96a0 }
  }
"""


@dataclass(frozen=True)
class Line:
    """One curve: its name, and points (x, y) in order, both above 0."""

    name: str
    points: Sequence[tuple[float, float]]


def _svg(height: int, title: str, note: str, body: Iterable[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
        f'<rect class="back" width="{WIDTH}" height="{height}" rx="8"/>'
        f'<text class="title" x="24" y="34">{escape(title)}</text>'
        f'<text class="note" x="24" y="{height - 14}">{escape(note)}</text>'
    )
    return "\n".join([head, *body, "</svg>", ""])


def short(figure: float) -> str:
    """A figure in few characters: 1.2M, 340k, 12."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if figure >= limit:
            return f"{figure / limit:.3g}{unit}"
    return f"{figure:.3g}"


def bars(title: str, unit: str, note: str, figures: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars, longest first; the first name that begins with telewire has a colour of its own."""
    ranked = sorted(figures, key=lambda each: -each[1])
    most = ranked[0][1]
    body = [f'<text class="note" x="24" y="54">{escape(unit)}; longer is better</text>']
    for place, (name, figure) in enumerate(ranked):
        y = 68 + 26 * place
        width = max(2.0, figure / most * (WIDTH - 310))
        colour = "c0" if name.startswith("telewire") else "c1"
        body.append(f'<text x="210" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        body.append(
            f'<rect class="{colour} fill" x="220" y="{y}" width="{width:.1f}" height="20" rx="3"/>'
            f'<text x="{228 + width:.1f}" y="{y + 15}">{short(figure)}</text>'
        )
    return _svg(108 + 26 * len(ranked), title, note, body)


def _ticks(low: float, high: float) -> list[float]:
    """Powers of ten, or of two and five between them where there are few, from ``low`` to ``high``."""
    tens = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [10.0**power for power in tens]


def lines(title: str, across: str, up: str, note: str, curves: Sequence[Line]) -> str:
    """Curves on two logarithmic scales, each named at its end."""
    left, right, top, bottom = 76, WIDTH - 170, 66, 340
    xs = [x for curve in curves for x, _ in curve.points]
    ys = [y for curve in curves for _, y in curve.points]
    x_ticks, y_ticks = _ticks(min(xs), max(xs)), _ticks(min(ys) / 1.2, max(ys) * 1.2)

    def place(value: float, ticks: Sequence[float], start: float, end: float) -> float:
        first, last = math.log10(ticks[0]), math.log10(ticks[-1])
        return start + (math.log10(value) - first) / max(last - first, 1e-9) * (end - start)

    body = [f'<text class="note" x="24" y="54">{escape(up)}</text>']
    for tick in y_ticks:
        y = place(tick, y_ticks, bottom, top)
        body.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        body.append(
            f'<text class="note" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{short(tick)}</text>'
        )
    for tick in x_ticks:
        x = place(tick, x_ticks, left, right)
        body.append(
            f'<text class="note" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{short(tick)}</text>'
        )
    body.append(f'<text class="note" x="{right}" y="{bottom + 36}" text-anchor="end">{escape(across)}</text>')
    # Names that would cover each other move down.
    taken = 0.0
    for number, curve in sorted(enumerate(curves), key=lambda each: -each[1].points[-1][1]):
        dots = [(place(x, x_ticks, left, right), place(y, y_ticks, bottom, top)) for x, y in curve.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
        body.append(f'<g class="c{number % 8}"><polyline class="line" points="{path}"/>')
        body += [f'<circle class="fill" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in dots]
        taken = max(dots[-1][1] + 4, taken + 16)
        body.append(f'<text x="{dots[-1][0] + 10:.1f}" y="{taken:.1f}">{escape(curve.name)}</text></g>')
    return _svg(408, title, note, body)


def note_of(document: Mapping[str, Any]) -> str:
    """The day and the machine, in words."""
    machine = document["machine"]
    words = f"{document['taken'][:10]}, {machine['cpus']} CPUs, {machine['system']}, {machine['python']}"
    return f"{words}. {document.get('note', '')}".strip()


def draw(document: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw what a run has found; returns the files that were written."""
    note = note_of(document)
    drawn: dict[str, str] = {}
    for name, workload in WORKLOADS.items():
        best: dict[str, tuple[str, float]] = {}
        for each in document["summary"]:
            rate = each["rate"]["median"]
            if each["workload"] == name and rate > best.get(each["peer"], ("", 0.0))[1]:
                best[each["peer"]] = (each["way"], rate)
        if len(best) > 1:
            figures = [(f"{peer} ({way})", rate) for peer, (way, rate) in best.items()]
            drawn[name] = bars(f"{name}: {workload.title}", workload.unit, note, figures)
    drawn |= _curves(document, note)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in drawn.items():
        path = folder / f"{name.replace(' ', '-').lower()}.svg"
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


CURVE_PLOTS: Final = {
    "streams": (
        "CPU of one item, by how many generators run at once",
        "generators at once",
        "µs, both sides",
    ),
    "connections": ("CPU of one call, by connections", "connections", "µs, both sides"),
    "sizes": ("Messages there and back, by size", "bytes", "bytes/s"),
    "idle streams": ("Memory of an idle stream", "streams", "bytes, both sides"),
    "idle connections": ("Memory of an idle connection", "connections", "bytes, both sides"),
}


def _height(curve: str, point: Mapping[str, Any]) -> float:
    if curve == "sizes":
        return float(point["rate"] or 0)
    if curve.startswith("idle"):
        return float((point["client_bytes"] or 0) + (point["server_bytes"] or 0))
    return float((point["client_us"] or 0) + (point["server_us"] or 0))


def _curves(document: Mapping[str, Any], note: str) -> dict[str, str]:
    drawn = {}
    for curve, (title, across, up) in CURVE_PLOTS.items():
        heights: dict[str, dict[float, list[float]]] = {}
        for point in document["curves"]:
            height = _height(curve, point)
            if point["curve"] == curve and height > 0:
                heights.setdefault(point["peer"], {}).setdefault(point["at"], []).append(height)
        found = [
            Line(peer, [(at, sorted(each)[len(each) // 2]) for at, each in sorted(sizes.items())])
            for peer, sizes in heights.items()
        ]
        if found:
            drawn[curve] = lines(title, across, up, note, found)
    return drawn
