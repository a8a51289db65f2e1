"""The peer Cap'n Web, on Node, over the WebSockets of the package ``ws``: ``node/capnweb.mjs``."""

from __future__ import annotations

from typing import Final

from benchmarks.entrants import node_command

__all__ = ["CANNOT", "NAME", "WAYS", "command"]

NAME: Final = "capnweb"
WAYS: Final = {name: ("node",) for name in ("W1", "W1c", "W2", "W3d", "W3u", "W4", "W5", "first", "beside")}
CANNOT: Final = {
    name: "its streams need a WebSocket: over HTTP it has batches of calls" for name in ("W2x", "W2s")
}


def command(role: str) -> list[str]:
    """The program of one side."""
    return node_command("capnweb", role)


# Whoever imports this learns whether it can run.
command("server")
