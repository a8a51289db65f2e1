"""Negotiation: what a hello says, and which limits of a peer leave room for a conversation."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from telewire.errors import ErrorCode, RemoteProtocolError
from telewire.limits import ADVERTISED, Limits
from telewire.wire.frames import Hello

__all__ = ["RESUME", "USUAL", "VERSION", "make_hello", "read_hello", "too_small"]

VERSION: Final = 1
RESUME: Final = 1
"""The feature of sessions (chapter 7)."""
SMALLEST: Final = 1024
USUAL: Final = Limits()
"""One object for all connections whose side, or peer, states nothing else: each would take 600 bytes."""


def too_small(limits: Limits) -> str | None:
    """Which limit leaves no room for a payload (TW-LIM-003), as a sentence; None where all do."""
    for name in ("fragment_bytes", "message_bytes", "stream_window"):
        if getattr(limits, name) < SMALLEST:
            return f"{name} is {getattr(limits, name)}; it must be at least {SMALLEST}."
    if limits.batch_bytes < limits.fragment_bytes + SMALLEST:
        return f"batch_bytes is {limits.batch_bytes}; it must be {SMALLEST} above fragment_bytes."
    if limits.batch_frames < 1:
        return "batch_frames is 0; it must be at least 1."
    if not 1 <= limits.item_cost <= limits.stream_window // 4:
        return f"item_cost is {limits.item_cost}; it must be from 1 to a quarter of stream_window."
    return None


def make_hello(limits: Limits, session: bytes | None, token: bytes | None, resume: bool) -> Hello:
    """The hello of a side: its version, its features, its limits."""
    advertised = {number: getattr(limits, name) for number, name in ADVERTISED.items()}
    return Hello(VERSION, VERSION, (RESUME,) if resume else (), advertised, session, token)


def read_hello(hello: Hello, from_client: bool) -> Limits:
    """Check a peer's hello; returns its limits.

    Raises RemoteProtocolError: VERSION_MISMATCH, or INVALID_FRAME where a client names a session or
    the limits leave no room.
    """
    if not hello.version_min <= VERSION <= hello.version_max:
        raise RemoteProtocolError(
            f"The peer speaks versions {hello.version_min} to {hello.version_max}, we speak {VERSION}.",
            ErrorCode.VERSION_MISMATCH,
        )
    if from_client and (hello.session is not None or hello.token is not None):
        raise RemoteProtocolError("A client's hello names no session and no token.", ErrorCode.INVALID_FRAME)
    known = {ADVERTISED[number]: value for number, value in hello.limits.items() if number in ADVERTISED}
    limits = replace(USUAL, **known)
    if limits == USUAL:
        return USUAL
    problem = too_small(limits)
    if problem is not None:
        raise RemoteProtocolError(f"The peer's limits leave no room: {problem}", ErrorCode.INVALID_FRAME)
    return limits
