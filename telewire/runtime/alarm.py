"""Alarm: the next time at which a connection has something to do, on the clock of its loop.

It rings at least once by then, and may ring sooner; whoever owns it sets it again each time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from telewire.runtime.backend import Backend, Timer

__all__ = ["Alarm"]


@final
class Alarm:
    """At most two timers: the nearest, and one behind it that stays where a nearer one is needed for once.

    So an acknowledgement, due soon where the next sign of life is due late, makes one timer and cancels
    none. Where few calls are made on a connection, each of them has one.
    """

    __slots__ = ("_at", "_later", "_later_at", "_timer")

    def __init__(self) -> None:
        self._timer: Timer | None = None
        self._at = 0.0
        self._later: Timer | None = None
        self._later_at = 0.0

    def set(self, when: float, backend: Backend, ring: Callable[[], object]) -> None:
        """See that ``ring`` is called by ``when``; it owes :meth:`rung` first of all."""
        if self._timer is not None:
            if self._at <= when:
                return
            if self._later is None:
                self._later, self._later_at = self._timer, self._at
            else:
                self._timer.cancel()
        self._at = when
        # Not kept here: it belongs to who keeps this, and what no cycle holds needs no collector.
        self._timer = backend.call_at(when, ring)

    def rung(self) -> None:
        """Note that the nearest has rung."""
        self._timer, self._at = self._later, self._later_at
        self._later = None

    def clear(self) -> None:
        """Let nothing ring any more."""
        for timer in (self._timer, self._later):
            if timer is not None:
                timer.cancel()
        self._timer = self._later = None
