"""Scheduler: which frame leaves next.

Control frames (ping, pong, grant, stop) go first, but at most ``CONTROL_BYTES`` of them before one
data frame; then the halves with something to say take turns by bytes. A half that spent more than
its turn waits until its deficit is made up, so one large fragment costs later turns; a half's first
frame in the ring always leaves on its first turn, so calls start in the order they were made.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, cast, final

from telewire.core.halves import SendHalf
from telewire.core.lone import emit_lone
from telewire.core.streams import Call
from telewire.wire.codec import encode_frame
from telewire.wire.frames import Grant

if TYPE_CHECKING:
    from telewire.core.halves import Outgoing, ReceiveHalf
    from telewire.core.ids import Numbers

__all__ = ["CONTROL_BYTES", "QUANTUM_BYTES", "Scheduler"]

CONTROL_BYTES: Final = 16 * 1024
QUANTUM_BYTES: Final = 16 * 1024
LIGHT_BYTES: Final = 1024
"""Who has no more than this to say, with each item at its cost, need not wait for what is on its way."""
LOOKED_AT: Final = 16
"""So far into the ring is looked for one of these: however many there are, it takes no time."""


@final
class Scheduler:
    """The queue of control frames and the ring of halves that have data."""

    __slots__ = ("_control_spent", "control", "grants", "one_payload", "ring", "signs")

    def __init__(self) -> None:
        self.signs: list[bytes] = []
        """Frames without a position, which concern one transport only: hellos, pings, acknowledgements."""
        self.control: deque[bytes] | tuple[()] = ()
        """What leaves ahead of data; no deque where nothing does: an empty one takes 760 bytes."""
        self.grants: dict[ReceiveHalf, None] = {}
        # A list for the same reason. There are 10,000 halves at most: to move them up takes a microsecond.
        self.ring: list[SendHalf | Call] = []
        self._control_spent = 0
        self.one_payload = False
        """Whether a payload that has begun is finished before another one begins (TW-SES-074)."""

    @property
    def idle(self) -> bool:
        """Whether nothing waits that could leave."""
        return not self.control and not self.grants and not self.ring and not self.signs

    @property
    def lonely(self) -> bool:
        """Whether one call with a small payload waits, and nothing else."""
        ring = self.ring
        return (
            len(ring) == 1
            and type(ring[0]) is Call
            and not self.control
            and not self.grants
            and not self.signs
        )

    @property
    def ahead(self) -> bool:
        """Whether something waits that goes ahead of data."""
        return bool(self.control) or bool(self.grants) or bool(self.signs)

    def add_sign(self, encoded: bytes) -> None:
        """Queue a frame that has no position: it leaves first."""
        self.signs.append(encoded)

    def take_signs(self, max_bytes: int) -> list[bytes]:
        """What leaves first: about ``max_bytes`` of it, one frame at least."""
        signs = self.signs
        size = count = 0
        while count < len(signs) and (not count or size < max_bytes):
            size += len(signs[count])
            count += 1
        self.signs = signs[count:]
        return signs[:count]

    def add_control(self, encoded: bytes) -> None:
        """Queue a frame that leaves ahead of data."""
        if isinstance(self.control, tuple):
            self.control = deque()
        self.control.append(encoded)

    def add_grant(self, half: ReceiveHalf) -> None:
        """Queue a grant of ``half``, once: it will say the limit that holds when it leaves."""
        self.grants[half] = None

    def drop_grant(self, half: ReceiveHalf) -> None:
        """Forget a queued grant: its half is finished."""
        self.grants.pop(half, None)

    def add(self, half: SendHalf | Call) -> None:
        """Put a half, or a call whose payload is small, into the ring: it has something to say."""
        if not half.ready:
            half.ready = True
            self.ring.append(half)

    def clear(self) -> None:
        """Drop everything: the conversation is over."""
        self.signs.clear()
        self.control = ()
        self.grants.clear()
        for half in self.ring:
            half.ready = False
        self.ring.clear()

    def next_control(self) -> bytes | None:
        """The next frame ahead of data, where one waits; None where it is data's turn."""
        if self._control_spent >= CONTROL_BYTES and self.ring:
            return None
        if self.grants:
            half = next(iter(self.grants))
            del self.grants[half]
            frame = encode_frame(Grant(half.stream.reference, half.window.limit))
        else:
            assert not isinstance(self.control, tuple), "asked only where something waits"
            frame = self.control.popleft()
            if not self.control:
                self.control = ()
        self._control_spent += len(frame)
        return frame

    def next_data(
        self, numbers: Numbers, now: float
    ) -> tuple[SendHalf | Call, bytes, Outgoing | None] | None:
        """The next data frame, whose it is, and the payload of a half that it completes, if it does."""
        self._control_spent = 0
        ring = self.ring
        while ring:
            half = ring[0]
            if type(half) is Call:
                del ring[0]
                half.ready = False
                lone = emit_lone(half, numbers, now)
                if lone is None:
                    continue
                return half, lone, None
            if half.deficit <= 0 and not (self.one_payload and half.begun):
                half.deficit += QUANTUM_BYTES
                if half.deficit <= 0:
                    ring.append(ring.pop(0))
                    continue
            emitted = half.emit(numbers, now)
            if emitted is None:
                self._leave(half)
                continue
            encoded, done = emitted
            half.deficit -= len(encoded)
            if not half.outbox:
                self._leave(half)
            elif half.deficit <= 0 and not (self.one_payload and half.begun):
                ring.append(ring.pop(0))
            return half, encoded, done
        return None

    def next_light(
        self, numbers: Numbers, now: float
    ) -> tuple[SendHalf | Call, bytes, Outgoing | None] | None:
        """The same of the first who has little to say, past those who have much (TW-SES-120).

        Nothing overtakes a call or an answer whose first frame has not left.
        """
        self._control_spent = 0
        ring = self.ring
        for place, half in enumerate(ring[:LOOKED_AT]):
            if type(half) is Call:
                lone = emit_lone(half, numbers, now)
                if lone is not None:
                    del ring[place]
                    half.ready = False
                    return half, lone, None
            elif half.queued <= LIGHT_BYTES:
                emitted = half.emit(numbers, now)
                if emitted is not None:
                    encoded, done = emitted
                    half.deficit -= len(encoded)
                    if not half.outbox:
                        self._leave(half, place)
                    return half, encoded, done
            elif isinstance(half.stream, Call) and not half.begun:
                return None
        return None

    def next_lone(self, numbers: Numbers, now: float) -> tuple[Call, bytes | None]:
        """The one call that waits, where it is :attr:`lonely`, and its frame, if it still has one."""
        self._control_spent = 0
        call = cast("Call", self.ring.pop())
        call.ready = False
        return call, emit_lone(call, numbers, now)

    def _leave(self, half: SendHalf, place: int = 0) -> None:
        del self.ring[place]
        half.ready = False
        # What was overdrawn is still owed; what is left of a turn is not saved up.
        half.deficit = min(half.deficit, 0)
