"""Print the mutation score: ``python -m telewire_spec.broken``."""

from __future__ import annotations

import sys

import click

from telewire_spec.broken.peers import PEERS
from telewire_spec.broken.score import score
from telewire_spec.casefile import load_suites


def main() -> int:
    """Try each broken peer; the exit status is 1 where one was not caught."""
    caught = 0
    for peer, result in score(PEERS, load_suites()):
        caught += result is not None
        said = f"caught by {result.name}" if result else "NOT CAUGHT"
        click.echo(f"{peer.name:42} {peer.rule}  {said}")
    click.echo(f"mutation score: {caught} of {len(PEERS)} broken peers are caught")
    return 0 if caught == len(PEERS) else 1


if __name__ == "__main__":
    sys.exit(main())
