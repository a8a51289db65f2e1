"""state_of: all that a connection holds, to see that a refused command has changed nothing."""

from __future__ import annotations

import contextlib
from dataclasses import fields, is_dataclass
from types import GetSetDescriptorType, MemberDescriptorType


def state_of(thing: object, seen: set[int] | None = None) -> object:
    """Everything a connection holds, as plain data that can be compared."""
    seen = set() if seen is None else seen
    if isinstance(thing, (int, float, str, bytes, type(None))) or callable(thing):
        return thing
    if id(thing) in seen:
        return "…"
    seen.add(id(thing))
    if isinstance(thing, dict):
        return [(state_of(key, seen), state_of(value, seen)) for key, value in thing.items()]
    if is_dataclass(thing):
        return [state_of(getattr(thing, field.name), seen) for field in fields(thing)]
    if isinstance(thing, (list, tuple, set)) or hasattr(thing, "popleft"):
        return [state_of(each, seen) for each in thing]
    # What has a slot, in a compiled class every attribute, has a descriptor on the class.
    described = {
        name
        for cls in type(thing).__mro__
        for name, found in vars(cls).items()
        if isinstance(found, MemberDescriptorType | GetSetDescriptorType) and not name.startswith("__")
    }
    found: dict[str, object] = {}
    for name in sorted(described):
        # Not set yet, or a compiled property that has nothing to say now.
        with contextlib.suppress(AttributeError, AssertionError):
            found[name] = getattr(thing, name)
    found |= getattr(thing, "__dict__", {})
    return [(name, state_of(value, seen)) for name, value in found.items()]
