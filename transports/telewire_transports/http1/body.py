"""Body: batches as the body of a message of HTTP/1.1, in both directions (TW-SES-060)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

import h11

from telewire.errors import RemoteProtocolError
from telewire.limits import Limits
from telewire.wire.reader import BatchReader, write_batch
from telewire_transports.sockets import ByteLink

__all__ = ["CONTENT_TYPE", "HEAD_BYTES", "BodyReader", "BodyWriter", "Headers", "write_batches"]

CONTENT_TYPE: Final = b"application/telewire"
HEAD_BYTES: Final = 16 * 1024

Headers = list[tuple[bytes, bytes]]
MakeHead = Callable[[Headers], h11.Request | h11.Response]


def write_batches(batches: Sequence[bytes]) -> bytes:
    """Batches as they stand in a body of our own content type."""
    return b"".join(map(write_batch, batches))


@final
class BodyWriter:
    """Writes one message: its head with its first batches, then each send as one chunk."""

    def __init__(
        self,
        http: h11.Connection,
        make_head: MakeHead,
        encode: Callable[[Sequence[bytes]], bytes] = write_batches,
    ) -> None:
        self._http = http
        self._make_head = make_head
        self._encode = encode
        self.begun = False
        self.ended = False

    def send(self, link: ByteLink, batches: Sequence[bytes]) -> None:
        """Queue batches."""
        if batches and not self.ended:
            self.write(link, self._encode(batches))

    def write(self, link: ByteLink, data: bytes) -> None:
        """Queue bytes of the body; without any, only its head, where that has not left."""
        pieces = [] if self.begun else self._begin([(b"transfer-encoding", b"chunked")])
        if data:
            pieces += self._pieces(h11.Data(data=data))
        link.writelines([piece for piece in pieces if piece])

    def send_last(self, link: ByteLink, batches: Sequence[bytes]) -> None:
        """Queue batches and end the message. One that is sent at once says how long it is."""
        if self.ended:
            return
        data = self._encode(batches)
        pieces = [] if self.begun else self._begin([(b"content-length", b"%d" % len(data))])
        if data:
            pieces += self._pieces(h11.Data(data=data))
        self.ended = True
        pieces += self._pieces(h11.EndOfMessage())
        link.writelines([piece for piece in pieces if piece])

    def _begin(self, framing: Headers) -> list[bytes]:
        self.begun = True
        return self._pieces(self._make_head(framing))

    def _pieces(self, event: h11.Request | h11.Response | h11.Data | h11.EndOfMessage) -> list[bytes]:
        return self._http.send_with_data_passthrough(event) or []


@final
class BodyReader:
    """Cuts the body of one message into batches."""

    def __init__(self, limits: Limits) -> None:
        self._reader = BatchReader(limits)

    def cut(self, data: bytes) -> tuple[list[bytes], RemoteProtocolError | None]:
        """The batches that are complete now, and what is wrong behind them, if anything is."""
        try:
            return self._reader.receive_data(data), None
        except RemoteProtocolError as error:
            return self._reader.completed, error

    def end(self) -> RemoteProtocolError | None:
        """What is wrong with an end here, if anything is."""
        try:
            self._reader.receive_eof()
        except RemoteProtocolError as error:
            return error
        return None
