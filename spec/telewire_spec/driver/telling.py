"""Events of the state machine as the plain maps of the driver protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

import cbor2

from telewire.core import events as e
from telewire.errors import ErrorCode
from telewire_spec.plain import encode

if TYPE_CHECKING:
    from telewire_spec.driver.application import Application

__all__ = ["Telling"]


class Telling:
    """Tells an application's events; knows the names of its streams by asking it."""

    def __init__(self, application: Application) -> None:
        self.application = application

    # Any: an event is a map of plain values.
    def tell(self, event: e.Event) -> list[dict[str, Any]]:
        """What the runner learns of an event; items come one by one."""
        if isinstance(event, e.HelloReceived):
            return [{"event": "open", "version": event.version, "features": sorted(event.features)}]
        if isinstance(event, e.CallReceived):
            return [self._call(event)]
        if isinstance(event, e.ItemsReceived):
            return self._items(event)
        if isinstance(event, e.GoAwayReceived):
            return [self._going_away(event)]
        if isinstance(event, e.ConnectionClosed):
            return [{"event": "closed", "code": int(event.code), "by_peer": event.by_peer}]
        if isinstance(event, e.SessionDetached):
            return [{"event": "detached"}]
        if isinstance(event, e.SessionResumed):
            return [{"event": "resumed"}]
        if isinstance(event, e.StreamUnblocked):
            return []
        return [self._of_stream(event)]

    # Any: as for all events.
    def _going_away(self, event: e.GoAwayReceived) -> dict[str, Any]:
        told: dict[str, Any] = {"event": "going_away", "calls": event.calls, "code": event.code}
        if event.reconnect_after is not None:
            told["reconnect_after"] = event.reconnect_after
        if event.elsewhere is not None:
            told["elsewhere"] = event.elsewhere
        return told

    def _of_stream(
        self,
        event: e.CallStopped
        | e.CallResolved
        | e.CallRejected
        | e.CallOver
        | e.ItemReceived
        | e.ChunkReceived
        | e.StreamEnded
        | e.StreamFailed
        | e.StreamReset
        | e.StreamStopped,
    ) -> dict[str, Any]:
        meet = self.application.meet
        if isinstance(event, e.CallStopped | e.StreamStopped):
            name = "stopped"
        elif isinstance(event, e.CallResolved):
            name = "resolved"
        elif isinstance(event, e.CallRejected):
            name = "rejected"
        elif isinstance(event, e.CallOver):
            name = "over"
        elif isinstance(event, e.ItemReceived):
            name = "item"
        elif isinstance(event, e.ChunkReceived):
            name = "chunk"
        elif isinstance(event, e.StreamEnded):
            name = "ended"
        elif isinstance(event, e.StreamFailed):
            name = "failed"
        elif isinstance(event, e.StreamReset):
            name = "reset"
        else:
            assert_never(event)
        stream = (
            event.call
            if isinstance(event, e.CallStopped | e.CallResolved | e.CallRejected | e.CallOver)
            else event.stream
        )
        told: dict[str, Any] = {"event": name, "stream": meet(stream), "payload": event.payload}
        code = getattr(event, "code", None)
        if code is not None:
            told["code"] = int(code)
        declared = getattr(event, "declared", None)
        if declared:
            told["declared"] = [meet(one) for one in declared]
        return told

    def _call(self, event: e.CallReceived) -> dict[str, Any]:
        application = self.application
        application.begin(event.call)
        target = event.target if isinstance(event.target, str) else application.meet(event.target)
        told: dict[str, Any] = {
            "event": "call",
            "stream": application.meet(event.call),
            "target": target,
            "payload": event.payload,
            "declared": [application.meet(one) for one in event.declared],
        }
        if event.metadata:
            told["metadata"] = event.metadata
        for name, when in (("deadline", event.deadline), ("lifetime", event.lifetime)):
            if when is not None:
                told[name] = round(when - application.now, 6)
        return told

    def _items(self, event: e.ItemsReceived) -> list[dict[str, Any]]:
        """Each item by itself; a group that is none is what its reader makes of it (TW-ERR-031)."""
        stream = self.application.meet(event.stream)
        try:
            items = cbor2.loads(event.payload)
            if not isinstance(items, list) or len(items) != event.count:
                raise ValueError("The group has another number of items.")
        except ValueError:
            self.application.conversation.stop(event.stream, ErrorCode.MALFORMED_VALUE)
            return []
        return [{"event": "item", "stream": stream, "payload": encode(item)} for item in items]
