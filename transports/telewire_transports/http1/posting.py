"""post: one POST of a session, sent again until it is known to have been taken (TW-SES-104)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, final

import anyio
import h11

from telewire.errors import NetworkError, TelewireError, TransportUnsuitable
from telewire.runtime.backend import Signal, current_backend
from telewire_transports.http1.body import CONTENT_TYPE, HEAD_BYTES, Headers
from telewire_transports.sockets import ByteLink
from telewire_transports.text import printable

if TYPE_CHECKING:
    from telewire_transports.http1.client import Http1Client

__all__ = ["ELSEWHERE", "post"]

ELSEWHERE: Final = 16
"""How often a client that may choose meets workers that do not own its session, before it gives up."""
ATTEMPTS: Final = 5
FIRST_SECONDS: Final = 0.05
_TAKEN: Final = 204
_ELSEWHERE: Final = 421
_AGAIN: Final = frozenset({429, 502, 503, 504})
_TEXT_BYTES: Final = 1024
_SLOWEST: Final = 1024
"""Bytes a second that a link should carry: one frame is 64 KiB, which cannot be posted in parts."""


async def post(
    client: Http1Client, headers: Headers, body: bytes, elsewhere: int = 0
) -> TelewireError | None:
    """Post ``body`` until the server has taken it; returns why it never will, else None.

    ``elsewhere`` is how often another worker may answer that it does not own the session.

    That is known within the time in which a peer is taken for dead, and what the body takes over a slow
    link: who is dead the response in flight shows earlier (TW-SES-104). What was taken and is sent again
    takes effect once: it says where it stands.
    """
    deadline = anyio.current_time() + client.limits.dead_seconds + len(body) / _SLOWEST
    pause = FIRST_SECONDS
    attempts = ATTEMPTS
    while True:
        one = _Post(client, headers, body)
        try:
            with anyio.CancelScope(deadline=deadline):
                await client.open(one)
                await one.done.wait()
        except NetworkError as error:
            one.error = error
        finally:
            one.leave()
        if one.status == _TAKEN:
            return None
        if one.status == _ELSEWHERE:
            if not elsewhere:
                return _scattered(client)
            elsewhere -= 1
            continue
        attempts -= 1
        final = one.status and one.status not in _AGAIN
        if final or not attempts or anyio.current_time() >= deadline:
            return _refused(client, one)
        await anyio.sleep(pause * random.uniform(0.5, 1.0))
        pause *= 2


def _scattered(client: Http1Client) -> TransportUnsuitable:
    return TransportUnsuitable(
        ("websocket", "a balancer that sends what has the same Telewire-Route to one worker"),
        f"{client.where} sends the requests of one session to different workers.",
    )


def _refused(client: Http1Client, one: _Post) -> NetworkError:
    if one.status:
        said = printable(one.text)
        return NetworkError(
            f"{client.where} refused a request of the session with status {one.status}"
            + (f": {said}" if said else ".")
        )
    error = NetworkError(f"{client.where} did not answer a request of the session.")
    error.__cause__ = one.error
    return error


@final
class _Post:
    """Handles the link of one request until its answer is complete."""

    def __init__(self, client: Http1Client, headers: Headers, body: bytes) -> None:
        self._client = client
        self._headers = headers
        self._body = body
        self._link: ByteLink | None = None
        self._http: h11.Connection
        self._left = False
        self.status = 0
        """Of the answer, once it is complete or known to be a refusal."""
        self.text = b""
        self.error: Exception | None = None
        self.done: Signal = current_backend().signal()
        self._found = 0

    def begin(self, link: ByteLink) -> _Post:
        """Take a new link."""
        self.connected(link, h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES))
        return self

    def connected(self, link: ByteLink, http: h11.Connection) -> None:
        """Write the whole request."""
        self._link, self._http = link, http
        link.handler = self
        headers = [
            *self._headers,
            (b"Content-Type", CONTENT_TYPE),
            (b"Content-Length", b"%d" % len(self._body)),
        ]
        request = h11.Request(method=b"POST", target=self._client.where.path.encode(), headers=headers)
        link.writelines(
            [
                http.send(request) or b"",
                http.send(h11.Data(data=self._body)) or b"",
                http.send(h11.EndOfMessage()) or b"",
            ]
        )

    def leave(self) -> None:
        """Nobody waits any more."""
        if not self._left:
            self._left = True
            if self._link is not None:
                self._link.abort()

    def data_received(self, data: bytes) -> None:
        """Read the answer."""
        if self._left:
            return
        try:
            self._http.receive_data(data)
            while not self._left:
                event = self._http.next_event()
                if isinstance(event, h11.Response):
                    self._found = event.status_code
                elif isinstance(event, h11.Data):
                    self.text = (self.text + bytes(event.data))[:_TEXT_BYTES]
                elif isinstance(event, h11.EndOfMessage):
                    self._complete()
                elif not isinstance(event, h11.InformationalResponse):
                    return
        except h11.RemoteProtocolError as error:
            self.error = error
            self._end()

    def _complete(self) -> None:
        self.status = self._found
        link, http = self._link, self._http
        assert link is not None
        done = http.our_state is h11.DONE and http.their_state is h11.DONE
        # Another connection may lead to another worker, where this one's did not take it.
        if done and self.status == _TAKEN and not http.trailing_data[0]:
            self._left = True
            http.start_next_cycle()
            self._client.keep(link, http)
        self._end()

    def _end(self) -> None:
        self.done.set()
        self.leave()

    def link_writable(self) -> None:
        """The whole request was queued at once."""

    def link_lost(self, error: Exception | None) -> None:
        """The answer, if there is one, has no other end than that of the connection."""
        self.error = error
        if not self._left and self._found:
            self.status = self._found
        self._left = True
        self.done.set()
