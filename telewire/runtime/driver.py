"""Driver: the only loop between a Connection and its transport: read, feed, write, sleep.

It makes no decision of the protocol. After every input and command it writes what the connection
has for the transport, once in a pass of the loop and not for each frame, arms one timer, and hands
out the events to the objects that stand behind the handles (``Stream.app``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, assert_never, cast, final
from weakref import WeakSet

from telewire.core.connection import Connection
from telewire.core.events import (
    CallOver,
    CallReceived,
    CallRejected,
    CallResolved,
    CallStopped,
    ChunkReceived,
    ConnectionClosed,
    Event,
    GoAwayReceived,
    HelloReceived,
    ItemReceived,
    ItemsReceived,
    SessionDetached,
    SessionResumed,
    StreamEnded,
    StreamFailed,
    StreamReset,
    StreamStopped,
    StreamUnblocked,
)
from telewire.core.states import ConnectionState
from telewire.core.streams import Call, Stream
from telewire.errors import ErrorCode, NetworkError, TelewireError, TransportUnsuitable
from telewire.runtime.alarm import Alarm
from telewire.runtime.attachment import Attachment
from telewire.runtime.backend import current_backend
from telewire.runtime.exports import Exports
from telewire.runtime.failures import printable, received_error
from telewire.runtime.promotion import go_on
from telewire.runtime.running import Running
from telewire.wire.frames import Kind

if TYPE_CHECKING:
    from telewire.errors import RemoteProtocolError
    from telewire.runtime.attachment import Route
    from telewire.runtime.backend import Backend
    from telewire.runtime.tracing import Tracing
    from telewire.runtime.transport import ExchangeTransport, OpenTransport, Request, Transport

__all__ = ["HTTP", "CallEnd", "Driver", "Host", "StreamEnd", "drivers"]

HTTP: Final = ("http", "sse")
"""Transports on which a batch may come twice or out of order, where they carry a session."""

# A member costs as much as a call where it is looked up through its class (CPython 3.11).
_OPEN: Final = ConnectionState.OPEN
PULL_BYTES: Final = 64 * 1024
PASS_BYTES: Final = 256 * 1024
# Two events stand for a call on either side. With 64 calls in flight 32 to 64 are equally quick, and 128,
# which is all of them at once, takes nearly twice as long: while one side works the other waits.
PASS_EVENTS: Final = 48


class CallEnd:
    """What stands behind a call of ours, or of the peer's: it is told what becomes of it."""

    __slots__ = ()

    def resolved(self, payload: bytes, declared: tuple[Stream, ...]) -> None:
        """The result of a call of ours."""

    def rejected(self, code: int, payload: bytes) -> None:
        """The error of a call of ours."""

    def stopped(self, code: int, payload: bytes) -> None:
        """The caller cancelled."""

    def over(self, code: int, payload: bytes) -> None:
        """Nothing more will come of the call."""


CallAgain: TypeAlias = Callable[[CallEnd, Call], bool]
"""Whether a call of ours that never started is made again, by whoever it is that stands behind it."""


class StreamEnd:
    """What stands behind a declared stream."""

    __slots__ = ()

    def items(self, count: int, payload: bytes) -> None:
        """Small items, as one array."""

    def item(self, payload: bytes, declared: tuple[Stream, ...]) -> None:
        """One item that is large or introduces streams."""

    def chunk(self, data: bytes) -> None:
        """Bytes, never none."""

    def ended(self, payload: bytes, declared: tuple[Stream, ...]) -> None:
        """The sender finished."""

    def failed(self, code: int, payload: bytes) -> None:
        """The sender failed, behind what it had sent."""

    def reset(self, code: int, payload: bytes) -> None:
        """The sender gave up."""

    def stopped(self, code: int, payload: bytes) -> None:
        """The receiver gave up."""

    def unblocked(self) -> None:
        """There is credit again."""

    def called(self, driver: Driver, event: CallReceived) -> None:
        """The peer calls it: a function or channel of ours. By default it is none that we know."""
        driver.give_up(event.declared)
        driver.connection.reject(event.call, ErrorCode.REFERENCE_RELEASED)
        driver.connection.finish(event.call)
        driver.schedule()

    def void(self, error: BaseException | None) -> None:
        """This side ends the call: who still waits sees the end, or ``error``."""

    def dropped(self) -> None:
        """The handle is gone, or the loop that owned it: the stream is stopped next."""


class Host(Protocol):
    """Whose driver it is: the client or the server side of the runtime."""

    def opened(self) -> None:
        """The hellos have crossed."""

    def called(self, driver: Driver, event: CallReceived) -> None:
        """The peer calls."""

    def going_away(self, event: GoAwayReceived) -> None:
        """The peer will take no more calls, or takes none any more."""

    def closed(self, error: TelewireError | None) -> None:
        """The conversation is over; None where it was closed in order."""

    def lost(self) -> None:
        """The transport has ended: nothing will be heard or said any more."""

    def detached(self) -> None:
        """The transport has ended, and the session goes on with another one: :meth:`Driver.attach`."""

    def resumed(self) -> None:
        """The session goes on over another transport."""


@final
class Driver:
    """Binds one connection to one transport at a time; a ``TransportHandler``.

    A session has one transport after the other, each with an ``attachment`` of its own. That of an
    ``exchange`` is paused and resumed as the connection is readable, and told which batches are the last.
    """

    attachment: Attachment | None = None
    loss: Exception | None = None
    """Why the transport ended, where it did not end in order."""
    way_back: OpenTransport | None = None
    """Of an exchange's client that was promoted: what opens the session's next transport."""
    farewell: GoAwayReceived | None = None
    """What the peer said of its going away, where it has."""
    call_again: CallAgain | None = None
    """Takes a call of ours that was refused because the peer goes away, where it can go elsewhere."""
    _lost: bool = False
    _paused: bool = False
    _ended: bool = False

    def __init__(
        self,
        backend: Backend,
        connection: Connection,
        transport: Transport,
        host: Host,
        running: Running | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.backend = backend
        self.tracing = tracing
        self.connection = connection
        self.transport = transport
        self.host = host
        self.running = Running(backend) if running is None else running
        self.exports = Exports()
        self.flushing = False
        """Whether a write in the next pass of the loop is scheduled already."""
        self._dispatching = False
        # What is left of the events of a pass; None where nothing is: an empty deque takes 760 bytes.
        self._pending: deque[Event] | None = None
        self._continuing = False
        self._finalised: list[Stream] = []
        self._alarm = Alarm()
        self._gone = False
        _drivers.add(self)
        self.exchange: ExchangeTransport | None = None
        # What is read as the application consumes: an exchange, or what is left of its request.
        self._paced: ExchangeTransport | None = None
        if not connection.exchange:
            self.schedule()
            return
        self.exchange = self._paced = cast("ExchangeTransport", transport)
        if connection.side == "server":
            # A pass later: by then a short call may have its answer, and leaves with the hello.
            backend.call_soon(self.schedule)

    # --- from the transport ----------------------------------------------------------------------

    def batch_received(self, batch: bytes, *, in_request: bool = False) -> None:
        """Feed one batch, ``in_request`` of a promoted exchange; the answers leave with this pass."""
        if self.tracing is not None:
            self.tracing.received(batch)
        connection = self.connection
        take = connection.receive_request if in_request else connection.receive_data
        take(batch, self.backend.now())
        if self.exchange is not None and connection.promoted:
            self.way_back = go_on(self)
        self.dispatch()
        if self._paced is not None:
            self._pace(self._paced)
        if not self.flushing and not connection.quiet:
            self.schedule()

    def violation_received(self, error: RemoteProtocolError) -> None:
        """Let the connection refuse what its adapter did not take in; its CLOSE leaves with this pass."""
        self.connection.receive_violation(error, self.backend.now())
        self.digest()

    def bytes_received(self) -> None:
        """Note a sign of life, and give one."""
        if self.connection.receive_bytes(self.backend.now()):
            self.schedule()

    def transport_writable(self) -> None:
        """Go on writing."""
        self.schedule()

    def input_ended(self) -> None:
        """Note that the request of an exchange is complete."""
        self.connection.receive_end(self.backend.now())
        self.dispatch()
        self.schedule()

    def transport_lost(self, error: Exception | None) -> None:
        """Settle everything: without its transport the session is over.

        What an exchange has received whole is still consumed, and its deadlines hold meanwhile.
        """
        self._gone = True
        self.loss = error
        self.attachment = None
        if error is None and self.exchange is not None:
            # Heard of only where the call is not over.
            self.loss = NetworkError("The response ended before the call did; a proxy may have cut it off.")
        if isinstance(error, TransportUnsuitable):
            # Another one of its kind would be no better.
            self.connection.close(ErrorCode.SESSION_LOST)
        self.connection.receive_eof(self.backend.now())
        self.dispatch()
        if self.connection.detached:
            self._arm()
            self.host.detached()
            return
        if self.connection.state is ConnectionState.CLOSED:
            self._alarm.clear()
        self._tell_lost()

    def request(self) -> Request:
        """The request that opened the transport in use, or the last one."""
        return self.transport.request

    # --- sessions --------------------------------------------------------------------------------

    def attach(
        self, transport: Transport, route: Route | None = None, attachment: Attachment | None = None
    ) -> Attachment:
        """Go on over ``transport``; returns what that is to talk to. The old one is dropped, if it is left.

        ``attachment`` is what it talks to already, ``route`` decides whom its first batches are for.

        What the connection has to say of it was said before: :meth:`Connection.attach` by a client,
        :meth:`Connection.resume` by a server.
        """
        if not self._gone and self.transport is not transport:
            self.transport.abort()
        self.transport = transport
        self._paced = None
        self.connection.states_positions = transport.request.transport in HTTP
        self._gone = False
        self.attachment = attachment or Attachment(self, transport, route)
        self._alarm.clear()
        self.digest()
        return self.attachment

    def digest(self) -> None:
        """Owed after every input: hand out what it means, and let the answers leave with this pass."""
        self.dispatch()
        if not self.flushing:
            self.schedule()

    def retire(self) -> None:
        """Say nothing more: the transport belongs to another conversation."""
        self._gone = True
        self.attachment = None
        self._alarm.clear()

    def _drop(self) -> None:
        """The session has given its transport up."""
        if not self._gone:
            self.retire()
            self.transport.abort()
            self._arm()
            self.host.detached()

    def give_transport_up(self) -> None:
        """Drop a transport on which nobody answers a client that resumes."""
        if self.connection.detached and not self._gone:
            transport = self.transport
            self.transport_lost(None)
            transport.abort()

    def abort(self) -> None:
        """End the conversation without a word."""
        self.connection.close()
        if self._gone:
            self.digest()
        else:
            self.transport.abort()

    def _tell_lost(self) -> None:
        if not self._lost:
            self._lost = True
            self.host.lost()

    # --- to the transport ------------------------------------------------------------------------

    def schedule(self) -> None:
        """Owed after every command: write in the next pass of the loop all that is there by then."""
        if not self.flushing:
            self.flushing = True
            self.backend.call_soon(self._flush)

    def _flush(self) -> None:
        self.flushing = False
        self.write()

    def write(self) -> None:
        """Write now, as far as the transport takes it, in one send."""
        connection = self.connection
        transport = self.transport
        if not self._gone and transport.writable:
            now = self.backend.now()
            batches = connection.data_to_send(PULL_BYTES, now)
            if batches:
                size = len(batches[0]) if len(batches) == 1 else sum(map(len, batches))
                while size >= PULL_BYTES:
                    more = connection.data_to_send(PULL_BYTES, now)
                    if not more:
                        break
                    batches += more
                    size = size + sum(map(len, more)) if size < PASS_BYTES else 0
                if self.tracing is not None:
                    self.tracing.sent(batches)
                if self.exchange is None:
                    transport.send(batches)
                if not size and transport.writable:
                    # There may be more; let others have a pass before it.
                    self.schedule()
            if self.exchange is not None:
                self._send(self.exchange, batches)
        if connection.has_events:
            self.dispatch()
        if self._paced is not None:
            self._pace(self._paced)
        if connection.state is _OPEN:
            self._arm()
        elif connection.hung_up:
            transport.abort()
        elif connection.state is ConnectionState.CLOSED:
            transport.close()
        else:
            self._arm()

    def _send(self, exchange: ExchangeTransport, batches: list[bytes]) -> None:
        """Send, and end this side's body where nothing will follow."""
        connection = self.connection
        if connection.said_all or connection.state is ConnectionState.CLOSED:
            if not self._ended:
                self._ended = True
                exchange.send_last(batches)
        elif batches:
            exchange.send(batches)

    def _pace(self, exchange: ExchangeTransport) -> None:
        """Read as the application consumes."""
        if self.connection.readable is not self._paused:
            return
        self._paused = not self._paused
        if self._paused:
            exchange.pause()
        else:
            # Silence counts from now on.
            self.connection.receive_bytes(self.backend.now())
            exchange.resume()

    def _arm(self) -> None:
        when = self.connection.next_timeout()
        if when is not None:
            self._alarm.set(when, self.backend, self._timeout)

    def _timeout(self) -> None:
        self._alarm.rung()
        self.connection.handle_timeout(self.backend.now())
        self.dispatch()
        self.schedule()

    # --- events ----------------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Hand out events, in order; those that arise meanwhile too.

        Only so many in one pass: what they start then leaves in several batches, one a pass, and the
        other side works on the first while this one prepares the next.
        """
        connection, pending = self.connection, self._pending
        if self._dispatching or not (pending or connection.has_events):
            return
        if pending is None:
            pending = self._pending = deque()
        pending.extend(connection.events_received())
        self._dispatching = True
        left = PASS_EVENTS
        try:
            while left:
                left -= 1
                self._hand_out(pending.popleft())
                if not pending:
                    if not connection.has_events:
                        self._pending = None
                        return
                    pending.extend(connection.events_received())
        finally:
            self._dispatching = False
        if not self._continuing:
            self._continuing = True
            self.backend.call_soon(self._continue)

    def _continue(self) -> None:
        self._continuing = False
        self.dispatch()
        self.schedule()

    def _hand_out(self, event: Event) -> None:
        # The most frequent first.
        if isinstance(event, CallOver):
            call = event.call
            app, call.app = call.app, None
            # They refer to each other; what no cycle holds needs no collector.
            if isinstance(app, CallEnd):
                app.over(event.code, event.payload)
        elif isinstance(event, CallResolved):
            app = event.call.app
            if isinstance(app, CallEnd):
                app.resolved(event.payload, event.declared)
        elif isinstance(event, CallReceived):
            if isinstance(event.target, str):
                self.host.called(self, event)
            else:
                self._end_of(event.target).called(self, event)
        elif isinstance(event, ItemsReceived):
            self._end_of(event.stream).items(event.count, event.payload)
        elif isinstance(event, ChunkReceived):
            self._end_of(event.stream).chunk(event.payload)
        elif isinstance(event, StreamUnblocked):
            self._end_of(event.stream).unblocked()
        elif isinstance(event, CallRejected):
            self.give_up(event.declared)
            self._call_of(event.call).rejected(event.code, event.payload)
        elif isinstance(event, CallStopped):
            self._call_of(event.call).stopped(event.code, event.payload)
        elif isinstance(event, ItemReceived):
            self._end_of(event.stream).item(event.payload, event.declared)
        elif isinstance(event, StreamEnded):
            self._end_of(event.stream).ended(event.payload, event.declared)
        elif isinstance(event, StreamFailed):
            self.give_up(event.declared)
            self._end_of(event.stream).failed(event.code, event.payload)
        elif isinstance(event, StreamReset):
            self._end_of(event.stream).reset(event.code, event.payload)
        elif isinstance(event, StreamStopped):
            self._end_of(event.stream).stopped(event.code, event.payload)
        elif isinstance(event, HelloReceived):
            self.host.opened()
        elif isinstance(event, ConnectionClosed):
            self._closed(event)
        elif isinstance(event, SessionDetached):
            # Unless it has been resumed since.
            if self.connection.detached:
                self._drop()
        elif isinstance(event, SessionResumed):
            self.host.resumed()
        elif isinstance(event, GoAwayReceived):
            self.farewell = event
            self.host.going_away(event)
        else:
            assert_never(event)

    @staticmethod
    def _end_of(stream: Stream) -> StreamEnd:
        app = stream.app
        return app if isinstance(app, StreamEnd) else _NOBODY

    @staticmethod
    def _call_of(call: Call) -> CallEnd:
        app = call.app
        return app if isinstance(app, CallEnd) else _NO_CALL

    def _closed(self, event: ConnectionClosed) -> None:
        """Tell the host; it hears nothing of a transport that is not there any more."""
        self._tell_closed(event)
        if self._gone and self.connection.resumable:
            self._alarm.clear()
            self._tell_lost()

    def _tell_closed(self, event: ConnectionClosed) -> None:
        if event.code == ErrorCode.NONE:
            self.host.closed(None)
            return
        error = received_error(event.code, b"", connection=self.connection)
        if isinstance(self.loss, TransportUnsuitable):
            error = self.loss
        elif not isinstance(error, NetworkError):
            error = NetworkError(f"The connection was closed: {printable(event.text) or event.code}.")
        error.__cause__ = event.error
        self.host.closed(error)

    # --- handles ---------------------------------------------------------------------------------

    def make_handles(self, declared: tuple[Stream, ...]) -> list[object]:
        """The handles of the streams that a payload introduces, in order."""
        # Here, because handles themselves hold their driver.
        from telewire.runtime.crossing import open_handle

        return [open_handle(self, stream) for stream in declared]

    def give_up(self, declared: tuple[Stream, ...], code: ErrorCode = ErrorCode.NONE) -> None:
        """Stop streams that nobody will have a handle for."""
        for stream in declared:
            if stream.kind is Kind.CHANNEL:
                self.connection.reset(stream, code)
            if not stream.retired:
                self.connection.stop(stream, code)
        if declared:
            self.schedule()

    def finalise(self, stream: Stream) -> None:
        """Stop a stream whose handle was collected; safe from a finaliser in any thread."""
        self._finalised.append(stream)
        if self.backend.owns_current_thread():
            self.backend.call_soon(self._collect)
        else:
            self.backend.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        while self._finalised:
            stream = self._finalised.pop(0)
            if not stream.retired:
                self._end_of(stream).dropped()
                self.connection.stop(stream)
        self.dispatch()
        self.schedule()


def drivers() -> list[Driver]:
    """All drivers of the running loop."""
    backend = current_backend()
    return [driver for driver in list(_drivers) if driver.backend is backend]


_drivers: Final[WeakSet[Driver]] = WeakSet()
_NOBODY: Final = StreamEnd()
_NO_CALL: Final = CallEnd()
