"""Adds what crosses in the conformance scenarios to the corpora: ``python fuzz/record.py [--keep N]``.

All scenarios run against the machine in this process. Of what the runner says and the machine answers
each batch is an input of ``decode``, each payload one of ``values``, and each conversation, as the
machine hears it, one of ``frames_after_hello``. Those are kept that reach lines which nothing in the
corpus has reached, and after them the longest ones, up to ``N`` for a target.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "spec")]
    sys.path.remove(str(ROOT / "fuzz"))

from fuzz.frames_after_hello import RECORDED
from fuzz.run import CORPUS, LONGEST, Lines, corpus, load
from telewire.errors import RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch
from telewire.wire.reader import write_batch
from telewire_spec.casefile import load_suites
from telewire_spec.driver.application import Application
from telewire_spec.engine import run_case
from telewire_spec.subject import Reaction

PREFIX: Final = "conformance-"


class Overheard(Application):
    """Our machine, and all batches that it was told and has said."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[bytes] = []
        self.said: list[bytes] = []

    def receive(self, batch: bytes) -> Reaction:
        """Note what comes."""
        self.told.append(batch)
        return super().receive(batch)

    def _react(self) -> Reaction:
        reaction = super()._react()
        self.said += reaction.sent
        return reaction


def conversations() -> Iterator[tuple[str, list[bytes], list[bytes]]]:
    """The role of the machine, what it was told and what it said, for each scenario."""
    for case in load_suites():
        if case.against == "driver":
            for role in case.roles:
                subject = Overheard()
                run_case(case, role, subject)
                yield role, subject.told, subject.said


def inputs() -> dict[str, list[bytes]]:
    """What the scenarios give to each target, without repetitions."""
    found: dict[str, dict[bytes, None]] = {"decode": {}, "values": {}, "frames_after_hello": {}}
    sides: dict[str, bytes] = {side: first for first, side in RECORDED.items()}
    for role, told, said in conversations():
        for batch in (*told, *said):
            found["decode"][bytes(2) + batch] = None
            for data in payloads(batch):
                found["values"][data] = None
        # The first is the hello, as a rule, and the target has one of its own.
        found["frames_after_hello"][sides[role] + b"".join(map(write_batch, told[1:]))] = None
    return {name: [data for data in each if len(data) <= LONGEST] for name, each in found.items()}


def payloads(batch: bytes) -> Iterator[bytes]:
    """Whole payloads in a batch, with what the target wants to know of them."""
    try:
        frames = decode_batch(batch, Limits())
    except RemoteProtocolError:
        return
    for frame in frames:
        if isinstance(frame, f.Call | f.End | f.Error | f.Item) and not frame.flags:
            kinds = [declaration.kind - 1 for declaration in frame.declarations][:3]
            yield bytes([len(kinds), *kinds, 0, 0]) + frame.payload
        elif isinstance(frame, f.Items):
            yield bytes([0, 0, 3]) + frame.payload


def keep(name: str, candidates: list[bytes], most: int) -> int:
    """Add those to a corpus that reach something new, and some long ones; returns how many."""
    target, lines = load(name), Lines()
    for data in corpus(name):
        lines.watch(target, data)
    new = [data for data in candidates if lines.watch(target, data)]
    rest = sorted(set(candidates) - set(new), key=lambda data: (-len(data), data))
    for data in (new + rest)[:most]:
        (CORPUS / name / (PREFIX + hashlib.sha256(data).hexdigest()[:12])).write_bytes(data)
    return len((new + rest)[:most])


def main() -> int:
    """Record anew: what was kept before is dropped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keep", type=int, default=20, help="inputs for each target, at most")
    options = parser.parse_args()
    for name, candidates in inputs().items():
        for path in (CORPUS / name).glob(PREFIX + "*"):
            path.unlink()
        kept = keep(name, candidates, options.keep)
        print(f"record: {name}: {kept} of {len(candidates)} inputs kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
