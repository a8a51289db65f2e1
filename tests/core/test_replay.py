"""Recorded moves of the implementation replay against the transition tables, and against no other."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from telewire.core.connection import Connection
from telewire.core.halves import ReceiveHalf, SendHalf
from telewire.core.states import TABLES
from telewire.core.streams import Call
from telewire.testing.pair import Pair
from tests.compiled import replaces_a_part
from tests.core.test_states import EXPECTED, rows
from tests.core.world import SMALL, World

pytestmark = replaces_a_part

MACHINES = (
    (Connection, "_move", "state", "connection"),
    (Connection, "_move_link", "link", "link"),
    (Call, "move_outgoing", "outgoing", "outgoing call"),
    (Call, "move_incoming", "incoming", "incoming call"),
    (SendHalf, "move", "state", "half"),
    (ReceiveHalf, "move", "state", "half"),
)
"""Class, the method that moves it, the attribute that is moved, the table."""
BEGINNINGS = {
    "connection": "opening",
    "link": "attached",
    "outgoing call": "queued",
    "incoming call": "receiving",
    "half": "open",
}


@dataclass(frozen=True)
class Step:
    """What one machine was told, where it stood before and behind that."""

    table: str
    machine: int
    before: str
    signal: str
    after: str


@dataclass
class Recorder:
    """The steps of all machines, in their order; holds the machines, so that no two have one id."""

    steps: list[Step] = field(default_factory=list)
    machines: dict[tuple[int, str], Any] = field(default_factory=dict)

    def ended(self) -> dict[tuple[str, int], str]:
        """Where each machine that has moved stands now."""
        attributes = {table: attribute for _, _, attribute, table in MACHINES}
        return {
            (table, number): getattr(machine, attributes[table]).value
            for (number, table), machine in self.machines.items()
        }


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    for owner, method, attribute, table in MACHINES:
        watch(monkeypatch, made, owner, method, attribute, table)
    return made


def watch(
    monkeypatch: pytest.MonkeyPatch, made: Recorder, owner: type, method: str, attribute: str, table: str
) -> None:
    original = getattr(owner, method)

    def move(self: Any, signal: Any) -> bool:
        before = getattr(self, attribute)
        moved: bool = original(self, signal)
        made.machines[id(self), table] = self
        after = getattr(self, attribute)
        made.steps.append(Step(table, id(self), before.value, signal.value, after.value))
        return moved

    monkeypatch.setattr(owner, method, move)


def wrong_steps(steps: list[Step], ended: dict[tuple[str, int], str]) -> list[str]:
    """What in a record no machine of the tables would do."""
    tables = {name: rows(text) for name, text in EXPECTED.items()}
    stands: dict[tuple[str, int], str] = {}
    wrong = []
    for step in steps:
        before = stands.get((step.table, step.machine), BEGINNINGS[step.table])
        if step.before != before:
            wrong.append(f"{step} begins where the machine was not: it was {before}")
        # An input without a row leaves the machine where it is.
        expected = tables[step.table].get((step.before, step.signal), step.before)
        if step.after != expected:
            wrong.append(f"{step} should have ended in {expected}")
        stands[step.table, step.machine] = step.after
    wrong += [
        f"{key} ended in {state} without a step" for key, state in ended.items() if stands.get(key) != state
    ]
    return wrong


def play(seed: int) -> None:
    """A session of all kinds of streams and of their ends, with cuts, to its end."""
    choose = random.Random(seed)
    world = World(choose, replace(SMALL, replay_bytes=choose.choice([8192, 1 << 20])), resume=True)
    for _ in range(200):
        world.do_something(choose, world.collect)
    if seed % 3 == 0:
        world.wind_up()
    end(world.pair, choose)


def end(pair: Pair, choose: random.Random) -> None:
    """One of the ways in which a session ends, with something open."""
    pair.client.call("last", b"")
    match choose.randrange(5):
        case 0:
            pair.client.close()
            pair.deliver()
        case 1:
            pair.server.close()
            pair.deliver()
        case 2:
            pair.deliver()
            pair.server.receive_data(b"\x80", pair.now)
            pair.deliver()
        case 3:
            pair.deliver()
            pair.cut()
            pair.advance(100.0)
        case 4:
            pair.client.close()
            pair.cut()


def openings() -> None:
    """Ends before the hellos have crossed."""
    Pair(open=False).client.close()
    Pair(open=False).client.receive_data(b"\x80", 0.0)
    Pair(open=False).client.receive_eof(0.0)
    pair = Pair(open=False)
    pair.server.close()
    pair.deliver()


@pytest.mark.parametrize("first", range(0, 20, 5))
def test_recorded_sessions_replay_against_the_tables(recorder: Recorder, first: int) -> None:
    for seed in range(first, first + 5):
        play(seed)
    assert len(recorder.steps) > 1000
    assert wrong_steps(recorder.steps, recorder.ended()) == []


def test_the_sessions_visit_nearly_every_row(recorder: Recorder) -> None:
    openings()
    for seed in range(20):
        play(seed)
    seen = {(step.table, step.before, step.signal) for step in recorder.steps if step.before != step.after}
    there = {(name, before, signal) for name, text in EXPECTED.items() for before, signal in rows(text)}
    assert seen <= there
    assert len(seen) >= len(there) * 0.85, sorted(there - seen)
    assert wrong_steps(recorder.steps, recorder.ended()) == []
    assert {name for name, *_ in seen} == set(TABLES)


def test_a_step_that_is_no_row_would_be_seen(recorder: Recorder) -> None:
    play(1)
    steps, ended = recorder.steps, recorder.ended()
    moves = [at for at, step in enumerate(steps) if step.before != step.after]
    chosen = random.Random(2).sample(moves, 20)
    for at in chosen:
        assert wrong_steps([*steps[:at], *steps[at + 1 :]], ended), "one is missing"
        stayed = replace(steps[at], after=steps[at].before)
        assert wrong_steps([*steps[:at], stayed, *steps[at + 1 :]], ended), "one has not moved"
    half = next(step for step in steps if step.table == "half" and step.after == "ending")
    assert wrong_steps([replace(half, after="ended")], {}), "there is no such row"
