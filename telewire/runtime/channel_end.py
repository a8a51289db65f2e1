"""ChannelEnd: what stands behind one end of a channel; it stays with the stream, not with the handle."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, final

import anyio

from telewire.core.streams import Stream
from telewire.errors import (
    Abort,
    ErrorCode,
    InvalidArgument,
    LocalProtocolError,
    RemoteProtocolError,
    TelewireError,
)
from telewire.runtime.channel_listeners import Handler, Listeners
from telewire.runtime.channel_sending import MESSAGE, Sending
from telewire.runtime.context import CloseCallbacks
from telewire.runtime.failures import received_error
from telewire.runtime.line import Line
from telewire.runtime.outgoing import to_wire
from telewire.runtime.payloads import decode
from telewire.wire.values import decode_items, encode_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from telewire.core.events import CallReceived
    from telewire.runtime.driver import Driver
    from telewire.runtime.shapes import Converter
    from telewire.runtime.sources import Owner

__all__ = ["ChannelEnd"]

REASON_CHARACTERS: Final = 500


@final
class ChannelEnd(Sending):
    """One end: what has arrived, who takes it, and how it all ends."""

    converter: Converter | None = None
    # The other end is about to be handed over, or has been; ours has lost its handle.
    handed: bool = False
    # This one was received and passed on: what arrives is relayed, and the handle speaks no more.
    passed: bool = False
    orphaned: bool = False
    # Messages are taken one by one.
    iterated: bool = False
    # Why it will be done, once all that has arrived is consumed.
    failure: TelewireError | None = None
    _end_said: bool = False
    _aborted: bytes | None = None
    _callbacks: CloseCallbacks | None = None

    def __init__(self) -> None:
        super().__init__()
        self.buffer: deque[object] = deque()
        self.receivers = Line(self._receivable)
        self.listeners = Listeners(self)

    def open(self, driver: Driver, stream: Stream, owner: Owner | None = None) -> None:
        """Take the stream: its introduction is queued, or has arrived. What has waited for it goes on."""
        self.driver = driver
        self.stream = stream
        self._owner = owner
        if self._callbacks is not None:
            self._callbacks.running = driver.running
        stream.app = self
        if self._aborted is not None:
            self._farewell(ErrorCode.ABORTED, self._aborted)
            return
        self.flush()
        if self.closing:
            self.wind_up()
        elif self.orphaned and not self.listeners.handlers:
            self.close()
        self.requesters.advance()
        self.senders.advance()

    @property
    def callbacks(self) -> CloseCallbacks:
        """What runs at the end, made when it is first needed."""
        if self._callbacks is None:
            self._callbacks = CloseCallbacks(self.backend, "a channel", self.driver and self.driver.running)
            if self.done:
                self._callbacks.close(self.reason)
        return self._callbacks

    # --- messages --------------------------------------------------------------------------------

    def items(self, count: int, payload: bytes) -> None:
        """Small messages, as one array."""
        if self.closing or self.done:
            self.consume(count)
            return
        try:
            self.buffer.extend(decode_items(payload, count))
        except RemoteProtocolError as error:
            self._malformed(error)
            return
        self.listeners.wake()
        self.receivers.advance()

    def item(self, payload: bytes, declared: tuple[Stream, ...]) -> None:
        """One message that is large or introduces streams."""
        assert self.driver is not None
        if self.closing or self.done:
            self.driver.give_up(declared)
            self.consume(1)
            return
        try:
            self.buffer.append(decode(self.driver, payload, declared))
        except RemoteProtocolError as error:
            self._malformed(error)
            return
        self.listeners.wake()
        self.receivers.advance()

    def _receivable(self) -> bool:
        return bool(self.buffer) or self.done

    def iterate(self) -> None:
        """Take messages one by one from here on."""
        if self.listeners.handlers:
            raise LocalProtocolError(
                "This end of the channel has listeners, and they get its messages: "
                "either listen or iterate, not both."
            )
        if not self.iterated:
            self.iterated = True
            self.listeners.waiting.advance()

    def take(self) -> object:
        """The next message, where it is our turn.

        Raises:
            EndOfStream: the channel was closed in order.
            TelewireError: why it was not.
        """
        if not self.buffer:
            if self.reason is None:
                raise anyio.EndOfStream
            raise self.reason
        message = self.buffer.popleft()
        self.consume(1)
        if self.converter is not None:
            try:
                message = self.converter.convert(message, MESSAGE)
            except InvalidArgument as error:
                self.refuse_message(error)
                raise
        self.drained()
        return message

    def consume(self, count: int) -> None:
        """Give back the credit of messages."""
        if self.driver is not None and self.stream is not None and not self.stream.retired:
            self.driver.connection.consumed(self.stream, count)
            self.driver.schedule()

    # --- listeners -------------------------------------------------------------------------------

    def listen(self, handler: Handler) -> Callable[[], None]:
        """Call ``handler`` with each message and request; returns what stops that."""
        if self.iterated:
            raise LocalProtocolError(
                "The messages of this end of the channel are taken one by one: "
                "either listen or iterate, not both."
            )
        if self.closing or self.done:
            # Nothing will arrive, and the handler would be held for nothing.
            return _nothing_to_stop
        return self.listeners.add(handler)

    def unheard(self) -> None:
        """The last listener has gone: where there is no handle either, nobody will come to listen."""
        if self.orphaned and self.stream is not None:
            self.close()

    @property
    def refusing(self) -> bool:
        """Whether requests that wait for a listener wait in vain."""
        return self.iterated or self.closing or self.done

    def called(self, driver: Driver, event: CallReceived) -> None:
        """The other side requests."""
        self.listeners.called(driver, event)

    # --- this side ends it -----------------------------------------------------------------------

    def close(self) -> None:
        """Close in order: what was sent still leaves; what arrives from here on is not wanted."""
        if self.closing or self.done:
            return
        self.closing = True
        self.listeners.clear()
        unread = len(self.buffer)
        self.buffer.clear()
        self.senders.advance()
        if self.stream is None:
            self.finish(None)
            return
        if unread:
            self.consume(unread)
        self.wind_up()

    def wind_up(self) -> None:
        """Go on closing: stop the other half, and end ours; it is over when that has left."""
        driver, stream = self.driver, self.stream
        if driver is None or stream is None:
            return
        if not self.requests:
            # A stop would take requests along that have not left.
            driver.connection.stop(stream)
        if self.deaf or self.silent:
            driver.connection.reset(stream)
            self.finish(None)
        else:
            if not self._end_said and not self.early and driver.connection.writable(stream):
                self._end_said = True
                driver.connection.end(stream)
                self.listeners.end_with_call()
            if self._end_said and driver.connection.flushed(stream):
                self.finish(None)
        driver.schedule()

    def abort(self, value: object) -> None:
        """End at once, with a value for both sides."""
        if self.done:
            return
        try:
            payload = encode_value(value, to_wire)
        except TypeError as error:
            raise InvalidArgument(f"The value of abort() cannot travel: {error}") from None
        if self.stream is None:
            self._aborted = payload
        else:
            self._farewell(ErrorCode.ABORTED, payload)
        self.lose(Abort(value))

    def _farewell(self, code: ErrorCode, payload: bytes) -> None:
        """Give up both halves, as far as they are open."""
        driver, stream = self.driver, self.stream
        assert driver is not None
        assert stream is not None
        driver.connection.reset(stream, code, payload)
        driver.connection.stop(stream, code, payload)
        driver.schedule()

    def give_up(self, code: ErrorCode, reason: BaseException) -> None:
        """End at once, without a value: both sides hear why."""
        self._farewell(code, b"")
        self.lose(reason)

    def refuse_message(self, error: InvalidArgument) -> None:
        """A message does not fit: both sides hear of it, and the channel is over."""
        self._farewell(ErrorCode.INVALID_ARGUMENT, encode_value(str(error)[:REASON_CHARACTERS]))
        self.lose(error)

    def _malformed(self, error: RemoteProtocolError) -> None:
        """Nothing from this message on can be trusted; what came before is still delivered."""
        self._farewell(ErrorCode.MALFORMED_VALUE, b"")
        self._say_no_more(error)

    def dropped(self) -> None:
        """The handle is gone, or the loop that owned it."""
        self.close()

    def void(self, error: BaseException | None) -> None:
        """This side ends the call."""
        self.lose(error)

    # --- the other side ends it ------------------------------------------------------------------

    def ended(self, payload: bytes, declared: tuple[Stream, ...]) -> None:
        """The other side has closed, behind what it sent."""
        self._say_no_more(None)

    def failed(self, code: int, payload: bytes) -> None:
        """The same, with an error."""
        self._say_no_more(self._reason(code, payload))

    def _say_no_more(self, failure: TelewireError | None) -> None:
        self.silent = True
        self.failure = failure
        if self.closing:
            self.wind_up()
        else:
            self.senders.advance()
            self.drained()

    def drained(self) -> None:
        """End, where the other side has ended and all that it sent is handled, requests too."""
        if self.silent and not self.buffer and not self.done and not self.listeners.busy():
            if self.driver is not None and self.stream is not None:
                # It has stopped this half already, or is about to.
                self.driver.connection.reset(self.stream)
                self.driver.schedule()
            self.finish(self.failure)

    def stopped(self, code: int, payload: bytes) -> None:
        """The other side wants no more: it closes, it aborted, or the call is over."""
        if code != ErrorCode.NONE:
            self.lose(self._reason(code, payload))
            return
        self.deaf = True
        self.early.clear()
        if self.closing and not self.done:
            self.wind_up()
        self.senders.advance()

    def reset(self, code: int, payload: bytes) -> None:
        """The other side gave up, or the call is over."""
        if code != ErrorCode.NONE:
            self.lose(self._reason(code, payload))
        elif self.closing:
            self._say_no_more(None)
        elif self.silent:
            # It had closed before, so what it sent is still handled, for a bounded time.
            self.deaf = True
            self.listeners.hurry()
        else:
            self.lose(None)

    def _reason(self, code: int, payload: bytes) -> TelewireError | None:
        if code == ErrorCode.NONE:
            return None
        assert self.driver is not None
        return received_error(code, payload, connection=self.driver.connection)

    def lose(self, reason: BaseException | None) -> None:
        """End at once: what has arrived is void, what waits hears of it, what runs is cancelled."""
        self.early.clear()
        if self.done:
            return
        self.buffer.clear()
        self.finish(reason)
        self.give_requests_up()
        self.listeners.cancel()

    def finish(self, reason: BaseException | None) -> None:
        """Nothing more happens here."""
        if self.done:
            return
        self.done = True
        self.reason = reason
        self.listeners.clear()
        if self._callbacks is not None:
            self._callbacks.close(reason)
        for line in (self.senders, self.requesters, self.receivers):
            line.advance()


def _nothing_to_stop() -> None:
    """What stops a handler that will never be called."""
