"""Cuts: the recorded conversation, cut behind a byte of either direction, against the uncut one (I1)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from telewire.testing.network import Network, Told, Way
from tests.simulation.recording import Recording

__all__ = ["TOLD", "check_cut", "offsets", "whole"]

TOLD: tuple[Told, ...] = ("both", "client", "server", "nobody")


REPEATS = 0.3
"""On a carrier that states positions: the chance that a batch of the client comes again, or too early."""


@cache
def whole(stated: bool = False) -> tuple[dict[str, list[object]], dict[Way, int]]:
    """What the two applications are told where nothing is cut, and how many bytes that takes each way."""
    recording = begin(stated)
    [link] = recording.network.links
    told = recording.run()
    assert recording.client.peer.resumes == 0
    return told, {"up": link.up.arrived, "down": link.down.arrived}


def begin(stated: bool) -> Recording:
    """The same network, and the same conversation, up to where it is cut."""
    return Recording(Network(1, delay=(0.001, 0.001), split=0.0, repeats=REPEATS if stated else 0.0))


def offsets(stride: int = 1, first: int = 0, stated: bool = False) -> Iterator[tuple[Way, int]]:
    """Every ``stride``-th byte of either direction."""
    for way, size in whole(stated)[1].items():
        for byte in range(first, size, stride):
            yield way, byte


def check_cut(way: Way, byte: int, told: Told, stated: bool = False) -> int:
    """Cut behind a byte, and demand that nobody is told anything else; how often the session has resumed.

    ``stated``: on a carrier where batches come again and out of order, and state their positions, as over
    HTTP. What is told is the same there.

    Raises:
        AssertionError: something is missing, has come twice or differs, or something is left.
    """
    expected, _ = whole()
    recording = begin(stated)
    recording.network.links[0].cut_at(byte, way, told)
    found = recording.run()
    assert found.keys() == expected.keys(), f"{way} {byte} {told}: {found.keys() ^ expected.keys()}"
    for stream, notes in expected.items():
        assert found[stream] == notes, f"{way} {byte}, {told} told: {stream}: {found[stream]} for {notes}"
    return recording.client.peer.resumes
