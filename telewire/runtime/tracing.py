"""Tracing: who watches the batches of a conversation is told of each, as it comes or leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias, final

from telewire.runtime.failures import log_bug

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BatchCallback", "Direction", "Tracing"]

Direction: TypeAlias = Literal["sent", "received"]
BatchCallback: TypeAlias = Callable[[Direction, bytes], object]


@final
class Tracing:
    """Tells a callback of batches; one that fails is logged, and disturbs nothing.

    A driver asks once for each batch that comes, and once for each write, whether it has one.
    """

    __slots__ = ("callback",)

    def __init__(self, callback: BatchCallback) -> None:
        self.callback = callback

    def received(self, batch: bytes) -> None:
        """Tell of a batch of the peer's, before it takes effect."""
        self._tell("received", batch)

    def sent(self, batches: Iterable[bytes]) -> None:
        """Tell of batches that leave now."""
        for batch in batches:
            self._tell("sent", batch)

    def _tell(self, direction: Direction, batch: bytes) -> None:
        try:
            self.callback(direction, batch)
        except Exception as error:
            log_bug(error, "A callback of on_batch()")
