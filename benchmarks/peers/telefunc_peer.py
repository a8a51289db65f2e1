"""The peer Telefunc, on Node, by HTTP or on a channel over WebSocket: ``node/telefunc.mjs``."""

from __future__ import annotations

from typing import Final

from benchmarks.entrants import node_command

__all__ = ["CANNOT", "NAME", "WAYS", "command"]

NAME: Final = "telefunc"
WAYS: Final = {
    "W1": ("http", "channel"),
    "W1c": ("http", "channel"),
    "W2": ("http", "channel"),
    "W2x": ("http",),
    "W2s": ("sse",),
    "W3d": ("http", "channel"),
    "W3u": ("channel",),
    "W4": ("channel",),
    "W5": ("channel",),
    "first": ("http", "channel"),
    "beside": ("http",),
}
CANNOT: Final[dict[str, str]] = {}


def command(role: str) -> list[str]:
    """The program of one side."""
    # Its server refuses to be loaded as a browser would, and its client to be loaded otherwise.
    return node_command("telefunc", role, *(("--conditions=browser",) if role == "client" else ()))


# Whoever imports this learns whether it can run.
command("server")
