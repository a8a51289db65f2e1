"""A WebSocket as the runner's link: each batch is one binary message."""

from __future__ import annotations

from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from telewire_spec.links.link import LinkFailed, connect_socket

__all__ = ["WebSocketLink"]

SUBPROTOCOL = "telewire.1"


class WebSocketLink:
    """One WebSocket, opened when it is made.

    Raises:
        LinkFailed: it was refused, or the server does not choose the subprotocol (TW-NEG-001).
    """

    def __init__(self, url: str, seconds: float) -> None:
        self.socket = connect_socket(url, seconds)
        self.machine = WSConnection(ConnectionType.CLIENT)
        self.ended = False
        self.accepted = False
        self.refusal = ""
        self.part = b""
        where = urlsplit(url)
        target = where.path or "/"
        self.socket.sendall(
            self.machine.send(Request(host=where.netloc, target=target, subprotocols=[SUBPROTOCOL]))
        )
        self.early: list[bytes] = []
        while not self.accepted and not self.ended:
            self.early += self._read(seconds)
        if not self.accepted:
            raise LinkFailed(f"{url} took no WebSocket: {self.refusal or 'the connection ended'}.")

    def send(self, batch: bytes) -> None:
        """Send a batch as one binary message."""
        if not self.ended:
            try:
                self.socket.sendall(self.machine.send(BytesMessage(batch)))
            except (OSError, LocalProtocolError):
                self.ended = True

    def receive(self, seconds: float) -> list[bytes]:
        """What has come."""
        early, self.early = self.early, []
        return early or self._read(seconds)

    def close(self) -> None:
        """Drop it."""
        self.socket.close()

    def _read(self, seconds: float) -> list[bytes]:
        if self.ended:
            return []
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(1 << 16)
            self.machine.receive_data(data or None)
        except TimeoutError:
            return []
        except (OSError, RemoteProtocolError):
            self.ended = True
            return []
        if not data:
            self.ended = True
        return self._batches()

    def _batches(self) -> list[bytes]:
        batches = []
        for event in self.machine.events():
            if isinstance(event, AcceptConnection):
                self.accepted = event.subprotocol == SUBPROTOCOL
                self.ended = not self.accepted
                self.refusal = f"it chose the subprotocol {event.subprotocol!r}"
            elif isinstance(event, RejectConnection):
                self.ended = True
                self.refusal = f"it answered with status {event.status_code}"
            elif isinstance(event, BytesMessage):
                self.part += bytes(event.data)
                if event.message_finished:
                    batches.append(self.part)
                    self.part = b""
            elif isinstance(event, TextMessage):
                self.ended = True
            elif isinstance(event, Ping):
                self.socket.sendall(self.machine.send(event.response()))
            elif isinstance(event, CloseConnection):
                self.ended = True
        return batches
