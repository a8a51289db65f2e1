"""WebSocketFrames: batches to bytes and back, without I/O.

wsproto judges all that is rare: control frames, fragments, malformed heads. The one thing that is
frequent, a whole message in one frame, is cut here: it costs a third, and its payload is copied once
instead of four times. No payload is taken in whose length is not known to be within the limit.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from enum import Enum, auto
from typing import Final

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping

from telewire.errors import ErrorCode, NetworkError, RemoteProtocolError
from telewire_transports.text import printable
from telewire_transports.websocket.masking import mask

__all__ = ["SUBPROTOCOL", "FramesState", "WebSocketFrames"]

SUBPROTOCOL: Final = "telewire.1"

_BINARY: Final = 0x82
_TEXT_OPCODE: Final = 1
_FIRST_CONTROL_OPCODE: Final = 8
_MASKED: Final = 0x80
_LONG: Final = 126
_KEYS: Final = 64
_SHORT_HEADS: Final = tuple(bytes((_BINARY, size)) for size in range(126))

_NORMAL: Final = 1000
_UNSUPPORTED: Final = 1003
_NO_STATUS: Final = 1005
_TOO_BIG: Final = 1009
_ORDERLY: Final = frozenset({_NORMAL, 1001, _NO_STATUS})


class FramesState(Enum):
    """How far the closing handshake has come."""

    OPEN = auto()
    CLOSING = auto()
    """Our close frame has left, the peer's has not come."""
    CLOSED = auto()
    """Both have crossed."""
    REFUSED = auto()
    """The peer broke a rule of telewire: nothing more is taken in, and our side still speaks."""
    FAILED = auto()
    """The peer broke a rule; our close frame says which."""


# A member costs as much as a call where it is looked up through its class (CPython 3.11).
_OPEN: Final = FramesState.OPEN
_LISTENING: Final = (FramesState.OPEN, FramesState.CLOSING)


class WebSocketFrames:
    """One WebSocket after its handshake.

    After each :meth:`receive_data` write :attr:`reply`, then deliver the batches, then look at
    :attr:`state`; :attr:`failure` says why it ended, None where it ended in order. Where a message is
    refused (TW-FRM-004), :attr:`refusal` is for the machine, which answers it; then :meth:`close` is owed.
    """

    __slots__ = (
        "_body",
        "_client",
        "_fragments",
        "_head",
        "_in_message",
        "_key",
        "_keys",
        "_limit",
        "_missing",
        "_refusal_code",
        "_whole",
        "_wsproto",
        "failure",
        "refusal",
        "reply",
        "reply_is_pong",
        "state",
    )

    def __init__(self, *, client: bool, limit: int) -> None:
        self._client = client
        self._limit = limit
        self._wsproto: Connection | None = None
        self._head = b""
        self._missing = 0
        self._whole = False
        self._key = b""
        self._body = bytearray()
        self._fragments = bytearray()
        self._in_message = False
        self._keys = b""
        self.state = FramesState.OPEN
        self.failure: Exception | None = None
        self.refusal: RemoteProtocolError | None = None
        self._refusal_code = _NORMAL
        self.reply = b""
        self.reply_is_pong = False

    @property
    def _frame(self) -> Connection:
        """Made when something rare comes: it takes 1.3 KB and eight objects, and most never need it."""
        if self._wsproto is None:
            self._wsproto = Connection(ConnectionType.CLIENT if self._client else ConnectionType.SERVER)
        return self._wsproto

    # --- out -------------------------------------------------------------------------------------

    def encode(self, batches: Sequence[bytes]) -> list[bytes]:
        """Frame batches, one message each; the pieces are to be written in order."""
        if len(batches) == 1 and not self._client and len(batches[0]) < 126:
            # As most are, where few calls are in flight.
            return [_SHORT_HEADS[len(batches[0])] + batches[0]]
        pieces: list[bytes] = []
        flag = _MASKED if self._client else 0
        for batch in batches:
            size = len(batch)
            if size < 126:
                pieces.append(bytes((_BINARY, flag | size)))
            elif size < 65536:
                pieces.append(struct.pack("!BBH", _BINARY, flag | 126, size))
            else:
                pieces.append(struct.pack("!BBQ", _BINARY, flag | 127, size))
            if self._client:
                # Keys must be unpredictable, but need not be fetched four bytes at a time.
                if not self._keys:
                    # A copy of what is left is cheaper the less there is.
                    self._keys = os.urandom(_KEYS)
                key, self._keys = self._keys[:4], self._keys[4:]
                pieces.append(key)
                pieces.append(mask(batch, key))
            else:
                pieces.append(batch)
        return pieces

    def close(self) -> bytes:
        """Begin the closing handshake: what is to be written, after all batches."""
        if self.state is FramesState.REFUSED:
            assert self.refusal is not None, "a refusal has its reason"
            self.fail(self._refusal_code, self.refusal)
            return self.reply
        if self.state is not FramesState.OPEN:
            return b""
        self.state = FramesState.CLOSING
        return self._frame.send(CloseConnection(code=_NORMAL))

    def fail(self, code: int, error: Exception) -> None:
        """End with a close frame that carries ``code``; nothing more is understood."""
        if self._frame.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            self.reply = self._frame.send(CloseConnection(code=code, reason=printable(str(error), 100)))
            self.reply_is_pong = False
        self.state = FramesState.FAILED
        self.failure = error

    # --- in --------------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> list[bytes]:
        """Take bytes, cut anywhere; gives the batches they complete, and never raises for them."""
        self.reply = b""
        if not self._head and not self._missing:
            alone = self._alone(data)
            if alone is not None:
                return [alone]
        batches: list[bytes] = []
        if self._head:
            data, self._head = self._head + data, b""
        position, end = 0, len(data)
        while position < end and self.state in _LISTENING:
            if self._missing:
                chunk = data[position : position + self._missing]
                position += len(chunk)
                self._missing -= len(chunk)
                if not self._whole:
                    self._judge(chunk, batches)
                    continue
                self._body += chunk
                if not self._missing:
                    batches.append(self._unmask(self._body))
                    self._body = bytearray()
                continue
            size = self._head_size(data, position, end)
            if position + size > end:
                self._head = data[position:]
                break
            length = self._begin(data, position, size, batches)
            position += size
            if self._whole and end - position >= length:
                batches.append(self._unmask(data[position : position + length]))
                position += length
            else:
                self._missing = length
        return batches

    def _alone(self, data: bytes) -> bytes | None:
        """The batch of one short message that came whole and by itself, as most do; None for all else."""
        if len(data) < 2 or data[0] != _BINARY or self._in_message or self.state is not _OPEN:
            return None
        length = data[1]
        if self._client:
            return data[2:] if length < _LONG and len(data) == 2 + length <= self._limit else None
        if not _MASKED <= length < _MASKED + _LONG or not len(data) == length - _MASKED + 6 <= self._limit:
            return None
        return mask(data[6:], data[2:6])

    @staticmethod
    def _head_size(data: bytes, position: int, end: int) -> int:
        if end - position < 2:
            return 2
        second = data[position + 1]
        size = 6 if second & _MASKED else 2
        length = second & 127
        return size + (0 if length < 126 else 2 if length == 126 else 8)

    def _begin(self, data: bytes, position: int, size: int, batches: list[bytes]) -> int:
        """Look at the head of a frame; returns the length of its payload."""
        first, second = data[position], data[position + 1]
        masked, length = bool(second & _MASKED), second & 127
        shortest = True
        if length == 126:
            length = int.from_bytes(data[position + 2 : position + 4])
            shortest = length > 125
        elif length == 127:
            length = int.from_bytes(data[position + 2 : position + 10])
            shortest = length > 65535
        opcode = first & 15
        self._whole = False
        if opcode == _TEXT_OPCODE:
            self._refuse(
                _UNSUPPORTED,
                RemoteProtocolError("The peer sent a text message; batches are binary.", ErrorCode.MALFORMED),
            )
        elif opcode < _FIRST_CONTROL_OPCODE and length + len(self._fragments) > self._limit:
            self._refuse(
                _TOO_BIG,
                RemoteProtocolError(
                    f"The peer sent a batch above {self._limit} bytes, the limit batch_bytes.",
                    ErrorCode.BATCH_TOO_LARGE,
                ),
            )
        elif first == _BINARY and shortest and masked is not self._client and not self._in_message:
            self._whole = True
            self._key = data[position + size - 4 : position + size] if masked else b""
        else:
            self._judge(data[position : position + size], batches)
        return length

    def _unmask(self, body: bytes | bytearray) -> bytes:
        return mask(body, self._key) if self._key else bytes(body)

    def _refuse(self, code: int, error: RemoteProtocolError) -> None:
        """Take nothing more in; the machine is to say why, and our close frame, with ``code``, comes last."""
        self._fragments = bytearray()
        if self.state is not FramesState.OPEN:
            # The machine has closed already, and has nothing to say to this.
            self.fail(code, error)
            return
        self.state = FramesState.REFUSED
        self._refusal_code = code
        self.refusal = error

    def _judge(self, data: bytes, batches: list[bytes]) -> None:
        """Give wsproto what is not a plain message. Its events are consumed fully, always."""
        self._frame.receive_data(data)
        for event in self._frame.events():
            if isinstance(event, BytesMessage):
                self._fragments += event.data
                self._in_message = not event.message_finished
                if event.message_finished:
                    batches.append(bytes(self._fragments))
                    self._fragments = bytearray()
            elif isinstance(event, Ping):
                # Only the latest is answered (RFC 6455 §5.5.3), else a flood would fill our output.
                if self.state is FramesState.OPEN:
                    self.reply = self._frame.send(event.response())
                    self.reply_is_pong = True
            elif isinstance(event, CloseConnection):
                self._peer_closed(event)

    def _peer_closed(self, event: CloseConnection) -> None:
        reason = printable(event.reason or "", 100)
        state = self._frame.state
        if state not in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED):
            # wsproto reports a malformed frame as if it were a close frame; no state has changed then.
            self.fail(
                int(event.code),
                RemoteProtocolError(f"The peer broke the rules of WebSocket: {reason}.", ErrorCode.MALFORMED),
            )
            return
        if state is ConnectionState.REMOTE_CLOSING:
            self.reply = self._frame.send(event.response())
            self.reply_is_pong = False
        self.state = FramesState.CLOSED
        if event.code not in _ORDERLY:
            self.failure = NetworkError(
                f"The peer closed the WebSocket with code {int(event.code)}"
                + (f" ({reason})." if reason else ".")
            )
