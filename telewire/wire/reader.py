"""BatchReader: cuts a byte stream into batches, however the bytes arrive."""

from __future__ import annotations

from typing import NoReturn

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire.heads import BYTES, encode_head

__all__ = ["BatchReader", "write_batch"]


def write_batch(batch: bytes) -> bytes:
    """Return ``batch`` as it stands on a byte stream: a byte string with the shortest head (TW-FRM-003)."""
    return encode_head(BYTES, len(batch)) + batch


class BatchReader:
    """Cuts a CBOR sequence of definite byte strings into batches (TW-FRM-003).

    Give what arrives to :meth:`receive_data` and decode each batch that it returns; call
    :meth:`receive_eof` when the stream ends. The first error is final. Memory is bounded by
    ``limits.batch_bytes``: only bytes that have arrived are held.
    """

    __slots__ = ("_body", "_error", "_head", "_limits", "_missing", "completed")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._head = bytearray()
        self._body = bytearray()
        self._missing = -1  # Bytes of the body still to come; -1 while the head is incomplete.
        self._error: RemoteProtocolError | None = None
        self.completed: list[bytes] = []
        """Batches cut by the last :meth:`receive_data`, also where it raised behind them."""

    def receive_data(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream and return the batches that are now complete.

        Raises RemoteProtocolError, again at each further call: BATCH_TOO_LARGE as soon as a head
        declares more than ``limits.batch_bytes``, MALFORMED when it is no definite byte string.
        Batches in front of the error are in :attr:`completed`.
        """
        self.completed = completed = []
        if self._error is not None:
            raise self._error
        position, end = 0, len(data)
        while position < end:
            if self._missing < 0:
                position = self._read_head(data, position)
                if self._missing != 0:
                    continue
            if not self._body and end - position >= self._missing:
                batch = data[position : position + self._missing]
                position += self._missing
            else:
                piece = data[position : position + self._missing]
                self._body += piece
                position += len(piece)
                self._missing -= len(piece)
                if self._missing:
                    break
                batch = bytes(self._body)
                self._body = bytearray()
            self._missing = -1
            completed.append(batch)
        return completed

    def receive_eof(self) -> None:
        """Say that the stream has ended; raises RemoteProtocolError (MALFORMED) in the middle of a batch."""
        if self._error is not None:
            raise self._error
        if self._missing >= 0 or self._head:
            arrived = len(self._body)
            self._fail(
                f"The stream ended {arrived} bytes into a batch, {max(self._missing, 0)} before its end.",
                ErrorCode.MALFORMED,
            )

    def _read_head(self, data: bytes, position: int) -> int:
        """Take bytes of the head; set ``_missing`` when it is complete. Returns the next position."""
        head = self._head
        if not head:
            self._check_first_byte(data[position])
        # The first byte says how many follow: none below 24, then 1, 2, 4 or 8.
        first = head[0] if head else data[position]
        info = first & 0x1F
        length = 1 if info < 24 else 1 + (1 << info - 24)
        taken = data[position : position + length - len(head)]
        head += taken
        if len(head) == length:
            size = info if length == 1 else int.from_bytes(head[1:], "big")
            if size > self._limits.batch_bytes:
                self._fail(
                    f"A batch of {size} bytes is announced; at most {self._limits.batch_bytes} are accepted.",
                    ErrorCode.BATCH_TOO_LARGE,
                )
            self._missing = size
            head.clear()
        return position + len(taken)

    def _check_first_byte(self, first: int) -> None:
        if first >> 5 != BYTES or first & 0x1F > 27:
            self._fail(
                f"A batch starts with byte 0x{first:02x}; on a byte stream each is a definite byte string.",
                ErrorCode.MALFORMED,
            )

    def _fail(self, message: str, code: ErrorCode) -> NoReturn:
        self._error = RemoteProtocolError(message, code)
        raise self._error
