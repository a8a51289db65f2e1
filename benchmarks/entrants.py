"""Entrants: the peers there are, loaded from ``benchmarks/peers``, or the reason why one is missing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from pathlib import Path

# Any: the future of a coroutine says so.
from typing import Any, Final, Protocol, cast

from benchmarks.workloads import Session

__all__ = ["PEERS", "Peer", "PeerMissing", "command_of", "find_peers", "load_peer", "node_command"]

PEERS: Final = (
    "telewire",
    "websockets",
    "aiohttp",
    "starlette",
    "grpc",
    "socketio",
    "rpyc",
    "rsocket",
    "capnweb",
    "telefunc",
)
NODE: Final = Path(__file__).resolve().parent / "node"


class PeerMissing(Exception):
    """A peer cannot take part here; the text says why, and what would help."""


class Peer(Protocol):
    """What a module in ``benchmarks/peers`` offers.

    ``WAYS``: workload → configurations to compare. ``CANNOT``: workload → why the peer has none.
    A peer on Node has ``command`` instead of ``serve`` and ``connect``.
    """

    @property
    def NAME(self) -> str: ...
    @property
    def WAYS(self) -> Mapping[str, tuple[str, ...]]: ...
    @property
    def CANNOT(self) -> Mapping[str, str]: ...
    @property
    def serve(self) -> Callable[[str, Callable[[int], object]], Coroutine[Any, Any, None]]: ...
    @property
    def connect(self) -> Callable[[int, str], AbstractAsyncContextManager[Session]]: ...


def load_peer(name: str) -> Peer:
    """Import one peer, so that a process of one holds the libraries of no other.

    Raises:
        PeerMissing: what it needs is not installed.
    """
    try:
        return cast("Peer", import_module(f"benchmarks.peers.{name}_peer"))
    except ModuleNotFoundError as error:
        raise PeerMissing(f"the package {error.name} is not installed; `make bench` installs it") from error


def find_peers(names: Sequence[str]) -> tuple[dict[str, Peer], dict[str, str]]:
    """The peers that can take part, and for each other one the reason why it cannot."""
    present: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            present[name] = load_peer(name)
        except PeerMissing as why:
            missing[name] = str(why)
    return present, missing


def command_of(name: str, role: str) -> list[str] | None:
    """The program that is one side of this peer; None: ``benchmarks.side``, in Python."""
    command: Callable[[str], list[str]] | None = getattr(load_peer(name), "command", None)
    return command(role) if command is not None else None


def node_command(package: str, role: str, *options: str) -> list[str]:
    """What runs one side of a peer on Node.

    Raises:
        PeerMissing: there is no node, or the package is not installed.
    """
    node = shutil.which("node")
    if node is None:
        raise PeerMissing("there is no node on the PATH")
    if not (NODE / "node_modules" / package).is_dir():
        raise PeerMissing(f"the package {package} is not installed in benchmarks/node; `make bench` does it")
    return [node, *options, str(NODE / "side.mjs"), role]
