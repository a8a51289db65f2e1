"""Client and Remote: one connection as the caller sees it."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, final, overload

import anyio

from telewire.core.connection import Connection
from telewire.core.events import CallReceived
from telewire.core.states import ConnectionState
from telewire.errors import LocalProtocolError, NetworkError
from telewire.limits import Limits
from telewire.runtime.backend import current_backend
from telewire.runtime.call import Call, OutgoingCall
from telewire.runtime.driver import Driver
from telewire.runtime.iterator import RemoteIterator
from telewire.runtime.payloads import encode
from telewire.runtime.server import refuse
from telewire.runtime.service import name_of
from telewire.runtime.shapes import Converter
from telewire.runtime.signatures import Signature
from telewire.runtime.transport import AcceptTransport, Transport, TransportHandler

if TYPE_CHECKING:
    from telewire.runtime.backend import Backend, Signal

__all__ = ["AnyFunction", "Client", "Remote", "with_options"]

P = ParamSpec("P")
R = TypeVar("R")
Y = TypeVar("Y")

CLOSE_SECONDS = 5.0
OpenTransport = Callable[[AcceptTransport], Awaitable[Transport]]


@final
class Client:
    """One connection to a server: ``async with client as remote: …``. Made by ``connect``.

    It may be entered once. On asyncio it may be left in another task than it was entered in.
    """

    def __init__(
        self, open_transport: OpenTransport, *, limits: Limits | None = None, timeout: float = 10.0
    ) -> None:
        self._open_transport = open_transport
        self._limits = limits
        self._timeout = timeout
        self._driver: Driver | None = None
        self._backend: Backend | None = None
        self._changed: Signal | None = None
        self._opened = False
        self._gone = False
        self._error: NetworkError | None = None
        self.remote = Remote(self)

    def __repr__(self) -> str:
        return f"<Client, {self.state}>"

    @property
    def state(self) -> str:
        """``"new"``, ``"connected"`` or ``"lost"``."""
        if self._gone or self._error is not None:
            return "lost"
        return "connected" if self._opened else "new"

    async def __aenter__(self) -> Remote:
        """Connect; returns the remote.

        Raises:
            NetworkError: no connection, or no hello within the timeout.
        """
        if self._backend is not None:
            raise RuntimeError("This client was entered before; make another one with connect().")
        self._backend = current_backend()
        try:
            with anyio.fail_after(self._timeout):
                await self._open_transport(self._accept)
                await self._wait_until(lambda: self._opened or self._gone or self._error is not None)
        except TimeoutError:
            self._abort()
            raise NetworkError(
                f"No connection within {self._timeout:g} seconds; "
                "is a telewire server running at that address?"
            ) from None
        except BaseException:
            self._abort()
            raise
        if not self._opened:
            raise self._error or NetworkError("The server closed the connection before it said hello.")
        return self.remote

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Close: what is open ends, what was sent leaves; bounded by five seconds."""
        driver = self._driver
        if driver is None:
            return
        driver.connection.close()
        driver.schedule()
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._wait_until(lambda: self._gone)
        self._abort()

    def _abort(self) -> None:
        if self._driver is not None and not self._gone:
            self._driver.transport.abort()

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        assert self._backend is not None
        while not condition():
            if self._changed is None:
                self._changed = self._backend.signal()
            await self._changed.wait()

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    # --- host of the driver ----------------------------------------------------------------------

    def _accept(self, transport: Transport) -> TransportHandler:
        assert self._backend is not None
        connection = Connection("client", limits=self._limits, now=self._backend.now())
        self._driver = Driver(self._backend, connection, transport, self)
        return self._driver

    def opened(self) -> None:
        """The hellos have crossed."""
        self._opened = True
        self._notify()

    def called(self, driver: Driver, event: CallReceived) -> None:
        """The server calls a function of ours, and we offer none."""
        refuse(driver, event)

    def closed(self, error: NetworkError | None) -> None:
        """The conversation is over."""
        self._error = error
        self._notify()

    def lost(self) -> None:
        """The transport has ended."""
        self._gone = True
        self._notify()

    # --- calls -----------------------------------------------------------------------------------

    # Any: arguments of every type travel; what comes back only an annotation can say.
    def start_call(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Options,
        signature: Signature | None,
    ) -> Call[Any]:
        """Start a call and return its handle.

        Raises:
            InvalidArgument: an argument cannot travel.
            LocalProtocolError: the client is not entered.
            NetworkError: the connection is lost.
            ResourceExhausted: too many calls are waiting, or the arguments are too large.
        """
        driver = self._driver
        if driver is None or not self._opened:
            raise LocalProtocolError(
                f"{name}() was called before the client was connected; use 'async with connect(…) as remote'."
            )
        connection = driver.connection
        if connection.state is not ConnectionState.OPEN:
            raise self._error or NetworkError(
                f"{name}() was called after the connection had ended; connect again."
            )
        payload, sources = encode([args, kwargs], f"{name}()", arguments=True)
        if sources:
            raise LocalProtocolError(f"{name}(): iterators as arguments are not supported yet.")
        now = driver.backend.now()
        lifetime = None if options.timeout is None else now + options.timeout
        deadline = driver.backend.deadline()
        # In a cancelled scope it is −inf: a call from a clean-up has no deadline.
        ambient = None if math.isinf(deadline) else deadline
        result: Converter | None = None
        if signature is not None and not signature.result.identity:
            result = signature.result
        state = OutgoingCall(driver, name, result)
        call = connection.call(
            name,
            payload,
            deadline=ambient,
            lifetime=lifetime,
            metadata=dict(options.headers) if options.headers else None,
            now=now,
        )
        call.app = state
        state.core = call
        driver.schedule()
        return Call(state)


@final
class Options:
    """What :func:`with_options` sets for one call."""

    __slots__ = ("headers", "timeout")

    def __init__(self, timeout: float | None = None, headers: Mapping[str, str] | None = None) -> None:
        self.timeout = timeout
        self.headers = headers


PLAIN = Options()


@final
class AnyFunction:
    """A function of the other side by its name; further names after dots."""

    __slots__ = ("_client", "_name", "_options", "_signature")

    def __init__(
        self, client: Client, name: str, options: Options = PLAIN, signature: Signature | None = None
    ) -> None:
        self._client = client
        self._name = name
        self._options = options
        self._signature = signature

    def __repr__(self) -> str:
        return f"<remote function {self._name}>"

    # Any: only annotations know the types; remote[function] has them.
    def __call__(self, *args: Any, **kwargs: Any) -> Call[Any]:
        """Start the call, at once."""
        return self._client.start_call(self._name, args, kwargs, self._options, self._signature)

    def __getattr__(self, name: str) -> AnyFunction:
        if name.startswith("_"):
            raise AttributeError(f"{name!r}: names that begin with '_' are not remote; use remote[{name!r}].")
        return AnyFunction(self._client, f"{self._name}.{name}", self._options)

    def with_options(self, options: Options) -> AnyFunction:
        """The same function with options for its calls."""
        return AnyFunction(self._client, self._name, options, self._signature)


@final
class Remote:
    """The other side's functions: ``remote.NAME(…)``, ``remote["any.name"](…)``, ``remote[function](…)``."""

    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        self._client = client

    def __repr__(self) -> str:
        return f"<Remote of {self._client!r}>"

    def __getattr__(self, name: str) -> AnyFunction:
        if name.startswith("_"):
            raise AttributeError(f"{name!r}: names that begin with '_' are not remote; use remote[{name!r}].")
        return AnyFunction(self._client, name)

    @overload
    def __getitem__(self, name: str) -> AnyFunction: ...
    @overload
    def __getitem__(
        self, name: Callable[P, AsyncGenerator[Y, Any]]
    ) -> Callable[P, Call[RemoteIterator[Y]]]: ...
    @overload
    def __getitem__(self, name: Callable[P, AsyncIterator[Y]]) -> Callable[P, Call[RemoteIterator[Y]]]: ...
    @overload
    def __getitem__(self, name: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Call[R]]: ...
    @overload
    def __getitem__(self, name: Callable[P, R]) -> Callable[P, Call[R]]: ...
    # Any: the implementation behind the overloads, which are typed.
    def __getitem__(self, name: Any) -> Any:
        """A function by any name, or by the server's own function: then fully typed and converted."""
        if isinstance(name, str):
            return AnyFunction(self._client, name)
        known = name_of(name)
        return AnyFunction(self._client, known, PLAIN, Signature(name, known))


def with_options(
    function: Callable[P, R], *, timeout: float | None = None, headers: Mapping[str, str] | None = None
) -> Callable[P, R]:
    """``function`` with options for its calls: ``with_options(remote.on_load, timeout=2.0)(…)``.

    Args:
        function: a function of a remote.
        timeout: seconds for the whole call, until it is over; then DeadlineExceeded.
        headers: the call's own headers, ``context.metadata`` there.

    Raises:
        TypeError: ``function`` is not one of a remote.
        ValueError: ``timeout`` is not positive.
    """
    if not isinstance(function, AnyFunction):
        raise TypeError(
            f"with_options() takes a function of a remote, such as remote.on_load, not {function!r}."
        )
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout={timeout!r} leaves no time; give seconds above zero, or None.")
    return cast("Callable[P, R]", function.with_options(Options(timeout, headers)))
