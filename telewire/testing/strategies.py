"""Hypothesis strategies for what travels, for fuzzing a service, a proxy or another implementation.

::

    @given(values(depth=2))
    def test_what_is_echoed_comes_back(value):
        assert run(echo, value) == value

``values`` are what a function may take and return, ``payloads`` the same as bytes; ``frames`` and
``batches`` are what a peer may say, each right by itself and hardly ever in its place. Hypothesis is
needed, and is no dependency of telewire: ``pip install hypothesis``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from functools import reduce
from typing import Any, Final

from telewire.errors import RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch, encode_batch, encode_frame
from telewire.wire.values import encode_value

try:
    from hypothesis import strategies as st
except ImportError as missing:
    raise ImportError(
        "telewire.testing's strategies need Hypothesis, which is not installed: pip install hypothesis"
    ) from missing

__all__ = ["batches", "frames", "payloads", "values"]

_BEYOND: Final = 1 << 53
_SHORT: Final = 20


# ---- values ---------------------------------------------------------------------------------------


def values(*, depth: int = 3, nan: bool = False) -> st.SearchStrategy[object]:
    """Return values of every type that can travel without a life of its own, builtin types only.

    Each comes back equal, but for tuples, which come back as lists. No two keys of a map or members of a
    set are equal for a peer in any language (TW-VAL-016).

    Args:
        depth: how deep lists, tuples, dicts and sets nest at most; 0 gives scalars only.
        nan: whether floats and decimals may be NaN, which is equal to nothing.

    Raises:
        ValueError: ``depth`` is below 0 or above 16; deeper values take long to make.
    """
    if not 0 <= depth <= 16:
        raise ValueError(f"depth is {depth}; choose one from 0 to 16.")
    scalars = _scalars(nan)
    keys = _keys()
    hashable = keys | st.tuples(keys, keys) if depth > 1 else keys

    def containing(inner: st.SearchStrategy[object], level: int) -> st.SearchStrategy[object]:
        parts = st.lists(inner, max_size=3)
        return (
            scalars
            | parts
            | parts.map(tuple)
            | st.dictionaries(hashable if level else keys, inner, max_size=3)
            | st.sets(hashable if level else keys, max_size=3)
        )

    return reduce(containing, range(depth), scalars)


def payloads(*, depth: int = 3) -> st.SearchStrategy[bytes]:
    """Return payloads, each one encoded value without references (TW-VAL-001).

    ``depth`` as in :func:`values`; floats may be NaN.
    """
    return values(depth=depth, nan=True).map(encode_value)


# Any: the stubs of datetimes() and times() take one of two types, and not their union.
def _offsets() -> st.SearchStrategy[Any]:
    return st.none() | st.integers(-86_399, 86_399).map(lambda s: timezone(timedelta(seconds=s)))


# Any, in the two below: the union of what can travel.
def _scalars(nan: bool) -> st.SearchStrategy[Any]:
    return (
        _keys()
        | st.floats(allow_nan=nan)
        | st.decimals(allow_nan=False)
        | (st.just(float("nan")) if nan else st.nothing())
        | st.times(timezones=_offsets())
    )


def _keys() -> st.SearchStrategy[Any]:
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-(1 << 600), 1 << 600),
        st.floats(allow_nan=False),
        st.text(max_size=_SHORT),
        st.binary(max_size=_SHORT),
        st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=_offsets()),
        st.dates(),
        st.times(),
        st.timedeltas(),
        st.decimals(allow_nan=False),
        st.fractions(),
        st.uuids(),
        st.ip_addresses(),
    )


# ---- frames ---------------------------------------------------------------------------------------


def frames(*kinds: type[f.Frame]) -> st.SearchStrategy[f.Frame]:
    """Return frames whose layout is right, within the default limits: of the classes given, or of all.

    The numbers, streams and states in them are anything: what a peer makes of them is for the test to
    say. A connection must take such a frame, or close once with a code (TW-ERR-012).

    Raises:
        ValueError: a class is none of ``telewire.wire.frames``.
    """
    made = _frames()
    unknown = [kind.__name__ for kind in kinds if kind not in made]
    if unknown:
        raise ValueError(f"{', '.join(unknown)} is no class of frames; telewire.wire.frames has them.")
    return st.one_of([made[kind] for kind in kinds or made])


def batches(
    *kinds: type[f.Frame], max_frames: int = 4, limits: Limits | None = None
) -> st.SearchStrategy[bytes]:
    """Return batches of one to ``max_frames`` such frames, encoded.

    Args:
        kinds: classes of frames, as in :func:`frames`.
        max_frames: at least 1.
        limits: those of the receiver; every batch is within them. The defaults where left out.
    """
    bounds = limits or Limits()
    several = st.lists(frames(*kinds), min_size=1, max_size=max_frames)

    def within(batch: bytes) -> bool:
        try:
            decode_batch(batch, bounds)
        except RemoteProtocolError:
            return False
        return True

    encoded = several.map(_encode)
    return encoded if limits is None else encoded.filter(within)


def _encode(several: Sequence[f.Frame]) -> bytes:
    return encode_batch([encode_frame(frame) for frame in several])


def _uints() -> st.SearchStrategy[int]:
    return st.integers(0, 30) | st.integers(0, _BEYOND - 1)


def _streams() -> st.SearchStrategy[int]:
    return st.integers(-30, 30) | st.integers(-_BEYOND, _BEYOND - 1)


def _extensions() -> st.SearchStrategy[f.Extensions | None]:
    texts = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3)
    # Any, here and below: an extension's value is any CBOR value without tags.
    leaves: st.SearchStrategy[Any] = (
        st.none()
        | st.booleans()
        | st.integers(-(1 << 64), (1 << 64) - 1)
        | st.floats(allow_nan=False)
        | st.text(max_size=8)
        | st.binary(max_size=8)
    )
    plain: st.SearchStrategy[Any] = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=6,
    )
    known: dict[int, st.SearchStrategy[Any]] = {
        f.KEY_DEADLINE: _uints(),
        f.KEY_LIFETIME: _uints(),
        f.KEY_URGENCY: _uints(),
        f.KEY_METADATA: texts,
        f.KEY_TRACE: st.text(max_size=8),
        f.KEY_IDEMPOTENCY: st.binary(max_size=8),
        f.KEY_TRAILERS: texts,
        f.KEY_RECONNECT_AFTER: _uints(),
        f.KEY_ELSEWHERE: st.text(max_size=8),
        f.KEY_DOWNLINK: st.text(max_size=8),
        f.KEY_REQUESTED: _uints(),
    }
    others = st.dictionaries(_uints().filter(lambda key: key not in known), plain, max_size=2)
    both = st.tuples(st.fixed_dictionaries({}, optional=known), others).map(
        lambda pair: {**pair[0], **pair[1]}
    )
    # A sender leaves an empty map out.
    return st.none() | both.map(lambda extensions: extensions or {f.KEY_DEADLINE: 0})


def _declarations() -> st.SearchStrategy[tuple[f.Declaration, ...]]:
    plain = st.sampled_from([f.Kind.PROMISE, f.Kind.ITEMS, f.Kind.BYTES])
    numbered = st.sampled_from([f.Kind.FUNCTION, f.Kind.CHANNEL])
    one = st.builds(f.Declaration, _uints(), plain) | st.builds(f.Declaration, _uints(), numbered, _uints())
    return st.lists(one, max_size=3).map(tuple)


_Body = tuple[int, int, bytes, tuple[f.Declaration, ...], f.Extensions | None]


@st.composite
def _bodies(draw: st.DrawFn) -> _Body:
    """Flags, size, payload, declarations and extensions of CALL, END, ERROR and ITEM."""
    if draw(st.booleans()):
        payload = draw(st.binary(min_size=1, max_size=40))
        return 1, draw(st.integers(len(payload) + 1, _BEYOND - 1)), payload, (), draw(_extensions())
    payload = draw(st.binary(max_size=40))
    return 0, len(payload), payload, draw(_declarations()), draw(_extensions())


@st.composite
def _hellos(draw: st.DrawFn) -> f.Hello:
    lowest, highest = sorted((draw(_uints()), draw(_uints())))
    names = st.binary(max_size=40)
    session, token = draw(st.just((None, None)) | st.tuples(names, names))
    features = tuple(draw(st.lists(_uints(), max_size=3)))
    stated = draw(st.dictionaries(_uints(), _uints(), max_size=3))
    return f.Hello(lowest, highest, features, stated, session, token, draw(_extensions()))


def _frames() -> dict[type[f.Frame], st.SearchStrategy[f.Frame]]:
    """A strategy for each class of frames."""
    uints, streams, extensions = _uints(), _streams(), _extensions()
    names, payload, part = (
        st.text(max_size=_SHORT),
        st.binary(max_size=40),
        st.binary(min_size=1, max_size=40),
    )
    bodies = _bodies()
    return {
        f.Call: st.tuples(uints, names | streams, bodies).map(lambda t: f.Call(t[0], t[1], *t[2])),
        f.End: st.tuples(streams, bodies).map(lambda t: f.End(t[0], *t[1])),
        f.Error: st.tuples(streams, uints, bodies).map(lambda t: f.Error(t[0], t[1], *t[2])),
        f.Item: st.tuples(streams, bodies).map(lambda t: f.Item(t[0], *t[1])),
        f.Items: st.builds(f.Items, streams, st.just(0), st.integers(1, _BEYOND - 1), part, extensions),
        f.Chunk: st.builds(f.Chunk, streams, st.just(0), part, extensions),
        f.Fragment: st.builds(f.Fragment, streams, st.just(1), part, st.just(()), extensions)
        | st.builds(f.Fragment, streams, st.just(0), part, _declarations(), extensions),
        f.Stop: st.builds(f.Stop, streams, uints, payload, extensions),
        f.Reset: st.builds(f.Reset, streams, uints, payload, extensions),
        f.Grant: st.builds(f.Grant, streams, uints, extensions),
        f.GoAway: st.builds(f.GoAway, uints, uints, names, extensions),
        f.Close: st.builds(f.Close, uints, names, extensions),
        f.Hello: _hellos(),
        f.Resume: st.builds(f.Resume, payload, payload, uints, uints, extensions),
        f.Resumed: st.builds(f.Resumed, uints, uints, extensions),
        f.Ack: st.builds(f.Ack, uints, extensions),
        f.Ping: st.builds(f.Ping, uints, extensions),
        f.Pong: st.builds(f.Pong, uints, extensions),
        f.Position: st.builds(f.Position, uints, extensions),
        f.Unknown: st.builds(f.Unknown, st.integers(7, 15) | st.integers(64, 127))
        | st.builds(f.Unknown, st.integers(128, 65535), streams),
    }
