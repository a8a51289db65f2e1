"""The strategies that users fuzz with: everything that they make is what it says it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telewire.core.connection import Connection
from telewire.core.states import ConnectionState
from telewire.limits import Limits
from telewire.testing import batches, frames, payloads, values
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch, encode_batch, encode_frame
from telewire.wire.values import decode_value, encode_value
from tests.core.dialogue import hello

ROOT = Path(__file__).parents[2]
FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def depth_of(value: object) -> int:
    """How deep containers nest in a value."""
    if isinstance(value, str | bytes) or not isinstance(value, Collection):
        return 0
    inner = [*value, *(value.values() if isinstance(value, Mapping) else ())]
    return 1 + max(map(depth_of, inner), default=0)


def listed(value: object) -> object:
    """A value as it comes back: lists for tuples, but in keys and sets."""
    if isinstance(value, list | tuple):
        return [listed(part) for part in value]
    return {key: listed(part) for key, part in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("depth", [0, 1, 2, 5])
def test_values_travel_and_nest_no_deeper_than_asked(depth: int) -> None:
    deepest = 0

    @settings(FEW)
    @given(values(depth=depth))
    def check(value: object) -> None:
        nonlocal deepest
        deepest = max(deepest, depth_of(value))
        assert decode_value(encode_value(value)) == listed(value)

    check()
    # How deep the few that are drawn go is chance.
    assert min(depth, 1) <= deepest <= depth


@FEW
@given(payloads(depth=2))
def test_payloads_decode(payload: bytes) -> None:
    decode_value(payload)


@FEW
@given(frames())
def test_frames_are_right_by_themselves(frame: f.Frame) -> None:
    assert decode_batch(encode_batch([encode_frame(frame)]), Limits()) == [frame]


@FEW
@given(frames(f.Call, f.Close))
def test_frames_of_the_classes_asked_for(frame: f.Frame) -> None:
    assert isinstance(frame, f.Call | f.Close)


@FEW
@given(st.data(), st.sampled_from([1, 3]))
def test_batches_are_no_longer_than_asked(data: st.DataObject, most: int) -> None:
    batch = data.draw(batches(f.Ping, f.Chunk, max_frames=most))
    assert 1 <= len(decode_batch(batch, Limits())) <= most


@FEW
@given(batches(limits=Limits(name_bytes=4, reason_bytes=8, references=1, metadata_bytes=64)))
def test_batches_are_within_the_limits_given(batch: bytes) -> None:
    decode_batch(batch, Limits(name_bytes=4, reason_bytes=8, references=1, metadata_bytes=64))


@FEW
@given(st.lists(batches(), max_size=5))
def test_a_connection_takes_them_or_closes(several: list[bytes]) -> None:
    connection = Connection("server", session_id=b"s", token=b"t" * 16)
    connection.receive_data(encode_batch([encode_frame(hello())]), 0.0)
    for batch in several:
        connection.receive_data(batch, 0.0)
    assert connection.state in (ConnectionState.OPEN, ConnectionState.CLOSED, ConnectionState.CLOSING)


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(ValueError, match="depth is 17; choose one from 0 to 16"):
        values(depth=17)
    with pytest.raises(ValueError, match="depth is -1"):
        values(depth=-1)
    with pytest.raises(
        ValueError, match=r"Declaration is no class of frames; telewire\.wire\.frames has them"
    ):
        frames(f.Declaration)  # type: ignore[arg-type]


def test_without_hypothesis_the_rest_of_the_package_is_there() -> None:
    program = """
import sys
sys.modules["hypothesis"] = None
from telewire.testing import Recorder
try:
    from telewire.testing import values
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "not installed: pip install hypothesis" in done.stdout
