"""Session peer: one side of a session whose other side is hand-made, for the tests of chapter 7."""

from __future__ import annotations

from telewire.core.connection import Connection
from telewire.core.events import ConnectionClosed, Event
from telewire.core.flow import Pool
from telewire.errors import ErrorCode
from telewire.limits import Limits
from telewire.wire import frames as f
from tests.core.dialogue import Peer, hello, sent

TOKEN = b"t" * 16


class SessionPeer(Peer):
    """One side of a session whose other side is hand-made."""

    def __init__(
        self,
        side: str = "server",
        ours: Limits | None = None,
        theirs: Limits | None = None,
        pool: Pool | None = None,
        *,
        young: bool = False,
    ) -> None:
        server = side == "server"
        self.core = Connection(
            "server" if server else "client",
            limits=ours,
            session_id=b"s" if server else None,
            token=TOKEN if server else None,
            pool=pool,
        )
        self.now = 0.0
        sent(self.core)
        other = {} if server else {"session": b"s", "token": TOKEN}
        self.say(hello(theirs, features=(1,), **other))
        sent(self.core)
        if not young:
            # As if the first batches of the transport had come, which are acknowledged at once.
            assert self.core._arrivals is not None
            self.core._arrivals.prompt = 0

    def closed(self) -> ErrorCode:
        """The code with which this side closes, saying nothing else; the link goes on for a while."""
        [frame] = self.hear()
        assert isinstance(frame, f.Close)
        final = self.core.events_received()[-1]
        assert isinstance(final, ConnectionClosed)
        assert final.code == frame.code
        return ErrorCode(frame.code)

    def wait(self, seconds: float) -> list[Event]:
        """Let time pass."""
        self.now += seconds
        self.core.handle_timeout(self.now)
        return self.core.events_received()

    def lose(self) -> list[Event]:
        """Lose the transport."""
        self.core.receive_eof(self.now)
        return self.core.events_received()

    def calls(self, *numbers: int) -> None:
        """Let the peer make calls with these numbers."""
        for number in numbers:
            self.say(f.Call(number, "f", 0, 0, b""))
