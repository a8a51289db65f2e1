"""Types of every family that annotations can name, handles that remember, and the wire, for tests."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Generic,
    NamedTuple,
    NewType,
    NotRequired,
    ParamSpec,
    Protocol,
    Required,
    Self,
    TypedDict,
    TypeVar,
)

import attrs
import msgspec
import pydantic
import pydantic.dataclasses
import pytest

from telewire.errors import InvalidArgument
from telewire.runtime.convert import Converter, Convertible, converter_for, to_wire
from telewire.wire.values import decode_value, encode_value

if TYPE_CHECKING:
    from elsewhere import Missing  # type: ignore[import-not-found]

T = TypeVar("T")
P = ParamSpec("P")
TeamId = NewType("TeamId", int)
Positive = Annotated[int, msgspec.Meta(gt=0)]
Short = Annotated[str, pydantic.Field(max_length=3)]


class Colour(enum.Enum):
    RED = "red"
    TWO = 2
    PAIR = (1, 2)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Name(enum.StrEnum):
    ADA = "ada"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Circle:
    x: int
    y: float
    radius: float


@dataclasses.dataclass
class Node:
    value: int
    children: list[Node] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Left:
    next: Left | Right_ | None = None


@dataclasses.dataclass
class Right_:
    next: Left | Right_ | None = None


@dataclasses.dataclass(frozen=True)
class Key:
    name: str


@dataclasses.dataclass
class Box(Generic[T]):
    content: T


@dataclasses.dataclass
class IntBox(Box[int]):
    label: str = ""


@dataclasses.dataclass
class Fussy:
    text: str

    def __post_init__(self) -> None:
        if self.text != "fine":
            raise ValueError(f"{self.text} is not fine")


class Row(NamedTuple):
    id: int
    name: str = "none"


class Settings(TypedDict, total=False):
    depth: Required[int]
    name: str


class Person(TypedDict):
    name: str
    age: NotRequired[int]


@dataclasses.dataclass
class Partly:
    known: int
    unknown: Missing = None


@attrs.define
class Spot:
    place: str
    _count: int = 0
    size: int = attrs.field(default=1, validator=attrs.validators.gt(0))


class Track(msgspec.Struct):
    title: str
    seconds: Positive = 1
    rows: tuple[Row, ...] = ()


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class Cat(msgspec.Struct, tag=True, rename="camel"):
    pet_name: str


class Dog(msgspec.Struct, tag=True, rename="camel"):
    pet_name: str


class Packed(msgspec.Struct, array_like=True):
    first: int
    second: str


class Address(pydantic.BaseModel):
    street: str
    colours: tuple[Colour, ...] = ()


class User(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(default=1, gt=0, alias="years")
    address: Address | None = None
    site: pydantic.HttpUrl | None = None


class Cleaned(pydantic.BaseModel):
    tags: list[str]

    @pydantic.field_validator("tags", mode="before")
    @classmethod
    def split(cls, value: Any) -> Any:
        return value.split(",") if isinstance(value, str) else value


class Loose(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")

    name: str


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    name: str


class Ranged(pydantic.BaseModel):
    first: int
    last: int

    @pydantic.model_validator(mode="before")
    @classmethod
    def parse(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = dict(zip(("first", "last"), value.split("-"), strict=True))
        return value

    @pydantic.model_validator(mode="after")
    def test_order(self) -> Self:
        if self.first > self.last:
            raise ValueError(f"{self.first} is after {self.last}")
        return self


class Late(pydantic.BaseModel):
    node: Later


class Later(pydantic.BaseModel):
    size: Annotated[int, pydantic.BeforeValidator(len)]


class Numbers(pydantic.RootModel[list[int]]):
    pass


@pydantic.dataclasses.dataclass
class Checked:
    count: int = pydantic.Field(gt=0)


@dataclasses.dataclass
class Holder:
    user: User
    points: dict[str, Point]


class Live(TypedDict):
    title: str
    items: AsyncIterator[int] | None


class FrozenMap(dict[str, int]):
    """A map with a hash, as decoders make one for keys."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self))


class FakeHandle(Convertible):
    """A handle that only remembers what it was told."""

    def __init__(self) -> None:
        self.item: Converter | None = None
        self.outgoing: Converter | None = None

    def set_item_converter(self, converter: Converter) -> None:
        self.item = converter

    def set_outgoing_converter(self, converter: Converter) -> None:
        self.outgoing = converter


In = TypeVar("In")
Out = TypeVar("Out")


class FakeIterator(FakeHandle, Generic[T]):
    kind: ClassVar[str] = "iterator"


class FakePromise(FakeHandle, Generic[T]):
    kind: ClassVar[str] = "promise"


class FakeFunction(FakeHandle):
    kind: ClassVar[str] = "function"


class Function(FakeFunction, Generic[P, T]):
    """Annotation ``Function[P, R]``."""


class OnTick(Protocol):
    def __call__(self, number: int) -> Awaitable[str]: ...


class FakeBytes(FakeHandle):
    kind: ClassVar[str] = "bytes"


class FakeChannel(FakeHandle, Generic[In, Out]):
    kind: ClassVar[str] = "channel"


def travel(value: object) -> object:
    """What the other side decodes."""
    return decode_value(encode_value(value, to_wire))


def refused(annotation: Any, value: object, place: str = "on_x(a)", outgoing: bool = False) -> str:
    converter = converter_for(annotation)
    with pytest.raises(InvalidArgument) as caught:
        (converter.check if outgoing else converter.convert)(value, place)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value)


def refusal(method: Callable[[object, str], object], value: object) -> InvalidArgument | None:
    try:
        method(value, "on_x(a)")
    except InvalidArgument as error:
        return error
    return None
