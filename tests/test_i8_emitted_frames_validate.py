"""I8: what a Connection emits in any conversation is as the CDDL says; what the CDDL refuses is refused."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from typing import Any

import cbor2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from telewire.core.connection import Connection
from telewire.core.events import ConnectionClosed, GoAwayReceived, HelloReceived
from telewire.errors import LocalProtocolError, RemoteProtocolError
from telewire.limits import Limits
from telewire.testing.pair import Pair
from telewire.wire.codec import decode_batch
from telewire.wire.frames import FIRST_POSITIONED, FrameType
from tests.core.app import App
from tests.wire.test_cddl import allows

LIMITS = Limits(
    fragment_bytes=1024,
    batch_bytes=4096,
    stream_window=2048,
    stream_window_read=8192,
    message_bytes=32 * 1024,
    session_budget=128 * 1024,
    open_calls=6,
    open_streams=40,
    credited_streams=16,
)

ACTIONS = (
    *("call", "answer", "finish", "send", "end", "stop", "cancel", "consume"),
    *("call_with_headers", "deliver", "deliver", "pull", "wait"),
)

Step = tuple[bool, str]


class Party(App):
    """An application at random that also sends headers and times with its calls."""

    def call_with_headers(self) -> None:
        """Call a name with metadata and both times."""
        now = self.connection._now
        call = self.connection.call(
            "g", self.payload()[:300], metadata={"who": "ä"}, deadline=now + 5, lifetime=now + 9, now=now
        )
        self.mine[call] = 0


class Conversation:
    """Two parties on a pair, from the hellos to the close, and every batch that either emits."""

    def __init__(self, seed: int) -> None:
        choose = random.Random(seed)
        self.emitted: list[bytes] = []
        self.pair = Pair(client_limits=LIMITS, server_limits=LIMITS, open=False, resume=True)
        self.parties = [
            Party(connection, lambda below: choose.randrange(below) if below else 0)
            for connection in (self.pair.client, self.pair.server)
        ]
        for connection in (self.pair.client, self.pair.server):
            self.record(connection)
        self.pair.deliver()
        assert all(isinstance(event, HelloReceived) for events in self.pair.take() for event in events)

    def record(self, connection: Connection) -> None:
        """Keep what a connection emits."""
        emit = connection.data_to_send

        def recording(max_bytes: int = 65536, now: float | None = None) -> list[bytes]:
            batches = emit(max_bytes, now)
            self.emitted += batches
            return batches

        connection.data_to_send = recording  # type: ignore[method-assign]  # The machine has no such hook.

    def collect(self) -> None:
        """Hand events to the parties."""
        for party, events in zip(self.parties, self.pair.take(), strict=True):
            party.take([event for event in events if not isinstance(event, GoAwayReceived)])

    def step(self, step: Step) -> None:
        """Do one thing."""
        client, action = step
        if action == "deliver":
            self.pair.deliver()
        elif action == "pull":
            self.pair.pull(1500)
        elif action == "wait":
            self.pair.deliver()
            self.collect()
            self.pair.advance(1.0)
        else:
            # Once the other side goes away, calls are refused locally.
            with contextlib.suppress(LocalProtocolError):
                getattr(self.parties[client], action)()
        self.collect()

    def run(self, steps: Sequence[Step]) -> None:
        """Talk, be silent, go away, talk on, and close."""
        for step in steps:
            self.step(step)
        self.pair.cut()
        self.pair.attach()
        self.pair.deliver()
        self.collect()
        self.pair.advance(LIMITS.idle_seconds + 1)
        self.collect()
        self.pair.server.go_away(text="bye")
        for step in steps[: len(steps) // 2]:
            self.step(step)
        self.pair.client.close(text="done")
        self.pair.deliver()
        for events in self.pair.take():
            assert isinstance(events[-1], ConnectionClosed)
            assert events[-1].error is None


def steps_of(seed: int, count: int) -> list[Step]:
    """Steps at random."""
    choose = random.Random(seed)
    return [(choose.random() < 0.5, choose.choice(ACTIONS)) for _ in range(count)]


def refused(batch: bytes) -> bool:
    """Whether the codec refuses a batch."""
    try:
        decode_batch(batch, Limits())
    except RemoteProtocolError:
        return True
    return False


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # Shrinking takes minutes and says little more than the first failure does.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(
    st.integers(0, 1 << 32),
    st.lists(st.tuples(st.booleans(), st.sampled_from(ACTIONS)), min_size=10, max_size=60),
)
def test_i8_emitted_frames_validate(seed: int, steps: list[Step]) -> None:
    conversation = Conversation(seed)
    conversation.run(steps)
    for batch in conversation.emitted:
        assert allows(batch), batch.hex()


@pytest.fixture(scope="module")
def emitted() -> list[bytes]:
    """What was emitted in some long conversations."""
    batches: list[bytes] = []
    for seed in range(6):
        conversation = Conversation(seed)
        conversation.run(steps_of(seed, 200))
        batches += conversation.emitted
    return batches


def test_i8_holds_for_every_frame_that_this_version_emits(emitted: list[bytes]) -> None:
    assert all(map(allows, emitted))
    seen = {frame[0] for batch in emitted for frame in cbor2.loads(batch)}
    # Positions are stated on carriers that retry only.
    assert seen == set(FrameType) - {FrameType.POSITION}
    frames = [frame for batch in emitted for frame in cbor2.loads(batch)]
    assert {key for frame in frames if isinstance(frame[-1], dict) for key in frame[-1]} == {0, 2, 6}
    carrying = [frame for frame in frames if frame[0] >= FIRST_POSITIONED]
    kinds = {one[1] for frame in carrying for part in frame if isinstance(part, list) for one in part}
    assert kinds == {1, 2, 3, 4, 5}


ATOMS: list[Any] = [None, True, -1, 0, 1, 2, 7, 1 << 53, 1.5, "x", b"", b"x", [], {}, {0: "x"}, [[0, 9]]]


def test_what_the_cddl_refuses_of_mutated_frames_is_refused(emitted: list[bytes]) -> None:
    choose = random.Random(0)
    outcomes = {True: 0, False: 0}
    for batch in choose.choices(emitted, k=1500):
        frames: list[Any] = cbor2.loads(batch)
        frame = choose.choice(frames)
        at = choose.randrange(len(frame) + 1)
        frame[at : at + choose.randrange(2)] = choose.choices(ATOMS, k=choose.randrange(2))
        mutant = cbor2.dumps(frames)
        allowed = allows(mutant)
        outcomes[allowed] += 1
        assert allowed or refused(mutant), mutant.hex()
    assert min(outcomes.values()) > 50


def test_what_the_cddl_refuses_of_mutated_bytes_is_refused(emitted: list[bytes]) -> None:
    choose = random.Random(0)
    outcomes = {True: 0, False: 0}
    for batch in choose.choices([batch for batch in emitted if len(batch) < 300], k=1500):
        mutant = bytearray(batch)
        at = choose.randrange(len(mutant))
        mutant[at : at + choose.randrange(3)] = choose.randbytes(choose.randrange(3))
        allowed = allows(bytes(mutant))
        outcomes[allowed] += 1
        assert allowed or refused(bytes(mutant)), mutant.hex()
    assert min(outcomes.values()) > 50
