"""Promoted: the two sides of an exchange that goes on as a session, and its carriers between them."""

from __future__ import annotations

from telewire.core.connection import Connection
from telewire.core.events import CallReceived
from telewire.core.flow import Pool
from telewire.core.promoting import requested
from telewire.core.streams import Call
from telewire.limits import Limits
from telewire.wire import frames as f
from tests.core.dialogue import C, K, frames_of
from tests.core.exchange import Both

SESSION = b"s" * 16
TOKEN = b"t" * 32
DOWNLINK = "worker.name.secret"


class Promoted(Both):
    """An exchange whose sides offer promotion. What leaves in the request waits while ``held`` is true."""

    def __init__(
        self,
        client: Limits | None = None,
        server: Limits | None = None,
        pool: Pool | None = None,
        offers: tuple[bool, bool] = (True, True),
    ) -> None:
        super().__init__(client, server, pool)
        self.client = Connection("client", limits=client, exchange=True, promotion=offers[0])
        self.server = Connection("server", limits=server, exchange=True, promotion=offers[1], pool=pool)
        self.held = False
        self.waiting: list[bytes] = []
        self.ended = False
        self.posted: list[f.Frame] = []

    def deliver(self) -> None:
        """Carry the request, what is posted and the response, until nothing more comes."""
        moved = True
        while moved:
            moved = self._carry_up() | self._carry_down()
            self.collect()

    def _carry_up(self) -> bool:
        requested = not self.client.promoted
        ups = self.client.data_to_send()
        if requested:
            self.up += frames_of(ups)
            self.waiting += ups
        moved = bool(ups)
        if not self.held and self.waiting:
            take = self.server.receive_request if self.server.promoted else self.server.receive_data
            for each in self.waiting:
                take(each, self.now)
            self.waiting.clear()
            moved = True
        if not requested:
            self.posted += frames_of(ups)
            for each in ups:
                self.server.receive_data(each, self.now)
        over = self.client.said_all or self.client.promoted
        if over and not self.held and not self.ended:
            self.ended = True
            self.server.receive_end(self.now)
            moved = True
        return moved

    def _carry_down(self) -> bool:
        downs = self.server.data_to_send()
        self.down += frames_of(downs)
        for each in downs:
            self.client.receive_data(each, self.now)
        return bool(downs)

    def promote(
        self, call: Call, *declare: tuple[K, int | None], payload: bytes = b"r"
    ) -> tuple[object, ...]:
        """Promote and answer."""
        self.server.promote(SESSION, TOKEN, DOWNLINK)
        streams = self.server.resolve(call, payload, declare)
        self.server.finish(call)
        return streams

    def cut(self) -> None:
        """Lose all links, with what is on its way."""
        self.waiting.clear()
        self.ended = True
        self.lose()

    def reattach(self) -> None:
        """Go on over another downlink."""
        self.client.attach(self.now)
        [resume] = frames_of(self.client.data_to_send())
        assert isinstance(resume, f.Resume)
        assert (resume.session, resume.token) == (SESSION, TOKEN)
        assert self.server.resume(resume.attempt, resume.received, self.now, requested(resume))
        self.deliver()

    def promoted_call(self, *declare: tuple[K, int | None]) -> tuple[Call, Call]:
        """Make the call, and promote it; its caller's and its answerer's view."""
        ours, theirs = self.call()
        self.promote(theirs, *declare)
        self.deliver()
        return ours, theirs

    def calls(self) -> list[Call]:
        """The calls that the server has received since it was asked last."""
        return [event.call for event in self.take()[1] if isinstance(event, CallReceived)]


__all__ = ["DOWNLINK", "SESSION", "TOKEN", "C", "K", "Promoted"]
