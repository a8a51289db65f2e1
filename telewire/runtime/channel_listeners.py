"""Listeners: the handlers of a channel's end: its messages in turn, its requests side by side."""

from __future__ import annotations

import contextvars
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

from telewire.errors import Abort, ErrorCode, InvalidArgument
from telewire.runtime.channel_sending import MESSAGE, REQUEST
from telewire.runtime.failures import Refusal
from telewire.runtime.line import Line
from telewire.runtime.promise import watch
from telewire.runtime.signatures import Signature
from telewire.runtime.sources import SourceTask
from telewire.wire.values import encode_value

if TYPE_CHECKING:
    from telewire.core.events import CallReceived
    from telewire.core.streams import Call
    from telewire.runtime.backend import Timer
    from telewire.runtime.channel_end import ChannelEnd
    from telewire.runtime.driver import Driver

__all__ = ["NOT_LISTENING", "Handler", "Listeners"]

# Any: what a message is only an annotation of the channel can say.
Handler: TypeAlias = Callable[[Any], object]

PASS_MESSAGES: Final = 64
NOT_LISTENING: Final = (
    "The other end of the channel takes messages one by one and answers no requests; "
    "send() to it, or let it listen()."
)

logger = logging.getLogger("telewire.runtime")
_handling: contextvars.ContextVar[object] = contextvars.ContextVar("telewire_channel")


@final
class Listeners:
    """Who listens at one end, and the task that hands them its messages; there is one while there are any."""

    __slots__ = ("_context", "_end", "_last", "_open", "_signature", "_timer", "handlers", "task", "waiting")

    def __init__(self, end: ChannelEnd) -> None:
        self._end = end
        self._last = 0
        # Where the first began to listen: what wakes us runs in anybody's context.
        self._context: contextvars.Context | None = None
        self._signature: Signature | None = None
        # Requests that have arrived and are not answered, and whether somebody waits for their end.
        self._open: dict[Call, bool] = {}
        # What is called with messages, and what with requests: the same but for a relay.
        self.handlers: dict[int, tuple[Handler, Handler]] = {}
        self._timer: Timer | None = None
        self.task: SourceTask | None = None
        self.waiting = Line(self._answerable)

    def _answerable(self) -> bool:
        return bool(self.handlers) or self._end.refusing

    def add(self, handler: Handler, on_request: Handler | None = None) -> Callable[[], None]:
        """Call ``handler`` from now on, or ``on_request`` with requests; returns what stops that."""
        if self._context is None:
            self._context = contextvars.copy_context()
        self._last += 1
        number = self._last
        self.handlers[number] = (handler, handler if on_request is None else on_request)
        self.wake()
        self.waiting.advance()

        def stop() -> None:
            """Call the handler no more; a call of it that runs goes on. Twice does nothing."""
            if self.handlers.pop(number, None) is not None and not self.handlers:
                self._end.unheard()

        return stop

    # --- messages --------------------------------------------------------------------------------

    def wake(self) -> None:
        """Start handing out messages, where there are some and somebody listens."""
        end = self._end
        if self.task is None and self.handlers and end.buffer:
            assert self._context is not None
            # The task's first step is later: what it needs is set by then.
            self.task = self._context.run(SourceTask, end.owner, lambda body: self)

    async def run(self) -> None:
        """Hand out messages one after the other; each is consumed when it has been handled."""
        _handling.set(self)
        end = self._end
        handled = 0
        try:
            while end.buffer and self.handlers:
                await self._handle(end.buffer.popleft())
                end.consume(1)
                handled += 1
                if not handled % PASS_MESSAGES:
                    # Handlers that never wait would keep the loop to themselves.
                    await end.backend.checkpoint()
        finally:
            self.task = None
        end.drained()

    async def _handle(self, message: object) -> None:
        end = self._end
        if end.converter is not None:
            try:
                message = end.converter.convert(message, MESSAGE)
            except InvalidArgument as error:
                end.refuse_message(error)
                return
        for number, (handler, _) in tuple(self.handlers.items()):
            if number not in self.handlers:
                continue
            try:
                reply = handler(message)
                if isinstance(reply, Awaitable):
                    await watch(reply)
            except Abort:
                logger.info("A handler of a channel refused a message that waits for no answer")
            except Exception as error:
                end.owner.bug(error, "A handler of a channel")

    # --- requests --------------------------------------------------------------------------------

    def called(self, driver: Driver, event: CallReceived) -> None:
        """A request has arrived: it runs in a task of its own, once somebody listens."""
        # Here, because calls know their results, which can be channels.
        from telewire.runtime.function import FunctionServing
        from telewire.runtime.incoming import IncomingCall
        from telewire.runtime.service import Function

        if self._signature is None:
            self._signature = RequestSignature(self._end, self._ask)
        served = Function("channel", functools.partial(self._answer, event.call), self._signature)
        owner = self._end.owner
        self._open[event.call] = False
        IncomingCall(driver, FunctionServing(owner), served, event, owner.holder)

    # Any: what it is, the handlers know.
    async def _answer(self, call: Call, message: Any) -> object:
        try:
            return await self._ask(message)
        finally:
            self._closed(call)

    def _closed(self, call: Call) -> None:
        """A request is answered, or was given up before a handler saw it."""
        self._open.pop(call, None)
        self._end.drained()

    # Any: as above.
    async def _ask(self, message: Any) -> object:
        """Ask all handlers in order; the first reply that is not None counts."""
        if not self.waiting.free:
            await self.waiting.turn()
            self.waiting.advance()
        if not self.handlers:
            if self._end.iterated:
                raise Refusal(ErrorCode.FUNCTION_NOT_FOUND, encode_value(NOT_LISTENING))
            raise Refusal(ErrorCode.CHANNEL_CLOSED)
        found: object = None
        for number, (_, handler) in tuple(self.handlers.items()):
            if number not in self.handlers:
                continue
            reply = handler(message)
            if isinstance(reply, Awaitable):
                reply = await watch(reply)
            if found is None:
                found = reply
        return found

    # --- ending ----------------------------------------------------------------------------------

    def busy(self) -> bool:
        """Whether a message or request that has arrived is still to be handled; then the end hears of it."""
        from telewire.runtime.incoming import IncomingCall

        for call, watched in tuple(self._open.items()):
            incoming = call.app
            if call.over or not isinstance(incoming, IncomingCall):
                # Given up before a handler saw it.
                del self._open[call]
            elif not watched:
                self._open[call] = True
                incoming.callbacks.add(functools.partial(self._closed, call))
        return self.task is not None or bool(self._open)

    def clear(self) -> None:
        """Call no handler any more; one that runs goes on."""
        if self._timer is not None:
            self._timer.cancel()
        self.handlers.clear()
        self.waiting.advance()

    @property
    def inside(self) -> bool:
        """Whether this is the code of a handler of a message."""
        return _handling.get(None) is self

    def cancel(self) -> None:
        """Cancel the handler of a message that runs, unless it is the one who asks for it."""
        if self.task is not None and not self.inside:
            self.task.cancel_body()

    def end_with_call(self) -> None:
        """Let the handler that runs go on until the call is over in which the channel crossed."""
        task = self.task
        if task is not None and not self.inside:
            self._end.owner.callbacks.add(lambda: task.cancel_body())

    def hurry(self) -> None:
        """The call is over: messages that had arrived before are handled for a bounded time."""
        driver = self._end.driver
        if driver is not None and self.task is not None:
            patience = driver.connection.limits.cleanup_seconds
            self._timer = driver.backend.call_at(driver.backend.now() + patience, self._out_of_patience)

    def _out_of_patience(self) -> None:
        self._end.lose(None)


@final
class RequestSignature(Signature):
    """What a request takes: one message, which is converted as the channel's messages are."""

    # Any: as for every function served.
    def __init__(self, end: ChannelEnd, answer: Callable[[Any], object]) -> None:
        super().__init__(answer, "channel")
        self._end = end

    def bind(self, args: list[object], kwargs: dict[str, object]) -> tuple[list[object], dict[str, object]]:
        """The message, converted."""
        if kwargs or len(args) != 1:
            raise InvalidArgument(f"A {REQUEST} takes one positional argument, the message.")
        converter = self._end.converter
        return (args if converter is None else [converter.convert(args[0], REQUEST)]), {}
