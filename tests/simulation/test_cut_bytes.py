"""I1: a conversation of every primitive, cut behind every byte; the applications are told the same."""

from __future__ import annotations

import pytest

from telewire.testing.network import Network
from telewire.wire.frames import Kind as K
from tests.simulation.cuts import TOLD, check_cut, offsets, whole
from tests.simulation.recording import Recording

STRIDE = 5
"""Every so many bytes here; all of them by ``make soak``. No frame is so short that it is left out."""
STATED_STRIDE = 101
"""The same where batches state their positions; every seventh by ``make soak``."""
PARTS = 8
USES: dict[object, set[str]] = {
    K.ITEMS: {"data"},
    K.BYTES: {"data", "StreamEnded"},
    K.PROMISE: {"StreamEnded"},
    K.FUNCTION: {"calls"},
    K.CHANNEL: {"data", "StreamEnded", "calls"},
}
"""What is heard of each primitive that is passed, at least."""


@pytest.mark.parametrize("part", range(PARTS))
def test_i1_cut_behind_any_byte_the_applications_are_told_the_same(part: int) -> None:
    resumed = 0
    cuts = [cut for index, cut in enumerate(offsets(STRIDE, part)) if index % PARTS == part]
    for index, (way, byte) in enumerate(cuts):
        resumed += check_cut(way, byte, TOLD[index % len(TOLD)]) > 0
    # Behind the first bytes there is no session yet, behind the last nobody may need one.
    assert resumed > 0.9 * len(cuts) > 150


def test_i1_cut_where_batches_come_again_and_out_of_order_they_are_told_the_same() -> None:
    assert whole(stated=True)[0] == whole()[0]
    resumed = 0
    cuts = list(offsets(STATED_STRIDE, stated=True))
    for index, (way, byte) in enumerate(cuts):
        resumed += check_cut(way, byte, TOLD[index % len(TOLD)], stated=True) > 0
    assert resumed > 0.9 * len(cuts) > 90


def test_i1_the_recorded_conversation_mixes_everything() -> None:
    told, sizes = whole()
    assert min(sizes.values()) > 3000
    kinds = {note[0] for notes in told.values() for note in notes if isinstance(note, tuple)}
    wanted = {"CallReceived", "CallResolved", "CallRejected", "CallStopped", "CallOver"}
    assert kinds == wanted | {"StreamEnded", "StreamFailed", "StreamReset", "StreamStopped"}
    assert len(told) > 30


@pytest.mark.parametrize(
    ("giver", "taker", "label"),
    [
        pytest.param("client", "server", "everything argument", id="up"),
        pytest.param("server", "client", "everything result", id="down"),
    ],
)
def test_i1_every_primitive_is_passed_and_used(giver: str, taker: str, label: str) -> None:
    told, _ = whole()
    passed = told[f"{taker}: {label}s"]
    assert set(passed) == USES.keys()
    heard: dict[object, set[str]] = {kind: set() for kind in USES}
    for index, kind in enumerate(passed):
        notes = told.get(f"{taker}: {label} {index}", [])
        heard[kind] |= {note[0] if isinstance(note, tuple) else "data" for note in notes}
        # A function, and an end of a channel, is called at who gave it away.
        heard[kind] |= {"calls" for each in told if each.startswith(f"{giver}: {label} {index} call ")}
    for kind, uses in USES.items():
        assert uses <= heard[kind], f"{kind}: {heard[kind]}"


def test_i1_what_a_crash_has_taken_is_a_typed_loss() -> None:
    for steps in range(0, 200, 9):
        recording = Recording(Network(1, delay=(0.001, 0.001), split=0.0))
        recording.network.run(0.003)
        for _ in range(steps):
            recording.network.step()
        recording.host.crash()
        recording.network.run(0.5)
        recording.host.restart()
        recording.network.run(20.0)
        closed = recording.client.closed
        assert closed is not None
        assert closed.code == 16
        assert not recording.client.connection._ours
