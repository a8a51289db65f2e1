"""Succession: how a client goes on when its server goes away, and what becomes of its calls meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, final

import anyio

from telewire.errors import GoingAway, TelewireError
from telewire.runtime.keeping import Keeping

if TYPE_CHECKING:
    from telewire.core.events import GoAwayReceived
    from telewire.runtime.backend import Backend, Task
    from telewire.runtime.conversation import Conversation

__all__ = ["Succession"]

FIRST_SECONDS: Final = 0.1
MOST_SECONDS: Final = 5.0
STEADY_SECONDS: Final = 10.0
"""Of life after which a conversation was no bad choice, though its server goes away."""


class Successors(Protocol):
    """The client that goes on."""

    @property
    def leaving(self) -> bool:
        """Whether an older conversation still has something open."""

    def found(self, successor: Conversation) -> None:
        """Calls go to this one from now on."""

    def not_found(self, error: TelewireError) -> None:
        """There is none: the client is lost."""


@final
class Succession:
    """Looks for a successor of the conversation whose server goes away, and keeps calls until it is there.

    Args:
        client: whose conversations they are.
        make: makes one, not open yet, at the address that the server named, if it did.
        patience: seconds after which there is none, unless an older conversation is still in use.
        most: how many calls may wait.
    """

    def __init__(
        self,
        client: Successors,
        backend: Backend,
        make: Callable[[str | None], Conversation],
        patience: float,
        most: int,
    ) -> None:
        self._client = client
        self._backend = backend
        self._make = make
        self._patience = patience
        self._task: Task | None = None
        self._pause = 0.0
        self._found_at: float | None = None
        self.keeping = Keeping(most)

    @property
    def active(self) -> bool:
        """Whether a successor is being looked for."""
        return self._task is not None

    def begin(self, farewell: GoAwayReceived) -> None:
        """Look for one, unless that goes on already."""
        if self._task is not None:
            return
        now = self._backend.now()
        if self._found_at is not None and now - self._found_at < STEADY_SECONDS:
            # Where we were sent by chance they go away, too: not there again at once.
            self._pause = min(max(FIRST_SECONDS, 2 * self._pause), MOST_SECONDS)
        else:
            self._pause = 0.0
        after = farewell.reconnect_after or 0.0
        # Spread, so that those who were told together do not come together (TW-ERR-065).
        wait = after * random.uniform(1.0, 2.0) + self._pause * random.uniform(0.5, 1.0)
        self._task = self._backend.spawn(self._look, wait, farewell)

    def stop(self) -> None:
        """Look no more; who still waits hears that this side has left."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.keeping.fail_all(GoingAway("The client was left before there was a connection."), quiet=True)

    async def _look(self, wait: float, farewell: GoAwayReceived) -> None:
        until = self._backend.now() + wait + self._patience
        try:
            while True:
                await anyio.sleep(wait)
                try:
                    successor = self._make(farewell.elsewhere)
                    await successor.open()
                except (TelewireError, OSError, ValueError) as error:  # headers or address may not do
                    if self._backend.now() >= until and not self._client.leaving:
                        self._lose(error, farewell)
                        return
                else:
                    self._found_at = self._backend.now()
                    break
                self._pause = min(max(FIRST_SECONDS, 2 * self._pause), MOST_SECONDS)
                wait = self._pause * random.uniform(0.5, 1.0)
        finally:
            self._task = None
        self._client.found(successor)
        assert successor.driver is not None, "it is open"
        if not self.active:
            # Else that one goes away, too.
            self.keeping.release(successor.driver)

    def _lose(self, error: Exception, farewell: GoAwayReceived) -> None:
        lost = GoingAway(
            f"The other side went away, and no successor was found within {self._patience:g} seconds.",
            farewell.reconnect_after,
            farewell.elsewhere,
        )
        lost.__cause__ = error
        self._client.not_found(lost)
        self.keeping.fail_all(lost)
