"""Relaying: a received end of a channel that was passed on, and the new channel that carries it further."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from telewire.errors import (
    Abort,
    CallCancelled,
    ChannelClosed,
    ErrorCode,
    FunctionNotFound,
    InvalidArgument,
    NetworkError,
    ResourceExhausted,
    TelewireError,
)
from telewire.runtime.channel_listeners import NOT_LISTENING
from telewire.runtime.failures import Refusal
from telewire.wire.values import encode_value

if TYPE_CHECKING:
    from telewire.runtime.channel_end import ChannelEnd

__all__ = ["relay"]


def relay(received: ChannelEnd, further: ChannelEnd) -> None:
    """Join two ends of this side: what arrives at one leaves at the other, and they end together.

    A message is consumed when the other end has taken it, so who sends is held to the pace of who
    receives, however many stand between them.
    """
    for source, target in ((received, further), (further, received)):
        half = _Half(source, target)
        source.listeners.add(half.message, half.request)
        source.callbacks.add(half.ended)


@final
class _Half:
    """One direction."""

    __slots__ = ("_source", "_target")

    def __init__(self, source: ChannelEnd, target: ChannelEnd) -> None:
        self._source = source
        self._target = target

    async def message(self, message: object) -> None:
        """Send it on; one that cannot leaves no hole: it ends the channel."""
        target = self._target
        try:
            await target.senders.turn()
            try:
                target.send(message)
            finally:
                target.senders.advance()
        except (ChannelClosed, NetworkError):
            # Its end tells the source by itself.
            return
        except (InvalidArgument, ResourceExhausted) as error:
            self._source.refuse_message(InvalidArgument(str(error)))

    # Any: what it is, those who talk know.
    async def request(self, message: Any) -> object:
        """Ask on; who refused it there is no bug of who stands between."""
        try:
            return await self._target.request(message, None)
        except Abort as error:
            raise Abort(error.value) from error
        except (ChannelClosed, NetworkError):
            raise Refusal(ErrorCode.CHANNEL_CLOSED) from None
        except FunctionNotFound:
            raise Refusal(ErrorCode.FUNCTION_NOT_FOUND, encode_value(NOT_LISTENING)) from None
        except InvalidArgument as error:
            raise Refusal(ErrorCode.INVALID_ARGUMENT, encode_value(str(error))) from None
        except ResourceExhausted as error:
            raise Refusal(ErrorCode.MESSAGE_TOO_LARGE, encode_value(str(error))) from None

    def ended(self, reason: BaseException | None) -> None:
        """End the other one in the same way; whose call was cancelled or lost, the channel is closed."""
        target = self._target
        if target.done:
            return
        if reason is None:
            target.close()
            return
        try:
            if isinstance(reason, Abort):
                target.abort(reason.value)
                return
            if isinstance(reason, InvalidArgument):
                target.refuse_message(reason)
                return
        except TelewireError:
            # A value that passes what is allowed there.
            pass
        cancelled = isinstance(reason, CallCancelled)
        target.give_up(ErrorCode.CANCELLED if cancelled else ErrorCode.CHANNEL_CLOSED, reason)
