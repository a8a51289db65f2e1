"""Server: what a service says to each transport that comes in."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, final

import anyio

from telewire.core.acceptor import Acceptor
from telewire.core.connection import Connection
from telewire.core.events import CallReceived, GoAwayReceived
from telewire.core.states import ConnectionState
from telewire.errors import ErrorCode, TelewireError
from telewire.limits import Limits
from telewire.runtime.admission import Admission, address_of
from telewire.runtime.context import current_call
from telewire.runtime.draining import Draining, Farewell
from telewire.runtime.driver import Driver
from telewire.runtime.incoming import IncomingCall
from telewire.runtime.promotion import SESSION_BYTES, TOKEN_BYTES
from telewire.runtime.running import Running
from telewire.runtime.service import Service
from telewire.wire.values import encode_value

if TYPE_CHECKING:
    from telewire.runtime.attachment import Attachment
    from telewire.runtime.backend import Backend, Signal
    from telewire.runtime.transport import IncomingExchange, Request, Transport, TransportHandler

__all__ = ["Server", "answer", "refuse"]


def refuse(driver: Driver, event: CallReceived) -> None:
    """Answer a call for a function that is not offered here. The name is the caller's own, cut."""
    name = event.target if isinstance(event.target, str) else "it"
    text = f"No function {name[:100]!r} is served here; see which names the server offers."
    driver.connection.reject(event.call, ErrorCode.FUNCTION_NOT_FOUND, encode_value(text))
    driver.connection.finish(event.call)
    driver.schedule()


# Any: a service of any provider.
def answer(service: Service[Any], driver: Driver, event: CallReceived) -> None:
    """Start the function of ``service`` that is called."""
    function = service.find(event.target) if isinstance(event.target, str) else None
    if function is None:
        driver.give_up(event.declared)
        refuse(driver, event)
    else:
        IncomingCall(driver, function.service or service, function, event)


@final
class Server:
    """Serves one service over any number of transports.

    Give :meth:`accept` to the adapters, and :meth:`accept_exchange` to those of HTTP.
    """

    def __init__(
        self,
        backend: Backend,
        service: Service[Any],
        limits: Limits | None = None,
        admission: Admission | None = None,
    ) -> None:
        self._backend = backend
        self.service = service
        self._limits = limits
        self.admission = Admission() if admission is None else admission
        """Who may come in; adapters that have a door ask it before they call :meth:`accept`."""
        self.admission.pool.on_room = lambda: backend.call_soon(self._grant_again)
        self.admission.pool.on_short = self._fall_short
        self._short = False
        self._drivers: set[Driver] = set()
        self.running = Running(backend)
        """User code of all conversations, also of those that are over."""
        self._left: Signal | None = None
        self._draining = Draining(backend, self.admission.limits)
        self._acceptor = Acceptor()
        self._sessions: dict[Connection, Driver] = {}
        # In the order in which they lost their transports.
        self._detached: dict[Driver, None] = {}
        self.admission.detached = self._detached.__len__
        self.admission.make_room = self._give_up_oldest

    def accept(self, transport: Transport) -> Attachment:
        """Begin a conversation on a new transport."""
        connection = Connection(
            "server",
            limits=self._limits,
            session_id=secrets.token_bytes(SESSION_BYTES),
            token=secrets.token_bytes(TOKEN_BYTES),
            now=self._backend.now(),
            pool=self.admission.pool,
        )
        self._acceptor.expect(connection, self._backend.now(), self.principal_of(transport.request))
        return self._converse(connection, transport).attach(transport, self._route)

    def _route(self, attachment: Attachment, batch: bytes) -> None:
        """Find out which conversation a new transport belongs to."""
        driver = attachment.driver
        connection = driver.connection
        principal = self.principal_of(attachment.transport.request)
        found = self._acceptor.receive_data(connection, batch, self._backend.now(), principal)
        if connection.state is not ConnectionState.OPENING:
            attachment.route = None
        if found is connection:
            closed = self._acceptor.closed
            driver.digest()
            if closed is not None:
                self._sessions[closed].digest()
            return
        driver.retire()
        self._drivers.discard(driver)
        self._notify()
        assert isinstance(driver.host, _Conversation)
        driver.host.leave()
        owner = self._sessions[found]
        attachment.route = None
        attachment.driver = owner
        owner.attach(attachment.transport, attachment=attachment)

    def principal_of(self, request: Request) -> Hashable:
        """Whom a request came from, where the service says; else None, as of all."""
        who = self.service.principal
        return None if who is None else who(request)

    def wait_for(self, driver: Driver) -> None:
        """A session is detached; of too many, the one that has been so longest is given up (TW-SES-041)."""
        self._detached[driver] = None
        if len(self._detached) > self.admission.limits.detached:
            self._give_up_oldest()

    def waits_no_more(self, driver: Driver) -> None:
        """A session is attached again, or over."""
        self._detached.pop(driver, None)

    def _give_up_oldest(self, drawn: int = 0) -> None:
        """Give up the session detached longest, of those that have ``drawn`` so much from the pool."""
        for driver in self._detached:
            if driver.connection.drawn >= drawn:
                self.waits_no_more(driver)
                driver.connection.close(ErrorCode.SESSION_LOST)
                driver.digest()
                return

    def _fall_short(self) -> None:
        """The pool is used up. A machine is at work, so what can be done about it comes a pass later."""
        if not self._short and self._detached:
            self._short = True
            self._backend.call_soon(self._make_room_in_pool)

    def _make_room_in_pool(self) -> None:
        """Of the detached sessions that hold some of it, the oldest goes (TW-LIM-020)."""
        self._short = False
        self._give_up_oldest(drawn=1)

    def keep(self, driver: Driver) -> None:
        """A conversation has opened: it may come back over another transport, if both sides offer that."""
        connection = driver.connection
        if not connection.exchange:
            self._draining.opened(driver)
        if connection.resumable:
            self._acceptor.add(connection, self.principal_of(driver.transport.request))
            self._sessions[connection] = driver

    def accept_exchange(self, transport: IncomingExchange) -> TransportHandler:
        """Answer one HTTP request, which is one call."""
        connection = Connection(
            "server",
            limits=self._limits,
            now=self._backend.now(),
            exchange=True,
            promotion=transport.promotes,
            pool=self.admission.pool,
        )
        return self._converse(connection, transport)

    def _grant_again(self) -> None:
        """Large payloads that have waited for the pool may find room now."""
        for driver in tuple(self._drivers):
            driver.connection.grant_again()
            driver.schedule()

    def _converse(self, connection: Connection, transport: Transport) -> Driver:
        host = _Conversation(self, address_of(transport.request.peer))
        driver = host.driver = Driver(self._backend, connection, transport, host, self.running)
        self._drivers.add(driver)
        return driver

    def forget(self, driver: Driver) -> None:
        """A conversation has lost its transport."""
        self._drivers.discard(driver)
        self._draining.forget(driver)
        self._acceptor.transport_lost(
            driver.connection, self._backend.now(), self.principal_of(driver.transport.request)
        )
        self._acceptor.discard(driver.connection)
        self._sessions.pop(driver.connection, None)
        self.waits_no_more(driver)
        self._notify()

    def _notify(self) -> None:
        if self._left is not None:
            self._left.set()
            self._left = None

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until it is true; asked again whenever a conversation has gone."""
        while not condition():
            if self._left is None:
                self._left = self._backend.signal()
            await self._left.wait()

    async def drain(
        self,
        seconds: float,
        farewell: Farewell | None = None,
        refuse_new: Callable[[], object] | None = None,
    ) -> bool:
        """Ask all clients to leave, and wait until what is open has ended, at most ``seconds``.

        Who comes is served meanwhile: sessions that come back, and new ones, which are asked to leave at
        once. When all have gone ``refuse_new`` is called, after which nobody new may come. Returns whether
        all have gone; whoever has not ends with GoingAway when :meth:`aclose` is
        called, which is owed next.
        """
        self._draining.begin(tuple(self._drivers), farewell or Farewell())
        with anyio.move_on_after(seconds):
            await self._wait_until(lambda: not any(map(_is_in_use, self._drivers)))
            if refuse_new is not None:
                # From here on nobody comes who would be cut off; who came at the last moment is waited for.
                refuse_new()
                await self._wait_until(lambda: not self._drivers)
        return not any(map(_is_in_use, self._drivers))

    async def aclose(self) -> None:
        """Close every conversation; wait until their transports are gone and user code has ended.

        Bodies clean up and callbacks of ``on_close`` come to their end; who calls this bounds the wait.
        """
        for driver in tuple(self._drivers):
            # With a code: a stream that is cut off must not look like one that has ended.
            driver.connection.close(ErrorCode.GOING_AWAY)
            driver.schedule()
        await self._wait_until(lambda: not self._drivers)
        await self.running.wait(current_call())

    async def abort(self) -> None:
        """Drop every transport that is left, and wait until user code has ended."""
        for driver in tuple(self._drivers):
            driver.abort()
        await self.running.wait(current_call())


def _is_in_use(driver: Driver) -> bool:
    """Whether somebody is there: a transport on which nobody has said hello is nobody."""
    return driver.connection.state is not ConnectionState.OPENING


@final
class _Conversation:
    """One transport's driver on the server's side."""

    __slots__ = ("_address", "_known", "_server", "driver")

    def __init__(self, server: Server, address: str | None) -> None:
        self._server = server
        self._address = address
        self._known = False
        self.driver: Driver | None = None
        server.admission.enter(address, conversation=True)

    def opened(self) -> None:
        """The hellos have crossed."""
        if not self._known:
            self._known = True
            self._server.admission.known()
        if self.driver is not None:
            self._server.keep(self.driver)

    def called(self, driver: Driver, event: CallReceived) -> None:
        """The client calls."""
        answer(self._server.service, driver, event)

    def going_away(self, event: GoAwayReceived) -> None:
        """Calls that functions make on the client are refused, each for itself."""

    def closed(self, error: TelewireError | None) -> None:
        """The conversation is over; its transport follows."""

    def lost(self) -> None:
        """The transport has ended."""
        self.leave()
        # They refer to each other; what no cycle holds needs no collector, which stops everybody.
        driver, self.driver = self.driver, None
        if driver is not None:
            self._server.forget(driver)

    def leave(self) -> None:
        """Free its place: it is over, or its transport belongs to another and it has never been."""
        self._server.admission.leave(self._address, conversation=True, known=self._known)

    def detached(self) -> None:
        """The session waits for its client to come back."""
        if self.driver is not None:
            self._server.wait_for(self.driver)

    def resumed(self) -> None:
        """It has."""
        if self.driver is not None:
            self._server.waits_no_more(self.driver)
