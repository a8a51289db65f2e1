"""Two machines whose transport is cut again and again: nothing is lost, comes twice or is left behind."""

from __future__ import annotations

from typing import Final

from fuzz.party import LIMITS, Party
from telewire.testing.pair import Pair

__all__ = ["target"]

CUTS: Final = 10
"""Steps of 256 that cut the transport."""


class Wanderers(Party):
    """A party with a session, which outlives its transports."""

    has_transport = True

    def begin(self) -> Pair:
        """Agree on a session."""
        return Pair(client_limits=LIMITS, server_limits=LIMITS, resume=True)

    def step(self) -> None:
        """Go on; or lose the transport with all that is on its way, also before the session has gone on."""
        if not self.has_transport:
            self.step_without()
        elif self.choices.chance(CUTS):
            self.pair.cut()
            self.has_transport = False
            self.collect()
        else:
            super().step()

    def step_without(self) -> None:
        """Act without a transport, or get another one."""
        choice = self.choices.byte()
        if choice < 128:
            self.act(choice)
            self.collect()
        else:
            self.attach()

    def attach(self) -> None:
        """Get another transport."""
        self.pair.attach()
        self.has_transport = True
        self.collect()

    def wind_up(self) -> None:
        """Attach, if that is needed; then everything ends, and each session has gone on."""
        if not self.has_transport:
            self.attach()
        super().wind_up()
        assert not any(app.detached for app in self.apps)


def target(data: bytes) -> None:
    """Let two applications talk as ``data`` says, over one transport after the other."""
    Wanderers(data).run()
