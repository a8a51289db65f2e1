"""Answer: what the head of a response says, and the error for one that is no exchange (TW-SES-094)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, final
from urllib.parse import urlsplit

import h11

from telewire.errors import NetworkError, TelewireError, TransportUnsuitable
from telewire_transports.http1.body import CONTENT_TYPE
from telewire_transports.text import printable
from telewire_transports.urls import ParsedUrl

__all__ = ["Answer"]

_OK: Final = 200
_REDIRECTS: Final = frozenset({307, 308})
_NOT_FOUND: Final = 404
_TEXT_BYTES: Final = 1024
# The server, or this worker of it, is there and takes no exchange of this kind.
_UNSUITABLE: Final = frozenset({405, 411, 415, 417, 421, 426, 501})
_LATER: Final = frozenset({429, 503})


@final
class Answer:
    """The head of a response, and the text of a refusal, as far as it is plain."""

    def __init__(
        self,
        where: ParsedUrl,
        response: h11.Response,
        wanted: bytes = CONTENT_TYPE,
        what: str = "the call",
    ) -> None:
        self._where = where
        self._wanted = wanted
        self._what = what
        self._status = response.status_code
        headers = dict(response.headers)
        self.session = headers.get(b"telewire-session", b"")
        """What names the downlink that this is, where it is one (TW-SES-101)."""
        self._type = headers.get(b"content-type", b"")
        self._location = headers.get(b"location", b"")
        self._text = b""

    @property
    def status(self) -> int:
        """The status code."""
        return self._status

    @property
    def refused(self) -> bool:
        """Whether the body is no exchange's."""
        return self._status != _OK or self._type.lower() != self._wanted

    @property
    def mount(self) -> ParsedUrl | None:
        """Where a framework has us ask instead: at the same place below our path, where it is no other."""
        if self._status not in _REDIRECTS:
            return None
        target = urlsplit(self._location.decode("latin-1"))
        path, _, query = self._where.path.partition("?")
        if target.netloc not in ("", self._where.authority) or target.path != path + "/":
            return None
        return replace(self._where, path=path + "/" + ("?" + query if query else ""))

    def add(self, data: bytes) -> bool:
        """Keep some of the text; whether that is enough of it."""
        self._text += data
        return len(self._text) >= _TEXT_BYTES

    def error(self) -> TelewireError:
        """The sentence for the caller."""
        status = self._status
        if status == _OK:
            what = printable(self._type) or "no content type"
            return NetworkError(
                f"{self._where} answered with {what} where {self._wanted.decode()} was expected; "
                "a proxy, a login page or another server may stand there."
            )
        if 300 <= status < 400:
            target = printable(self._location) or "nowhere"
            return NetworkError(f"{self._where} redirects, with status {status}, to {target}; connect there.")
        said = ""
        if self._type.lower().startswith(b"text/plain"):
            said = printable(self._text)
        sentence = f"{self._where} refused {self._what} with status {status}" + (f": {said}" if said else ".")
        if status == _NOT_FOUND:
            sentence += " Check the path in the URL: serve() listens at /telewire, unless it was given path=."
        if status in _UNSUITABLE:
            return TransportUnsuitable(("websocket",), sentence)
        error = NetworkError(sentence)
        error.retryable = status in _LATER
        return error
