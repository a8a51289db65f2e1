"""Both: the two sides of one exchange and a perfect transport between them, for the core's tests."""

from __future__ import annotations

from typing import TypeAlias

from telewire.core.connection import Connection
from telewire.core.events import CallReceived, CallResolved, Event, ItemReceived, StreamEnded
from telewire.core.flow import Pool
from telewire.core.states import ConnectionState
from telewire.core.streams import Call, Stream
from telewire.limits import Limits
from telewire.wire import frames as f
from tests.core.dialogue import K, assert_empty, frames_of, only

NO_CREDIT = (1 << 53) - 1


class Both:
    """The client and the server of one exchange, and a perfect transport between them."""

    def __init__(
        self, client: Limits | None = None, server: Limits | None = None, pool: Pool | None = None
    ) -> None:
        self.now = 0.0
        self.client = Connection("client", limits=client, exchange=True)
        self.server = Connection("server", limits=server, exchange=True, pool=pool)
        self.client_events: list[Event] = []
        self.server_events: list[Event] = []
        self.up: list[f.Frame] = []
        self.down: list[f.Frame] = []

    def deliver(self) -> None:
        """Carry batches both ways until nothing more comes; the end of the request too."""
        moved = True
        while moved:
            moved = False
            ups = self.client.data_to_send()
            self.up += frames_of(ups)
            for each in ups:
                self.server.receive_data(each, self.now)
                moved = True
            if self.client.said_all and not self.server.heard_all:
                self.server.receive_end(self.now)
                moved = True
            downs = self.server.data_to_send()
            self.down += frames_of(downs)
            for each in downs:
                self.client.receive_data(each, self.now)
                moved = True
            self.collect()

    def collect(self) -> None:
        self.client_events += self.client.events_received()
        self.server_events += self.server.events_received()

    def take(self) -> tuple[list[Event], list[Event]]:
        self.collect()
        taken = self.client_events, self.server_events
        self.client_events, self.server_events = [], []
        return taken

    def call(self, *declare: tuple[K, int | None], payload: bytes = b"a") -> tuple[Call, Call]:
        """Make the call and deliver it: as its caller and as its answerer see it."""
        ours = self.client.call("f", payload, declare)
        self.deliver()
        [event] = [event for event in self.take()[1] if isinstance(event, CallReceived)]
        return ours, event.call

    def answer(self, call: Call, *declare: tuple[K, int | None]) -> tuple[Stream, ...]:
        streams = self.server.resolve(call, b"r", declare)
        self.server.finish(call)
        return streams

    def lose(self) -> None:
        """Lose the transport."""
        self.client.receive_eof(self.now)
        self.server.receive_eof(self.now)
        self.collect()

    def wait(self, seconds: float) -> None:
        """Let time pass, stopping at each deadline."""
        end = self.now + seconds
        while True:
            due = [
                each for each in (self.client.next_timeout(), self.server.next_timeout()) if each is not None
            ]
            if not due or min(due) > end:
                self.now = end
                return
            self.now = max(self.now, min(due))
            self.client.handle_timeout(self.now)
            self.server.handle_timeout(self.now)
            self.deliver()

    def assert_ended(self) -> None:
        for side in (self.client, self.server):
            assert side.state is ConnectionState.CLOSED
            assert side.next_timeout() is None
            assert_empty(side)


Introducing: TypeAlias = CallReceived | CallResolved | ItemReceived | StreamEnded


def declared(events: list[Event], kind: type[Introducing]) -> tuple[Stream, ...]:
    """The streams that the one event of a kind introduces."""
    return only(events, kind).declared
