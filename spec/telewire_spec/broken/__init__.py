"""Broken peers: implementations that are wrong in one rule each, and whether the suite notices."""

from __future__ import annotations

from telewire_spec.broken.peer import BrokenPeer
from telewire_spec.broken.peers import PEERS
from telewire_spec.broken.score import caught_by, score

__all__ = ["PEERS", "BrokenPeer", "caught_by", "score"]
