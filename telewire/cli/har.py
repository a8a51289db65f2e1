"""HAR files: what a browser's record of its requests holds of telewire's conversations, as bytes."""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["HarError", "Part", "is_har", "parts_of"]

BODIES: Final = ("application/telewire", "text/event-stream")
SUBPROTOCOL: Final = "telewire.1"
BINARY: Final = 2
"""What a WebSocket calls a message that is not text (RFC 6455 §5.6)."""


class HarError(Exception):
    """A file is no HAR file; the text says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """A WebSocket message or the body of a request or response.

    Attributes:
        url: where the request went, without its query, which may hold secrets.
        direction: ``sent`` or ``received``, as the browser sees it.
        what: which part of the conversation it is, for people.
        data: its bytes.
    """

    url: str
    direction: str
    what: str
    data: bytes


def is_har(begun: bytes) -> bool:
    """Whether a file that begins so may be a HAR file: no batch and no event begins with a brace."""
    return begun.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def parts_of(data: bytes) -> Iterator[Part]:
    """The parts of all conversations that are telewire's, request by request, each in its order.

    Raises:
        HarError: this is no HAR file.
    """
    try:
        entries = json.loads(data.decode("utf-8-sig"))["log"]["entries"]
        # At once, so that a file that is none is refused before anything of it is shown.
        parts = [part for entry in entries for part in _parts(entry)]
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise HarError(f"This begins as a HAR file and is none: {error}.") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise HarError(f"This is JSON, and no HAR file: {type(error).__name__} at {error}.") from None
    yield from parts


# Any, in what follows: JSON.
def _parts(entry: dict[str, Any]) -> Iterator[Part]:
    url = str(entry["request"]["url"]).partition("?")[0]
    messages = entry.get("_webSocketMessages", ())
    if messages and _speaks_telewire(entry):
        for number, message in enumerate(messages, 1):
            sent = message["type"] == "send"
            text = str(message["data"])
            data = b64decode(text, validate=True) if message["opcode"] == BINARY else text.encode()
            yield Part(url, "sent" if sent else "received", f"message {number}", data)
    for direction, what, body in (
        ("sent", "the request", entry["request"].get("postData")),
        ("received", "the response", entry.get("response", {}).get("content")),
    ):
        if body and body.get("text") and str(body.get("mimeType", "")).partition(";")[0].strip() in BODIES:
            yield Part(url, direction, what, _body(body))


def _speaks_telewire(entry: dict[str, Any]) -> bool:
    """Whether a WebSocket has the subprotocol; where no headers were recorded, it may."""
    headers = entry.get("response", {}).get("headers") or ()
    chosen = [each["value"] for each in headers if each["name"].lower() == "sec-websocket-protocol"]
    return not headers or SUBPROTOCOL in chosen


def _body(body: dict[str, Any]) -> bytes:
    text = str(body["text"])
    if body.get("encoding") == "base64":
        try:
            return b64decode(text, validate=True)
        except binascii.Error as error:
            raise HarError(f"A body is said to be base64 and is not: {error}.") from None
    # Bytes that a browser shows as text are characters, one each where it could.
    return text.encode("latin-1" if max(text) <= "\xff" else "utf-8")
