"""What objects of Python become on the wire where CBOR has no form of their own for them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import KeysView, Mapping, Sequence, Set, ValuesView
from enum import Enum

import msgspec

__all__ = ["to_wire"]

# Addresses are text that pydantic has parsed; they are known by name, so that it need not be there.
_URL_MODULES = ("pydantic.networks", "pydantic_core._pydantic_core")


def to_wire(obj: object) -> object:
    """Return what stands for ``obj`` in a payload: one step, the parts are encoded in turn.

    Dataclasses, attrs, msgspec Structs, pydantic models and other mappings become dicts (of field
    names to values, which may be handles), enums their values, other sequences, sets and views lists.

    Raises:
        TypeError: ``obj`` is nothing that can travel.
    """
    cls = type(obj)
    if isinstance(obj, Enum):
        return obj.value
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return {field.name: getattr(obj, field.name) for field in dataclasses.fields(obj)}
    if isinstance(obj, msgspec.Struct):
        return _struct(obj)
    if hasattr(cls, "__attrs_attrs__"):
        return {field.name: getattr(obj, field.name) for field in cls.__attrs_attrs__}
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(obj, pydantic.BaseModel):
        return _pydantic(obj)
    if isinstance(obj, Mapping):
        return dict(obj)
    if isinstance(obj, (memoryview, bytearray)):
        return bytes(obj)
    if isinstance(obj, (Sequence, Set, KeysView, ValuesView)) and not isinstance(obj, (str, bytes)):
        return list(obj)
    if cls.__module__ in _URL_MODULES and cls.__name__.endswith(("Url", "Dsn")):
        return str(obj)
    raise TypeError(
        f"A {cls.__module__}.{cls.__qualname__} cannot travel: pass its data as builtin types, "
        "a dataclass or a model, or pass functions that use it here."
    )


def _struct(obj: msgspec.Struct) -> object:
    config = obj.__struct_config__
    values = [getattr(obj, name) for name in obj.__struct_fields__]
    if config.array_like:
        return values if config.tag is None else [config.tag, *values]
    wire = {} if config.tag is None else {config.tag_field: config.tag}
    for name, value in zip(obj.__struct_encode_fields__, values, strict=True):
        if value is not msgspec.UNSET:
            wire[name] = value
    return wire


# Typed as an object: pydantic is imported only by programs that use it.
def _pydantic(obj: object) -> object:
    fields = type(obj).model_fields  # type: ignore[attr-defined]  # a model has them
    if "root" in fields:
        return obj.root  # type: ignore[attr-defined]  # a RootModel has it
    wire = {name: getattr(obj, name) for name, info in fields.items() if not info.exclude}
    wire.update(getattr(obj, "__pydantic_extra__", None) or {})
    return wire
