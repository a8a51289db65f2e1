"""Leaks: user code that fails with a secret wherever telewire runs it, and who looks for it there."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import annotated_types
import anyio
import anyio.lowlevel
import msgspec
import pydantic

import telewire
from telewire import Abort, ByteStream, Channel, Remote, Request, Service, get_context
from tests.runtime.world import drained

__all__ = ["FAILURES", "PLACES", "Holder", "Looker"]


# --- what goes wrong -----------------------------------------------------------------------------


def in_locals(secret: str) -> Exception:
    """The secret stands in a local only, and in the source line of the traceback."""
    password = secret
    try:
        assert not password
    except AssertionError as error:
        return error
    raise AssertionError("unreachable")


def in_cause(secret: str) -> Exception:
    """What it was raised from."""
    error = RuntimeError("wrapped")
    error.__cause__ = KeyError(secret)
    return error


def in_context(secret: str) -> Exception:
    """What was being handled."""
    error = RuntimeError("beside")
    error.__context__ = OSError(2, "No such file", secret)
    return error


def in_note(secret: str) -> Exception:
    """A note on it."""
    error = ValueError("noted")
    error.add_note(secret)
    return error


def in_attribute(secret: str) -> Exception:
    """What it carries."""
    error = ValueError("carrying")
    error.response = {"body": secret}  # type: ignore[attr-defined]  # as HTTP clients do
    return error


def in_pydantic(secret: str) -> Exception:
    """A validator's message, which shows the input."""
    try:
        pydantic.TypeAdapter(int).validate_python(secret)
    except pydantic.ValidationError as error:
        return error
    raise AssertionError("unreachable")


def in_msgspec(secret: str) -> Exception:
    """The same of another library."""
    try:
        msgspec.convert({"a": secret}, dict[str, Annotated[str, msgspec.Meta(pattern="^$")]])
    except msgspec.ValidationError as error:
        return type(error)(f"{error}: {secret}")
    raise AssertionError("unreachable")


FAILURES: dict[str, Callable[[str], Exception]] = {
    "text": ValueError,
    "arguments": lambda secret: ValueError("no", {"key": secret}),
    "key": KeyError,
    "file": lambda secret: FileNotFoundError(2, "No such file", secret),
    "locals": in_locals,
    "cause": in_cause,
    "context": in_context,
    "note": in_note,
    "attribute": in_attribute,
    "name": lambda secret: type(f"E{secret}", (Exception,), {})(),
    "group": lambda secret: ExceptionGroup(secret, [ValueError(secret)]),
    "decoding": lambda secret: UnicodeDecodeError("utf-8", secret.encode(), 0, 1, secret),
    "pydantic": in_pydantic,
    "msgspec": in_msgspec,
    "abort_that_cannot_travel": lambda secret: Abort({secret: type(f"T{secret}", (), {})()}),
    "remote_error": lambda secret: telewire.RemoteError(secret),
    "invalid_argument": lambda secret: telewire.InvalidArgument(secret),
    "not_found": lambda secret: telewire.FunctionNotFound(secret),
    "exhausted": lambda secret: telewire.ResourceExhausted(secret),
    "cancelled": lambda secret: telewire.CallCancelled(telewire.CancelOutcome.STOPPED, secret),
    "lost": lambda secret: telewire.SessionLost(message=secret),
    "unsuitable": lambda secret: telewire.TransportUnsuitable((secret,), secret),
    "protocol": lambda secret: telewire.LocalProtocolError(secret),
    "timeout": TimeoutError,
    "stop": lambda secret: RuntimeError(StopAsyncIteration(secret)),
}


def unencodable(secret: str) -> object:
    """A value that cannot cross, of a type that is named after the secret."""
    return {"key": type(f"T{secret}", (), {"__repr__": lambda self: secret})()}


# What validators of annotations say; they are made once, so the secret of the moment stands here.
WHAT_VALIDATORS_SAY = [""]


class Checked(pydantic.BaseModel):
    """Its validator puts the secret into its message."""

    word: str

    @pydantic.field_validator("word")
    @classmethod
    def check(cls, word: str) -> str:
        """Refuse everything."""
        raise ValueError(f"{WHAT_VALIDATORS_SAY[0]} {word}")


def refuse(word: str) -> bool:
    """A predicate that fails instead of saying no."""
    raise KeyError(WHAT_VALIDATORS_SAY[0])


def complain(word: str) -> bool:
    """A predicate that says no by the error of validators."""
    raise ValueError(WHAT_VALIDATORS_SAY[0])


Constrained = Annotated[str, annotated_types.Predicate(refuse)]
Complained = Annotated[str, annotated_types.Predicate(complain)]


@dataclass
class Ruled:
    """A record with rules of its own."""

    word: str

    def __post_init__(self) -> None:
        """Refuse everything."""
        raise ValueError(f"{WHAT_VALIDATORS_SAY[0]} {self.word}")


async def later(value: object) -> object:
    """A promise of a value."""
    await anyio.lowlevel.checkpoint()
    return value


# --- where it goes wrong -------------------------------------------------------------------------


@dataclass
class Holder:
    """The side that has the secret. Its code fails everywhere, with one of ``failures`` after the other."""

    secret: str
    failures: Iterator[str]
    service: Service[Any] = field(init=False)

    def __post_init__(self) -> None:
        WHAT_VALIDATORS_SAY[0] = self.secret
        self.service = Service(context=self.provide, on_error=self.on_error)
        self.service.middleware(self.surround)
        for name in PLACES:
            self.service.add(getattr(self, name))
        self.service.add(self.hand_over)

    def fail(self, *_: object) -> Any:
        """Raise it."""
        password = self.secret
        raise FAILURES[next(self.failures)](password)

    # Around every call.

    async def provide(self, request: Request) -> str:
        """The provider; it fails where the name of a call asks for it."""
        return self.secret

    async def surround(self, context: object, proceed: Callable[[], Awaitable[object]]) -> object:
        """The middleware: it fails after the function, where metadata asks for that."""
        result = await proceed()
        if get_context().metadata.get("fail") == "middleware":
            self.fail()
        return result

    def on_error(self, error: Exception, context: object) -> None:
        """A hook that fails as well."""
        self.fail()

    # Places: functions, and what is in their results.

    async def body(self) -> None:
        self.fail()

    def thread(self) -> None:
        self.fail()

    async def middleware(self) -> None:
        """The middleware fails behind it."""

    async def result(self) -> object:
        return unencodable(self.secret)

    async def misfit(self) -> int:
        return self.secret  # type: ignore[return-value]  # the bug

    async def items(self) -> AsyncIterator[int]:
        yield 1
        self.fail()

    async def bad_item(self) -> AsyncIterator[object]:
        yield 1
        yield unencodable(self.secret)

    async def misfit_item(self) -> AsyncIterator[int]:
        yield 1
        yield self.secret  # type: ignore[misc]  # the bug

    async def last_value(self) -> AsyncIterator[int]:
        yield 1
        raise telewire.Return(unencodable(self.secret))

    async def cleanup(self) -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            self.fail()

    def rows(self) -> Iterator[int]:
        yield 1
        self.fail()

    async def promises(self) -> dict[str, object]:
        return {"good": later(1), "bad": self.promise(), "odd": later(unencodable(self.secret))}

    async def promise(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.fail()

    async def functions(self) -> list[object]:
        return [self.fail, functools.partial(unencodable, self.secret), self.promise]

    async def chunks(self) -> ByteStream:
        return ByteStream(self.bad_chunks(), name="data", size=100)

    async def bad_chunks(self) -> AsyncIterator[bytes]:
        yield b"x"
        self.fail()

    async def thread_chunks(self) -> ByteStream:
        return ByteStream(self.bad_rows(), name="data")

    def bad_rows(self) -> Iterator[bytes]:
        yield b"x"
        self.fail()

    async def channels(self) -> list[object]:
        asked: Channel[object, object] = Channel()
        asked.listen(self.fail)
        odd: Channel[object, object] = Channel()
        odd.listen(lambda _: unencodable(self.secret))
        return [asked.peer, odd.peer]

    async def closing(self) -> None:
        get_context().on_close(self.fail)
        get_context().on_close(self.promise)

    async def background(self) -> None:
        get_context().start_soon(self.promise)
        await anyio.lowlevel.checkpoint()

    async def checked(self, word: Checked) -> None:
        """Never reached: the validator fails."""

    async def constrained(self, word: Constrained) -> None:
        """Never reached: the predicate fails."""

    async def complained(self, word: Complained) -> None:
        """The same."""

    async def ruled(self, word: Ruled) -> None:
        """Never reached: the record refuses itself."""

    async def hand_over(self) -> None:
        """Pass everything that fails as arguments, to a function of the other side."""
        channel: Channel[object, object] = Channel()
        channel.listen(self.fail)
        call = get_context().remote.take(
            items=self.items(),
            rows=self.rows(),
            bad=self.bad_item(),
            end=self.last_value(),
            promise=self.promise(),
            odd=later(unencodable(self.secret)),
            function=self.fail,
            value=functools.partial(unencodable, self.secret),
            chunks=ByteStream(self.bad_chunks()),
            rows_of_bytes=ByteStream(self.bad_rows()),
            channel=channel.peer,
        )
        await call
        try:
            await get_context().remote.take(unencodable(self.secret))
        except telewire.InvalidArgument:
            pass


PLACES = [
    "body",
    "thread",
    "middleware",
    "result",
    "misfit",
    "items",
    "bad_item",
    "misfit_item",
    "last_value",
    "cleanup",
    "rows",
    "promises",
    "functions",
    "chunks",
    "thread_chunks",
    "channels",
    "closing",
    "background",
    "checked",
    "constrained",
    "complained",
    "ruled",
]


# --- who looks for it ----------------------------------------------------------------------------


class Looker:
    """The other side: it goes to every place, and keeps every error that it meets."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.service: Service[Any] = Service()
        self.service.add(self.take)
        self.service.add(self.look)

    async def note(self, awaitable: Awaitable[object]) -> object:
        """Await something, and keep how it fails."""
        try:
            return await awaitable
        except Exception as error:
            self.errors.append(error)
            return None

    async def drain(self, items: Any) -> None:
        """Take all items, and keep how it ends."""
        error = (await drained(items))[1]
        if error is not None:
            self.errors.append(error)

    async def look(self) -> None:
        """Look at the places of who calls."""
        await self.visit(get_context().remote)

    # Any: whatever the other side passes.
    async def take(self, *args: Any, **passed: Any) -> None:
        """Use everything that was passed, until it fails."""
        for name in ("items", "rows", "bad", "end", "chunks", "rows_of_bytes"):
            await self.drain(passed[name])
        for name in ("promise", "odd"):
            await self.note(passed[name])
        for name in ("function", "value"):
            await self.note(passed[name]())
        await self.ask(passed["channel"])

    async def ask(self, channel: Channel[Any, Any]) -> None:
        """Request something, and send something, on a channel whose handler fails."""
        await self.note(channel.request("please"))
        await channel.send("take this")
        await channel.aclose()

    async def visit(self, remote: Remote) -> None:
        """Go to every place."""
        for name in ("items", "bad_item", "misfit_item", "last_value", "rows", "chunks", "thread_chunks"):
            await self.drain(remote[name]())
        for name in ("body", "thread", "result", "misfit", "closing", "background"):
            await self.note(remote[name]())
        await self.note(telewire.with_options(remote.middleware, headers={"fail": "middleware"})())
        for name in ("checked", "constrained", "complained", "ruled"):
            await self.note(remote[name]({"word": "open"} if name in ("checked", "ruled") else "open"))
        async for _ in remote.cleanup():
            break
        result = await remote.promises()
        for promise in result.values():
            await self.note(promise)
        async with remote.functions() as functions:
            for function in functions:
                await self.note(function())
        async with remote.channels() as channels:
            for channel in channels:
                await self.ask(channel)
        await self.note(remote.hand_over())
