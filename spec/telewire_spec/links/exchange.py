"""One HTTP POST with a streamed response as the runner's link (TW-SES-060)."""

from __future__ import annotations

from urllib.parse import urlsplit

import h11

from telewire_spec.links.link import connect_socket
from telewire_spec.plain import head

__all__ = ["CONTENT_TYPE", "ExchangeLink", "take_batches"]

CONTENT_TYPE = "application/telewire"


class ExchangeLink:
    """A request that stays open until the response has ended; its status is judged with the first bytes."""

    def __init__(self, url: str, seconds: float) -> None:
        self.socket = connect_socket(url, seconds)
        self.machine = h11.Connection(h11.CLIENT)
        self.ended = False
        self.status = 0
        self.data = b""
        where = urlsplit(url)
        headers = [
            ("Host", where.netloc),
            ("Content-Type", CONTENT_TYPE),
            ("Transfer-Encoding", "chunked"),
        ]
        request = h11.Request(method="POST", target=where.path or "/", headers=headers)
        self._write(self.machine.send(request))

    def send(self, batch: bytes) -> None:
        """Send a batch as one byte string of the request's body."""
        if not self.ended:
            try:
                self._write(self.machine.send(h11.Data(data=head(2, len(batch)) + batch)))
            except (OSError, h11.LocalProtocolError):
                self.ended = True

    def receive(self, seconds: float) -> list[bytes]:
        """The batches of the response that are whole."""
        if self.ended:
            return []
        self.socket.settimeout(seconds)
        try:
            self.machine.receive_data(self.socket.recv(1 << 16))
            self._events()
        except TimeoutError:
            return []
        except (OSError, h11.RemoteProtocolError):
            self.ended = True
        return self._batches()

    def close(self) -> None:
        """Drop it."""
        self.socket.close()

    def _write(self, data: bytes | None) -> None:
        self.socket.sendall(data or b"")

    def _events(self) -> None:
        while True:
            event = self.machine.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Response):
                self.status = event.status_code
                self.ended = self.status != 200
            elif isinstance(event, h11.Data):
                self.data += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                self.ended = True
                return

    def _batches(self) -> list[bytes]:
        batches, self.data = take_batches(self.data)
        return batches


def take_batches(data: bytes) -> tuple[list[bytes], bytes]:
    """The byte strings that are whole, and what is left behind them."""
    batches = []
    while data:
        width = {24: 1, 25: 2, 26: 4, 27: 8}.get(data[0] & 31, 0)
        length = int.from_bytes(data[1 : 1 + width], "big") if width else data[0] & 31
        end = 1 + width + length
        if len(data) < max(end, 1 + width):
            break
        batches.append(data[1 + width : end])
        data = data[end:]
    return batches, data
