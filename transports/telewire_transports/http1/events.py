"""Events: batches as a stream of server-sent events, for proxies that hold back what they do not know."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Final, final

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits

__all__ = ["COMMENT", "EVENTS_TYPE", "NO_BATCH", "EventReader", "write_events"]

EVENTS_TYPE: Final = b"text/event-stream"
COMMENT: Final = b":\n\n"
"""Says nothing, and that the link is alive."""
NO_BATCH: Final = b"\x40"
"""The same where batches stand as they are."""
_FIELD: Final = b"data:"


def write_events(batches: Sequence[bytes]) -> bytes:
    """One event for each batch, its data in base64 (TW-SES-100)."""
    return b"".join(b"data: %b\n\n" % b64encode(batch) for batch in batches)


@final
class EventReader:
    """Cuts a stream of events into batches."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.batch_bytes * 4 // 3 + 64
        self._rest = b""
        self._data: bytes | None = None
        self._error: RemoteProtocolError | None = None

    def cut(self, data: bytes) -> tuple[list[bytes], RemoteProtocolError | None]:
        """The batches that are complete now, and what is wrong behind them, if anything is."""
        batches: list[bytes] = []
        if self._error is None:
            # A line may end in two characters, which may come apart: an empty line more does nothing.
            lines = (self._rest + data).splitlines(keepends=True)
            self._rest = lines.pop() if lines and not lines[-1].endswith((b"\n", b"\r")) else b""
            try:
                for line in lines:
                    self._take(line.rstrip(b"\r\n"), batches)
                if len(self._rest) > self._most:
                    raise RemoteProtocolError(
                        f"A line of an event has more than {self._most} bytes.", ErrorCode.BATCH_TOO_LARGE
                    )
            except RemoteProtocolError as error:
                self._error = error
        return batches, self._error

    def end(self) -> RemoteProtocolError | None:
        """What is wrong with an end here, if anything is."""
        if self._error is None and (self._rest or self._data is not None):
            return RemoteProtocolError("The stream ended inside an event.", ErrorCode.MALFORMED)
        return self._error

    def _take(self, line: bytes, batches: list[bytes]) -> None:
        if not line:
            if self._data is not None:
                batches.append(_decode(self._data))
                self._data = None
        elif line.startswith(_FIELD):
            if self._data is not None:
                raise RemoteProtocolError("An event has two lines of data; a batch is one.")
            if len(line) > self._most:
                raise RemoteProtocolError(
                    f"A line of an event has more than {self._most} bytes.", ErrorCode.BATCH_TOO_LARGE
                )
            self._data = line[len(_FIELD) :].strip(b" ")


def _decode(data: bytes) -> bytes:
    try:
        return b64decode(data, validate=True)
    except binascii.Error as error:
        raise RemoteProtocolError(
            "The data of an event is no batch in base64.", ErrorCode.MALFORMED
        ) from error
