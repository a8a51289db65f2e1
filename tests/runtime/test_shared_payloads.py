"""A payload that is made for no connection, so that several can share it, has no references (TW-VAL-037)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from hypothesis import given

import telewire
from telewire import ByteStream, Channel, Service
from telewire.errors import ErrorCode
from telewire.runtime.outgoing import to_wire
from telewire.wire.values import Reference, decode_value, encode_value
from tests.runtime.world import Connected
from tests.wire import strategies
from tests.wire.value_cases import plain, refused

DEFAULTS: list[Callable[[object], object] | None] = [None, to_wire]
"""What stands for other objects where there is no connection: nothing, or what a runtime knows of data."""


@dataclass
class Record:
    """Data with a place for anything."""

    field: object


async def items() -> AsyncIterator[int]:
    yield 1


def steps() -> Iterator[int]:
    yield 1


def living() -> dict[str, object]:
    """One thing of each kind that crosses as a stream."""
    return {
        "items": items(),
        "steps": steps(),
        "bytes": ByteStream(b"abc"),
        "function": steps,
        "channel": Channel[Any, Any]().peer,
    }


def refused_everywhere(thing: object, default: Callable[[object], object] | None) -> None:
    """Hold that a thing is refused wherever it stands, and that its place is told."""
    places: dict[str, object] = {"value": thing, "value[1]": [0, thing], "value['key']": {"key": thing}}
    if default is not None:
        places["value.field"] = Record(thing)
    for place, value in places.items():
        with pytest.raises(TypeError) as caught:
            encode_value(value, default)
        said = [str(caught.value), *getattr(caught.value, "__notes__", ())]
        assert any(place in sentence for sentence in said), said


@pytest.mark.parametrize("default", DEFAULTS, ids=["codec", "runtime"])
@pytest.mark.parametrize("name", living())
def test_what_has_a_life_is_refused(name: str, default: Callable[[object], object] | None) -> None:
    refused_everywhere(living()[name], default)


@pytest.mark.parametrize("default", DEFAULTS, ids=["codec", "runtime"])
async def test_so_is_what_came_from_another_connection(
    connected: Connected, default: Callable[[object], object] | None
) -> None:
    service = Service()
    settled = anyio.Event()

    async def later() -> int:
        await settled.wait()
        return 1

    @service.function
    async def give() -> dict[str, object]:
        return {**living(), "promise": later()}

    async with connected(service) as world:
        handles: dict[str, object] = await world.remote.give()
        assert set(handles) == {*living(), "promise"}
        for handle in handles.values():
            refused_everywhere(handle, default)
        settled.set()
        await telewire.aclose(handles)


@given(strategies.values)
def test_all_else_means_the_same_without_declarations(value: object) -> None:
    assert decode_value(encode_value(value, to_wire), ()) == plain(value)


def test_a_receiver_refuses_a_reference_beside_which_nothing_is_declared() -> None:
    payload = encode_value({"key": [Reference(0)]})
    assert decode_value(payload, ("handle",)) == {"key": ["handle"]}
    assert refused(payload) is ErrorCode.MALFORMED_VALUE
