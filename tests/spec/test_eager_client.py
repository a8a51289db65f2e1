"""A client that says hello at once, as TW-NEG-004 lets it, passes what a patient one passes."""

from __future__ import annotations

from typing import Any

import pytest

from telewire.limits import ADVERTISED
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch, encode_batch, encode_frame
from telewire_spec.casefile import Case, load_suites
from telewire_spec.driver.application import Application
from telewire_spec.engine import run_case
from telewire_spec.subject import Reaction

CASES = [
    case
    for case in load_suites()
    if "client" in case.roles and not case.exchange and case.suite in ("negotiation", "carriers", "resume")
]


class Eager(Application):
    """Our machine, whose first HELLO leaves ahead of the server's and not behind it."""

    said = True

    # Any: the fields of the request ``start``.
    def start(self, **options: Any) -> Reaction:
        reaction = super().start(**options)
        features = (1,) if self.resume else ()
        limits = {number: getattr(self.limits, name) for number, name in ADVERTISED.items()}
        self.said = False
        reaction.sent[:0] = [encode_batch([encode_frame(f.Hello(1, 1, features, limits, None, None))])]
        return reaction

    def _react(self) -> Reaction:
        reaction = super()._react()
        sent = []
        for batch in reaction.sent:
            frames = decode_batch(batch, self.limits)
            if not self.said and any(isinstance(frame, f.Hello) for frame in frames):
                self.said = True
                frames = [frame for frame in frames if not isinstance(frame, f.Hello)]
            if any(not isinstance(frame, f.Position) for frame in frames):
                sent.append(encode_batch([encode_frame(frame) for frame in frames]))
        reaction.sent[:] = sent
        return reaction


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_a_client_that_speaks_first_passes(case: Case) -> None:
    result = run_case(case, "client", Eager())
    assert result.verdict == "pass", "\n".join([result.reason, *result.log])
