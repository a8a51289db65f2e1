"""The mutation score: which broken peers the suite catches, and by what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from telewire_spec.broken.peer import BrokenPeer
from telewire_spec.casefile import Case
from telewire_spec.engine import PASSING, Result, run_case

__all__ = ["caught_by", "score"]


def caught_by(peer: BrokenPeer, cases: Sequence[Case]) -> Result | None:
    """The first failure that shows the mistake; None where the suite is blind to it.

    Cases that name the rule come first.
    """
    for case in sorted(cases, key=lambda case: peer.rule not in case.rules):
        for role in case.roles:
            result = run_case(case, role, peer.make())
            if result.verdict not in PASSING:
                return result
    return None


def score(peers: Iterable[BrokenPeer], cases: Sequence[Case]) -> Iterator[tuple[BrokenPeer, Result | None]]:
    """Try each of them."""
    mine = [case for case in cases if case.against == "driver"]
    for peer in peers:
        yield peer, caught_by(peer, mine)
