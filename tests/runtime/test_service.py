"""Services: what may be offered, under which names, and that what is decorated stays what it was."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from telewire import Service
from telewire.runtime.service import name_of
from tests.runtime.world import Connected, RemoteOf


async def test_a_decorated_function_stays_what_it_was() -> None:
    service = Service()

    async def add(left: int, right: int) -> int:
        return left + right

    assert service.function(add) is add
    assert service.function(name="plus")(add) is add
    assert await add(1, 2) == 3
    assert repr(service) == "<Service of 2 functions>"


async def test_what_cannot_be_offered() -> None:
    service = Service()

    async def once() -> None:
        """Offered once."""

    service.add(once)
    with pytest.raises(ValueError, match="already offers 'once'"):
        service.add(once)
    with pytest.raises(TypeError, match="not a function"):
        service.add(3)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(ValueError, match="needs a name"):
        service.add(lambda: None)


class Counter:
    """Its bound methods and its call are served."""

    def __init__(self) -> None:
        self.number = 0

    async def add(self, amount: int) -> int:
        self.number += amount
        return self.number

    async def __call__(self, amount: int) -> int:
        return await self.add(amount)


async def test_methods_partials_wrappers_and_callable_objects(connected: Connected) -> None:
    service = Service()
    counter = Counter()

    def logged(function: Callable[[int], Awaitable[int]]) -> Callable[[int], Awaitable[int]]:
        @functools.wraps(function)
        async def wrapper(amount: int) -> int:
            return await function(amount) + 100

        return wrapper

    service.add(counter.add)
    service.add(functools.partial(counter.add, 5), name="five")
    service.add(counter, name="object")

    @service.function
    @logged
    async def wrapped(amount: int) -> int:
        return amount

    async with connected(service) as world:
        assert await world.remote.add(1) == 1
        assert await world.remote.five() == 6
        assert await world.remote.object(10) == 16
        assert await world.remote.wrapped(1) == 101
        assert await world.remote[counter.add](1) == 17


async def test_one_service_for_many_connections(connected: Connected) -> None:
    service = Service()
    counter = Counter()
    service.add(counter.add)
    for number in range(1, 4):
        async with connected(service) as world:
            assert await world.remote.add(1) == number


async def test_a_function_offered_while_clients_are_connected(connected: Connected) -> None:
    service = Service()
    async with connected(service) as world:
        service.add(Counter().add)
        assert await world.remote.add(2) == 2


async def test_defaults_keywords_and_stars(connected: Connected) -> None:
    service = Service()

    @service.function
    async def tell(first: int, /, second: int = 2, *rest: int, third: int = 3, **others: int) -> list[object]:
        return [first, second, list(rest), third, others]

    async with connected(service) as world:
        assert await world.remote.tell(1) == [1, 2, [], 3, {}]
        assert await world.remote.tell(1, 5, 6, 7, third=8, fourth=9) == [1, 5, [6, 7], 8, {"fourth": 9}]
        assert await world.remote.tell(1, second=4) == [1, 4, [], 3, {}]


async def test_a_generator_without_annotation_passes_anything(remote_of: RemoteOf) -> None:
    service = Service()

    @service.function
    async def things():  # type: ignore[no-untyped-def]  # what is tested
        yield 1
        yield "two"
        yield {"three": (3, None)}

    @service.function
    async def empty() -> AsyncIterator[int]:
        for number in range(0):
            yield number

    async with remote_of(service) as remote:
        assert [thing async for thing in remote.things()] == [1, "two", {"three": [3, None]}]
        assert [thing async for thing in remote.empty()] == []


def test_a_service_and_its_functions_go_when_nobody_holds_them() -> None:
    service: Service[None] = Service()

    async def offered() -> None:
        """Offered for a while."""

    service.add(offered, "by.another.name")
    assert name_of(offered) == "by.another.name"
    gone = [weakref.ref(service), weakref.ref(offered)]
    del service, offered
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
