"""Hypothesis strategies of the wire's tests: those that users have, by shorter names, and parts of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from telewire.testing import strategies
from telewire.wire import frames as f

BEYOND = 1 << 53

streams = st.integers(-30, 30) | st.integers(-BEYOND, BEYOND - 1)
names = st.text(max_size=20)

# Any: an extension's value is any CBOR value without tags.
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

frames = strategies.frames()
calls = strategies.frames(f.Call)
ends = strategies.frames(f.End)
items = strategies.frames(f.Item)
values = strategies.values()
