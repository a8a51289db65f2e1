"""Pair: two connections on a perfect or faulty link in virtual time.

For dialogue tests of the core: act on one side, deliver or drop, look at events, bytes and
deadlines. Time moves only when told, or by jumping to the next deadline.
"""

from __future__ import annotations

from typing import Final, final

from telewire.core.acceptor import Acceptor
from telewire.core.connection import Connection
from telewire.core.events import Event
from telewire.limits import Limits

__all__ = ["Pair"]

MAX_DEADLINES: Final = 100_000


@final
class Pair:
    """A ``client`` and a ``server`` :class:`~telewire.Connection`, joined by two queues of batches.

    ``events`` of a side pile up in ``client_events`` and ``server_events`` until taken.

    Args:
        client_limits: what the client accepts.
        server_limits: what the server accepts.
        open: exchange the hellos at once.
        resume: agree on a session, which survives :meth:`cut` by :meth:`attach`.
        stated: let batches state their positions, as over HTTP.
    """

    def __init__(
        self,
        *,
        client_limits: Limits | None = None,
        server_limits: Limits | None = None,
        open: bool = True,
        resume: bool = False,
        stated: bool = False,
    ) -> None:
        self.now = 0.0
        self.client = Connection("client", limits=client_limits, resume=resume)
        self.server = Connection("server", limits=server_limits, session_id=b"session", token=b"t" * 16)
        self.client.states_positions = self.server.states_positions = stated
        self.client_events: list[Event] = []
        self.server_events: list[Event] = []
        self.to_client: list[bytes] = []
        self.to_server: list[bytes] = []
        self._acceptor = Acceptor()
        if open:
            self.deliver()
            self.take()

    def pull(self, max_bytes: int = 65536) -> None:
        """Move what may leave into the link, without delivering it."""
        self.to_server += self.client.data_to_send(max_bytes)
        self.to_client += self.server.data_to_send(max_bytes)
        self._collect()

    def deliver(self, max_rounds: int = 10_000) -> int:
        """Carry batches both ways until the pair is idle; returns how many were carried.

        Raises:
            AssertionError: it did not become idle within ``max_rounds``.
        """
        carried = 0
        for _ in range(max_rounds):
            self.pull()
            if not self.to_client and not self.to_server:
                return carried
            carried += len(self.to_client) + len(self.to_server)
            while self.to_server:
                self.server.receive_data(self.to_server.pop(0), self.now)
            while self.to_client:
                self.client.receive_data(self.to_client.pop(0), self.now)
            self._collect()
        raise AssertionError(f"The pair did not become idle within {max_rounds} rounds.")

    def advance(self, seconds: float) -> None:
        """Let time pass, stopping at each deadline on the way, and deliver what it causes.

        Raises:
            AssertionError: a deadline that has passed is asked for again and again.
        """
        end = self.now + seconds
        for _ in range(MAX_DEADLINES):
            both = (self.client.next_timeout(), self.server.next_timeout())
            due = min((each for each in both if each is not None), default=end + 1)
            if due > end:
                self.now = end
                return
            self.now = max(self.now, due)
            self.client.handle_timeout(self.now)
            self.server.handle_timeout(self.now)
            self.deliver()
        raise AssertionError(f"More than {MAX_DEADLINES} deadlines came within {seconds:g} seconds.")

    def attach(self) -> None:
        """Give both a new transport, after :meth:`cut`; the session goes on when its batches are delivered.

        Raises:
            AssertionError: the server did not take the session back.
        """
        if not self._acceptor:
            self._acceptor.add(self.server)
        self.client.attach(self.now)
        fresh = Connection("server", session_id=b"fresh", token=b"f" * 16, now=self.now)
        fresh.states_positions = self.client.states_positions
        for batch in self.client.data_to_send():
            assert self._acceptor.receive_data(fresh, batch, self.now) is self.server
        self._collect()

    def cut(self) -> None:
        """Lose the transport and all that is on its way."""
        self.to_client.clear()
        self.to_server.clear()
        self.client.receive_eof(self.now)
        self.server.receive_eof(self.now)
        self._collect()

    def take(self) -> tuple[list[Event], list[Event]]:
        """Take the events of the client and of the server."""
        self._collect()
        taken = self.client_events, self.server_events
        self.client_events, self.server_events = [], []
        return taken

    def _collect(self) -> None:
        self.client_events += self.client.events_received()
        self.server_events += self.server.events_received()
