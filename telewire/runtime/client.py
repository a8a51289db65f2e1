"""Client: a server as its caller holds it: one connection, or an HTTP exchange for each call."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, final

import anyio

from telewire.core import streams as core
from telewire.core.events import CallReceived, GoAwayReceived
from telewire.core.states import ConnectionState
from telewire.errors import LocalProtocolError, NetworkError, TelewireError, TransportUnsuitable
from telewire.limits import Limits
from telewire.runtime.backend import current_backend
from telewire.runtime.call import Call
from telewire.runtime.context import current_call
from telewire.runtime.conversation import Conversation, OpenTransport, Ways
from telewire.runtime.driver import CallEnd, Driver
from telewire.runtime.exchanges import Exchanges
from telewire.runtime.failures import log_bug
from telewire.runtime.remote import PLAIN, Options, Remote, start_call
from telewire.runtime.server import Server, answer, refuse
from telewire.runtime.service import Service
from telewire.runtime.signatures import Signature
from telewire.runtime.succession import Succession
from telewire.runtime.threads import on_loop
from telewire.runtime.tracing import Tracing
from telewire.runtime.transport import ExchangeMaker, TransportName

if TYPE_CHECKING:
    from telewire.runtime.backend import Backend, Signal
    from telewire.runtime.tracing import BatchCallback
    from telewire.runtime.upgrading import Upgrading

__all__ = ["Client"]

CLOSE_SECONDS = 5.0
FAREWELL_SECONDS = 1.0
# A member costs as much as a call where it is looked up through its class (CPython 3.11).
_OPEN: Final = ConnectionState.OPEN


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
        again: makes the two, new ones, for the successor of a conversation whose server goes away; it is
            called with the address that the server named, or None. Without it they are used again.
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
        again: Callable[[str | None], Ways] | None = None,
    ) -> None:
        self._resume = resume
        self._upgrade = upgrade
        self._again = again
        # The conversation that new calls go to, those before it that have something open, and what looks
        # for the next.
        self._current: Conversation | None = None
        self._leaving: dict[Conversation, None] = {}
        self._succession: Succession | None = None
        self._listeners: list[Callable[[str], object]] = []
        self._tracing: Tracing | None = None
        self._told = "new"
        self._entering = True
        self._exchanges = Exchanges(exchanges, limits, timeout, self._notify)
        # One in this process, for this client only: who leaves the client leaves nothing running there.
        self._server: Server | None = None
        self._service = service
        self._open_transport = open_transport
        self._limits = limits
        self._timeout = timeout
        # That of the conversation which new calls go to; they do, unless there is more to ask first.
        self._driver: Driver | None = None
        self._direct = False
        self._backend: Backend | None = None
        self._changed: Signal | None = None
        self._opened = False
        self._left = False
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
        current = self._current
        if not self._opened:
            return "new"
        if current is None:
            return "connected"
        return "reconnecting" if current.away or self._succeeds() else "connected"

    @property
    def _upgrading(self) -> Upgrading | None:
        return None if self._current is None else self._current.upgrading

    def _succeeds(self) -> bool:
        """Whether a successor is being looked for, so that calls wait."""
        return self._succession is not None and self._succession.active

    @property
    def transport(self) -> TransportName | None:
        """How the session goes now, or went last; None before there is one, and where calls are exchanges.

        An exchange whose answer needs a session has one of its own, over HTTP, that is over with its call.
        """
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
        conversation = self._current = self._converse((self._open_transport, self._upgrade))
        try:
            await conversation.open()
            self._take(conversation)
        except BaseException:
            self._abort()
            raise
        finally:
            self._entering = False
            self._tell()
        self._ask_farewell(conversation)
        return self.remote

    def _converse(self, ways: Ways) -> Conversation:
        assert self._backend is not None
        return Conversation(
            self,
            self._backend,
            ways,
            limits=self._limits,
            resume=self._resume,
            timeout=self._timeout,
            tracing=self._tracing,
        )

    def _take(self, conversation: Conversation) -> None:
        """Make new calls in this conversation."""
        self._current = conversation
        self._driver = conversation.driver
        self._opened = self._direct = True
        self._gone, self._error = conversation.gone, conversation.error
        self._notify()

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
        if self._backend is None:
            return
        self._left = True
        if self._succession is not None:
            self._succession.stop()
        current, conversations = self._current, self._conversations
        for each in conversations:
            each.stop_upgrading()
        driver = self._driver
        if driver is not None and driver.connection.detached:
            with anyio.move_on_after(FAREWELL_SECONDS):
                await self.wait_until(lambda: not driver.connection.detached)
        if current is None:
            self._gone = True
        for conversation in conversations:
            conversation.close()
        self._exchanges.close()
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await self.wait_until(lambda: all(each.gone for each in conversations) and not self._exchanges)
            for each in conversations:
                if each.driver is not None:
                    await each.driver.running.wait(current_call())
            await self._exchanges.wait()
            if self._server is not None:
                await self._server.aclose()
        self._abort()

    @property
    def _conversations(self) -> tuple[Conversation, ...]:
        """All that there are, the present one last."""
        return (*self._leaving, *(() if self._current is None else (self._current,)))

    def serve_by(self, server: Server) -> None:
        """Say that ``server``, of this process, is there for this client only: it closes with it."""
        self._server = server

    def _abort(self) -> None:
        for conversation in self._conversations:
            conversation.abort()
        self._exchanges.abort()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until it is true; asked again whenever something has changed."""
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

    # --- owner of conversations ------------------------------------------------------------------

    def changed(self, conversation: Conversation) -> None:
        """Take note of what has become of a conversation."""
        if conversation.gone:
            self._leaving.pop(conversation, None)
        if conversation is self._current and not self._succeeds():
            self._gone = conversation.gone
            self._error = conversation.error or self._error
        self._notify()

    def called(self, driver: Driver, event: CallReceived) -> None:
        """The server calls a function of ours, if we offer some."""
        if self._service is None:
            driver.give_up(event.declared)
            refuse(driver, event)
        else:
            answer(self._service, driver, event)

    def going_away(self, conversation: Conversation, event: GoAwayReceived) -> None:
        """Look for a successor, unless there is one; what is open stays where it is."""
        if conversation is not self._current or self._entering or self._left:
            return
        assert self._backend is not None
        if self._succession is None:
            limits = self._limits or Limits()
            self._succession = Succession(
                self, self._backend, self._successor, limits.resume_seconds, limits.queued_calls
            )
        conversation.stop_upgrading()
        if conversation.driver is not None:
            conversation.driver.call_again = self._call_again
        self._direct = False
        self._succession.begin(event)
        self._tell()

    def _ask_farewell(self, conversation: Conversation) -> None:
        """Where the server said that it goes away before we came to listen."""
        if conversation.driver is not None and conversation.driver.farewell is not None:
            self.going_away(conversation, conversation.driver.farewell)

    def _call_again(self, state: CallEnd, call: core.Call) -> bool:
        """Make a call that was refused and never started in the successor, when there is one."""
        assert self._succession is not None
        keeping = self._succession.keeping
        kept = keeping.take_back(state, call)
        if kept and self._driver is not None and not self._succeeds():
            keeping.release(self._driver)
        return kept

    def _successor(self, elsewhere: str | None) -> Conversation:
        assert self._open_transport is not None
        if self._again is None:
            return self._converse((self._open_transport, self._upgrade))
        return self._converse(self._again(elsewhere))

    @property
    def leaving(self) -> bool:
        """Whether a conversation whose server goes away still has something open."""
        return any(not each.ended for each in self._conversations)

    def found(self, successor: Conversation) -> None:
        """Make new calls there; the one before goes on until all in it is over."""
        before = self._current
        if before is not None and not before.gone:
            self._leaving[before] = None
        self._take(successor)
        self._ask_farewell(successor)

    def not_found(self, error: TelewireError) -> None:
        """There is no server any more."""
        self._error = error
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
        if driver is None or not self._direct or options.transport is not None:
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
            if not self._direct:
                return self._keep(self._driver, name, args, kwargs, without, signature)
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
        assert self._backend is not None
        if self._gone:
            raise NetworkError(f"{name}() was called after the client had been left; connect again.")
        return self._exchanges.start(self._backend, self._tracing, name, args, kwargs, options, signature)

    # Any: as start_call.
    def _keep(
        self,
        driver: Driver,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Options,
        signature: Signature | None,
    ) -> Call[Any]:
        """Keep a call until there is a successor of the conversation whose server goes away."""
        if not driver.backend.owns_current_thread():
            keep = self._keep
            return on_loop(
                driver.backend, "A remote function", keep, driver, name, args, kwargs, options, signature
            )
        if self._succession is None or not self._succeeds():
            raise self._error or NetworkError(f"{name}() was called after the connection had ended.")
        return self._succession.keeping.keep(driver, name, args, kwargs, options, signature)

    def _carries(self, transport: TransportName | None) -> bool:
        """Whether a call that asks for ``transport`` goes over the session."""
        if transport is None:
            return True
        if self._upgrade is not None and transport == "websocket" and self.transport != transport:
            # It moves there with the session, unless there is no way.
            return self._current is not None and self._current.may_upgrade
        return transport == self.transport
