"""Client: one connection as its caller holds it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, final

import anyio

from telewire.core.connection import Connection
from telewire.core.events import CallReceived
from telewire.core.states import ConnectionState
from telewire.errors import LocalProtocolError, NetworkError
from telewire.limits import Limits
from telewire.runtime.backend import current_backend
from telewire.runtime.call import Call
from telewire.runtime.context import current_call
from telewire.runtime.driver import Driver
from telewire.runtime.remote import PLAIN, Options, Remote, start_call
from telewire.runtime.server import Server, answer, refuse
from telewire.runtime.service import Service
from telewire.runtime.signatures import Signature
from telewire.runtime.transport import AcceptTransport, Transport, TransportHandler

if TYPE_CHECKING:
    from telewire.runtime.backend import Backend, Signal

__all__ = ["Client"]

CLOSE_SECONDS = 5.0
# A member costs as much as a call where it is looked up through its class (CPython 3.11).
_OPEN: Final = ConnectionState.OPEN
OpenTransport = Callable[[AcceptTransport], Awaitable[Transport]]


@final
class Client:
    """One connection to a server: ``async with client as remote: …``. Made by ``connect``.

    It may be entered once. On asyncio it may be left in another task than it was entered in.
    """

    def __init__(
        self,
        open_transport: OpenTransport,
        *,
        limits: Limits | None = None,
        timeout: float = 10.0,
        # Any: a service of any provider.
        service: Service[Any] | None = None,
    ) -> None:
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
        self._error: NetworkError | None = None
        self.remote = Remote(self.start_call)

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
            await driver.running.wait(current_call())
            if self._server is not None:
                await self._server.aclose()
        self._abort()

    def serve_by(self, server: Server) -> None:
        """Say that ``server``, of this process, is there for this client only: it closes with it."""
        self._server = server

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
        connection = Connection("client", limits=self._limits, resume=False, now=self._backend.now())
        self._driver = Driver(self._backend, connection, transport, self)
        return self._driver

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

    def closed(self, error: NetworkError | None) -> None:
        """The conversation is over."""
        self._error = error
        self._notify()

    def lost(self) -> None:
        """The transport has ended."""
        self._gone = True
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
        if driver is None or not self._opened:
            raise LocalProtocolError(
                f"{name}() was called before the client was connected; use 'async with connect(…) as remote'."
            )
        if driver.connection.state is not _OPEN:
            raise self._error or NetworkError(
                f"{name}() was called after the connection had ended; connect again."
            )
        return start_call(driver, name, args, kwargs, options, signature)
