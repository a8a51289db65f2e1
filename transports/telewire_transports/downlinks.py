"""Downlinks: which response in flight a POST of an HTTP session belongs to, and who may post to it.

A session's header is made and read here alone (TW-SES-100 to 103). What it holds is a secret, and stands
in no message.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Hashable, Mapping
from hmac import compare_digest
from typing import Final, Protocol, final

from telewire.errors import RemoteProtocolError
from telewire.runtime.backend import Timer, current_backend
from telewire.runtime.transport import PostHandler, Request, TransportName
from telewire_transports.web_door import OPEN, SESSION_HEADER, Refusal

__all__ = ["Downlink", "Downlinks", "Registered", "opens"]

_NAME_BYTES: Final = 9
_SECRET_BYTES: Final = 24
_PARTS: Final = 3
_RETIRED_SECONDS: Final = 5.0


class Downlink(Protocol):
    """A response in flight, and the way up beside it: one transport."""

    @property
    def request(self) -> Request:
        """The request that opened it."""

    def post(self, batch: bytes) -> bool:
        """Take a batch that was posted; false where it came too early."""

    def refuse(self, error: RemoteProtocolError) -> None:
        """Let the machine answer what was posted and is no batch (TW-FRM-004)."""

    def heard(self) -> None:
        """Note bytes of a POST that are no whole batch yet."""

    def leave(self) -> None:
        """End the response: the client has nothing more to say."""


def opens(headers: Mapping[str, str]) -> TransportName | None:
    """The kind of downlink that a request asks for; None where it has one."""
    if headers.get(SESSION_HEADER) != OPEN:
        return None
    return "sse" if "text/event-stream" in headers.get("accept", "").lower() else "http"


@final
class Downlinks:
    """Those of one server.

    Args:
        principal: whom a request comes from; who posts must be who opened.
    """

    def __init__(self, principal: Callable[[Request], Hashable]) -> None:
        self._principal = principal
        self.worker = _text(_NAME_BYTES)
        """What names this worker of the server; told to everybody."""
        self._open: dict[str, tuple[str, Downlink, Hashable]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, downlink: Downlink) -> str:
        """Name a downlink; returns what its header says. Owed: :meth:`forget`, with that, at its end."""
        name, secret = _text(_NAME_BYTES), _text(_SECRET_BYTES)
        self._open[name] = secret, downlink, self._principal(downlink.request)
        return f"{self.worker}.{name}.{secret}"

    def forget(self, header: str) -> None:
        """The downlink ends: nothing more is taken for it."""
        self._open.pop(header.split(".")[1], None)

    def retire(self, header: str) -> None:
        """The downlink has ended in order: what crosses that is taken for a while, and nothing comes of it.

        Refused, it would seem to the client that its transport was lost, before it has read to the end.
        """
        name = header.split(".")[1]
        if name in self._open:
            secret, downlink, principal = self._open[name]
            self._open[name] = secret, _Retired(downlink.request), principal
            backend = current_backend()
            backend.call_at(backend.now() + _RETIRED_SECONDS, lambda: self.forget(header))

    def find(self, request: Request) -> Downlink:
        """The downlink that a POST belongs to.

        Raises:
            Refusal: it has none here, with the status of TW-SES-103.
        """
        parts = request.headers.get(SESSION_HEADER, "").split(".")
        if len(parts) != _PARTS or parts[0] != self.worker:
            raise Refusal(
                421,
                "This worker of the server does not hold the session; let a balancer send all requests with "
                "the same Telewire-Route to one worker, or use WebSocket.",
            )
        secret, downlink, principal = self._open.get(parts[1], ("", None, None))
        if not compare_digest(secret.encode(), parts[2].encode("utf-8", "replace")) or downlink is None:
            raise Refusal(410, "The response of this session has ended, or never began; open another one.")
        if self._principal(request) != principal:
            raise Refusal(403, "The session belongs to somebody else.")
        return downlink


@final
class _Retired:
    """A ``Downlink`` whose response has ended in order."""

    def __init__(self, request: Request) -> None:
        self.request = request

    def post(self, batch: bytes) -> bool:
        """Behind the end nothing takes effect; what was to is sent again over another transport."""
        return True

    def refuse(self, error: RemoteProtocolError) -> None:
        """Nobody is there to answer it."""

    def heard(self) -> None:
        """Nobody is there to be told."""

    def leave(self) -> None:
        """It has ended."""


@final
class Registered:
    """A ``Downlink`` that began as an exchange, while it is open (TW-SES-110).

    Args:
        request: which opened the exchange.
        handler: takes what is posted.
        downlinks: where it is registered; owed: :meth:`forget`.
        seconds: something leaves at least so often (TW-SES-106).
        tick: lets it leave.
        leave: ends the response.
    """

    def __init__(
        self,
        request: Request,
        handler: PostHandler,
        downlinks: Downlinks,
        seconds: float,
        tick: Callable[[], object],
        leave: Callable[[], object],
    ) -> None:
        self.request = request
        self.spoke = True
        """Whether something has left since the last tick."""
        self._handler = handler
        self._downlinks = downlinks
        self._seconds = seconds
        self._tick = tick
        self._leave = leave
        self._over = False
        self.header = downlinks.add(self)
        self._timer = self._arm()

    def _arm(self) -> Timer:
        backend = current_backend()
        return backend.call_at(backend.now() + self._seconds, self._due)

    def _due(self) -> None:
        if not self.spoke:
            self._tick()
        self.spoke = False
        self._timer = self._arm()

    def post(self, batch: bytes) -> bool:
        """Take a batch that was posted."""
        if self._over:
            raise Refusal(410, "The response of this session has just ended.")
        return self._handler.batch_posted(batch)

    def refuse(self, error: RemoteProtocolError) -> None:
        """Let the machine answer what was posted and is no batch."""
        if not self._over:
            self._handler.violation_received(error)

    def heard(self) -> None:
        """Note bytes of a POST."""
        if not self._over:
            self._handler.bytes_received()

    def leave(self) -> None:
        """The client has said farewell."""
        if not self._over:
            self._leave()

    def forget(self, *, in_order: bool = False) -> None:
        """The response has ended: nothing more is taken; ``in_order``: :meth:`Downlinks.retire`."""
        self._over = True
        self._timer.cancel()
        if in_order:
            self._downlinks.retire(self.header)
        else:
            self._downlinks.forget(self.header)


def _text(size: int) -> str:
    return urlsafe_b64encode(secrets.token_bytes(size)).decode()
