"""Exchanges: the calls of a client that are HTTP requests of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, final

from telewire.core.connection import Connection
from telewire.core.events import CallReceived, GoAwayReceived
from telewire.core.states import LinkState
from telewire.errors import TelewireError, TransportUnsuitable
from telewire.limits import Limits
from telewire.runtime.call import Call
from telewire.runtime.context import current_call
from telewire.runtime.driver import Driver
from telewire.runtime.reconnecting import reconnect
from telewire.runtime.remote import Options, start_call
from telewire.runtime.running import Running
from telewire.runtime.server import refuse
from telewire.runtime.signatures import Signature
from telewire.runtime.threads import on_loop
from telewire.runtime.transport import ExchangeMaker, OpenTransport

if TYPE_CHECKING:
    from telewire.runtime.backend import Backend, Signal, Task
    from telewire.runtime.tracing import Tracing

__all__ = ["Exchanges"]


@final
class Exchanges:
    """The exchanges of one client; as many as there are open.

    Args:
        maker: makes their transports; None where the server cannot be called so.
        limits: what this side accepts.
        timeout: seconds until the first word of an answer.
        changed: called when one of them has ended.
    """

    def __init__(
        self,
        maker: ExchangeMaker | None,
        limits: Limits | None,
        timeout: float,
        changed: Callable[[], object],
    ) -> None:
        self._maker = maker
        self._limits = limits
        # What the server stated when it last answered one.
        self._known_limits: Limits | None = None
        self._timeout = timeout
        self._changed = changed
        self._running: Running | None = None
        # An empty set takes three times as much, and most clients make no exchange.
        self._open: dict[Driver, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    # Any: as start_call.
    def start(
        self,
        backend: Backend,
        tracing: Tracing | None,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Options,
        signature: Signature | None,
    ) -> Call[Any]:
        """Make a call an exchange of its own; as :func:`start_call`."""
        if self._maker is None:
            raise TransportUnsuitable(
                ("websocket",),
                f"{name}() was to go over HTTP, and this client was not connected by a URL of it.",
            )
        if not backend.owns_current_thread():
            start = self.start
            return on_loop(
                backend, "A remote function", start, backend, tracing, name, args, kwargs, options, signature
            )
        if self._running is None:
            # The first; most clients make none, and need neither.
            self._running = Running(backend)
            self._limits = replace(self._limits or Limits(), hello_seconds=self._timeout)
        transport = self._maker.make()
        connection = Connection(
            "client",
            limits=self._limits,
            now=backend.now(),
            exchange=True,
            promotion=True,
            peer_limits=self._known_limits,
        )
        host = _Exchange(self, self._timeout)
        driver = host.driver = Driver(backend, connection, transport, host, self._running, tracing)
        call = start_call(driver, name, args, kwargs, options, signature)
        self._open[driver] = None
        transport.open(driver)
        return call

    def close(self) -> None:
        """Give up those that are open."""
        for driver in self._open:
            driver.connection.close()
            driver.schedule()

    async def wait(self) -> None:
        """Wait until user code that runs on account of them has ended."""
        if self._running is not None:
            await self._running.wait(current_call())

    def abort(self) -> None:
        """Drop the transports that are left."""
        for driver in tuple(self._open):
            driver.transport.abort()
        if self._maker is not None:
            self._maker.close()

    def learnt(self, limits: Limits) -> None:
        """Keep what the server stated in an exchange, for the next one."""
        self._known_limits = limits

    def forget(self, exchange: Driver) -> None:
        """An exchange is over."""
        self._open.pop(exchange, None)
        self._changed()


@final
class _Exchange:
    """One exchange's driver on the client's side, also where it goes on as a session."""

    __slots__ = ("_changed", "_ends", "_exchanges", "_return", "_timeout", "driver")

    def __init__(self, exchanges: Exchanges, timeout: float) -> None:
        self._exchanges = exchanges
        self._timeout = timeout
        self._ends = 0
        self._changed: Signal | None = None
        self._return: Task | None = None
        self.driver: Driver | None = None

    def opened(self) -> None:
        """The server has answered."""
        assert self.driver is not None
        self._exchanges.learnt(self.driver.connection.peer_limits)

    def called(self, driver: Driver, event: CallReceived) -> None:
        """The server calls, which it can only in a session: nothing is offered to it here."""
        driver.give_up(event.declared)
        refuse(driver, event)

    def going_away(self, event: GoAwayReceived) -> None:
        """The calls that there are go on."""

    def closed(self, error: TelewireError | None) -> None:
        """The conversation is over."""
        self._end()

    def detached(self) -> None:
        """The transport is lost and the session is not: find the way back."""
        self._notify()
        driver = self.driver
        if driver is not None and driver.way_back is not None and self._return is None:
            self._return = driver.backend.spawn(self._reconnect, driver, driver.way_back)

    async def _reconnect(self, driver: Driver, way_back: OpenTransport) -> None:
        async def answered() -> None:
            while driver.connection.link is LinkState.RESUMING:
                self._changed = driver.backend.signal()
                await self._changed.wait()

        try:
            await reconnect(driver, way_back, answered, self._timeout)
        finally:
            self._return = None

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def resumed(self) -> None:
        """The session goes on."""
        self._notify()

    def lost(self) -> None:
        """The transport has ended; what came before may still be consumed."""
        self._end()

    def _end(self) -> None:
        self._ends += 1
        self._notify()
        if self._ends == 2 and self.driver is not None:
            if self._return is not None:
                self._return.cancel()
            self._exchanges.forget(self.driver)
