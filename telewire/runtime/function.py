"""Functions across: one side passes a function, the other gets a handle that calls it.

Each passing opens a stream that the call owns in which it crosses. It carries the exporter's number
of the function, so handles of one function are equal and hash equal, and nothing is counted. The
function stays alive here as long as one of its streams is open.
"""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, Self, TypeVar, final

# A module that imports this one; what it has is looked up when it is needed.
import telewire.runtime.remote as remote
from telewire.core.streams import Stream
from telewire.errors import ErrorCode, ReferenceReleased
from telewire.runtime.call import Call
from telewire.runtime.context import CloseCallbacks, Context, OnClose
from telewire.runtime.driver import StreamEnd
from telewire.runtime.failures import close_reason
from telewire.runtime.incoming import IncomingCall
from telewire.runtime.service import Function
from telewire.runtime.shapes import Converter, Convertible
from telewire.runtime.signatures import Signature
from telewire.runtime.sources import Owner, Source, home_of
from telewire.wire.frames import Kind

if TYPE_CHECKING:
    from telewire.core.events import CallReceived
    from telewire.runtime.driver import Driver

__all__ = ["ExportedFunction", "FunctionSource", "RemoteFunction", "is_function", "open_function"]

P = ParamSpec("P")
R = TypeVar("R")

FUNCTIONS = (
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.MethodWrapperType,
    functools.partial,
)


def is_function(obj: object) -> bool:
    """Whether ``obj`` is sent as a function: a function, method, lambda, builtin or partial."""
    return isinstance(obj, (*FUNCTIONS, RemoteFunction))


@final
class FunctionSource(Source):
    """A function of ours on its way."""

    kind = Kind.FUNCTION
    repeatable = True
    __slots__ = ("_driver", "_function", "details", "number")

    # Any: functions of every type are passed.
    def __init__(self, driver: Driver, function: Callable[..., Any]) -> None:
        self._driver = driver
        self._function = function
        self.number: int | None = driver.exports.number_of(function)
        self.details: Mapping[str, object] | None = None
        if isinstance(function, RemoteFunction):
            self.details = home_of(driver, function._state.driver, function._state.stream)

    def start(self, owner: Owner, stream: Stream, place: str) -> None:
        """Let it be called."""
        assert self.number is not None
        self._driver.exports.add(self.number, stream)
        stream.app = ExportedFunction(owner, stream, self._function, self.number)

    def discard(self) -> None:
        """Free its number again."""
        assert self.number is not None
        self._driver.exports.remove(self.number, None)


@final
class ExportedFunction(StreamEnd):
    """One passing of a function of ours: calls on it run in the context of the call that passed it."""

    # Any: functions of every type are passed.
    def __init__(self, owner: Owner, stream: Stream, function: Callable[..., Any], number: int) -> None:
        self.owner = owner
        self._serving = FunctionServing(owner)
        self._holder = owner.holder
        self._stream = stream
        self._number = number
        self.function = function
        self._served: Function | None = None

    @property
    def served(self) -> Function:
        """The function with its signature, which is read when it is first called."""
        if self._served is None:
            function = self.function
            name = getattr(function, "__name__", type(function).__name__)
            if isinstance(function, RemoteFunction):
                function = _relay(function)
            self._served = Function(name, function, Signature(function, name))
        return self._served

    def called(self, driver: Driver, event: CallReceived) -> None:
        """The other side calls it."""
        IncomingCall(driver, self._serving, self.served, event, self._holder)

    def stopped(self, code: int, payload: bytes) -> None:
        """The other side has released it, or its call is over."""
        self.owner.driver.exports.remove(self._number, self._stream)
        # They refer to each other; a handle that was passed on is dropped with its function, and at once.
        self._stream.app = None


# Any: functions of every type are relayed.
def _relay(function: RemoteFunction[..., Any]) -> Callable[..., Any]:
    """What calls a function of another connection, or of this one, for who cannot reach it there."""

    async def relay(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return relay


@final
class FunctionServing:
    """What surrounds a call of a passed function: no provider, and the hook of the call that passed it."""

    provider = None
    middlewares = ()
    __slots__ = ("_owner",)

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    # Any: contexts of every provider.
    def report(self, error: Exception, context: Context[Any]) -> None:
        """Give a bug to the service's hook."""
        self._owner.report(error)


@final
class FunctionState(StreamEnd):
    """A function of the other side; stays with the stream."""

    converter: Converter | None = None

    def __init__(self, driver: Driver, stream: Stream) -> None:
        self.driver = driver
        self.stream = stream
        self.callbacks = CloseCallbacks(driver.backend, "a function", driver.running)

    def reset(self, code: int, payload: bytes) -> None:
        """It is revoked: the call that it came with is over."""
        self.callbacks.close(close_reason(code, payload, self.driver.connection))

    def dropped(self) -> None:
        """The handle is gone, so no call on it follows."""
        self.callbacks.close(None)

    def release(self) -> None:
        """No call on it follows."""
        self.driver.backend.check_thread("The release of a function")
        if not self.stream.retired:
            self.driver.connection.release(self.stream)
            self.driver.dispatch()
            self.driver.schedule()
        self.callbacks.close(None)


class RemoteFunction(Convertible, Generic[P, R]):
    """A function of the other side: calling it starts the call at once; awaiting is optional.

    Handles of the same function are equal. It can be called until it is released (``aclose``, ``async
    with``, or by dropping the last reference), or until the call that it came with is over; then
    calling it raises ReferenceReleased.
    """

    kind: ClassVar[str] = "function"
    __slots__ = ("__weakref__", "_state")

    def __init__(self, state: FunctionState) -> None:
        self._state = state

    def __repr__(self) -> str:
        return f"<RemoteFunction, {'released' if self.closed else 'open'}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Start a call.

        Raises:
            ReferenceReleased: the function is released or revoked.
            InvalidArgument: an argument cannot travel.
            NetworkError: the connection is lost.
            ResourceExhausted: too many calls are waiting, or the arguments are too large.
        """
        state = self._state
        if state.stream.retired or state.callbacks.closed:
            raise ReferenceReleased(
                "This function was released, or the call that it came with is over; get it again to call it."
            )
        return remote.start_call(state.driver, state.stream, args, kwargs, result=state.converter)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RemoteFunction):
            return NotImplemented
        ours, theirs = self._state, other._state
        return ours.driver is theirs.driver and ours.stream.function == theirs.stream.function

    def __hash__(self) -> int:
        return hash((id(self._state.driver), self._state.stream.function))

    @property
    def closed(self) -> bool:
        """Whether it can be called no more."""
        return self._state.stream.retired or self._state.callbacks.closed

    def on_close(self, callback: OnClose) -> None:
        """Run ``callback`` once it can be called no more; as ``Context.on_close``."""
        self._state.callbacks.add(callback)

    async def aclose(self) -> None:
        """Release it; calls already started go on."""
        self._state.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self._state.release()

    def set_item_converter(self, converter: Converter) -> None:
        """Convert results to an annotation; telewire calls this before you get the handle."""
        self._state.converter = None if converter.identity else converter

    def __del__(self) -> None:
        state = self._state
        if not state.stream.retired:
            # At interpreter exit the loop may be gone already.
            with contextlib.suppress(RuntimeError):
                state.driver.finalise(state.stream)


def open_function(driver: Driver, stream: Stream) -> RemoteFunction[..., Any]:
    """Make the handle of a function. Any: what it takes and gives only an annotation can say."""
    state = FunctionState(driver, stream)
    stream.app = state
    return RemoteFunction(state)


def revoke(driver: Driver, function: object) -> bool:
    """Take back a function of ours wherever it was passed on a connection; false where it is not out."""
    streams = driver.exports.streams_of(function)
    for stream in streams:
        driver.connection.reset(stream, ErrorCode.NONE)
        app = stream.app
        if isinstance(app, ExportedFunction):
            app.stopped(ErrorCode.NONE, b"")
    if streams:
        driver.dispatch()
        driver.schedule()
    return bool(streams)
