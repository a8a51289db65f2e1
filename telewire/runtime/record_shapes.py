"""Shapes of records: dataclasses, attrs, msgspec and pydantic models, TypedDict, NamedTuple.

A record is a map from field names to values on the wire, a NamedTuple an array. Unknown keys are
ignored, so that a newer side may add fields; missing ones take their defaults.
"""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast, final

import msgspec

from telewire.runtime.annotations import class_hints, render, strip_qualifiers, substitute, type_variables
from telewire.runtime.shapes import ANYTHING, Misfit, Mode, Shape

__all__ = [
    "Field",
    "NamedTupleShape",
    "PydanticShape",
    "RecordShape",
    "is_pydantic_model",
    "record_shape",
    "runs_before_conversion",
]

_MISSING = object()

# Any: annotations have no common type.
Compile = Callable[[Any], Shape]


class Field(NamedTuple):
    """One field: ``wire`` is its key, ``target`` the constructor's name for it, ``shape`` its shape."""

    wire: str
    target: str
    shape: Shape
    required: bool
    aliases: tuple[str, ...] = ()


@final
class RecordShape(Shape):
    """A class built from keyword arguments (``make``), or a plain dict of known keys.

    ``cls`` is None for a TypedDict, which has no instances. ``tag`` is the key and value that a
    tagged msgspec Struct adds; ``array`` is true where the fields travel as an array.
    """

    takes_scalars = False

    def __init__(
        self,
        expected: str,
        cls: type | None,
        make: Callable[..., object],
        *,
        tag: tuple[str, object] | None = None,
        array: bool = False,
        closed: bool = False,
    ) -> None:
        super().__init__(expected)
        self.cls = cls
        self.make = make
        self.tag = tag
        self.array = array
        self.closed = closed
        # Filled by the builder once the record itself is known: fields may contain it.
        self.fields: tuple[Field, ...] = ()

    def apply(self, value: object, mode: Mode) -> object:
        """An instance as it is, or one built from the converted fields."""
        if self.cls is not None and isinstance(value, self.cls):
            return value
        if self.array and isinstance(value, (list, tuple)):
            names = [field.wire for field in self.fields]
            value = dict(zip(names if self.tag is None else [self.tag[0], *names], value, strict=False))
        if type(value) is not dict and not isinstance(value, Mapping):
            raise self.misfit(value)
        known = self._check_tag(value, mode)
        built: dict[str, object] = {}
        for field in self.fields:
            item = _find(value, field)
            if item is _MISSING:
                if field.required:
                    raise Misfit(field.shape.expected, "nothing", (f".{field.wire}",))
                continue
            known += 1
            if type(item) is not field.shape.scalar:
                item = convert_field(field, item, mode)
            built[field.target] = item
        if known < len(value) and (mode.exact or self.closed):
            raise self.misfit(value)
        if self.make is dict:
            return built
        try:
            return self.make(**built)
        except (ValueError, TypeError, AssertionError):
            # The class has rules of its own; what it says about them stays here.
            pass
        raise self.misfit(value)

    def _check_tag(self, value: Mapping[Any, object], mode: Mode) -> int:
        if self.tag is None:
            return 0
        name, expected = self.tag
        found = value.get(name, _MISSING)
        if found is _MISSING:
            if mode.exact:
                raise self.misfit(value)
            return 0
        if type(found) is not type(expected) or found != expected:
            raise self.misfit(value)
        return 1


def _find(value: Mapping[Any, object], field: Field) -> object:
    item = value.get(field.wire, _MISSING)
    for alias in field.aliases if item is _MISSING else ():
        item = value.get(alias, _MISSING)
        if item is not _MISSING:
            break
    return item


def convert_field(field: Field, item: object, mode: Mode) -> object:
    """``item`` as ``field`` asks; a misfit gets the field's name into its path."""
    try:
        return field.shape.apply(item, mode)
    except Misfit as misfit:
        misfit.steps.append(f".{field.wire}")
        raise


@final
class NamedTupleShape(Shape):
    """A NamedTuple: an array whose last places may be missing where they have defaults."""

    takes_scalars = False

    def __init__(self, expected: str, cls: type) -> None:
        super().__init__(expected)
        self.cls: Callable[..., object] = cls
        self.type = cls
        self.fields: tuple[Field, ...] = ()

    def apply(self, value: object, mode: Mode) -> object:
        """An instance as it is, or one built from the converted places."""
        if isinstance(value, self.type):
            return value
        if not isinstance(value, (list, tuple)):
            raise self.misfit(value)
        required = sum(field.required for field in self.fields)
        if not required <= len(value) <= len(self.fields):
            raise Misfit(self.expected, f"{type(value).__name__} of length {len(value)}")
        return self.cls(
            *(convert_field(field, item, mode) for field, item in zip(self.fields, value, strict=False))
        )


# --- building ------------------------------------------------------------------------------------


def record_shape(
    cls: Any, arguments: tuple[Any, ...], compile: Compile, remember: Callable[[Shape], None]
) -> Shape | None:
    """The shape of the record class ``cls[arguments]``, or None where ``cls`` is no record.

    ``remember`` gets the shape before its fields are compiled, because they may contain it.
    """
    name = render(cls[arguments]) if arguments else cls.__name__
    describe = _describer(cls)
    if describe is None:
        return None
    hints = class_hints(cls)
    variables = type_variables(cls, arguments)

    # Any: an annotation.
    def shape_of(field: str, annotation: Any = None) -> Shape:
        hint = hints.get(field, Any) if annotation is None else annotation
        return compile(substitute(strip_qualifiers(hint)[0], variables))

    shape, fields = describe(name, cls, hints, shape_of)
    remember(shape)
    shape.fields = tuple(fields)
    return cast(Shape, shape)


# A shape whose fields are still to come, and the lazily compiled fields.
_Described = tuple[Any, Iterator[Field]]
_ShapeOf = Callable[..., Shape]
_Describer = Callable[[str, Any, dict[str, Any], _ShapeOf], _Described]


def _describer(cls: Any) -> _Describer | None:
    if typing.is_typeddict(cls) or type(cls).__name__ == "_TypedDictMeta":
        return _typed_dict
    if issubclass(cls, msgspec.Struct):
        return _struct
    if is_pydantic_model(cls):
        return _pydantic
    if hasattr(cls, "__attrs_attrs__"):
        return _attrs
    if dataclasses.is_dataclass(cls):
        return _dataclass
    if issubclass(cls, tuple) and hasattr(cls, "_field_defaults"):
        return _named_tuple
    return None


def _dataclass(name: str, cls: Any, hints: dict[str, Any], shape_of: _ShapeOf) -> _Described:
    def fields() -> Iterator[Field]:
        for field in dataclasses.fields(cls):
            if field.init:
                missing = dataclasses.MISSING
                required = field.default is missing and field.default_factory is missing
                yield Field(field.name, field.name, shape_of(field.name), required)

    return RecordShape(name, cls, cls), fields()


def _attrs(name: str, cls: Any, hints: dict[str, Any], shape_of: _ShapeOf) -> _Described:
    import attrs

    def fields() -> Iterator[Field]:
        for field in attrs.fields(cls):
            if field.init:
                yield Field(field.name, field.alias, shape_of(field.name), field.default is attrs.NOTHING)

    return RecordShape(name, cls, cls), fields()


def _struct(name: str, cls: Any, hints: dict[str, Any], shape_of: _ShapeOf) -> _Described:
    config = cls.__struct_config__
    tag = None if config.tag is None else (config.tag_field, config.tag)
    shape = RecordShape(name, cls, cls, tag=tag, array=config.array_like, closed=config.forbid_unknown_fields)

    def fields() -> Iterator[Field]:
        for field in msgspec.structs.fields(cls):
            yield Field(field.encode_name, field.name, shape_of(field.name), field.required)

    return shape, fields()


def _typed_dict(name: str, cls: Any, hints: dict[str, Any], shape_of: _ShapeOf) -> _Described:
    def fields() -> Iterator[Field]:
        for key, hint in hints.items():
            # Textual annotations leave qualifiers out of __required_keys__; the resolved hint has them.
            qualifiers = strip_qualifiers(hint)[1]
            required = key in cls.__required_keys__
            if qualifiers & {"Required", "NotRequired"}:
                required = "Required" in qualifiers
            yield Field(key, key, shape_of(key), required)

    return RecordShape(name, None, dict), fields()


def _named_tuple(name: str, cls: Any, hints: dict[str, Any], shape_of: _ShapeOf) -> _Described:
    def fields() -> Iterator[Field]:
        for field in cls._fields:
            yield Field(field, field, shape_of(field), field not in cls._field_defaults)

    return NamedTupleShape(name, cls), fields()


# --- pydantic ------------------------------------------------------------------------------------


def is_pydantic_model(cls: Any) -> bool:
    """Whether ``cls`` is a pydantic model class; never imports pydantic."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(cls, type) and issubclass(cls, pydantic.BaseModel)


@final
class PydanticShape(Shape):
    """A pydantic model: fields converted strictly by their annotations, then validated by the model.

    The model validates values that already have their types, so nothing is coerced on the way;
    fields with a validator that runs before conversion are left to the model, ``raw`` models
    (such a validator for the whole model) entirely.
    """

    takes_scalars = True

    def __init__(
        self, expected: str, cls: Any, limits: dict[str, str], *, raw: bool, root: bool, extra: bool
    ) -> None:
        super().__init__(expected)
        self.cls = cls
        self.limits = limits
        self.raw = raw
        self.root = root
        self.extra = extra
        self.takes_scalars = raw or root
        self.fields: tuple[Field, ...] = ()

    def apply(self, value: object, mode: Mode) -> object:
        """An instance as it is, or one that the model made of the converted fields."""
        if isinstance(value, self.cls):
            return value
        if self.raw:
            prepared = value
        elif self.root:
            prepared = self.fields[0].shape.apply(value, mode)
        elif isinstance(value, Mapping):
            prepared = self._prepare(value, mode)
        else:
            raise self.misfit(value)
        step, got = "", type(value).__name__
        expected = self.expected
        try:
            return self.cls.model_validate(prepared, by_alias=True, by_name=True)
        except sys.modules["pydantic"].ValidationError as error:
            details = error.errors(include_url=False, include_context=False, include_input=False)
            first = details[0]["loc"][:1]
            for field in self.fields:
                if isinstance(prepared, Mapping) and first and first[0] in (field.wire, *field.aliases):
                    found = _find(prepared, field)
                    step = f".{field.wire}"
                    expected = self.limits[field.wire]
                    got = "nothing" if found is _MISSING else type(found).__name__
        raise Misfit(expected, got, (step,) if step else ())

    def _prepare(self, value: Mapping[Any, object], mode: Mode) -> dict[Any, object]:
        prepared: dict[Any, object] = {}
        known: set[object] = set()
        for field in self.fields:
            item = _find(value, field)
            known.update((field.wire, *field.aliases))
            if item is not _MISSING:
                prepared[field.wire] = convert_field(field, item, mode)
            elif field.required:
                raise Misfit(field.shape.expected, "nothing", (f".{field.wire}",))
        others = {key: item for key, item in value.items() if key not in known}
        if self.extra:
            prepared.update(others)
        elif others and mode.exact:
            raise self.misfit(value)
        return prepared


def _pydantic(name: str, cls: Any, hints: dict[str, Any], shape_of: _ShapeOf) -> _Described:
    if not cls.__pydantic_complete__:
        cls.model_rebuild(raise_errors=False)
    validators = cls.__pydantic_decorators__
    raw = any(one.info.mode in ("before", "wrap") for one in validators.model_validators.values())
    early = {
        name
        for one in validators.field_validators.values()
        if one.info.mode != "after"
        for name in one.info.fields
    }
    early.update(
        field for field, info in cls.model_fields.items() if any(map(runs_before_conversion, info.metadata))
    )
    limits = {field: render(info.rebuild_annotation()) for field, info in cls.model_fields.items()}
    extra = cls.model_config.get("extra", "ignore") != "ignore"
    model = PydanticShape(name, cls, limits, raw=raw, root="root" in cls.model_fields, extra=extra)

    def fields() -> Iterator[Field]:
        for field, info in cls.model_fields.items():
            aliases = tuple({one for one in (info.alias, info.validation_alias) if isinstance(one, str)})
            shape = ANYTHING if field in early or "*" in early else shape_of(field, info.annotation)
            yield Field(field, field, shape, info.is_required(), aliases)

    return model, fields()


# Any: metadata of an annotation may be any object.
def runs_before_conversion(metadata: Any) -> bool:
    """Whether ``metadata`` is a pydantic validator that must see the value unconverted."""
    return type(metadata).__name__ in ("BeforeValidator", "PlainValidator", "WrapValidator")
