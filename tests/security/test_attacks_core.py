"""Each attack that the limits name, played against a Connection: ended or borne, within the formula (I7)."""

from __future__ import annotations

import gc
import re
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from telewire.core.events import (
    CallOver,
    CallReceived,
    ChunkReceived,
    ConnectionClosed,
    Event,
    ItemReceived,
    ItemsReceived,
    StreamEnded,
    StreamReset,
)
from telewire.core.states import ConnectionState
from telewire.core.streams import Stream
from telewire.errors import ErrorCode
from telewire.limits import Limits
from telewire.wire import frames as f
from telewire.wire.codec import encode_batch, encode_frame
from tests.core.dialogue import Peer
from tests.core.session import SessionPeer
from tests.security.attacks import ATTACKS, SMALL, Attack

CHAPTER = (Path(__file__).parents[2] / "spec" / "09-limits.md").read_text(encoding="utf-8")

# What objects of this implementation take (TW-LIM-041): a call with its frame and event, a stream with
# its halves and windows, a declaration. A byte that costs credit comes with at most one around it, since
# the least cost of an item is that of the objects that hold it.
CALL_BYTES = 1_500
STREAM_BYTES = 1_500
DECLARATION_BYTES = 400
AROUND = 2
# Tables that have grown stay so for a while.
SLACK = 16_000


def terms(limits: Limits) -> dict[str, int]:
    """The formula: the bytes of each term, by its rule. Nothing is open on our side."""
    return {
        "TW-LIM-050": limits.credited_streams * limits.stream_window,
        "TW-LIM-051": limits.open_streams * limits.stream_window,
        "TW-LIM-052": limits.session_budget,
        "TW-LIM-053": limits.argument_bytes,
        "TW-LIM-054": limits.open_calls * (limits.name_bytes + limits.metadata_bytes),
        "TW-LIM-055": 2 * limits.open_streams * limits.reason_bytes,
        "TW-LIM-056": 2 * limits.batch_bytes,
        "TW-LIM-057": 32 * (limits.open_calls + 3 * limits.open_streams + limits.unanswered_pings),
        "TW-LIM-058": limits.replay_bytes,
        "TW-LIM-059": (
            2 * limits.open_calls * CALL_BYTES
            + limits.open_streams * STREAM_BYTES
            + limits.open_calls * limits.references * DECLARATION_BYTES
        ),
    }


def cut(frames: Iterator[f.Frame], limits: Limits, many: int) -> list[bytes]:
    """Batches of so many frames, as far as they fit."""
    batches: list[bytes] = []
    waiting: list[bytes] = []
    for frame in frames:
        encoded = encode_frame(frame)
        if waiting and (
            len(waiting) == many or sum(map(len, waiting)) + len(encoded) + 9 > limits.batch_bytes
        ):
            batches.append(encode_batch(waiting))
            waiting = []
        waiting.append(encoded)
    return [*batches, encode_batch(waiting)]


class Sloth:
    """An application that takes every event and consumes nothing; it lets go of what has ended."""

    def __init__(self) -> None:
        self.held: dict[Stream, list[Event]] = {}
        self.closed: list[ConnectionClosed] = []

    def take(self, events: list[Event]) -> None:
        """Take events as they come."""
        for event in events:
            match event:
                case CallReceived(call=stream):
                    self.held[stream] = [event]
                case (
                    ItemReceived(stream=stream)
                    | ItemsReceived(stream=stream)
                    | ChunkReceived(stream=stream)
                    | StreamEnded(stream=stream)
                ):
                    self.held.setdefault(stream, []).append(event)
                case StreamReset(stream=stream) | CallOver(call=stream):
                    self.held.pop(stream, None)
                case ConnectionClosed():
                    self.closed.append(event)


def play(attack: Attack, peer: Peer | SessionPeer) -> tuple[Sloth, int]:
    """Let the peer do its worst; returns also the most bytes that were held between two batches."""
    batches = cut(attack.frames(), SMALL, 1 if attack.reads else 8)
    every = max(1, len(batches) // 10)
    app = Sloth()
    most = 0
    gc.collect()
    tracemalloc.start()
    try:
        for number, batch in enumerate(batches):
            peer.core.receive_data(batch, 0.0)
            app.take(peer.core.events_received())
            if attack.reads:
                peer.core.data_to_send(1 << 20)
            if peer.core.state is not ConnectionState.OPEN:
                break
            if number % every == 0 or number == len(batches) - 1:
                gc.collect()
                most = max(most, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    peer.core.data_to_send()
    app.take(peer.core.events_received())
    return app, most


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_an_attack_is_ended_or_borne_within_the_formula(attack: Attack) -> None:
    peer = Peer(SMALL)
    app, most = play(attack, peer)
    assert [event.code for event in app.closed] == ([] if attack.end is None else [attack.end])
    formula = terms(SMALL)
    payload = sum(formula[term] for term in (*attack.terms, "TW-LIM-056"))
    assert most <= AROUND * payload + formula["TW-LIM-059"] + SLACK
    if attack.end is not None:
        # What it held has gone with it.
        assert not peer.core._theirs
        assert peer.core._budget.left == SMALL.session_budget


# They make us say something for each frame of theirs.
LOUD = ("calls_and_cancels", "huge_payloads", "references", "streams_of_stale_values")
TALKATIVE = [each for each in ATTACKS if each.reads and each.frames.__name__ in LOUD]


@pytest.mark.parametrize("attack", TALKATIVE, ids=[attack.name for attack in TALKATIVE])
def test_one_who_reads_and_acknowledges_nothing(attack: Attack) -> None:
    """With sessions, what has left is kept: once that is full nothing leaves, as if nobody read."""
    limits = replace(SMALL, replay_bytes=64 * 1024)
    app, most = play(attack, SessionPeer(ours=limits))
    assert [event.code for event in app.closed] in ([], [ErrorCode.LIMIT_EXCEEDED])
    formula = terms(limits)
    payload = sum(formula[term] for term in {*attack.terms, "TW-LIM-056", "TW-LIM-057", "TW-LIM-058"})
    assert most <= AROUND * payload + formula["TW-LIM-059"] + SLACK


@pytest.mark.parametrize("reads", [False, True])
def test_after_an_attack_that_is_borne_others_are_served(reads: bool) -> None:
    peer = Peer(SMALL)
    play(next(each for each in ATTACKS if each.name == "unread_streams_and_reads"), peer)
    assert peer.core.state is ConnectionState.OPEN
    if reads:
        peer.hear()
    peer.say(f.Ping(7))
    assert f.Pong(7) in peer.hear()


def test_the_terms_are_those_of_the_specification() -> None:
    stated = re.findall(r"^- \*\*(TW-LIM-\d+)\*\*", CHAPTER, re.MULTILINE)
    first, last = (stated.index(rule) for rule in ("TW-LIM-050", "TW-LIM-059"))
    assert stated[first : last + 1] == list(terms(Limits()))
    assert "TW-LIM-050 to TW-LIM-059" in CHAPTER


def test_the_formula_with_the_defaults_is_what_the_specification_says() -> None:
    mebibytes = {rule: round(size / 2**20) for rule, size in terms(Limits()).items()}
    assert mebibytes["TW-LIM-052"] == mebibytes["TW-LIM-053"] == Limits().replay_bytes / 2**20 == 64
    promises = Limits().open_streams - Limits().credited_streams
    assert promises * Limits().stream_window // 2**20 == 562
    assert "563 MiB for 9,000 promises" in CHAPTER
    assert mebibytes["TW-LIM-055"] == 312
    assert mebibytes["TW-LIM-054"] == 9


def test_each_attack_that_the_limits_name_is_played() -> None:
    """Every limit with an attack in the registry meets one of them here, by an end or by being borne."""
    used = {term for attack in ATTACKS for term in attack.terms}
    assert used == set(terms(SMALL)) - {"TW-LIM-056", "TW-LIM-058", "TW-LIM-059"}  # these hold of each
