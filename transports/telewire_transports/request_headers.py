"""Headers of a client's requests: given as a mapping or a callable, checked before they leave."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, TypeAlias

import h11

from telewire.errors import NetworkError

__all__ = ["HeaderSource", "check_headers", "current_headers"]

HeaderSource: TypeAlias = (
    Mapping[str, str] | Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]] | None
)
"""Headers, or what gives them anew for each request, sync or async."""


async def current_headers(source: HeaderSource) -> Mapping[str, str]:
    """The headers of the next request.

    Raises:
        NetworkError: the callable failed; its exception is the cause.
    """
    if source is None or isinstance(source, Mapping):
        return source or {}
    try:
        made = source()
        found: object = await made if inspect.isawaitable(made) else made
    except Exception as error:
        raise NetworkError(
            f"There was no request, since headers= raised {type(error).__name__}; see its traceback."
        ) from error
    if not isinstance(found, Mapping):
        raise NetworkError(
            f"There was no request, since headers= gave {type(found).__name__}; it has to give a mapping."
        )
    return found


def check_headers(
    headers: Mapping[Any, Any], ours: Collection[str], prefix: str, what: str
) -> list[tuple[bytes, bytes]]:
    """Headers as bytes; ``ours``, and what begins with ``prefix``, belong to ``what``.

    (Any: what a program gave is looked at here for the first time.)

    Raises:
        ValueError: one cannot be sent; the message has its name and never its value.
    """
    checked: list[tuple[bytes, bytes]] = []
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            # Neither is repeated: the value is often a secret.
            raise ValueError(
                f"Headers are texts, and headers= holds {type(name).__name__} to {type(value).__name__}."
            )
        if name.lower() in ours or name.lower().startswith(prefix):
            raise ValueError(f"The header {name!r} belongs to {what}; leave it out of headers=.")
        try:
            pair = (name.encode("ascii"), value.encode("latin-1"))
            h11.Request(method=b"GET", target=b"/", headers=[(b"host", b"x"), pair])
        except (UnicodeError, h11.LocalProtocolError):
            # The value is not repeated, nor is the error that does: it is often a secret.
            raise ValueError(f"The header {name!r}, or its value, holds characters no header can.") from None
        checked.append(pair)
    return checked
