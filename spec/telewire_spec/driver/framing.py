"""Messages of the driver protocol: four bytes of length, and one CBOR map."""

from __future__ import annotations

from typing import IO, Any

import cbor2

__all__ = ["read_message", "write_message"]

LONGEST = 1 << 28


# Any, in both: a message is a map of plain values.
def read_message(source: IO[bytes]) -> dict[str, Any] | None:
    """The next message; None where the other side has hung up.

    Raises:
        ValueError: what came is no message.
    """
    head = source.read(4)
    if len(head) < 4:
        return None
    length = int.from_bytes(head, "big")
    if length > LONGEST:
        raise ValueError(f"A message of {length} bytes was announced; is something else printing there?")
    body = source.read(length)
    if len(body) < length:
        return None
    message = cbor2.loads(body)
    if not isinstance(message, dict):
        raise ValueError(f"A message is a map, and this one is a {type(message).__name__}.")
    return message


def write_message(target: IO[bytes], message: dict[str, Any]) -> None:
    """Send a message at once."""
    body = cbor2.dumps(message)
    target.write(len(body).to_bytes(4, "big") + body)
    target.flush()
