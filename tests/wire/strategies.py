"""Hypothesis strategies for whatever travels: every frame within the default limits, and every value."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from telewire.wire import frames as f

BEYOND = 1 << 53

uints = st.integers(0, 30) | st.integers(0, BEYOND - 1)
streams = st.integers(-30, 30) | st.integers(-BEYOND, BEYOND - 1)
payloads = st.binary(max_size=40)
parts = st.binary(min_size=1, max_size=40)
names = st.text(max_size=20)
texts = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3)

# Any, here and below: an extension's value is any CBOR value without tags.
plain: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 64), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)

KNOWN_KEYS: dict[int, st.SearchStrategy[Any]] = {
    f.KEY_DEADLINE: uints,
    f.KEY_LIFETIME: uints,
    f.KEY_URGENCY: uints,
    f.KEY_METADATA: texts,
    f.KEY_TRACE: st.text(max_size=8),
    f.KEY_IDEMPOTENCY: st.binary(max_size=8),
    f.KEY_TRAILERS: texts,
}


@st.composite
def extension_maps(draw: st.DrawFn) -> f.Extensions:
    """A map of known and unknown keys; not empty, since a sender leaves an empty one out."""
    known = draw(st.fixed_dictionaries({}, optional=KNOWN_KEYS))
    unknown = draw(st.dictionaries(uints.filter(lambda key: key not in KNOWN_KEYS), plain, max_size=2))
    return {**known, **unknown} or {f.KEY_DEADLINE: draw(uints)}


extensions = st.none() | extension_maps()
declarations = st.builds(
    f.Declaration, uints, st.sampled_from([f.Kind.PROMISE, f.Kind.ITEMS, f.Kind.BYTES])
) | st.builds(f.Declaration, uints, st.sampled_from([f.Kind.FUNCTION, f.Kind.CHANNEL]), uints)
declaration_lists = st.lists(declarations, max_size=3).map(tuple)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[int, int, bytes, tuple[f.Declaration, ...], f.Extensions | None]:
    """Flags, size, payload, declarations and extensions of CALL, END, ERROR and ITEM."""
    if draw(st.booleans()):
        payload = draw(parts)
        return 1, draw(st.integers(len(payload) + 1, BEYOND - 1)), payload, (), draw(extensions)
    payload = draw(payloads)
    return 0, len(payload), payload, draw(declaration_lists), draw(extensions)


calls = st.tuples(uints, names | streams, bodies()).map(lambda t: f.Call(t[0], t[1], *t[2]))
ends = st.tuples(streams, bodies()).map(lambda t: f.End(t[0], *t[1]))
errors = st.tuples(streams, uints, bodies()).map(lambda t: f.Error(t[0], t[1], *t[2]))
items = st.tuples(streams, bodies()).map(lambda t: f.Item(t[0], *t[1]))
fragments = st.builds(f.Fragment, streams, st.just(1), parts, st.just(()), extensions) | st.builds(
    f.Fragment, streams, st.just(0), parts, declaration_lists, extensions
)


@st.composite
def hellos(draw: st.DrawFn) -> f.Hello:
    """A HELLO with or without a session."""
    lowest, highest = sorted((draw(uints), draw(uints)))
    identity = draw(st.just((None, None)) | st.tuples(payloads, payloads))
    features = tuple(draw(st.lists(uints, max_size=3)))
    limits = draw(st.dictionaries(uints, uints, max_size=3))
    return f.Hello(lowest, highest, features, limits, identity[0], identity[1], draw(extensions))


frames: st.SearchStrategy[f.Frame] = st.one_of(
    calls,
    ends,
    errors,
    items,
    fragments,
    hellos(),
    st.builds(f.Items, streams, st.just(0), st.integers(1, BEYOND - 1), parts, extensions),
    st.builds(f.Chunk, streams, st.just(0), parts, extensions),
    st.builds(f.Stop, streams, uints, payloads, extensions),
    st.builds(f.Reset, streams, uints, payloads, extensions),
    st.builds(f.Grant, streams, uints, extensions),
    st.builds(f.GoAway, uints, uints, names, extensions),
    st.builds(f.Close, uints, names, extensions),
    st.builds(f.Resume, payloads, payloads, uints, uints, extensions),
    st.builds(f.Resumed, uints, uints, extensions),
    st.builds(f.Ack, uints, extensions),
    st.builds(f.Ping, uints, extensions),
    st.builds(f.Pong, uints, extensions),
    st.builds(f.Position, uints, extensions),
    st.builds(f.Unknown, st.integers(7, 15) | st.integers(64, 127)),
    st.builds(f.Unknown, st.integers(128, 65535), streams),
)

# ---- values ---------------------------------------------------------------------------------------

offsets: st.SearchStrategy[Any] = st.none() | st.integers(-86_399, 86_399).map(
    lambda s: timezone(timedelta(seconds=s))
)
big_integers = st.integers() | st.integers(-(1 << 600), 1 << 600)
scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    big_integers,
    st.floats(allow_nan=False),
    st.text(max_size=10),
    st.binary(max_size=10),
    st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=offsets),
    st.dates(),
    st.times(timezones=offsets),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.uuids(),
    st.ip_addresses(),
)
keys: st.SearchStrategy[Any] = scalars | st.tuples(scalars, scalars)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys, inner, max_size=3)
        | st.sets(keys, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
    ),
    max_leaves=12,
)
