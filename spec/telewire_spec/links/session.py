"""An HTTP session as the runner's link: a downlink, streamed or as events, and a POST for each batch."""

from __future__ import annotations

import base64
import socket
from urllib.parse import urlsplit

import h11

from telewire_spec.links.exchange import CONTENT_TYPE, take_batches
from telewire_spec.links.link import LinkFailed, connect_socket
from telewire_spec.plain import head

__all__ = ["SessionLink"]

EVENTS = "text/event-stream"


class SessionLink:
    """One downlink and what is posted to it, opened when it is made.

    Raises:
        LinkFailed: the server does not offer sessions over HTTP there.
    """

    def __init__(self, url: str, seconds: float, *, events: bool) -> None:
        self.url = url
        self.seconds = seconds
        self.events = events
        self.ended = False
        self.data = b""
        self.session = ""
        self.down = connect_socket(url, seconds)
        self.machine = h11.Connection(h11.CLIENT)
        self.up: tuple[socket.socket, h11.Connection] | None = None
        accepted = EVENTS if events else CONTENT_TYPE
        self.down.sendall(self._request(self.machine, b"", "open", ("Accept", accepted)))
        while not self.session and not self.ended:
            self._read(seconds)
        if not self.session:
            raise LinkFailed(f"{url} opened no downlink.")

    def send(self, batch: bytes) -> None:
        """Post a batch, and wait until it has been handed on."""
        if self.ended:
            return
        try:
            self.ended = self._post(head(2, len(batch)) + batch) != 204
        except (OSError, h11.RemoteProtocolError, h11.LocalProtocolError):
            self.ended = True

    def receive(self, seconds: float) -> list[bytes]:
        """What has come on the downlink, also while something was posted."""
        batches = self._take()
        if not batches and not self.ended:
            self._read(seconds)
            batches = self._take()
        return batches

    def close(self) -> None:
        """Drop both connections."""
        self.down.close()
        if self.up is not None:
            self.up[0].close()

    # --- inside ----------------------------------------------------------------------------------

    def _take(self) -> list[bytes]:
        """Take the batches that are whole."""
        if not self.events:
            batches, self.data = take_batches(self.data)
            return batches
        whole, _, self.data = self.data.rpartition(b"\n\n")
        lines = whole.splitlines()
        return [base64.b64decode(line.removeprefix(b"data:")) for line in lines if line.startswith(b"data:")]

    def _request(self, machine: h11.Connection, body: bytes, session: str, *more: tuple[str, str]) -> bytes:
        where = urlsplit(self.url)
        headers = [
            ("Host", where.netloc),
            ("Content-Type", CONTENT_TYPE),
            ("Telewire-Session", session),
            ("Content-Length", str(len(body))),
            *more,
        ]
        request = h11.Request(method="POST", target=where.path or "/", headers=headers)
        parts = [machine.send(request), machine.send(h11.Data(data=body)), machine.send(h11.EndOfMessage())]
        return b"".join(part or b"" for part in parts)

    def _post(self, body: bytes) -> int:
        """Send a body up; returns the status of the answer."""
        if self.up is None:
            self.up = connect_socket(self.url, self.seconds), h11.Connection(h11.CLIENT)
        link, machine = self.up
        link.sendall(self._request(machine, body, self.session))
        link.settimeout(self.seconds)
        status = 0
        while not isinstance(event := machine.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
            if event is h11.NEED_DATA:
                machine.receive_data(link.recv(1 << 16))
            elif isinstance(event, h11.Response):
                status = event.status_code
        if machine.our_state is h11.DONE and machine.their_state is h11.DONE:
            machine.start_next_cycle()
        else:
            link.close()
            self.up = None
        return status

    def _read(self, seconds: float) -> None:
        self.down.settimeout(seconds)
        try:
            self.machine.receive_data(self.down.recv(1 << 16))
            while (event := self.machine.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    found = {name.lower(): value for name, value in event.headers}
                    self.session = found.get(b"telewire-session", b"").decode("ascii")
                    self.ended = event.status_code != 200
                elif isinstance(event, h11.Data):
                    self.data += bytes(event.data)
                else:
                    self.ended = True
                    return
        except TimeoutError:
            return
        except (OSError, h11.RemoteProtocolError):
            self.ended = True
