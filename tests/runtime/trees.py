"""Random trees: two parties that call each other with values of every kind, and end them in every way.

A tree is planned as plain data before it runs, so a seed says what happens: each call carries its
plan to the other side, which does as it says. What is left open ends when the tree is felled.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, Final

import anyio
import anyio.lowlevel

from telewire import (
    Abort,
    ByteStream,
    Call,
    Channel,
    Remote,
    RemoteFunction,
    RemoteIterator,
    RemotePromise,
    Return,
    Service,
    TelewireError,
    get_context,
    with_options,
)

__all__ = ["KINDS", "LEAF", "Party", "Plan", "Planner", "Tree", "Trouble"]

# Any: plans are plain data, and so cross as they are.
Plan = dict[str, Any]

KINDS: Final = ("promise", "items", "bytes", "function", "channel", "steps")
USES: Final = ("takes all", "takes some", "drops", "closes", "holds", "passes on", "is cancelled")
ENDS: Final = ("returns", "returns", "returns", "refuses", "breaks", "hangs")
CALLERS: Final = ("awaits", "awaits", "enters", "iterates", "cancels", "drops", "holds", "has no time")
SIZES: Final = (0, 1, 300, 5_000, 70_000)
CHUNKS: Final = (1, 700, 20_000, 70_000)


class Trouble(Exception):
    """The bug of a function that a plan makes fail."""


class Planner:
    """Plans trees of a bounded number of calls and values."""

    def __init__(self, choose: random.Random, parts: int) -> None:
        self.choose = choose
        self.left = parts

    def several(self, make: Callable[[int], Plan], depth: int, most: int) -> list[Plan]:
        """Some plans, fewer further down and none beyond the bound."""
        count = self.choose.randrange(most + 1) if depth else 0
        count = min(count, self.left)
        self.left -= count
        return [make(depth - 1) for _ in range(count)]

    def call(self, depth: int) -> Plan:
        """A call: what it passes, what its body does, what it gives and how the caller takes it."""
        return {
            "passes": self.several(self.value, depth, 3),
            "calls": self.several(self.call, depth, 2),
            "gives": self.several(self.value, depth, 3),
            "streams": self.choose.random() < 0.3,
            "caller": self.choose.choice(CALLERS),
            **self.life(),
        }

    def value(self, depth: int) -> Plan:
        """A value with a life: how it ends, what is in it and what its receiver does with it."""
        return {
            "kind": self.choose.choice(KINDS),
            "use": self.choose.choice(USES),
            "holds": self.several(self.value, depth, 2),
            "calls": self.several(self.call, depth, 1),
            **self.life(),
        }

    def life(self) -> Plan:
        """How long something lives, how large it is and what becomes of it."""
        return {
            "end": self.choose.choice(ENDS),
            "steps": self.choose.choice((0, 1, 2, 5, 20)),
            "count": self.choose.choice((0, 1, 3, 10, 60)),
            "size": self.choose.choice(SIZES),
            "chunk": self.choose.choice(CHUNKS),
        }


class Tree:
    """What both parties share while a tree stands."""

    def __init__(self) -> None:
        self.felled = anyio.Event()
        self.scopes: set[anyio.CancelScope] = set()
        # Any: handles, calls and channels of every kind.
        self.held: list[Any] = []
        self.listening: list[Channel[Any, Any]] = []
        self.wrong: list[BaseException] = []
        self.endings: list[list[str]] = []
        self.seen: set[str] = set()

    def watch(self, closing: Any, plan: Plan) -> None:
        """Note how often ``on_close`` runs of something: a context, a call or a handle."""
        ending = [type(closing).__name__, str({**plan, "calls": 0, "holds": 0, "passes": 0, "gives": 0})]
        self.endings.append(ending)
        closing.on_close(lambda: ending.append("closed"))

    @property
    def odd_endings(self) -> list[list[str]]:
        """Whose ``on_close`` has not run once."""
        return [ending for ending in self.endings if ending.count("closed") != 1]

    def fell(self) -> None:
        """Let everything end that still waits, and forget what is held."""
        self.felled.set()
        for scope in tuple(self.scopes):
            scope.cancel()
        for channel in self.listening:
            channel.abort("felled")
        self.listening.clear()
        self.held.clear()

    # Any: works of every kind.
    async def run(self, work: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Do a part of the tree. What trees do to themselves is fine, everything else is noted."""
        if self.felled.is_set():
            return
        with anyio.CancelScope() as scope:
            self.scopes.add(scope)
            try:
                await work(*args)
            except (TelewireError, anyio.EndOfStream, Trouble):
                pass
            except Exception as error:
                self.wrong.append(error)
            finally:
                self.scopes.discard(scope)


class Party:
    """One side: what it serves, what it makes for the other, and what it does with what it gets."""

    def __init__(self) -> None:
        self.tree = Tree()
        # Any: no provider.
        self.service: Service[Any] = Service()
        self.service.function(self.node)
        self.service.function(self.feed)
        # Where no call is served it calls here.
        self.remote: Remote | None = None

    @property
    def other(self) -> Remote:
        try:
            return get_context().remote
        except RuntimeError:
            assert self.remote is not None
            return self.remote

    # --- calling ---------------------------------------------------------------------------------

    async def call(self, plan: Plan) -> None:
        """Make the call of a plan, and end it as the plan says."""
        tree = self.tree
        caller = plan["caller"]
        # Any: as below.
        function: Callable[..., Call[Any]] = self.other.feed if plan["streams"] else self.other.node
        if caller == "has no time":
            function = with_options(function, timeout=(1 + plan["steps"]) / 2000)
        # Any: what it gives, the plan says.
        call: Call[Any] = self.start(function, plan)
        tree.watch(call, plan)
        match caller:
            case "enters":
                async with call as result:
                    await self.take(plan, result)
            case "iterates" if plan["streams"]:
                left = plan["steps"]
                async for item in call:
                    await self.take(plan, item)
                    left -= 1
                    if left < 0:
                        break
            case "cancels":
                await steps(plan)
                call.cancel("enough")
                await call
            case "drops":
                del call
            case "holds":
                tree.held.append(call)
            case _:
                await self.take(plan, await call)

    # Any: functions and calls of every type.
    def start(self, function: Callable[..., Any], plan: Plan) -> Any:
        """Call a function of the other side, or one that has come home."""
        gifts = self.make_all(plan["passes"])
        try:
            return function(plan, gifts)
        except BaseException:
            keep(gifts)
            raise

    # Any: a result, an item or a reply of whatever was planned.
    async def take(self, plan: Plan, value: Any) -> None:
        """Use everything that stands in what has come."""
        if isinstance(value, RemoteIterator):
            async for item in value:
                await self.take(plan, item)
        elif isinstance(value, list):
            await self.use_all(value)
        elif isinstance(value, dict):
            await self.use(value)

    async def use_all(self, gifts: list[Plan], calls: Sequence[Plan] = ()) -> None:
        """Use values side by side, and make calls; this holds none of the values."""
        async with anyio.create_task_group() as group:
            while gifts:
                group.start_soon(self.use, gifts.pop())
            for each in calls:
                group.start_soon(self.tree.run, self.call, each)

    # --- serving ---------------------------------------------------------------------------------

    async def node(self, plan: Plan, gifts: list[Plan]) -> list[Plan]:
        """Served: use the arguments, call on, and give what was planned."""
        self.tree.watch(get_context(), plan)
        return await self.callback(plan, gifts)

    async def feed(self, plan: Plan, gifts: list[Plan]) -> AsyncIterator[object]:
        """The same as a generator."""
        self.tree.watch(get_context(), plan)
        for value in plan["gives"]:
            yield self.make(value)
        await self.use_all(gifts, plan["calls"])
        for _ in range(plan["count"]):
            yield bytes(plan["size"])
        await self.end(plan)
        raise Return(plan["count"])

    async def callback(self, plan: Plan, gifts: list[Plan]) -> list[Plan]:
        """The same as a function that is passed."""
        await self.use_all(gifts, plan["calls"])
        await self.end(plan)
        return self.make_all(plan["gives"])

    async def end(self, plan: Plan) -> None:
        """Come to the end of something that lives."""
        await steps(plan)
        match plan["end"]:
            case "refuses":
                raise Abort({"refused": plan["steps"]})
            case "breaks":
                raise Trouble
            case "hangs":
                await self.tree.felled.wait()

    # --- making values ---------------------------------------------------------------------------

    def make_all(self, plans: list[Plan]) -> list[Plan]:
        return [self.make(plan) for plan in plans]

    def make(self, plan: Plan) -> Plan:
        """A value as it crosses: the thing, and its plan for who receives it."""
        self.tree.seen.add(plan["kind"])
        makers: dict[str, Callable[[Plan], object]] = {
            "promise": self.promise,
            "items": self.items,
            "steps": self.sync_items,
            "bytes": lambda plan: ByteStream(self.chunks(plan)),
            "function": self.function,
            "channel": self.channel,
        }
        return {"plan": plan, "it": makers[plan["kind"]](plan)}

    async def promise(self, plan: Plan) -> object:
        await self.end(plan)
        return self.make_all(plan["holds"]) or bytes(plan["size"])

    async def items(self, plan: Plan) -> AsyncIterator[object]:
        for value in plan["holds"]:
            yield self.make(value)
        for _ in range(plan["count"]):
            yield bytes(plan["size"])
        await self.end(plan)

    def sync_items(self, plan: Plan) -> Iterator[object]:
        for value in plan["holds"]:
            yield self.make(value)
        for _ in range(plan["count"]):
            yield bytes(plan["size"])
        if plan["end"] == "breaks":
            raise Trouble

    async def chunks(self, plan: Plan) -> AsyncIterator[bytes]:
        for _ in range(plan["count"]):
            yield bytes(plan["chunk"])
        await self.end(plan)

    def function(self, plan: Plan) -> object:
        """Of two plans one passes the same function each time."""
        return self.callback if plan["count"] % 2 else functools.partial(self.callback)

    def channel(self, plan: Plan) -> Channel[object, object]:
        channel = Channel[object, object]()
        self.listen(channel, plan)
        for _ in range(0 if channel.closed else plan["steps"]):
            channel.send_nowait(bytes(300))
        return channel.peer

    def listen(self, channel: Channel[object, object], plan: Plan) -> None:
        """Answer on a channel until it comes to its planned end."""
        left = plan["count"]

        async def handle(message: object) -> object:
            nonlocal left
            left -= 1
            await self.take(plan, message)
            if left > 0:
                await channel.send(bytes(plan["size"]))
            elif plan["end"] == "refuses":
                channel.abort("refused")
            else:
                await self.end(plan)
            return plan["end"]

        channel.listen(handle)
        self.tree.watch(channel, plan)
        if self.tree.felled.is_set():
            # Who was to receive it may be gone.
            channel.abort("felled")
        self.tree.listening.append(channel)

    # --- using what comes ------------------------------------------------------------------------

    async def use(self, gift: Plan) -> None:
        """Do with a value as its plan says."""
        await self.tree.run(self.use_now, gift)

    async def use_now(self, gift: Plan) -> None:
        plan, handle = gift["plan"], gift.pop("it")
        use = plan["use"]
        if plan["kind"] in ("promise", "function") and not isinstance(handle, RemotePromise | RemoteFunction):
            # It has come home.
            await (handle(LEAF, []) if callable(handle) else handle)
            return
        self.tree.watch(handle, plan)
        match use:
            case "drops":
                await steps(plan)
                del handle
            case "closes":
                await steps(plan)
                await handle.aclose()
            case "holds" if isinstance(handle, Channel):
                self.listen(handle, plan)
            case "holds":
                self.tree.held.append(handle)
            # A value that comes home is in two hands, and only one may use what is in it.
            case "passes on" if plan["kind"] != "channel" and not plan["holds"]:
                gift = {"plan": {**plan, "use": "takes all"}, "it": handle}
                del handle
                await self.other.node(LEAF, [gift])
            case "is cancelled":
                async with anyio.create_task_group() as group:
                    group.start_soon(self.tree.run, self.consume, plan, handle, math.inf)
                    await steps(plan)
                    group.cancel_scope.cancel()
            case _:
                await self.consume(plan, handle, 2 if use == "takes some" else math.inf)

    # Any: handles of every kind.
    async def consume(self, plan: Plan, handle: Any, most: float) -> None:
        match plan["kind"]:
            case "promise":
                await self.take(plan, await handle)
            case "items" | "steps":
                async for item in handle:
                    await self.take(plan, item)
                    most -= 1
                    if most < 0:
                        break
            case "bytes":
                while most > 0:
                    await handle.receive(max(1, plan["size"]))
                    most -= 1
            case "function":
                if most < math.inf:
                    # Its call is in flight when it is released.
                    handle(LEAF, [])
                    return
                for child in [LEAF, *plan["calls"]]:
                    await self.take(plan, await self.start(handle, child))
            case _:
                await self.converse(plan, handle, most)

    async def converse(self, plan: Plan, channel: Channel[object, object], most: float) -> None:
        for value in plan["holds"]:
            gift = self.make(value)
            try:
                await channel.send(gift)
            except BaseException:
                keep([gift])
                raise
        for number in range(plan["count"]):
            if number % 3:
                await channel.send(bytes(plan["size"]))
            else:
                await channel.request(number)
        while most > 0 and most != plan["count"]:
            await channel.receive()
            most = min(most, plan["steps"]) - 1
        if plan["steps"] % 2:
            await channel.aclose()
        elif plan["count"] % 2:
            channel.abort("done")


LEAF: Final[Plan] = {
    "passes": [],
    "calls": [],
    "gives": [],
    "streams": False,
    "caller": "awaits",
    "end": "returns",
    "steps": 1,
    "count": 0,
    "size": 1,
    "chunk": 1,
}


def keep(gifts: list[Plan]) -> None:
    """What was refused at once is still ours."""
    for gift in gifts:
        if isinstance(gift["it"], Coroutine):
            gift["it"].close()


async def steps(plan: Plan) -> None:
    """Let others go on for a while."""
    for _ in range(plan["steps"]):
        await anyio.lowlevel.checkpoint()
