"""Draining: how a server asks its clients to leave: all of them, or one that has been there for long."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from telewire.core.states import ConnectionState
from telewire.errors import ErrorCode

if TYPE_CHECKING:
    from telewire.limits import ServerLimits
    from telewire.runtime.backend import Backend, Timer
    from telewire.runtime.driver import Driver

__all__ = ["Draining", "Farewell"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell:
    """What clients are told that are asked to leave."""

    text: str = "This server is being stopped."
    """Why, in words."""
    reconnect_after: float | None = None
    """Seconds to wait before they open a successor, to which each adds a random time of its own."""
    elsewhere: str | None = None
    """The address of that, where it is not the same."""


@final
class Draining:
    """Who has been asked to leave a server, and who will be."""

    def __init__(self, backend: Backend, limits: ServerLimits) -> None:
        self._backend = backend
        self._limits = limits
        self._farewell: Farewell | None = None
        self._timers: dict[Driver, Timer] = {}

    def opened(self, driver: Driver) -> None:
        """Take note of a new session: who comes while the server drains is asked to leave at once."""
        limits = self._limits
        if self._farewell is not None:
            self._ask(driver, self._farewell)
        elif limits.age_seconds is not None:
            # Spread, so that those who came together do not leave together.
            age = limits.age_seconds * random.uniform(1 - limits.age_jitter, 1 + limits.age_jitter)
            when = self._backend.now() + age
            self._timers[driver] = self._backend.call_at(when, lambda: self._grow_old(driver))

    def forget(self, driver: Driver) -> None:
        """Take note of the end of a session."""
        timer = self._timers.pop(driver, None)
        if timer is not None:
            timer.cancel()

    def begin(self, drivers: Iterable[Driver], farewell: Farewell) -> None:
        """Ask all to leave, also those who are still to come."""
        self._farewell = farewell
        for driver in drivers:
            self._ask(driver, farewell)

    def _ask(self, driver: Driver, farewell: Farewell) -> None:
        connection = driver.connection
        if connection.state is ConnectionState.OPEN:
            connection.drain(
                text=farewell.text,
                reconnect_after=farewell.reconnect_after,
                elsewhere=farewell.elsewhere,
            )
            driver.schedule()

    def _grow_old(self, driver: Driver) -> None:
        self._ask(driver, Farewell(text="This session has been open for long."))
        until = self._backend.now() + self._limits.grace_seconds
        self._timers[driver] = self._backend.call_at(until, lambda: self._send_away(driver))

    def _send_away(self, driver: Driver) -> None:
        """Its time is over: what is open ends, and the other side is told why."""
        self._timers.pop(driver, None)
        driver.connection.close(ErrorCode.GOING_AWAY)
        driver.digest()
