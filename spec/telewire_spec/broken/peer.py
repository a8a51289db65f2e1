"""BrokenPeer: one mistake, made in what is heard, in what is said, or in what the application learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import cbor2

from telewire_spec.driver.application import Application
from telewire_spec.layout import encode_again, limit_numbers
from telewire_spec.plain import head
from telewire_spec.subject import Reaction, SubjectFailed
from telewire_spec.watch import DEFAULTS

__all__ = ["BrokenPeer", "Mistaken"]

# Any: a frame as the list that it is on the wire, and an event as the map that it is.
Fields: TypeAlias = list[Any]
Batch: TypeAlias = list[Fields]
Events: TypeAlias = list[dict[str, Any]]


POSITION: Final = 6


@dataclass(frozen=True, slots=True)
class BrokenPeer:
    """What it is called, which rule it breaks, and how.

    Attributes:
        hears: changes a batch of the runner's, frame by frame.
        takes: changes the bytes of a batch of the runner's, into as many batches as it likes.
        says: changes what it emits at one time.
        learns: changes what its application learns.
        enforces: limits that hold, other than those that are stated.
        clock: how fast its clock runs.
        wants: changes the commands of its application.
    """

    name: str
    rule: str
    hears: Callable[[Batch], Batch] | None = None
    takes: Callable[[bytes], list[bytes]] | None = None
    says: Callable[[Batch], Batch] | None = None
    learns: Callable[[Events], Events] | None = None
    wants: Callable[[Events], Events] | None = None
    enforces: Callable[[dict[str, int]], dict[str, int]] | None = None
    clock: float = 1.0

    def make(self) -> Mistaken:
        """Make the subject."""
        return Mistaken(self)


class Mistaken(Application):
    """Our machine with that mistake."""

    def __init__(self, peer: BrokenPeer) -> None:
        super().__init__()
        self.peer = peer

    def start(self, **options: Any) -> Reaction:
        """Begin, with the limits that it enforces and the hello of those that it states."""
        self.stated = dict(options.get("limits", {}))
        if self.peer.enforces is not None:
            options["limits"] = self.peer.enforces(dict(self.stated))
        return self._guarded(partial(super().start, **options))

    def receive(self, batch: bytes) -> Reaction:
        """Hear it wrongly."""
        batches = self.peer.takes(batch) if self.peer.takes is not None else [batch]
        whole = Reaction()
        for each in batches:
            heard = self._misheard(each) if self.peer.hears is not None else each
            part = self._guarded(partial(super().receive, heard))
            whole = Reaction(whole.sent + part.sent, whole.events + part.events, part.closed)
        return whole

    def advance(self, seconds: float) -> Reaction:
        """By its own clock."""
        return self._guarded(partial(super().advance, seconds * self.peer.clock))

    def do(self, commands: Sequence[Mapping[str, Any]]) -> Reaction:
        """Do something else."""
        if self.peer.wants is not None:
            commands = self.peer.wants([dict(each) for each in commands])
        return self._guarded(partial(super().do, commands))

    def attach(self) -> Reaction:
        """As it should, as far as this goes."""
        return self._guarded(super().attach)

    def _misheard(self, batch: bytes) -> bytes:
        assert self.peer.hears is not None
        try:
            frames = cbor2.loads(batch)
            changed = self.peer.hears(frames)
        except (cbor2.CBORDecodeError, TypeError, IndexError):
            return batch
        return _encoded(changed) if changed else b"\x81\x81\x08"

    def _guarded(self, act: Callable[[], Reaction]) -> Reaction:
        """What it does, told wrongly; a crash is a failure like any other."""
        try:
            reaction = act()
        except Exception as error:  # Whatever it is, it is a crash.
            raise SubjectFailed(f"It crashed with {type(error).__name__}: {error}.") from error
        sent, events = reaction.sent, reaction.events
        if self.peer.says is not None and sent:
            said = [cbor2.loads(batch) for batch in sent]
            if not any(frames[0][0] == POSITION for frames in said):
                said = [[frame for frames in said for frame in frames]]
            # Batches that state where they stand are not joined.
            sent = [_encoded(changed) for frames in said if (changed := self.peer.says(frames))]
        if self.peer.enforces is not None:
            sent = [self._restated(batch) for batch in sent]
        if self.peer.learns is not None:
            events = self.peer.learns(events)
        return Reaction(sent, events, reaction.closed)

    def _restated(self, batch: bytes) -> bytes:
        """The hello with the limits that are stated, whatever is enforced."""
        frames = cbor2.loads(batch)
        if frames[0][0] != 0:
            return batch
        for name, key in limit_numbers().items():
            frames[0][4][key] = self.stated.get(name, DEFAULTS[name])
        return _encoded(frames)


def _encoded(frames: Batch) -> bytes:
    return head(4, len(frames)) + b"".join(map(encode_again, frames))
