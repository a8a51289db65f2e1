"""Line: tasks that wait for the same thing and get it in the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, final

from telewire.runtime.backend import current_backend

if TYPE_CHECKING:
    from telewire.runtime.backend import Signal

__all__ = ["Line"]


@final
class Line:
    """A queue of tasks. The first one stays in it until it runs, so that nobody overtakes it meanwhile.

    ``ready`` says whether the first one may go on; where waiting has become pointless it says yes too,
    and the one who is let through finds out why.
    """

    __slots__ = ("_ready", "_waiting")

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready
        self._waiting: deque[Signal] = deque()

    @property
    def free(self) -> bool:
        """Whether a newcomer need not wait."""
        return not self._waiting and self._ready()

    async def turn(self) -> None:
        """Wait until it is our turn. Owed afterwards, without an await before it: :meth:`advance`."""
        if self.free:
            return
        backend = current_backend()
        place = backend.signal()
        self._waiting.append(place)
        try:
            while True:
                await place.wait()
                if self._ready():
                    self._waiting.popleft()
                    return
                # Somebody who need not wait was quicker: our place stays the first.
                renewed = backend.signal()
                self._waiting[0] = place = renewed
        except BaseException:
            self._waiting.remove(place)
            self.advance()
            raise

    def advance(self) -> None:
        """Let the next one through, if there is one and it may go on."""
        if self._waiting and self._ready():
            self._waiting[0].set()
