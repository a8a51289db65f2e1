"""Lone frames: a call's small payload, its arguments or its answer, encoded whole in one frame.

Most calls and answers are one frame each. Such a payload needs no half: it waits on the call itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telewire.wire.codec import encode_call, encode_end, encode_frame
from telewire.wire.frames import KEY_DEADLINE, KEY_LIFETIME, Call, Error, Extensions

if TYPE_CHECKING:
    from telewire.core import streams
    from telewire.core.ids import Numbers

__all__ = ["MILLISECONDS", "emit_lone", "with_times"]

MILLISECONDS: Final = 1000
LONGEST_BUDGET: Final = (1 << 53) - 1


def emit_lone(call: streams.Call, numbers: Numbers, now: float) -> bytes | None:
    """The frame of what waits on ``call``.

    None where it was dropped, or calls what the peer has not heard of yet.
    """
    payload = call.lone
    if payload is None:
        return None
    if not call.opened_here:
        if call.code:
            return encode_frame(Error(call.reference, call.code, 0, len(payload), payload))
        return encode_end(call.reference, payload)
    target = call.target
    if not isinstance(target, str) and target.number is None:
        return None
    number = call.number = call.reference = numbers.take()
    call.lone = None
    called = target if isinstance(target, str) else target.reference
    if call.deadline is None and call.lifetime is None and call.extensions is None:
        return encode_call(number, called, payload)
    extensions = with_times(call.extensions, call.deadline, call.lifetime, now)
    return encode_frame(Call(number, called, 0, len(payload), payload, (), extensions))


def with_times(
    extensions: Extensions | None, deadline: float | None, lifetime: float | None, now: float
) -> Extensions | None:
    """An extension map as it leaves: what is left of the two times is counted from then."""
    if deadline is None and lifetime is None:
        return extensions
    extended = dict(extensions or {})
    for key, when in ((KEY_DEADLINE, deadline), (KEY_LIFETIME, lifetime)):
        if when is not None:
            extended[key] = max(0, min(int((when - now) * MILLISECONDS), LONGEST_BUDGET))
    return extended
