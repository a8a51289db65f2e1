"""Sending: the speaking half of a channel's end, its messages and requests.

An end can be spoken to before it crosses. What is sent meanwhile waits here, within what the initial
credit of a stream will be, and leaves once the other end has been handed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from telewire.core.answering import listening
from telewire.core.streams import Stream
from telewire.errors import ChannelClosed, NetworkError, ReferenceReleased, TelewireError
from telewire.runtime.backend import Backend, current_backend
from telewire.runtime.channel_early import Early
from telewire.runtime.driver import StreamEnd
from telewire.runtime.line import Line
from telewire.runtime.payloads import NO_SOURCES, encode
from telewire.runtime.shapes import Converter
from telewire.runtime.sources import Owner, Source, declarations, start_sources
from telewire.runtime.threads import current_worker
from telewire.wire.quick import encode_small

if TYPE_CHECKING:
    from telewire.runtime.call import OutgoingCall
    from telewire.runtime.driver import Driver

__all__ = ["MESSAGE", "REQUEST", "Sending"]

MESSAGE: Final = "channel message"
REQUEST: Final = "channel request"


class Sending(StreamEnd):
    """What both halves of an end share, and how it speaks."""

    # Defaults stand on the class: an end sets only what differs.
    driver: Driver | None = None
    stream: Stream | None = None
    outgoing: Converter | None = None
    # This side closes; the other wants no more; the other sends no more; nothing more happens here.
    closing: bool = False
    deaf: bool = False
    silent: bool = False
    done: bool = False
    # Why it is done; None for the end that a channel should have.
    reason: BaseException | None = None
    _owner: Owner | None = None

    def __init__(self) -> None:
        self.early = Early()
        self.senders = Line(self._sendable)
        self.requesters = Line(self._requestable)
        self.requests: set[OutgoingCall] = set()

    @property
    def backend(self) -> Backend:
        """The loop."""
        if self.driver is not None:
            return self.driver.backend
        worker = current_worker()
        # A plain function in a thread of ours makes channels for its loop.
        return current_backend() if worker is None else worker.backend

    def check_thread(self) -> None:
        """See that who uses the channel is on its loop; a plain function may prepare one in its thread.

        Raises:
            RuntimeError: it is another thread.
        """
        if self.driver is not None:
            self.driver.backend.check_thread("A channel")

    @property
    def owner(self) -> Owner:
        """The call in which the channel crossed."""
        if self._owner is None:
            # Here, because calls know their results, which can be channels.
            from telewire.runtime.call import OutgoingCall
            from telewire.runtime.incoming import IncomingCall

            assert self.driver is not None
            assert self.stream is not None
            assert self.stream.call is not None
            app = self.stream.call.app
            if isinstance(app, IncomingCall | OutgoingCall):
                self._owner = app
            else:
                # The call is over and has forgotten who it was: only the log is left to be told.
                return OutgoingCall(self.driver, "channel", None)
        return self._owner

    @property
    def shut(self) -> bool:
        """Whether nothing can be sent any more."""
        return self.closing or self.deaf or self.silent or self.done

    def check_open(self) -> None:
        """Raise what a send on a channel that is closed raises."""
        if self.shut:
            raise self.refusal()

    def refusal(self) -> TelewireError:
        """Why nothing can be sent any more."""
        if isinstance(self.reason, NetworkError):
            return self.reason
        error = ChannelClosed("The channel is closed; nothing can be sent on it any more.")
        error.__cause__ = self.reason
        return error

    def wind_up(self) -> None:
        """Go on closing, as far as that is possible now."""

    # --- messages --------------------------------------------------------------------------------

    def _sendable(self) -> bool:
        if self.shut:
            return True
        if self.stream is None:
            return self.early.has_room
        assert self.driver is not None
        return not self.early and self.driver.connection.writable(self.stream)

    def send(self, message: object) -> None:
        """Send, where it is our turn."""
        self.check_open()
        if self.outgoing is not None:
            self.outgoing.check(message, MESSAGE)
        if self.stream is None:
            self.early.add(message, MESSAGE)
        else:
            self._transmit(self.stream, message)

    def _transmit(self, stream: Stream, message: object) -> None:
        driver = self.driver
        assert driver is not None
        payload = encode_small(message)
        sources: Sequence[Source] = NO_SOURCES
        if payload is None:
            payload, sources = encode(message, MESSAGE, driver)
        if sources:
            try:
                declared = driver.connection.send_message(stream, payload, declarations(sources))
            except BaseException:
                for source in sources:
                    source.discard()
                raise
            start_sources(self.owner, sources, declared, MESSAGE)
        else:
            driver.connection.send_plain(stream, payload)
        if not driver.flushing:
            driver.schedule()

    def flush(self) -> None:
        """Send what has waited for the stream, as far as the credit goes."""
        driver, stream = self.driver, self.stream
        assert driver is not None
        assert stream is not None
        while self.early and driver.connection.writable(stream):
            message, payload = self.early.take()
            try:
                if payload is None:
                    self._transmit(stream, message)
                else:
                    driver.connection.send_message(stream, payload)
            except TelewireError as error:
                self.owner.bug(error, "A message sent before its channel was handed over")
        driver.schedule()

    def unblocked(self) -> None:
        """There is credit again."""
        self.flush()
        if self.closing:
            self.wind_up()
        self.senders.advance()

    # --- requests --------------------------------------------------------------------------------

    def _requestable(self) -> bool:
        return self.stream is not None or self.shut

    async def request(self, message: object, reply: Converter | None) -> object:
        """Ask the other side's handlers, and wait for what they answer."""
        # Here, as above.
        from telewire.runtime.remote import start_call

        self.check_open()
        if self.outgoing is not None:
            self.outgoing.check(message, REQUEST)
        await self.requesters.turn()
        try:
            self.check_open()
            driver, stream = self.driver, self.stream
            assert driver is not None
            assert stream is not None
            if not listening(stream):
                # The state machine hears of an end first; we shall.
                raise self.refusal()
            call = start_call(driver, stream, (message,), {}, result=reply)
        finally:
            self.requesters.advance()
        self.requests.add(call._state)
        try:
            return await call
        except ReferenceReleased:
            raise ChannelClosed("The channel was closed before the request arrived.") from None
        finally:
            self.requests.discard(call._state)
            if self.closing:
                self.wind_up()

    def give_requests_up(self) -> None:
        """Nobody waits for their answers any more: who asked is told that the channel is closed."""
        for call in tuple(self.requests):
            call.settle(None, self.refusal())
            call.cancel(None, quiet=True)
