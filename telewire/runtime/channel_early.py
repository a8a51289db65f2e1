"""Early: messages sent before the other end of their channel was handed over, and what they cost."""

from __future__ import annotations

from collections import deque
from typing import Final, final

from telewire.errors import InvalidArgument
from telewire.limits import Limits
from telewire.runtime.outgoing import to_wire
from telewire.wire.quick import encode_small
from telewire.wire.values import Reference, ValueEncodeError, encode_value

__all__ = ["Early"]

# What the other side will grant is not known yet.
USUAL: Final = Limits()


@final
class Early:
    """A queue with the ledger of a stream: the initial credit of a half, a least cost for each message."""

    __slots__ = ("_cost", "_waiting")

    def __init__(self) -> None:
        self._cost = 0
        self._waiting: deque[tuple[object, bytes | None, int]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether one more message may wait."""
        return self._cost + USUAL.item_cost <= USUAL.stream_window

    def add(self, message: object, place: str) -> None:
        """Queue a message; plain data as it is now.

        Raises:
            InvalidArgument: part of it cannot travel.
        """
        payload, size = _measure(message, place)
        cost = max(size, USUAL.item_cost)
        self._cost += cost
        self._waiting.append((message, payload, cost))

    def take(self) -> tuple[object, bytes | None]:
        """The oldest message and, where it holds nothing with a life, its encoding."""
        message, payload, cost = self._waiting.popleft()
        self._cost -= cost
        return message, payload

    def clear(self) -> None:
        """Forget them all."""
        self._waiting.clear()
        self._cost = 0


def _measure(message: object, place: str) -> tuple[bytes | None, int]:
    """The encoding of a message, None where parts of it have a life, and its size.

    Such parts become streams of a connection, and which one that will be is not known yet.
    """
    small = encode_small(message)
    if small is not None:
        return small, len(small)
    alive = 0

    def replace(obj: object) -> object:
        nonlocal alive
        try:
            return to_wire(obj)
        except TypeError:
            alive += 1
            return Reference(alive)

    try:
        payload = encode_value(message, replace)
    except ValueEncodeError as error:
        path = error.path.removeprefix("value")
        text = f"{place}{path}{': ' if error.problem[:1].isupper() else ' '}{error.problem}"
    else:
        return None if alive else payload, len(payload)
    raise InvalidArgument(text)
