"""The plots are whole SVG files that show every peer, and scale counts what it says it counts."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from benchmarks import plots, scale, windows
from benchmarks.results import CurvePoint, Measurement, document, summarise

SVG = "{http://www.w3.org/2000/svg}"


def measured(peer: str, way: str, seconds: float) -> Measurement:
    return Measurement("W1", peer, way, 0, 100, seconds, 0.0)


def a_document() -> dict:
    measurements = [
        measured("telewire", "plain", 1.0),
        measured("other", "slow", 4.0),
        measured("other", "fast", 0.5),
        measured("third", "<only>", 2.0),
    ]
    points = [
        CurvePoint("streams", "telewire", "plain", 0, at, rate=1.0, client_us=2.0, server_us=at)
        for at in (1, 10, 100)
    ]
    points.append(CurvePoint("idle streams", "telewire", "plain", 0, 100, client_bytes=10, server_bytes=20))
    summaries = summarise(measurements, {})
    return document(measurements, summaries, pinned=True, points=points, note="while others worked")


def texts(path) -> list[str]:
    return [each.text or "" for each in ElementTree.parse(path).iter(f"{SVG}text")]


def test_a_run_is_drawn_with_each_peer_in_its_fastest_way(tmp_path) -> None:
    written = {path.name: path for path in plots.draw(a_document(), tmp_path)}
    assert set(written) == {"w1.svg", "streams.svg", "idle-streams.svg"}
    shown = texts(written["w1.svg"])
    names = [text for text in shown if "(" in text]
    assert names == ["other (fast)", "telewire (plain)", "third (<only>)"]
    assert {"200", "100", "50"} <= set(shown)
    assert any("while others worked" in text for text in shown)


def test_a_curve_has_a_point_for_each_size(tmp_path) -> None:
    written = {path.name: path for path in plots.draw(a_document(), tmp_path)}
    tree = ElementTree.parse(written["streams.svg"])
    assert len(list(tree.iter(f"{SVG}circle"))) == 3
    heights = [float(each.attrib["cy"]) for each in tree.iter(f"{SVG}circle")]
    assert heights == sorted(heights, reverse=True)
    assert "telewire" in texts(written["streams.svg"])


@pytest.mark.parametrize(
    ("figure", "words"), [(1_234_567.0, "1.23M"), (340_000.0, "340k"), (12.0, "12"), (0.5, "0.5")]
)
def test_figures_are_short(figure, words) -> None:
    assert plots.short(figure) == words


def test_scale_counts_sessions_generators_and_their_items(tmp_path, capsys) -> None:
    target = tmp_path / "scale.json"
    arguments = ["--idle", "24", "--active", "11", "--seconds", "0.7", "--json", str(target)]
    assert scale.main([*arguments, "--plots", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    if not scale.READABLE:
        assert "only Linux does" in printed
        return
    steps = json.loads(target.read_text(encoding="utf-8"))
    assert [(step["sessions"], step["generators"]) for step in steps] == [
        (20, 0),
        (24, 0),
        (24, 10),
        (24, 11),
    ]
    for step in steps:
        assert step["resident_bytes"] > 1_000_000
        assert step["stall"] >= step["own"] >= 0
        # Each gives two items a second.
        assert (step["items_a_second"] > 0) == (step["generators"] > 0)
    assert ElementTree.parse(tmp_path / "scale.svg")
    assert all(heading in printed for heading in ("KiB each", "opening", "stall", "gc", "items/s", "µs/item"))


def test_windows_are_drawn_as_they_are_in_virtual_time(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "LINKS", ((10, 20), (100, 20)))
    files = windows.draw_windows(tmp_path)
    assert [file.name for file in files] == [
        f"windows-{name}.svg" for name in ("rate", "size", "flight", "less", "chat")
    ]
    assert "100 Mbit/s, 20 ms" in texts(files[0])
