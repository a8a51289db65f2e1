"""Keeping: calls that wait until there is a conversation to make them in, in the order of their making."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

from telewire.errors import (
    CallCancelled,
    CancelOutcome,
    DeadlineExceeded,
    ResourceExhausted,
    TelewireError,
)
from telewire.runtime.call import Call, OutgoingCall
from telewire.runtime.payloads import NO_SOURCES, discard, encode
from telewire.runtime.sources import declarations, discard_sources, start_sources
from telewire.wire.frames import KEY_METADATA
from telewire.wire.quick import encode_arguments

if TYPE_CHECKING:
    from telewire.core import streams
    from telewire.runtime.backend import Timer
    from telewire.runtime.driver import CallEnd, Driver
    from telewire.runtime.remote import Options
    from telewire.runtime.signatures import Signature
    from telewire.runtime.sources import Source

__all__ = ["Keeping"]


@final
class _Kept:
    """What is needed to make a call that waits."""

    __slots__ = ("arguments", "deadline", "lifetime", "metadata", "resumable", "timer")

    def __init__(
        self,
        # Any: arguments of every type travel. None: they are in the call's payload.
        arguments: list[Any] | None,
        deadline: float | None,
        lifetime: float | None,
        metadata: dict[str, str] | None,
        resumable: bool,
    ) -> None:
        self.arguments = arguments
        self.deadline = deadline
        self.lifetime = lifetime
        self.metadata = metadata
        self.resumable = resumable
        self.timer: Timer | None = None

    @property
    def until(self) -> float:
        """When nobody wants the answer any more."""
        return min(
            math.inf if self.deadline is None else self.deadline,
            math.inf if self.lifetime is None else self.lifetime,
        )


@final
class Keeping:
    """Calls of one client that have nowhere to go yet.

    Args:
        most: how many may wait.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[OutgoingCall, _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    # Any: as for start_call.
    def keep(
        self,
        driver: Driver,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Options,
        signature: Signature | None,
    ) -> Call[Any]:
        """Keep a new call; its driver is the one before, until it has one to go with.

        What lives in its arguments is looked at when it goes.

        Raises:
            ResourceExhausted: too many wait already.
        """
        if len(self._kept) >= self._most:
            raise ResourceExhausted(
                f"{name}() would be call {len(self._kept) + 1} that waits for a connection; "
                "let some of them end first."
            )
        converter = None if signature is None or signature.result.identity else signature.result
        state = OutgoingCall(driver, name, converter)
        state.payload = encode_arguments(args, kwargs)
        now = driver.backend.now()
        lifetime = None if options.timeout is None else now + options.timeout
        deadline = driver.backend.deadline()
        if deadline < math.inf and (lifetime is None or deadline <= lifetime):
            state.ambient = deadline
        self._enter(
            state,
            _Kept(
                None if state.payload is not None else [args, kwargs],
                deadline if math.isfinite(deadline) else None,
                lifetime,
                dict(options.headers) if options.headers else None,
                options.resumable,
            ),
        )
        return Call(state)

    def take_back(self, state: CallEnd, call: streams.Call) -> bool:
        """Keep a call that was refused and never started; false where it cannot be made again."""
        if not isinstance(state, OutgoingCall) or state.payload is None or not isinstance(call.target, str):
            return False
        if state.cancelled is not None or len(self._kept) >= self._most:
            return False
        metadata = (call.extensions or {}).get(KEY_METADATA)
        headers = metadata if isinstance(metadata, dict) else None
        # The old one says nothing more to it.
        call.app = None
        state.core = None
        self._enter(state, _Kept(None, call.deadline, call.lifetime, headers, call.resumable))
        return True

    def _enter(self, state: OutgoingCall, kept: _Kept) -> None:
        state.keeper = self
        self._kept[state] = kept
        if kept.until < math.inf:
            backend = state.driver.backend
            kept.timer = backend.call_at(kept.until, lambda: self.fail(state, DeadlineExceeded()))

    def _leave(self, state: OutgoingCall) -> _Kept | None:
        state.keeper = None
        kept = self._kept.pop(state, None)
        if kept is not None and kept.timer is not None:
            kept.timer.cancel()
        return kept

    def fail(self, state: OutgoingCall, error: TelewireError) -> None:
        """Answer a call that waits: it was never made."""
        kept = self._leave(state)
        if kept is not None:
            if kept.arguments is not None:
                # Coroutines in it are closed, as ever.
                discard(kept.arguments, state.driver)
            error.retryable = not isinstance(error, DeadlineExceeded)
            state.settle(None, error)
            state.note_end(None if state.quiet else error)

    def give_up(self, call: OutgoingCall) -> None:
        """Let a call go that was cancelled."""
        cancelled = call.cancelled or CallCancelled(CancelOutcome.NOT_STARTED)
        cancelled.outcome = CancelOutcome.NOT_STARTED
        self.fail(call, cancelled)

    def fail_all(self, error: TelewireError, *, quiet: bool = False) -> None:
        """Answer all: there will be no connection."""
        for state in tuple(self._kept):
            state.quiet = state.quiet or quiet
            self.fail(state, error)

    def release(self, driver: Driver) -> None:
        """Make all calls that wait, in order, in the conversation of ``driver``."""
        for state in tuple(self._kept):
            kept = self._leave(state)
            if kept is not None:
                self._make(driver, state, kept)

    def _make(self, driver: Driver, state: OutgoingCall, kept: _Kept) -> None:
        state.driver = driver
        payload = state.payload
        sources: Sequence[Source] = NO_SOURCES
        try:
            if payload is None:
                payload, sources = encode(kept.arguments, f"{state.name}()", driver, arguments=True)
            call = driver.connection.call(
                state.name,
                payload,
                declarations(sources) if sources else (),
                deadline=kept.deadline,
                lifetime=kept.lifetime,
                metadata=kept.metadata,
                now=driver.backend.now(),
                resumable=kept.resumable,
            )
        except TelewireError as error:
            discard_sources(sources)
            state.settle(None, error)
            state.note_end(error)
            return
        call.app = state
        state.core = call
        if sources:
            start_sources(state, sources, call.declared, f"{state.name}() argument")
        driver.schedule()
