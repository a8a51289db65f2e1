"""Paths: how often a piece of work took its quick way, and how often the thorough one.

A fast path is worth what it is worth in programs that people write. This counts, in one process, which way
values, batches, calls and items went, so that a test can say that the examples go the same way as the
workloads that are measured.
"""

from __future__ import annotations

import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Any: what a function of every kind returns.
from typing import Any, Final, final

from telewire.core.halves import SendHalf
from telewire.core.lone import emit_lone
from telewire.core.streams import Call
from telewire.runtime.signatures import Signature
from telewire.wire import decode, flooding, quick, strict, value_decode, value_encode
from telewire.wire.flooding import SHORT
from telewire.wire.frames import FrameType
from telewire.wire.values import Reference, encode_value

__all__ = ["PATHS", "Paths", "counting"]

PATHS: Final = ("value out", "value in", "batch in", "arguments", "call or answer", "item or message")
"""What has a quick way: the five fast paths of ``wire`` and ``core``, and that of the signatures."""

_QUICK_ENCODERS: Final = {quick.encode_small.__code__, quick.encode_arguments.__code__}
_DECODERS: Final = {
    value_decode.decode_value.__code__: "value in",
    value_decode.decode_items.__code__: "value in",
    decode.decode_batch.__code__: "batch in",
}
_WALKS: Final = {
    flooding.find_flooding.__code__,
    strict._load_deep.__code__,
    value_decode._check_assigned.__code__,
}
"""What looks at each part of what came, in Python."""
_REFERENCE: Final = encode_value(Reference(0))[:3]
_SMALL_TEXT: Final = 255


@final
class Paths:
    """What was counted: how much went each way.

    ``quick``; ``needed``: the thorough way, where it was needed, since a value refers to streams or is
    larger than what the quick way is for; ``thorough``: the same without need.
    """

    def __init__(self) -> None:
        self.quick: Counter[str] = Counter()
        self.needed: Counter[str] = Counter()
        self.thorough: Counter[str] = Counter()
        self._walked = False
        self._returned: dict[types.CodeType, Callable[[types.FrameType, Any], None]] = {
            quick.encode_small.__code__: self._encoded_quickly,
            quick.encode_arguments.__code__: self._encoded_quickly,
            value_encode.encode_value.__code__: self._encoded,
            Signature.bind.__code__: self._bound_arguments,
            emit_lone.__code__: self._emitted_lone,
            SendHalf._emit_items.__code__: self._emitted_items,
            SendHalf._emit_payload.__code__: self._emitted_payload,
            **dict.fromkeys(_DECODERS, self._decoded),
        }

    def note(self, frame: types.FrameType, event: str, argument: Any) -> None:
        """Look at one event of Python's profiler."""
        code = frame.f_code
        if event == "call" and code in _WALKS:
            self._walked = True
        elif event == "return" and code in self._returned:
            self._returned[code](frame, argument)

    def _encoded_quickly(self, frame: types.FrameType, payload: bytes | None) -> None:
        caller = frame.f_back
        if payload is not None and (caller is None or caller.f_code not in _QUICK_ENCODERS):
            self.quick["value out"] += 1

    def _encoded(self, frame: types.FrameType, payload: bytes | None) -> None:
        if payload is not None and frame.f_locals.get("small") is None:
            needed = _REFERENCE in payload or len(payload) > _SMALL_TEXT
            (self.needed if needed else self.thorough)["value out"] += 1

    def _decoded(self, frame: types.FrameType, value: object) -> None:
        name = _DECODERS[frame.f_code]
        came = frame.f_locals
        if not came.get("references") and not self._walked:
            self.quick[name] += 1
        elif came.get("references") or len(came.get("batch", b"")) >= SHORT:
            # Of a batch the heads of its frames are walked, and payloads are passed over.
            self.needed[name] += 1
        else:
            self.thorough[name] += 1
        self._walked = False

    def _bound_arguments(
        self, frame: types.FrameType, bound: tuple[list[object], dict[str, object]] | None
    ) -> None:
        if bound is not None:
            quickly = bound[0] is frame.f_locals["args"]
            (self.quick if quickly else self.thorough)["arguments"] += 1

    def _emitted_lone(self, frame: types.FrameType, emitted: bytes | None) -> None:
        self.quick["call or answer"] += emitted is not None

    def _emitted_items(self, frame: types.FrameType, emitted: bytes | None) -> None:
        self.quick["item or message"] += frame.f_locals["count"]

    def _emitted_payload(self, frame: types.FrameType, emitted: object) -> None:
        head = frame.f_locals["head"]
        if emitted is None or head.offset > len(frame.f_locals["payload"]):
            return
        half: SendHalf = frame.f_locals["self"]
        if not isinstance(half.stream, Call) and head.type is not FrameType.ITEM:
            # A stream ends once, and one way.
            return
        name = "call or answer" if isinstance(half.stream, Call) else "item or message"
        needed = head.declared or len(head.payload) > half._item_cost
        (self.needed if needed else self.thorough)[name] += 1


@contextmanager
def counting() -> Iterator[Paths]:
    """Count what this thread does inside; what it counted is complete at the end."""
    paths = Paths()
    before = sys.getprofile()
    sys.setprofile(paths.note)
    try:
        yield paths
    finally:
        sys.setprofile(before)
