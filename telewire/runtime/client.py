"""Client: a server as its caller holds it: one connection, or an HTTP exchange for each call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, final

import anyio

from telewire.core.connection import Connection
from telewire.core.events import CallReceived
from telewire.core.states import ConnectionState, LinkState
from telewire.errors import LocalProtocolError, NetworkError, TelewireError, TransportUnsuitable
from telewire.limits import Limits
from telewire.runtime.backend import current_backend
from telewire.runtime.call import Call
from telewire.runtime.context import current_call
from telewire.runtime.driver import Driver
from telewire.runtime.failures import log_bug
from telewire.runtime.reconnecting import reconnect
from telewire.runtime.remote import PLAIN, Options, Remote, start_call
from telewire.runtime.running import Running
from telewire.runtime.server import Server, answer, refuse
from telewire.runtime.service import Service
from telewire.runtime.signatures import Signature
from telewire.runtime.threads import on_loop
from telewire.runtime.tracing import Tracing
from telewire.runtime.transport import (
    AcceptTransport,
    ExchangeMaker,
    Transport,
    TransportHandler,
    TransportName,
)
from telewire.runtime.upgrading import Upgrading

if TYPE_CHECKING:
    from telewire.runtime.backend import Backend, Signal, Task
    from telewire.runtime.tracing import BatchCallback

__all__ = ["Client"]

CLOSE_SECONDS = 5.0
FAREWELL_SECONDS = 1.0
# A member costs as much as a call where it is looked up through its class (CPython 3.11).
_OPEN: Final = ConnectionState.OPEN
OpenTransport = Callable[[AcceptTransport], Awaitable[Transport]]


@final
class Client:
    """A server to be called: ``async with client as remote: …``. Made by ``connect``.

    It may be entered once. On asyncio it may be left in another task than it was entered in.

    Args:
        open_transport: connects; None where there is no connection, and each call is an exchange.
        exchanges: makes the transports of exchanges, where the server can be called so.
        limits: what this side accepts.
        timeout: seconds until there is a connection, or the first word of an exchange's answer.
        service: what the server may call here.
        resume: go on over another connection when one is lost.
        upgrade: opens a better transport beside the one in use; a session moves there when it stands.
    """

    def __init__(
        self,
        open_transport: OpenTransport | None,
        *,
        exchanges: ExchangeMaker | None = None,
        limits: Limits | None = None,
        timeout: float = 10.0,
        # Any: a service of any provider.
        service: Service[Any] | None = None,
        resume: bool = False,
        upgrade: OpenTransport | None = None,
    ) -> None:
        self._resume = resume
        self._upgrade = upgrade
        self._upgrading: Upgrading | None = None
        self._returning = False
        self._return: Task | None = None
        self._listeners: list[Callable[[str], object]] = []
        self._tracing: Tracing | None = None
        self._told = "new"
        self._entering = True
        self._maker = exchanges
        self._exchanges: set[Driver] = set()
        self._running: Running | None = None
        self._exchange_limits = replace(limits or Limits(), hello_seconds=timeout)
        # What the server stated when it last answered an exchange.
        self._known_limits: Limits | None = None
        # One in this process, for this client only: who leaves the client leaves nothing running there.
        self._server: Server | None = None
        self._service = service
        self._open_transport = open_transport
        self._limits = limits
        self._timeout = timeout
        self._driver: Driver | None = None
        self._backend: Backend | None = None
        self._changed: Signal | None = None
        self._opened = False
        self._gone = False
        self._error: TelewireError | None = None
        self.remote = Remote(self.start_call)

    def __repr__(self) -> str:
        return f"<Client, {self.state}>"

    if not TYPE_CHECKING:
        # Type checkers know better; these are for who has forgotten the async with.

        def __getattr__(self, name: str) -> object:
            if name.startswith("_"):
                raise AttributeError(f"'Client' object has no attribute {name!r}")
            raise AttributeError(
                f"A client has no {name!r}; functions are called on its remote: "
                f"async with connect(…) as remote: await remote.{name}(…)."
            )

        def __enter__(self) -> object:
            raise TypeError("A client is entered with 'async with connect(…) as remote', not with 'with'.")

        def __exit__(self, *_: object) -> None:
            """Never reached."""

    @property
    def state(self) -> str:
        """``"new"``, ``"connected"``, ``"reconnecting"`` or ``"lost"``."""
        if self._gone or self._error is not None:
            return "lost"
        if not self._opened:
            return "new"
        connection = None if self._driver is None else self._driver.connection
        away = connection is not None and connection.detached and not connection.moving
        return "reconnecting" if away else "connected"

    @property
    def transport(self) -> TransportName | None:
        """How the session goes now, or went last; None before there is one, and where calls are exchanges."""
        return None if self._driver is None else self._driver.transport.request.transport

    def on_state(self, callback: Callable[[str], object]) -> Callable[[], None]:
        """Call ``callback(state)`` whenever :attr:`state` changes, on the loop; returns what ends that.

        For user interfaces: while the client reconnects, calls and streams pause and nothing is lost.
        A callback that fails is logged.
        """
        self._listeners.append(callback)

        def stop() -> None:
            if callback in self._listeners:
                self._listeners.remove(callback)

        return stop

    def on_batch(self, callback: BatchCallback) -> None:
        """Call ``callback(direction, batch)``, on the loop, for each batch ``"sent"`` or ``"received"``.

        For looking at a conversation, as ``telewire trace`` does: ``telewire.wire.decode_batch`` gives the
        frames, which hold the session's token. Call it before the client is entered; a second call takes
        the place of the first. A callback that fails is logged.
        """
        self._tracing = Tracing(callback)

    def _tell(self) -> None:
        """Tell of a change, once for each."""
        state = self.state
        # What is tried while it connects is nobody's business.
        if state == self._told or self._entering:
            return
        self._told = state
        for callback in tuple(self._listeners):
            try:
                callback(state)
            except Exception as error:
                log_bug(error, "A callback of on_state()")

    async def __aenter__(self) -> Remote:
        """Connect; returns the remote. Where each call is an exchange, nothing is connected yet.

        Raises:
            NetworkError: no connection, or no hello within the timeout.
        """
        if self._backend is not None:
            raise RuntimeError("This client was entered before; make another one with connect().")
        self._backend = current_backend()
        if self._open_transport is None:
            self._opened = True
            return self.remote
        try:
            await self._connect(self._open_transport)
        except BaseException:
            self._give_up()
            raise
        finally:
            self._entering = False
            self._tell()
        if self._driver is not None and self._driver.connection.detached:
            self.detached()
        return self.remote

    async def _connect(self, open_transport: OpenTransport) -> None:
        try:
            with anyio.fail_after(self._timeout):
                await open_transport(self._accept)
                await self._wait_until(lambda: self._opened or self._gone or self._error is not None)
        except TimeoutError:
            raise NetworkError(
                f"No connection within {self._timeout:g} seconds; "
                "is a telewire server running at that address?"
            ) from None
        if not self._opened:
            raise self._error or NetworkError("The server closed the connection before it said hello.")
        if self._upgrade is not None and self._driver is not None:
            self._upgrading = Upgrading(self._driver, self._upgrade, self._answered, self._timeout)
            self._upgrading.start()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Close: what is open ends, what was sent leaves; bounded by five seconds.

        Where the connection is lost just now, it is waited for a moment, unless the task is cancelled:
        else the server would wait for this client to come back.
        """
        driver = self._driver
        if self._upgrading is not None:
            self._upgrading.stop()
        if driver is not None and driver.connection.detached:
            with anyio.move_on_after(FAREWELL_SECONDS):
                await self._wait_until(lambda: not driver.connection.detached)
        if self._backend is None:
            return
        if driver is None:
            self._gone = True
        for each in (*self._exchanges, *(() if driver is None else (driver,))):
            each.connection.close()
            each.schedule()
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._wait_until(lambda: self._gone and not self._exchanges)
            if driver is not None:
                await driver.running.wait(current_call())
            if self._running is not None:
                await self._running.wait(current_call())
            if self._server is not None:
                await self._server.aclose()
        if self._return is not None:
            self._return.cancel()
        self._abort()

    def _give_up(self) -> None:
        """Leave nothing behind where there is no connection: nobody will come back to a session."""
        if self._driver is not None:
            self._driver.connection.close()
            self._driver.digest()
        self._abort()

    def serve_by(self, server: Server) -> None:
        """Say that ``server``, of this process, is there for this client only: it closes with it."""
        self._server = server

    def _abort(self) -> None:
        if self._driver is not None and not self._gone:
            self._driver.transport.abort()
        for exchange in tuple(self._exchanges):
            exchange.transport.abort()
        if self._maker is not None:
            self._maker.close()

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
        self._tell()

    # --- host of the driver ----------------------------------------------------------------------

    def _accept(self, transport: Transport) -> TransportHandler:
        assert self._backend is not None
        before = self._driver
        if before is not None:
            # What was tried first did not do, and nobody asks what becomes of it.
            before.host = _Exchange(self)
            before.retire()
            before.connection.receive_eof(self._backend.now())
            before.connection.close()
            before.digest()
            self._opened, self._gone, self._error = False, False, None
        connection = Connection("client", limits=self._limits, resume=self._resume, now=self._backend.now())
        self._driver = Driver(self._backend, connection, transport, self, tracing=self._tracing)
        return self._driver.attach(transport)

    def opened(self) -> None:
        """The hellos have crossed."""
        self._opened = True
        self._notify()

    def called(self, driver: Driver, event: CallReceived) -> None:
        """The server calls a function of ours, if we offer some."""
        if self._service is None:
            driver.give_up(event.declared)
            refuse(driver, event)
        else:
            answer(self._service, driver, event)

    def closed(self, error: TelewireError | None) -> None:
        """The conversation is over."""
        self._error = error
        self._notify()

    def lost(self) -> None:
        """The transport has ended."""
        self._gone = True
        self._notify()

    def detached(self) -> None:
        """The transport is lost and the session is not: find the way back."""
        self._notify()
        driver, open_transport = self._driver, self._open_transport
        if self._entering:
            # Another way may be tried, or there is none.
            return
        if driver is not None and open_transport is not None and not self._returning:
            self._returning = True
            self._return = driver.backend.spawn(self._reconnect, driver, open_transport)

    async def _reconnect(self, driver: Driver, open_transport: OpenTransport) -> None:
        try:
            await reconnect(driver, open_transport, self._answered, self._timeout)
        finally:
            self._returning = False
        if self._upgrading is not None:
            self._upgrading.start()

    async def _answered(self) -> None:
        """Wait until the server has answered a resume, or the connection is lost again."""
        await self._wait_until(
            lambda: self._driver is None or self._driver.connection.link is not LinkState.RESUMING
        )

    def resumed(self) -> None:
        """The session goes on."""
        self._notify()

    # --- calls -----------------------------------------------------------------------------------

    def start_call(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Options = PLAIN,
        signature: Signature | None = None,
    ) -> Call[Any]:
        """Start a call of the other side's function; as :func:`start_call`.

        (Any: arguments of every type travel; what comes back only an annotation can say.)
        """
        driver = self._driver
        if driver is None or not self._opened or options.transport is not None:
            return self._start_apart(name, args, kwargs, options, signature)
        if driver.connection.state is not _OPEN:
            raise self._error or NetworkError(
                f"{name}() was called after the connection had ended; connect again."
            )
        return start_call(driver, name, args, kwargs, options, signature)

    # Any: as start_call.
    def _start_apart(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Options,
        signature: Signature | None,
    ) -> Call[Any]:
        """Start a call that does not simply go over the connection that there is."""
        if not self._opened:
            raise LocalProtocolError(
                f"{name}() was called before the client was connected; use 'async with connect(…) as remote'."
            )
        if self._driver is not None and self._carries(options.transport):
            without = Options(options.timeout, options.headers, None, options.resumable)
            return self.start_call(name, args, kwargs, without, signature)
        if options.transport in ("websocket", "sse") and self._driver is None:
            raise LocalProtocolError(
                f"{name}() was to go over {options.transport}, and each call of this client is an exchange; "
                f"connect with transport={options.transport!r}."
            )
        if options.transport in ("websocket", "sse"):
            raise TransportUnsuitable(
                (options.transport,),
                f"{name}() was to go over {options.transport}, and this client is connected in another way; "
                f"connect with transport={options.transport!r}.",
            )
        if self._maker is None:
            raise TransportUnsuitable(
                ("websocket",),
                f"{name}() was to go over HTTP, and this client was not connected by a URL of it.",
            )
        return self._exchange(self._maker, name, args, kwargs, options, signature)

    def _carries(self, transport: TransportName | None) -> bool:
        """Whether a call that asks for ``transport`` goes over the session."""
        if transport is None:
            return True
        if self._upgrade is not None and transport == "websocket" and self.transport != transport:
            # It moves there with the session, unless there is no way.
            return self._upgrading is not None and not self._upgrading.refused
        return transport == self.transport

    # Any: as start_call.
    def _exchange(
        self,
        maker: ExchangeMaker,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Options,
        signature: Signature | None,
    ) -> Call[Any]:
        """Make the call an exchange of its own."""
        backend = self._backend
        assert backend is not None
        if not backend.owns_current_thread():
            exchange = self._exchange
            return on_loop(
                backend, "A remote function", exchange, maker, name, args, kwargs, options, signature
            )
        if self._gone:
            raise NetworkError(f"{name}() was called after the client had been left; connect again.")
        if self._running is None:
            self._running = Running(backend)
        transport = maker.make()
        connection = Connection(
            "client",
            limits=self._exchange_limits,
            now=backend.now(),
            exchange=True,
            peer_limits=self._known_limits,
        )
        host = _Exchange(self)
        driver = host.driver = Driver(backend, connection, transport, host, self._running, self._tracing)
        call = start_call(driver, name, args, kwargs, options, signature)
        self._exchanges.add(driver)
        transport.open(driver)
        return call

    def learnt(self, limits: Limits) -> None:
        """Keep what the server stated in an exchange, for the next one."""
        self._known_limits = limits

    def forget(self, exchange: Driver) -> None:
        """An exchange is over."""
        self._exchanges.discard(exchange)
        self._notify()


@final
class _Exchange:
    """One exchange's driver on the client's side."""

    __slots__ = ("_client", "_ends", "driver")

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ends = 0
        self.driver: Driver | None = None

    def opened(self) -> None:
        """The server has answered."""
        assert self.driver is not None
        self._client.learnt(self.driver.connection.peer_limits)

    def called(self, driver: Driver, event: CallReceived) -> None:
        """The server cannot call here (TW-SES-072), which the connection has seen to."""

    def closed(self, error: TelewireError | None) -> None:
        """The conversation is over."""
        self._end()

    def detached(self) -> None:
        """No exchange is ever resumed."""

    def resumed(self) -> None:
        """No exchange is ever resumed."""

    def lost(self) -> None:
        """The transport has ended; what came before may still be consumed."""
        self._end()

    def _end(self) -> None:
        self._ends += 1
        if self._ends == 2 and self.driver is not None:
            self._client.forget(self.driver)
