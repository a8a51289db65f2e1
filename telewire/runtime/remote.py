"""Remote: the other side's functions by name, and how a call of one is started."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar, cast, final, overload

from telewire.core.states import ConnectionState
from telewire.core.streams import Stream
from telewire.errors import ErrorCode, GoingAway, LocalProtocolError, NetworkError
from telewire.runtime.call import Call, OutgoingCall
from telewire.runtime.iterator import RemoteIterator
from telewire.runtime.payloads import NO_SOURCES, encode
from telewire.runtime.service import name_of
from telewire.runtime.shapes import Converter
from telewire.runtime.signatures import Signature
from telewire.runtime.sources import declarations, start_sources
from telewire.runtime.threads import on_loop
from telewire.wire.frames import Kind
from telewire.wire.quick import encode_arguments

if TYPE_CHECKING:
    from telewire.runtime.driver import Driver
    from telewire.runtime.sources import Source
    from telewire.runtime.transport import TransportName

__all__ = ["PLAIN", "AnyFunction", "Options", "Remote", "StartCall", "start_call", "with_options"]

P = ParamSpec("P")
R = TypeVar("R")
Y = TypeVar("Y")

# Any: arguments of every type travel; what comes back only an annotation can say.
StartCall: TypeAlias = Callable[..., Call[Any]]
"""Starts a call: name, args, kwargs, options and, where it is known, signature."""


@final
class Options:
    """What :func:`with_options` sets for one call."""

    __slots__ = ("headers", "resumable", "timeout", "transport")

    def __init__(
        self,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
        transport: TransportName | None = None,
        resumable: bool = True,
    ) -> None:
        self.resumable = resumable
        self.timeout = timeout
        self.headers = headers
        self.transport = transport


PLAIN = Options()
NAMES = 1024
_KIND_NAMES = {kind: kind.name.lower() for kind in Kind}


# Any: arguments of every type travel; what comes back only an annotation can say.
def start_call(
    driver: Driver,
    target: str | Stream,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: Options = PLAIN,
    signature: Signature | None = None,
    *,
    result: Converter | None = None,
) -> Call[Any]:
    """Start a call and return its handle.

    ``target`` is a name, or a function or channel of the other side. The result is converted by
    ``signature`` or ``result``, where there is one.

    Raises:
        InvalidArgument: an argument cannot travel.
        ResourceExhausted: too many calls are waiting, or the arguments are too large.
        TransportUnsuitable: the transport cannot carry what the arguments hold.
        LocalProtocolError: the conversation is not open.
    """
    if not driver.backend.owns_current_thread():
        return on_loop(
            driver.backend,
            "A remote function",
            start_call,
            driver,
            target,
            args,
            kwargs,
            options,
            signature,
            result=result,
        )
    name = target if isinstance(target, str) else _KIND_NAMES[target.kind]
    payload = small = encode_arguments(args, kwargs)
    sources: Sequence[Source] = NO_SOURCES
    if payload is None:
        payload, sources = encode([args, kwargs], f"{name}()", driver, arguments=True)
    now = driver.backend.now()
    lifetime = None if options.timeout is None else now + options.timeout
    deadline = driver.backend.deadline()
    if signature is not None and not signature.result.identity:
        result = signature.result
    state = OutgoingCall(driver, name, result)
    state.payload = small
    try:
        call = driver.connection.call(
            target,
            payload,
            declarations(sources) if sources else (),
            # Infinite without a scope, and −inf in a cancelled one: both stand for no deadline.
            deadline=deadline,
            lifetime=lifetime,
            metadata=dict(options.headers) if options.headers else None,
            now=now,
            resumable=options.resumable,
        )
    except BaseException as error:
        for source in sources:
            source.discard()
        if isinstance(error, LocalProtocolError) and error.code == ErrorCode.GOING_AWAY:
            raise going_away(driver, name) from error
        raise
    call.app = state
    state.core = call
    if deadline < math.inf and (lifetime is None or deadline <= lifetime):
        state.ambient = deadline
    if sources:
        start_sources(state, sources, call.declared, f"{name}() argument")
    driver.schedule()
    return Call(state)


def going_away(driver: Driver, name: str) -> GoingAway:
    """Why a call on ``driver`` is refused whose other side goes away."""
    farewell = driver.farewell
    error = GoingAway(
        f"{name}() was called where the other side goes away; connect again.",
        None if farewell is None else farewell.reconnect_after,
        None if farewell is None else farewell.elsewhere,
    )
    error.retryable = True
    return error


# Any: as start_call.
def call_on(
    driver: Driver,
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: Options = PLAIN,
    signature: Signature | None = None,
) -> Call[Any]:
    """Start a call on a conversation that was open once; as :func:`start_call`.

    Raises:
        NetworkError: it has ended.
        ValueError: the call was to go another way.
    """
    if driver.connection.state is not ConnectionState.OPEN:
        raise NetworkError(f"{name}() was called after the connection had ended.")
    if options.transport is not None:
        raise ValueError(
            f"{name}() was to go over {options.transport!r}; a call of the caller's functions goes the way "
            "that the caller came."
        )
    return start_call(driver, name, args, kwargs, options, signature)


@final
class AnyFunction:
    """A function of the other side by its name; further names after dots."""

    __slots__ = ("_name", "_options", "_signature", "_start")

    def __init__(
        self, start: StartCall, name: str, options: Options = PLAIN, signature: Signature | None = None
    ) -> None:
        self._start = start
        self._name = name
        self._options = options
        self._signature = signature

    def __repr__(self) -> str:
        return f"<remote function {self._name}>"

    # Any: only annotations know the types; remote[function] has them.
    def __call__(self, *args: Any, **kwargs: Any) -> Call[Any]:
        """Start the call, at once."""
        return self._start(self._name, args, kwargs, self._options, self._signature)

    def __getattr__(self, name: str) -> AnyFunction:
        if name.startswith("_"):
            raise AttributeError(f"{name!r}: names that begin with '_' are not remote; use remote[{name!r}].")
        return AnyFunction(self._start, f"{self._name}.{name}", self._options)

    def with_signature(self, signature: Signature) -> AnyFunction:
        """The same function with results converted as ``signature`` says."""
        return AnyFunction(self._start, self._name, self._options, signature)

    def with_options(self, options: Options) -> AnyFunction:
        """The same function with options for its calls."""
        return AnyFunction(self._start, self._name, options, self._signature)


@final
class Remote:
    """The other side's functions: ``remote.NAME(…)``, ``remote["any.name"](…)``, ``remote[function](…)``."""

    def __init__(self, start: StartCall) -> None:
        self._start = start

    def __repr__(self) -> str:
        return "<Remote>"

    def __dir__(self) -> list[str]:
        # Every name is there, whether it was called before or not.
        return dir(type(self))

    def __getattr__(self, name: str) -> AnyFunction:
        if name.startswith("_"):
            raise AttributeError(f"{name!r}: names that begin with '_' are not remote; use remote[{name!r}].")
        function = AnyFunction(self._start, name)
        # Kept as an attribute, so that the next call does not come here. Names may be made up without end.
        if len(self.__dict__) < NAMES:
            self.__dict__[name] = function
        return function

    @overload
    def __getitem__(self, name: str) -> AnyFunction: ...
    @overload
    def __getitem__(
        self, name: Callable[P, AsyncGenerator[Y, Any]]
    ) -> Callable[P, Call[RemoteIterator[Y]]]: ...
    @overload
    def __getitem__(self, name: Callable[P, AsyncIterator[Y]]) -> Callable[P, Call[RemoteIterator[Y]]]: ...
    @overload
    def __getitem__(self, name: Callable[P, Iterator[Y]]) -> Callable[P, Call[RemoteIterator[Y]]]: ...
    @overload
    def __getitem__(self, name: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Call[R]]: ...
    @overload
    def __getitem__(self, name: Callable[P, R]) -> Callable[P, Call[R]]: ...
    # Any: the implementation behind the overloads, which are typed.
    def __getitem__(self, name: Any) -> Any:
        """A function by any name, or by the server's own function: then fully typed and converted."""
        if isinstance(name, str):
            return AnyFunction(self._start, name)
        known = name_of(name)
        return AnyFunction(self._start, known, PLAIN, Signature(name, known))


def with_options(
    function: Callable[P, R],
    *,
    timeout: float | None = None,
    headers: Mapping[str, str] | None = None,
    transport: TransportName | None = None,
    resumable: bool = True,
) -> Callable[P, R]:
    """``function`` with options for its calls: ``with_options(remote.on_load, timeout=2.0)(…)``.

    Args:
        function: a function of a remote.
        timeout: seconds for the whole call, until it is over; then DeadlineExceeded.
        headers: the call's own headers, ``context.metadata`` there.
        transport: ``"exchange"`` makes the call an HTTP request of its own. The others keep it on the
            client's session, which must go that way; only ``"http"`` makes it an exchange where it does not.
            A client that chooses by itself takes ``"websocket"`` calls along when its session moves there.
        resumable: False: the call is lost, with SessionLost, as soon as its connection is, and not
            resumed over another one.

    Raises:
        TypeError: ``function`` is not one of a remote.
        ValueError: ``timeout`` is not positive, or a call cannot choose that transport.
    """
    if not isinstance(function, AnyFunction):
        raise TypeError(
            f"with_options() takes a function of a remote, such as remote.on_load, not {function!r}."
        )
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout={timeout!r} leaves no time; give seconds above zero, or None.")
    if transport not in (None, "websocket", "http", "sse", "exchange"):
        raise ValueError(
            f"transport={transport!r} is none that a call can choose: "
            "'websocket', 'http', 'sse' or 'exchange'."
        )
    return cast("Callable[P, R]", function.with_options(Options(timeout, headers, transport, resumable)))
