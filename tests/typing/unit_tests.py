"""Functions that are tested alone: the context of call_context is typed by its state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

from telewire import Context
from telewire.testing import call_context, check_transport
from telewire.testing.transports import MakePair


@dataclass
class User:
    name: str


async def test_alone() -> None:
    async with call_context(state=User("ann"), headers={"X-Token": "t"}) as context:
        assert_type(context, Context[User])
        assert_type(context.state.name, str)
    with call_context(timeout=2.0) as plain:
        assert_type(plain.state, None)


async def test_an_adapter(make_pair: MakePair) -> None:
    await check_transport(make_pair, seconds=5)
