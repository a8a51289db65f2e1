"""The benchmarks run, check what they are told, and say what they found; how fast is asserted nowhere."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable

import pytest
from rich.console import Console

from benchmarks import accelerators, bulk, gates, profile_call, run
from benchmarks.curves import CURVES
from benchmarks.entrants import PEERS, find_peers
from benchmarks.latencies import LATENCIES
from benchmarks.processes import SideFailed, Sides
from benchmarks.report import print_curves, print_missing, print_report
from benchmarks.results import CurvePoint, Measurement, Samples, Spread, percentiles, summarise
from benchmarks.workloads import BLOCK, TEXT, WORKLOADS, Callback, WrongValue, follow, row

TINY = "0.004"


def test_every_peer_that_is_installed_does_every_workload_or_says_why_not(tmp_path, capsys) -> None:
    target = tmp_path / "results.json"
    assert run.main(["--rounds", "2", "--scale", TINY, "--json", str(target)]) == 0

    found = json.loads(target.read_text(encoding="utf-8"))
    peers, missing = find_peers(PEERS)
    assert {"telewire", "websockets"} <= set(peers)
    assert found["missing"] == missing
    assert not found["failures"]
    assert set(peers) | set(missing) == set(PEERS)
    for peer in peers.values():
        assert not peer.WAYS.keys() & peer.CANNOT.keys()
        assert WORKLOADS.keys() | LATENCIES.keys() == (peer.WAYS.keys() | peer.CANNOT.keys()) - CURVES.keys()

    def ways(kind, rounds: int):
        return {
            (name, peer, way, number)
            for peer, loaded in peers.items()
            for name, ways in loaded.WAYS.items()
            for way in ways
            for number in range(rounds)
            if name in kind
        }

    each = found["measurements"]
    assert {(one["workload"], one["peer"], one["way"], one["round"]) for one in each} == ways(WORKLOADS, 2)
    assert len(each) == len(ways(WORKLOADS, 2))
    for one in each:
        assert one["seconds"] > 0
        assert one["client_cpu_seconds"] >= 0
        assert one["rate"] == pytest.approx(one["count"] / one["seconds"])
        assert 1 <= one["count"] <= 0.004 * WORKLOADS[one["workload"]].count + 1
    assert all((one["ratio"] is None) == (one["peer"] == "telewire") for one in found["summary"])
    slow = {(one["workload"], one["peer"], one["way"], 0) for one in found["latencies"]}
    assert slow == ways(LATENCIES, 1)
    assert {(one["curve"], one["peer"], one["way"], one["round"]) for one in found["curves"]} == ways(
        CURVES, 1
    )

    printed = " ".join(capsys.readouterr().out.split())
    assert all(f"{name}: {' '.join(work.title.split())}" in printed for name, work in WORKLOADS.items())
    for peer in missing:
        assert f"{peer} did not take part: " in printed


def test_a_peer_that_is_missing_is_named_with_its_reason() -> None:
    console = Console(width=80, file=io.StringIO(), record=True)
    print_missing({"other": "the package other is not installed"}, console)
    assert "other did not take part: the package other is not installed." in console.export_text()


def test_percentiles_are_over_all_rounds_and_silent_about_what_too_few_samples_tell() -> None:
    first = Samples("first", "other", "way", 0, [number / 1000 for number in range(500)], 10.0)
    second = Samples("first", "other", "way", 1, [number / 1000 for number in range(500, 1000)], 30.0)
    (few,) = percentiles([first])
    assert (few.count, few.p50, few.p99, few.p999) == (500, 0.25, 0.495, None)
    (all_of_them,) = percentiles([second, first])
    assert (all_of_them.p50, all_of_them.p99, all_of_them.p999) == (0.5, 0.99, 0.999)
    assert all_of_them.bytes_a_second == 20.0


def test_a_curve_leaves_no_figure_out_in_a_narrow_terminal() -> None:
    console = Console(width=80, file=io.StringIO(), record=True)
    print_curves(
        [
            CurvePoint(name, peer, way, number, at, rate=123_456.0, client_us=100.0, server_us=at)
            for name in ("streams", "sizes")
            for peer, way in (("telewire", "plain"), ("websockets", "tasks"), ("grpc", "aio"))
            for number in range(3)
            for at in CURVES[name].full_points
        ]
        + [CurvePoint("idle streams", "telewire", "plain", 0, 900, client_bytes=2048, server_bytes=6656)],
        console,
    )
    printed = console.export_text()
    assert "…" not in printed
    assert printed.count("123.5k 1100.0") == 3
    assert "16 MiB" in printed
    assert "2.0 + 6.5" in printed


def test_the_table_says_why_a_peer_has_no_figure() -> None:
    console = Console(width=80, file=io.StringIO(), record=True)
    print_report(
        summarise(measured("telewire", "plain", [1.0]), {}), console, {"W1": {"other": "it is mute"}}
    )
    printed = console.export_text()
    assert "other" in printed
    assert "— other: it is mute." in printed


def measured(peer: str, way: str, seconds: list[float]) -> list[Measurement]:
    return [Measurement("W1", peer, way, number, 100, each, 0.0) for number, each in enumerate(seconds)]


def test_ratios_are_taken_round_by_round_and_against_each_way() -> None:
    summaries = summarise(
        measured("telewire", "plain", [1.0, 2.0, 10.0])
        + measured("other", "slow", [2.0, 6.0, 10.0])
        + measured("other", "fast", [0.5, 1.0, 20.0]),
        {("W1", "other"): 0.9},
    )
    ours, slow, fast = summaries
    assert ours.ratio is None
    assert ours.rate == Spread(median=50.0, low=10.0, high=100.0)
    assert slow.ratio == Spread(median=2.0, low=1.0, high=3.0)
    assert fast.ratio == Spread(median=0.5, low=0.5, high=2.0)
    assert [each.fastest for each in summaries] == [False, False, True]
    assert [each.goal for each in summaries] == [None, 0.9, 0.9]


def test_the_fastest_way_is_the_one_least_flattering_to_us() -> None:
    # By its median rate the first way would be the fastest; in most rounds it is the slower one.
    _, first, second = summarise(
        measured("telewire", "plain", [1.0, 4.0, 8.0])
        + measured("other", "first", [1.0, 2.0, 9.0])
        + measured("other", "second", [0.5, 2.5, 4.0]),
        {},
    )
    assert first.rate.median > second.rate.median
    assert (first.fastest, second.fastest) == (False, True)


def test_the_table_names_the_goal_beside_the_fastest_way_only() -> None:
    console = Console(width=80, file=io.StringIO(), record=True)
    print_report(
        summarise(
            measured("telewire", "plain", [1.0])
            + measured("other", "slow", [4.0])
            + measured("other", "fast", [2.0]),
            {("W1", "other"): 0.9},
        ),
        console,
    )
    lines = {line.split()[1]: line for line in console.export_text().splitlines() if "other" in line}
    assert "4.00 ×" in lines["slow"]
    assert "≥" not in lines["slow"]
    assert "2.00 ×" in lines["fast"]
    assert "≥ 0.9" in lines["fast"]


def test_the_table_leaves_no_figure_out_in_a_narrow_terminal() -> None:
    console = Console(width=80, file=io.StringIO(), record=True)
    seconds = [100 / 1_234_567, 100 / 345_678]
    print_report(
        summarise(
            measured("telewire", "plain", seconds) + measured("websockets", "reader", seconds[::-1]),
            {("W1", "websockets"): 1.05},
        ),
        console,
    )
    printed = console.export_text()
    assert "…" not in printed
    assert printed.count("345.7k–1234.6k") == 2
    assert "0.28–3.57" in printed


class Liar:
    """A session whose answers can be made wrong."""

    def __init__(
        self, echo: Callable[[int, str], dict[str, object]], rows: Callable[[int], list[object]]
    ) -> None:
        self._echo = echo
        self._rows = rows

    async def echo(self, number: int, text: str) -> object:
        return self._echo(number, text)

    async def rows(self, count: int) -> AsyncIterator[object]:
        for item in self._rows(count):
            yield item

    async def download(self, count: int) -> AsyncIterator[bytes]:
        for number, item in enumerate(self._rows(count)):
            yield BLOCK if item == row(number) else BLOCK[1:]

    async def upload(self, chunks: AsyncIterator[bytes]) -> object:
        taken = 0
        async for chunk in chunks:
            taken = follow(taken, chunk)
        return taken - 100 + len(self._rows(100))

    async def call_back(self, callback: Callback, count: int) -> object:
        right = 0
        for number in range(count):
            answer = await callback(*list(self._echo(number, TEXT).values()))
            right += answer == {"a": number, "b": TEXT}
        return right

    async def pipe(self) -> LiarPipe:
        return LiarPipe(self._rows(100))


class LiarPipe:
    """A pipe that sends back what it was told to, whatever is sent."""

    def __init__(self, messages: list[object]) -> None:
        self._messages = iter(messages)

    async def send(self, message: object, /) -> None: ...

    async def receive(self) -> object:
        return next(self._messages)

    async def aclose(self) -> None: ...


def honest_echo(number: int, text: str) -> dict[str, object]:
    return {"a": number, "b": text}


def honest_rows(count: int) -> list[object]:
    return [row(number) for number in range(count)]


@pytest.mark.parametrize("name", list(WORKLOADS))
def test_an_honest_session_passes(name: str) -> None:
    assert asyncio.run(WORKLOADS[name].run(Liar(honest_echo, honest_rows), 100)) > 0


@pytest.mark.parametrize(
    ("name", "echo", "rows"),
    [
        ("W1", lambda number, text: {"a": number + (number == 99), "b": text}, honest_rows),
        ("W1c", lambda number, text: {"a": number, "b": "hallo"}, honest_rows),
        ("W2", honest_echo, lambda count: honest_rows(count - 1)),
        ("W2", honest_echo, lambda count: honest_rows(count + 1)),
        ("W2", honest_echo, lambda count: honest_rows(count)[::-1]),
        ("W2", honest_echo, lambda count: [*honest_rows(count - 1), {"id": count - 1}]),
        ("W3d", honest_echo, lambda count: honest_rows(count - 1)),
        ("W3d", honest_echo, lambda count: honest_rows(count)[::-1]),
        ("W3u", honest_echo, lambda count: honest_rows(count - 1)),
        ("W5", lambda number, text: {"a": number + (number == 99), "b": text}, honest_rows),
        ("W5", lambda number, text: {"a": number, "b": "hallo"}, honest_rows),
        ("W4", honest_echo, lambda count: honest_rows(count)[::-1]),
        ("W4", honest_echo, lambda count: [*honest_rows(count - 1), {"id": count - 1}]),
    ],
    ids=[
        "one wrong",
        "other text",
        "one too few",
        "one too many",
        "order",
        "half a row",
        "too few bytes",
        "other bytes",
        "too few sent",
        "called with another",
        "called with other text",
        "back",
        "half back",
    ],
)
def test_a_wrong_value_is_no_measurement(name, echo, rows) -> None:
    with pytest.raises(WrongValue):
        asyncio.run(WORKLOADS[name].run(Liar(echo, rows), 100))


def test_a_side_that_ends_is_a_failure_and_not_a_wait(capfd) -> None:
    with Sides("websockets", "bare") as sides:
        with pytest.raises(SideFailed, match="client of websockets"):
            sides.measure("no such workload", 1)
        with pytest.raises(SideFailed, match="client of websockets"):
            sides.measure("W1", 1)
    assert "no such workload" in capfd.readouterr().err


def test_a_byte_stream_stays_small_in_memory(capsys) -> None:
    assert bulk.main(["20"]) == 0
    printed = capsys.readouterr().out
    assert all(way in printed for way in bulk.WAYS)
    assert "20 MB each way" in printed


def test_an_unknown_workload_is_named(capsys) -> None:
    with pytest.raises(SystemExit):
        run.parse(["--workloads", "W1,W99"])
    assert "no workload W99; there are W1, W1c, W2" in capsys.readouterr().err


def test_a_gate_compares_with_cbor2() -> None:
    reading = gates.read(gates.GATES[0], 1, 300)
    assert reading.ratio.median == pytest.approx(reading.figure.median / reading.floor.median)


def test_gates_print_ratios_with_their_bounds_and_the_counts(capsys) -> None:
    assert gates.main(["--rounds", "3", "--count", "1000"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert all(f"≤ {gate.bound:g} ×" in printed for gate in gates.GATES)
    assert "writes of the server for 10,000 items 40" in printed


@pytest.mark.parametrize("unit", list(profile_call.UNITS))
def test_layers_add_up_to_the_whole(unit: str) -> None:
    *parts, (name, whole) = profile_call.layers(unit, 1, 0.02)
    assert name == "whole"
    assert sum(part.median for _, part in parts) == pytest.approx(whole.median)


def test_a_profile_names_our_functions(capsys) -> None:
    assert profile_call.main(["--profile", "call", "--scale", "0.02", "--lines", "200"]) == 0
    assert "start_call" in capsys.readouterr().out


def test_accelerators_are_compared_with_what_telewire_does_without_them(capsys) -> None:
    assert accelerators.main(["--rounds", "1", "--scale", TINY]) == 0
    printed = capsys.readouterr().out
    assert all(f" {name} " in printed for name in accelerators.ASKED)
    assert "C mask" in printed
