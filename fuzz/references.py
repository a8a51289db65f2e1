"""Functions and promises against a shadow graph: who owns what, what has ended, and what is still there.

The shadow knows nothing of frames. It is a graph of calls and of what they own, with the facts that are
said about each; whatever order these arrive in, both sides must come to what the facts amount to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, final

from fuzz.choices import Choices
from telewire.core.connection import Connection, Declare
from telewire.core.events import (
    CallOver,
    CallReceived,
    CallRejected,
    CallResolved,
    CallStopped,
    ConnectionClosed,
    Event,
)
from telewire.core.streams import Call, Stream
from telewire.errors import ErrorCode
from telewire.testing.pair import Pair
from telewire.wire.frames import Kind
from tests.core.dialogue import assert_empty

__all__ = ["target"]

MOST: Final = 12
"""Calls that are open at a time."""


@final
@dataclass(eq=False)
class Thing:
    """A function or promise that crossed once: its owner, the handles of both sides, the facts."""

    kind: Kind
    declarer: int
    owner: Shadow
    function: int | None
    handles: list[Stream | None] = field(default_factory=lambda: [None, None])
    ended_by: set[int] = field(default_factory=set)

    @property
    def ended(self) -> bool:
        """Whether a side has ended it."""
        return bool(self.ended_by)

    def usable(self, side: int) -> bool:
        """Whether a side has a handle, has not ended it, and does not know that it has ended."""
        handle = self.handles[side]
        return handle is not None and not handle.retired and side not in self.ended_by

    @property
    def dead(self) -> bool:
        """Whether it has ended by itself, or with its owner."""
        return self.ended or self.owner.over


@final
@dataclass(eq=False)
class Shadow:
    """A call: who made it, what it owns, and what was said about it."""

    caller: int
    target: Thing | None
    name: bytes
    handles: list[Call | None] = field(default_factory=lambda: [None, None])
    owned: list[Thing] = field(default_factory=list)
    received: bool = False
    answered: bool = False
    failed: bool = False
    closed: bool = False
    finished: bool = False

    @property
    def over(self) -> bool:
        """TW-MOD-051 to TW-MOD-053, from the facts."""
        if not self.answered:
            return False
        return self.failed or self.closed or all(each.ended for each in self.owned)


@final
class Graph:
    """Two machines, and the shadow of what they share."""

    def __init__(self, data: bytes) -> None:
        self.choices = Choices(data)
        self.pair = Pair()
        self.sides: tuple[Connection, Connection] = (self.pair.client, self.pair.server)
        self.calls: list[Shadow] = []
        self.things: list[Thing] = []
        self.by_name: dict[bytes, Shadow] = {}
        self.results: dict[tuple[Shadow, bytes], list[Thing]] = {}
        self.known: list[dict[Call, Shadow]] = [{}, {}]

    # --- what the two applications do ------------------------------------------------------------

    def step(self) -> None:
        """One side does something, or the link carries what there is."""
        choice = self.choices.byte()
        side = choice & 1
        action = choice >> 1
        if action < 30:
            self.call(side)
        elif action < 60:
            self.answer(side)
        elif action < 80:
            self.end(side)
        elif action < 90:
            self.stop(side)
        elif action < 110:
            queue, receiver = (self.pair.to_server, 1) if side == 0 else (self.pair.to_client, 0)
            self.pair.pull()
            if queue:
                self.sides[receiver].receive_data(queue.pop(0), self.pair.now)
        else:
            self.settle()
            self.check()
        self.take()

    def pass_on(self, side: int, owner: Shadow) -> tuple[list[Declare], list[Thing]]:
        """Choose what crosses: the same function may cross again and again."""
        declare: list[Declare] = []
        things = []
        for _ in range(self.choices.below(4)):
            kind = Kind.FUNCTION if self.choices.below(3) else Kind.PROMISE
            function = self.choices.below(4) if kind is Kind.FUNCTION else None
            declare.append((kind, function))
            things.append(Thing(kind, side, owner, function))
        return declare, things

    def call(self, side: int) -> None:
        """Call a name, or a function that this side holds."""
        if sum(not each.over for each in self.calls) >= MOST:
            return
        held = [
            each
            for each in self.things
            if each.kind is Kind.FUNCTION and each.declarer != side and each.usable(side)
        ]
        target = self.choices.one(held) if held and self.choices.below(2) else None
        name = len(self.calls).to_bytes(4, "big")
        shadow = Shadow(side, target, name)
        declare, things = self.pass_on(side, shadow)
        handle = target.handles[side] if target is not None else None
        made = self.sides[side].call(handle or "f", name, declare)
        shadow.handles[side] = made
        self.calls.append(shadow)
        self.by_name[name] = shadow
        self.known[side][made] = shadow
        self.adopt(side, shadow, things, made.declared)

    def adopt(self, side: int, owner: Shadow, things: list[Thing], handles: Sequence[Stream]) -> None:
        """Enter what one side has declared."""
        for thing, handle in zip(things, handles, strict=True):
            thing.handles[side] = handle
            owner.owned.append(thing)
            self.things.append(thing)

    def answer(self, side: int) -> None:
        """Answer a call of the other side's."""
        waiting = [
            each
            for each in self.calls
            if each.caller != side and each.received and not each.answered and not each.finished
        ]
        if not waiting:
            return
        shadow = self.choices.one(waiting)
        handle = shadow.handles[side]
        assert handle is not None
        if self.choices.below(4):
            declare, things = self.pass_on(side, shadow)
            token = len(self.results).to_bytes(4, "big")
            self.results[shadow, token] = things
            self.adopt(side, shadow, things, self.sides[side].resolve(handle, token, declare))
        else:
            self.sides[side].reject(handle, ErrorCode.ABORTED)
            shadow.failed = True
        shadow.answered = True
        self.finish(side, shadow)

    def finish(self, side: int, shadow: Shadow) -> None:
        """Say that the body has ended."""
        handle = shadow.handles[side]
        if not shadow.finished and handle is not None:
            shadow.finished = True
            self.sides[side].finish(handle)

    def end(self, side: int) -> None:
        """Release or revoke a function, settle or stop a promise."""
        things = [each for each in self.things if each.usable(side)]
        if not things:
            return
        thing = self.choices.one(things)
        handle = thing.handles[side]
        assert handle is not None
        connection = self.sides[side]
        if thing.declarer != side:
            connection.stop(handle)
        elif thing.kind is Kind.FUNCTION or self.choices.below(2):
            connection.reset(handle)
        else:
            connection.resolve(handle, b"\xf6")
        thing.ended_by.add(side)

    def stop(self, side: int) -> None:
        """Cancel a call of this side's, or close it once it is answered."""
        mine = [each for each in self.calls if each.caller == side and not each.over and not each.closed]
        if mine:
            shadow = self.choices.one(mine)
            handle = shadow.handles[side]
            assert handle is not None
            if not handle.over:
                shadow.closed = True
                self.sides[side].stop(handle, ErrorCode.CANCELLED)

    # --- what the two applications learn ---------------------------------------------------------

    def take(self) -> int:
        """Follow the events of both sides; returns how many there were."""
        taken = self.pair.take()
        for side, events in enumerate(taken):
            for event in events:
                self.learn(side, event)
        return sum(map(len, taken))

    def settle(self) -> None:
        """Carry all there is, and what the applications say to that."""
        self.pair.deliver()
        while self.take():
            self.pair.deliver()

    def learn(self, side: int, event: Event) -> None:
        """Match a handle with its shadow by what its payload says."""
        assert not isinstance(event, ConnectionClosed), event
        if isinstance(event, CallReceived):
            shadow = self.by_name[event.payload]
            shadow.handles[side] = event.call
            shadow.received = True
            self.known[side][event.call] = shadow
            expected = shadow.target.handles[side] if shadow.target is not None else "f"
            assert event.target == expected, "a call has reached another function"
            mine = [each for each in shadow.owned if each.declarer == shadow.caller]
            self.match(side, mine[: len(event.declared)], event.declared)
        elif isinstance(event, CallStopped):
            shadow = self.known[side][event.call]
            if not shadow.answered:
                self.sides[side].reject(event.call, ErrorCode.STOPPED)
                shadow.answered = shadow.failed = True
                self.finish(side, shadow)
        elif isinstance(event, CallResolved):
            shadow = self.known[side][event.call]
            assert shadow.answered
            # What a call that was given up brings ends with it, unseen (TW-MOD-055).
            if event.declared or not shadow.closed:
                self.match(side, self.results[shadow, event.payload], event.declared)
        elif isinstance(event, CallRejected):
            shadow = self.known[side][event.call]
            if not shadow.answered:
                # Without a function: it was gone when the call came, or the call had not left.
                assert shadow.closed or event.code == ErrorCode.REFERENCE_RELEASED, event
                assert shadow.closed or (shadow.target is not None and shadow.target.dead)
                shadow.answered = shadow.failed = True
        elif isinstance(event, CallOver):
            other = self.known[side].get(event.call)
            if other is not None and other.caller != side:
                self.finish(side, other)

    def match(self, side: int, things: list[Thing], handles: tuple[Stream, ...]) -> None:
        """Enter the handles that the other side was given, in the order of the declarations."""
        assert [(each.kind, each.function) for each in things] == [
            (each.kind, each.function) for each in handles
        ]
        for thing, handle in zip(things, handles, strict=True):
            thing.handles[side] = handle

    # --- what must hold --------------------------------------------------------------------------

    def check(self) -> None:
        """Where nothing is on its way, both sides know exactly what the facts amount to."""
        for thing in self.things:
            for side, handle in enumerate(thing.handles):
                if handle is not None:
                    assert handle.retired is thing.dead, f"side {side}: {thing.kind.name} {handle}"
        for shadow in self.calls:
            for side, call in enumerate(shadow.handles):
                if call is not None:
                    assert call.over is shadow.over, f"side {side}: {call}"

    def run(self) -> None:
        """Follow the data; check; then end everything, after which nothing may be left."""
        while self.choices.left:
            self.step()
        self.settle()
        self.check()
        for _ in range(20):
            for side, connection in enumerate(self.sides):
                for shadow in self.calls:
                    call = shadow.handles[side]
                    if call is None or call.over:
                        continue
                    if shadow.caller == side:
                        shadow.closed = True
                        connection.stop(call)
            self.settle()
        self.check()
        for connection in self.sides:
            assert_empty(connection)


def target(data: bytes) -> None:
    """Let references cross as ``data`` says, with the shadow beside them."""
    Graph(data).run()
