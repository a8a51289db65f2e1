"""Two machines and their scheduler, led by bytes: no exception, nothing lost or swapped, nothing left."""

from __future__ import annotations

from fuzz.party import Party

__all__ = ["target"]


def target(data: bytes) -> None:
    """Let two applications talk as ``data`` says, and then let everything end."""
    Party(data).run()
