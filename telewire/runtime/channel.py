"""Channel: messages and requests both ways between two ends, one of which is handed over in a value."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, final, get_args, overload

import anyio

from telewire.core.streams import Stream
from telewire.errors import LocalProtocolError
from telewire.runtime.channel_end import ChannelEnd
from telewire.runtime.channel_relay import relay
from telewire.runtime.context import OnClose
from telewire.runtime.convert import converter_for
from telewire.runtime.from_thread import ThreadIterator
from telewire.runtime.shapes import Converter, Convertible
from telewire.runtime.sources import Owner, Source
from telewire.wire.frames import Kind
from telewire.wire.values import ValueEncodeError

if TYPE_CHECKING:
    from telewire.runtime.driver import Driver

__all__ = ["Channel", "ChannelSource", "open_channel"]

In = TypeVar("In")
Out = TypeVar("Out")
R = TypeVar("R")


class Channel(Convertible, Generic[In, Out]):
    """One end of a two-way channel: it receives messages of the first type and sends those of the second.

    ``channel = Channel[Incoming, Outgoing]()`` makes both ends. Keep this one and return, pass or
    send ``channel.peer``, typed ``Channel[Outgoing, Incoming]``; it belongs to the call in which it
    crosses and is closed with it. What is sent before waits, within the initial credit of a stream
    (64 KiB; a message costs at least 256 bytes).

    Take messages one by one (``async for``, ``receive``) or let handlers ``listen``. An end with a
    listener is held by the connection; without one, dropping the last reference closes it.

    An end that was received can be passed on, once and before it is listened to or iterated: back, or to
    another connection. This side then relays, and its handle can only be closed or aborted.
    """

    kind: ClassVar[str] = "channel"
    __slots__ = ("__weakref__", "_end", "_peer")

    def __init__(self) -> None:
        self._end = ChannelEnd()
        self._peer: Channel[Out, In] | None = None

    def __repr__(self) -> str:
        return f"<Channel, {'closed' if self.closed else 'open'}>"

    # Channel[int, str]() says here what the two are. (Any: an annotation is a value of no common type.)
    @property
    def __orig_class__(self) -> Any:
        """The annotated class that this end was made with is not kept."""
        raise AttributeError("__orig_class__")

    @__orig_class__.setter
    def __orig_class__(self, annotated: Any) -> None:
        incoming, outgoing = get_args(annotated)
        self.set_item_converter(converter_for(incoming))
        self.set_outgoing_converter(converter_for(outgoing))

    @property
    def peer(self) -> Channel[Out, In]:
        """The other end: return it, pass it as an argument or send it in a message, once.

        Raises:
            LocalProtocolError: this end was received; the other one is on the other side.
        """
        if self._peer is None:
            if self._end.stream is not None:
                raise LocalProtocolError(
                    "This end of the channel was received, and its peer is on the other side; "
                    "make a Channel of your own to hand over an end."
                )
            self._peer = PeerEnd(self._end)
        return self._peer

    def _usable(self) -> ChannelEnd:
        end = self._end
        if end.passed:
            raise LocalProtocolError(
                "This end of the channel was passed on: whoever received it uses it. "
                "Here it can only be closed or aborted."
            )
        end.check_thread()
        return end

    # --- sending ---------------------------------------------------------------------------------

    async def send(self, message: Out) -> None:
        """Send a message; waits while the other side is behind.

        It returns when the message is on its way, not when it is handled: for that there is
        ``request``. Tasks that wait here send in the order in which they came.

        Raises:
            ChannelClosed: either side has closed or aborted the channel, or its call is over.
            NetworkError: the connection is lost.
            InvalidArgument: the message cannot travel, or does not fit the annotation.
            ResourceExhausted: the message is larger than the other side accepts.
        """
        end = self._usable()
        if end.senders.free:
            end.send(message)
            return
        await end.senders.turn()
        try:
            end.send(message)
        finally:
            end.senders.advance()

    def send_nowait(self, message: Out) -> None:
        """Send a message, or raise anyio.WouldBlock where ``send`` would wait. As ``send`` otherwise."""
        end = self._usable()
        if not end.senders.free:
            raise anyio.WouldBlock
        end.send(message)

    @overload
    async def request(self, message: Out) -> Any: ...
    @overload
    async def request(self, message: Out, reply: type[R]) -> R: ...
    # Any: what a reply is only ``reply`` can say.
    async def request(self, message: Out, reply: Any = None) -> Any:
        """Send a message and wait for what the other side's handlers answer, converted to ``reply``.

        Requests start in the order in which they were made, run side by side and wait for no message.
        A request waits until somebody listens. Cancelling it cancels the handler.

        Raises:
            Abort: the handler refused it.
            RemoteError: the handler failed.
            InvalidArgument: the message cannot travel or does not fit, or the reply does not.
            FunctionNotFound: the other end is iterated and answers nothing.
            ChannelClosed: the channel is closed, or was before the answer came.
            NetworkError: the connection is lost.
        """
        return await self._usable().request(message, None if reply is None else converter_for(reply))

    # --- receiving -------------------------------------------------------------------------------

    # Any: what a handler returns is the reply.
    def listen(self, handler: Callable[[In], Any]) -> Callable[[], None]:
        """Call ``handler`` with each message and each request; returns a function that ends that.

        Several may listen; they are called in order of registration, and the first reply that is not
        None answers a request. A handler may be sync or async and runs on the loop, in the context
        of the call in which the channel crossed. Messages are handled one after the other.

        Raises:
            LocalProtocolError: messages of this end have been taken one by one.
        """
        return self._usable().listen(handler)

    async def receive(self) -> In:
        """The next message; waits for it.

        Raises:
            anyio.EndOfStream: the channel was closed in order, and all that was sent before is taken.
            TelewireError: it ended otherwise: Abort, CallCancelled, NetworkError and others.
            InvalidArgument: the message does not fit the annotation, which ends the channel.
            LocalProtocolError: this end has listeners.
        """
        end = self._usable()
        end.iterate()
        if end.receivers.free:
            return end.take()  # type: ignore[return-value]  # converted to the annotation, or not annotated
        await end.receivers.turn()
        try:
            return end.take()  # type: ignore[return-value]  # as above
        finally:
            end.receivers.advance()

    def __aiter__(self) -> AsyncIterator[In]:
        """The messages, until the channel ends; leaving the loop leaves it open."""
        self._usable().iterate()
        return Messages(self)

    def __iter__(self) -> Iterator[In]:
        """The same in the thread of a plain function: it waits for each message while the loop goes on.

        To send from there, ``telewire.wait(channel.send(message))``. Where the call is over meanwhile, or
        what this code makes is not wanted any more, the function is unwound: see :func:`telewire.wait`.

        Raises:
            RuntimeError: this is no such thread; use ``async for`` on the loop.
        """
        return ThreadIterator(self, "A plain `for` over a Channel")

    # --- ending ----------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._end.shut

    def on_close(self, callback: OnClose) -> None:
        """Run ``callback`` once when the channel is over; as ``Context.on_close``.

        The reason is None where it was closed in order, and then all that the other side had sent is
        handled first; else Abort, CallCancelled, NetworkError or another.
        """
        self._end.callbacks.add(callback)

    async def aclose(self) -> None:
        """Close in order: the other side gets what was sent, and then the end. Safe from any task.

        Returns when all that was sent has its credit and will leave; where the other side is behind
        for longer than ``Limits.cleanup_seconds`` it returns then, and the rest leaves later. What
        the other side sent and nobody has taken here is dropped.
        """
        end = self._end
        end.check_thread()
        end.close()
        if end.driver is not None and not end.done:
            with anyio.move_on_after(end.driver.connection.limits.cleanup_seconds):
                await end.callbacks.wait()

    # Any: whatever can travel.
    def abort(self, value: Any = None) -> None:
        """End at once, with a value: ``on_close`` of both sides gets ``Abort(value)``. Safe from any task.

        Messages that are not handled yet are dropped, handlers that run are cancelled, except the one
        that calls this. Aborting what is closed does nothing.

        Raises:
            InvalidArgument: the value cannot travel.
            LocalProtocolError: its encoding is larger than ``Limits.reason_bytes``.
        """
        self._end.check_thread()
        self._end.abort(value)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        await self.aclose()

    def set_item_converter(self, converter: Converter) -> None:
        """Convert messages to an annotation; telewire calls this before you get the handle."""
        self._end.converter = None if converter.identity else converter

    def set_outgoing_converter(self, converter: Converter) -> None:
        """Check messages that leave against an annotation; telewire calls this before you get the handle."""
        self._end.outgoing = None if converter.identity else converter

    def _drop(self) -> None:
        """Close it, where nobody listens: from a finaliser, of the handle or of the loop that owns it."""
        end = self._end
        if end.stream is None or end.driver is None or end.listeners.handlers:
            end.orphaned = True
            return
        # At interpreter exit the loop may be gone already.
        with contextlib.suppress(RuntimeError):
            if not end.stream.retired:
                end.driver.finalise(end.stream)
            elif not end.done:
                end.driver.backend.call_soon_threadsafe(end.close)

    def __del__(self) -> None:
        self._drop()


@final
class PeerEnd(Channel[In, Out]):
    """The end to hand over: good for nothing else."""

    __slots__ = ("other",)

    def __init__(self, other: ChannelEnd) -> None:
        self.other = other

    def __repr__(self) -> str:
        return f"<Channel to hand over, {'handed over' if self.other.handed else 'kept so far'}>"

    # A channel that is used reads this first.
    @property
    def _end(self) -> ChannelEnd:  # type: ignore[override]  # it never has one
        raise LocalProtocolError(
            "channel.peer is the end for the other side: return it, pass it or send it, "
            "and use the channel itself here."
        )

    async def aclose(self) -> None:
        """Close the channel; whoever gets this end sees its end."""
        self.other.close()

    def _drop(self) -> None:
        """It holds nothing that would need to be closed."""


@final
class Messages(AsyncIterator[In]):
    """A loop over a channel; it holds the channel."""

    __slots__ = ("_channel",)

    def __init__(self, channel: Channel[In, Any]) -> None:
        self._channel = channel

    async def __anext__(self) -> In:
        try:
            return await self._channel.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


@final
class ChannelSource(Source):
    """An end of a channel on its way: the peer of one of ours, or one that was received, to be relayed.

    Raises:
        ValueEncodeError: this end is not one to be handed over, or has been.
    """

    kind = Kind.CHANNEL
    __slots__ = ("_end", "_received", "number")

    def __init__(self, driver: Driver, channel: Channel[Any, Any]) -> None:
        self._received: ChannelEnd | None = None
        if isinstance(channel, PeerEnd):
            if channel.other.handed:
                raise ValueEncodeError(
                    "This end of the channel was handed over already; make a Channel for each receiver."
                )
            self._end = channel.other
            self._end.handed = True
        else:
            self._received = _relayable(channel._end)
            self._received.passed = True
            self._end = ChannelEnd()
        self.number: int | None = driver.exports.next_number()

    def start(self, owner: Owner, stream: Stream, place: str) -> None:
        """Let both ends speak."""
        self._end.open(owner.driver, stream, owner)
        if self._received is not None:
            relay(self._received, self._end)

    def discard(self) -> None:
        """It may be handed over in another value."""
        self._end.handed = False
        if self._received is not None:
            self._received.passed = False


def _relayable(end: ChannelEnd) -> ChannelEnd:
    """An end that was received, if it can be passed on.

    Raises:
        ValueEncodeError: it cannot.
    """
    if end.passed:
        raise ValueEncodeError("This end of the channel was passed on already: whoever received it uses it.")
    if end.stream is None or end.stream.opened_here:
        raise ValueEncodeError("This end of the channel is for this side; hand over its peer.")
    if end.iterated or end.listeners.handlers:
        raise ValueEncodeError(
            "This end of the channel is in use here: pass it on before anybody listens or iterates, "
            "or make a Channel and forward between the two."
        )
    if end.shut:
        raise ValueEncodeError("This channel is closed; there is nothing to pass on.")
    return end


# Any: what crosses only an annotation can say.
def open_channel(driver: Driver, stream: Stream) -> Channel[Any, Any]:
    """Make the handle of an end that has arrived."""
    channel: Channel[Any, Any] = Channel()
    channel._end.open(driver, stream)
    return channel
