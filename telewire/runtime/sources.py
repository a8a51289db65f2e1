"""Sources: things of this side with a life that a payload introduces as streams.

A source is made while its payload is encoded and started when the introduction is queued; where
encoding fails, it is discarded and nothing of it has run. Its owner is the call in which it crosses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, final

from telewire.runtime.context import enter_context
from telewire.runtime.running import enter_work
from telewire.runtime.threads import Step, Stepping, WorkerThread
from telewire.wire.frames import Kind

if TYPE_CHECKING:
    from telewire.core.streams import Stream
    from telewire.runtime.context import CloseCallbacks, ContextHolder
    from telewire.runtime.driver import Driver

__all__ = ["Body", "Owner", "Source", "SourceTask", "declarations", "discard_sources", "start_sources"]


class Owner(Protocol):
    """The call in which a source crosses, ours or the peer's."""

    @property
    def driver(self) -> Driver:
        """The connection's driver."""

    @property
    def holder(self) -> ContextHolder | None:
        """What ``get_context()`` finds in the source's code; None where it serves no call."""

    @property
    def worker(self) -> WorkerThread | None:
        """The thread of the plain function that serves the call: its iterators are stepped there."""

    @property
    def callbacks(self) -> CloseCallbacks:
        """What runs when the call is over."""

    def report(self, error: Exception) -> None:
        """Give a bug to the service's hook."""

    def bug(self, error: Exception, what: str) -> None:
        """Log a bug that has no answer to travel in, and report it."""


class Source(ABC):
    """One thing with a life, about to cross."""

    __slots__ = ()

    kind: ClassVar[Kind]
    number: int | None = None
    """The exporter's number, of functions and channels."""
    repeatable: ClassVar[bool] = False
    """Whether the same object may stand twice in one value."""
    details: Mapping[str, object] | None = None
    """What its reference says besides its index (TW-VAL-030)."""

    @abstractmethod
    def start(self, owner: Owner, stream: Stream, place: str) -> None:
        """Serve ``stream``: its introduction is queued. ``place`` says in messages where it stood."""

    def discard(self) -> None:  # noqa: B027  # a source that holds nothing need not say so
        """Its payload will not be sent: release what it holds. Most hold nothing yet."""


def home_of(driver: Driver, came_on: Driver, stream: Stream) -> Mapping[str, object] | None:
    """What the reference of a handle says that goes back on the connection it came from (TW-VAL-036)."""
    if came_on is not driver or stream.retired or stream.number is None:
        return None
    return {"home": stream.number}


def declarations(sources: Sequence[Source]) -> list[tuple[Kind, int | None]]:
    """What a payload declares for its sources."""
    return [(source.kind, source.number) for source in sources]


def start_sources(owner: Owner, sources: Sequence[Source], declared: Sequence[Stream], place: str) -> None:
    """Start the sources of a payload that has been queued."""
    for source, stream in zip(sources, declared, strict=True):
        source.start(owner, stream, place)


def discard_sources(sources: Sequence[Source]) -> None:
    """Release the sources of a payload that will not be queued."""
    for source in sources:
        source.discard()


class Runnable(Protocol):
    """What a source does in its task."""

    async def run(self) -> object:
        """Do it all; user code's failures are handled inside."""


class Body(Stepping, Protocol):
    """The task that user code runs in."""


@final
class SourceTask:
    """A task of its own for a source; stays alive until it has ended."""

    __slots__ = ("_begun", "_cancelling", "_owner", "_run", "_task", "step")

    def __init__(self, owner: Owner, make: MakeRunnable) -> None:
        # Any: steps give all kinds of things.
        self.step: Step[Any] | None = None
        self._owner = owner
        self._begun = False
        self._cancelling = False
        self._run = make(self)
        owner.driver.running.works[self] = None
        self._task = owner.driver.backend.spawn(self._main)

    async def _main(self) -> None:
        self._begun = True
        enter_work(self)
        if self._owner.holder is not None:
            enter_context(self._owner.holder)
        try:
            await self._run.run()
        except BaseException:
            if not self._cancelling:
                raise
        finally:
            # They refer to each other; what no cycle holds needs no collector.
            del self._run
            self._owner.driver.running.discard(self)

    def cancel_body(self, again: bool = False) -> None:
        """Cancel what user code awaits, once, or ``again``; a step in a thread is only waited for less.

        What has not begun is not cancelled: it finds out itself, and closes what it was given.
        """
        if not self._begun:
            return
        if self.step is not None:
            if again:
                self.step.abandon()
            else:
                self.step.cancel()
        elif again or not self._cancelling:
            self._cancelling = True
            self._owner.driver.backend.cancel(self._task)


class MakeRunnable(Protocol):
    """Makes what a task runs, given the task."""

    def __call__(self, body: SourceTask, /) -> Runnable:
        """Make it."""
