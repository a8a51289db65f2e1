"""Subject: what the engine asks of an implementation, whichever way it is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Reaction", "Subject", "SubjectFailed", "Unsupported"]


class Unsupported(Exception):
    """The implementation says that it cannot do this; the text says what."""


class SubjectFailed(Exception):
    """The implementation did not answer, or not as the driver protocol says."""


@dataclass(slots=True)
class Reaction:
    """What an implementation did: batches that left, events, and whether its transport is to be closed."""

    sent: list[bytes] = field(default_factory=list)
    # Any: an event is a map of plain values.
    events: list[dict[str, Any]] = field(default_factory=list)
    closed: bool = False


class Subject(Protocol):
    """An implementation under test."""

    carrier: str
    """How its batches travel, for the report."""

    # Any: fields of requests and commands are plain values.
    def start(self, **options: Any) -> Reaction:
        """Begin a conversation anew, with the fields of the request ``start``."""

    def receive(self, batch: bytes) -> Reaction:
        """Hand over a batch of the runner's."""

    def advance(self, seconds: float) -> Reaction:
        """Let time pass."""

    def cut(self) -> Reaction:
        """Lose the transport."""

    def attach(self) -> Reaction:
        """Give it another transport."""

    def do(self, commands: Sequence[Mapping[str, Any]]) -> Reaction:
        """Let its application want something."""

    def poll(self) -> Reaction:
        """Wait a while for what comes late; at once where nothing can."""

    def close(self) -> None:
        """Take leave of it."""
