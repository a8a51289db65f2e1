"""The vocabulary: what frames compare, show and hide."""

from __future__ import annotations

from dataclasses import fields

import pytest

from telewire.wire import frames as f


def test_every_type_has_a_class_and_only_extensions_have_one_more() -> None:
    names = {frame.__name__.upper() for frame in f.Frame.__args__} - {"UNKNOWN"}
    assert names == {kind.name for kind in f.FrameType}


@pytest.mark.parametrize("frame", f.Frame.__args__)
def test_frames_have_slots_and_may_end_with_extensions(frame: type) -> None:
    assert not hasattr(frame, "__dict__") or "__dict__" not in dir(frame)
    if frame is not f.Unknown:
        assert [field.name for field in fields(frame)][-1] == "extensions"


def test_ranges_of_types() -> None:
    positioned = {kind for kind in f.FrameType if kind >= 16}
    assert positioned == set(f.FrameType) - {
        f.FrameType.HELLO,
        f.FrameType.RESUME,
        f.FrameType.RESUMED,
        f.FrameType.ACK,
        f.FrameType.PING,
        f.FrameType.PONG,
        f.FrameType.POSITION,
    }
    assert max(f.FrameType) < 64


def test_tokens_are_not_shown() -> None:
    assert "secret" not in repr(f.Hello(1, 1, session=b"id", token=b"secret"))
    assert "secret" not in repr(f.Resume(b"id", b"secret", 1, 0))


def test_declarations_are_values() -> None:
    one = f.Declaration(1, f.Kind.FUNCTION, 2)
    assert one == f.Declaration(1, f.Kind.FUNCTION, 2)
    assert len({one, f.Declaration(1, f.Kind.FUNCTION, 2), f.Declaration(1, f.Kind.PROMISE)}) == 2
    assert f.Flag.MORE | f.Flag.COMPRESSED | f.Flag.SUPERSEDES == 7
