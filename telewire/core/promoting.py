"""Promoting: how an exchange goes on as a session, when its answer needs one (TW-SES-081 to 088).

The part of :class:`~telewire.core.connection.Connection` that knows both. A server promotes by a second
hello ahead of its answer; until then neither side does more about it than to count.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Final, final

from telewire.core.events import HelloReceived
from telewire.core.exchange import READ_MARK
from telewire.core.negotiation import RESUME, VERSION, make_hello, read_hello
from telewire.core.resuming import IDENTITY_BYTES, Resuming
from telewire.core.states import ConnectionState, HalfState, IncomingState, LinkState, OutgoingState
from telewire.core.streams import Call
from telewire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from telewire.limits import Limits
from telewire.wire import frames as wire
from telewire.wire.codec import encode_batch, encode_frame
from telewire.wire.frames import KEY_DOWNLINK, KEY_REQUESTED

__all__ = ["Promoting", "requested"]

KEPT: Final = 4 * 1024 * 1024
"""Bytes of a request that a client keeps for a resume (TW-SES-085): more than links hold on their way."""
AGAIN_BYTES: Final = 2 * KEPT
"""The most that a server takes of it behind a resume, with what is around the frames."""
DOWNLINK_BYTES: Final = 128
MAP_BYTES: Final = DOWNLINK_BYTES + 8
# A member costs as much as a call where it is looked up through its class (CPython 3.11).
_OPEN: Final = ConnectionState.OPEN
_ATTACHED: Final = LinkState.ATTACHED


def requested(resume: wire.Resume) -> int:
    """How many positioned frames a client that resumes has emitted in the request of a promoted exchange."""
    stated = (resume.extensions or {}).get(KEY_REQUESTED)
    return stated if isinstance(stated, int) else 0


@final
class Said:
    """What has left in an exchange, by position: how much it was, and the last ``most`` bytes of it."""

    __slots__ = ("base", "frames", "held", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.base = 0
        self.frames: deque[bytes] = deque()
        self.held = 0

    def note(self, frames: Sequence[bytes]) -> None:
        """Count frames that leave, and keep the last of them."""
        kept = self.frames
        kept.extend(frames)
        self.held += sum(map(len, frames))
        while kept and self.held > self.most:
            self.held -= len(kept.popleft())
            self.base += 1


class Promoting(Resuming):
    """The way from an exchange to a session."""

    promoted: bool = False
    """Whether this is a session that began as an exchange."""
    downlink: str = ""
    """Of the client of an exchange that was promoted: what names the response, and what is posted to it
    (TW-SES-110); a secret."""

    def __init__(self, limits: Limits, side: str, exchange: bool, own: Limits) -> None:
        super().__init__(limits, side, exchange)
        # What holds from a promotion on: our limits, and the peer's.
        self._own_limits = own
        self._its_limits = own
        # None where we do not offer promotion, or the peer does not.
        self._said: Said | None = None
        self._both_offer = False
        # Positioned frames that have come in the exchange.
        self._taken = 0
        # A server's second hello, until it leaves.
        self._second_hello = b""
        # To the server of a promoted exchange its request still comes, or leaves again behind a resume.
        self._in_request = False
        self._again_bytes = 0

    @property
    def quiet(self) -> bool:
        """Whether it is certain that nothing is to leave now, or sooner than was said by ``next_timeout``.

        So after an acknowledgement that came by itself, for which nobody need ask what there is to write.
        """
        arrivals, departures = self._arrivals, self._departures
        return (
            arrivals is not None
            and departures is not None
            and arrivals.due is None
            and self.state is _OPEN
            and self.link is _ATTACHED
            and self._scheduler.idle
            and not (self._leaves or self._gate or departures.again or self._second_hello)
        )

    @property
    def promotable(self) -> bool:
        """Whether this is an exchange's server that may promote it now: its call runs, and has no answer."""
        call = self._single
        return (
            self.exchange
            and self._both_offer
            and self.side == "server"
            and self.state is ConnectionState.OPEN
            and call is not None
            and call.incoming is IncomingState.RUNNING
            and self.peer_limits.metadata_bytes >= MAP_BYTES
        )

    def promote(self, session_id: bytes, token: bytes, downlink: str) -> None:
        """Go on as a session, as the server: what the answer may hold is then bound by limits only.

        Keep it in an ``Acceptor`` from now on. What is posted is given to :meth:`receive_data`, what the
        request still brings to :meth:`receive_request`, and its end to :meth:`receive_end`.

        Args:
            session_id: names the session; random bytes of yours, never reused.
            token: proves that a later transport belongs to it; at least 16 random bytes of yours.
            downlink: names the response as a downlink; at most 128 bytes of ASCII (TW-SES-110).

        Raises:
            LocalProtocolError: it is not ``promotable``, or a name is too long.
        """
        if not self.promotable:
            raise LocalProtocolError(
                f"This {self.side} is {self.state.value}, and no exchange that may be promoted: both hellos "
                "have to offer it, and its call to be without an answer."
            )
        if not downlink.isascii() or max(len(session_id), len(token), len(downlink) // 2) > IDENTITY_BYTES:
            raise LocalProtocolError(
                f"session_id and token have at most {IDENTITY_BYTES} bytes, and downlink {DOWNLINK_BYTES} "
                "characters of ASCII."
            )
        self._session_id, self._token = session_id, token
        hello = make_hello(self._own_limits, session_id, token, True)
        hello.extensions = {KEY_DOWNLINK: downlink}
        self._second_hello = encode_frame(hello)
        self._become_session()
        if self.heard_all:
            return
        self._in_request = self.uncredited = True
        half = self._inlet
        if half is not None and half.state is HalfState.OPEN:
            more = self.limits.stream_window_read - self.limits.stream_window
            if more > 0 and self._budget.take_growth(more):
                half.window.grown = more
                self._read_mark = max(READ_MARK, self.limits.stream_window_read)

    def receive_request(self, batch: bytes, now: float) -> None:
        """Take a batch that the request of a promoted exchange still brings; it states no position."""
        if self._in_request:
            self.states_positions = False
            self.receive_data(batch, now)
            self.states_positions = True

    @abstractmethod
    def receive_data(self, batch: bytes, now: float) -> None:
        """Take one whole batch from the transport."""

    # --- inside ----------------------------------------------------------------------------------

    def _offer_promotion(self) -> None:
        """Count from the beginning on, in case it comes to that."""
        self._said = Said(min(KEPT, self.limits.replay_bytes) if self.side == "client" else 0)

    def _agree_on_promotion(self, hello: wire.Hello, limits: Limits) -> None:
        """Learn from the peer's first hello whether it offers promotion, too."""
        self._its_limits = limits
        self._both_offer = self._said is not None and RESUME in hello.features
        if not self._both_offer:
            self._said = None

    def _promoted_by(self, hello: wire.Hello) -> None:
        """Take a second hello, as the client (TW-SES-082)."""
        self._unpositioned += 1
        call = self._single
        downlink = (hello.extensions or {}).get(KEY_DOWNLINK)
        read_hello(hello, self.side == "server")
        self._check_extensions(hello.extensions, "HELLO")
        if (
            not self._both_offer
            or self.side == "server"
            or hello.session is None
            or hello.token is None
            or RESUME not in hello.features
            or not isinstance(downlink, str)
            or call is None
            or call.outgoing is not OutgoingState.SENT
            or call.receive is not None
            or (call.send is not None and call.send.outbox)
        ):
            raise RemoteProtocolError(
                "A second hello came where it does not promote an exchange.", ErrorCode.INVALID_STATE
            )
        self._session_id, self._token, self.downlink = hello.session, hello.token, downlink
        self._become_session()
        assert self._departures is not None
        self._gate = self._departures.emitted
        for stream in (*self._unsent, *self._ours.values()):
            if stream.send is not None:
                stream.send.take_credit_back(self.peer_limits)
        self._events.append(HelloReceived(VERSION, frozenset((RESUME,)), self.peer_limits, hello.session))

    def _become_session(self) -> None:
        """Go on by the rules of sessions, from the positions that both sides have counted."""
        said = self._said
        assert said is not None, "both sides offered it"
        self.exchange = self.uncredited = self.said_all = False
        self.promoted = self.states_positions = True
        self.limits = self._own_limits
        self._take_peer_limits(self._its_limits)
        self._scheduler.one_payload = False
        self._begin_session()
        assert self._departures is not None
        assert self._arrivals is not None
        self._departures.begin_at(said.base, said.frames)
        self._arrivals.count = self._taken
        self._said = None

    def _say_promotion(self) -> list[bytes]:
        """The second hello and where we stand, in a batch of their own behind what has to leave before."""
        assert self._arrivals is not None
        signs, self._scheduler.signs = self._scheduler.signs, []
        ack = encode_frame(wire.Ack(self._arrivals.acknowledged()))
        batch = encode_batch([self._second_hello, ack])
        self._second_hello = b""
        return [encode_batch(signs), batch] if signs else [batch]

    def _passes_gate(self) -> bool:
        """Whether what has a position may be posted: the server has all that was in the request."""
        assert self._departures is not None
        if self._departures.base >= self._gate:
            self._gate = 0
        return not self._gate

    def _take_new(self, frames: Sequence[wire.Frame], now: float) -> Sequence[wire.Frame]:
        """A positioned frame that is posted comes behind the whole request (TW-SES-084)."""
        fresh = super()._take_new(frames, now)
        first = frames[0] if frames else None
        if (
            self._in_request
            and not self.missed
            and isinstance(first, wire.Position)
            and first.position >= self._requested
        ):
            self._end_request()
        return fresh

    def _note_again(self, size: int) -> None:
        """Note a batch of what left in the request, and comes again behind a resume (TW-SES-085)."""
        assert self._arrivals is not None
        self._again_bytes += size
        if self._arrivals.count >= self._requested:
            self._end_request()
        elif self._again_bytes > AGAIN_BYTES:
            self._violated(
                RemoteProtocolError(
                    f"More than {AGAIN_BYTES} bytes of a request came again behind a resume.",
                    ErrorCode.FLOW_CONTROL,
                )
            )

    def _end_request(self) -> None:
        """The request has ended: what comes is credited from now on (TW-SES-086)."""
        self.heard_all = True
        self._in_request = self.uncredited = False
        self._partial = None
        self._missing = 0
        assert self._arrivals is not None
        self._arrivals.due = self._now
        for stream in self._theirs.values():
            half = stream.receive
            if isinstance(stream, Call) or half is None or half.state is not HalfState.OPEN:
                continue
            half.window.take_credit_back(self.limits.stream_window, self._budget)
            if half.arrival is not None:
                self._borrowers[half] = None
            if half.window.limit:
                self._scheduler.add_grant(half)
        self._lend()

    def _begin_transport(self, now: float) -> None:
        """On another transport all goes on in order, and the request is over."""
        super()._begin_transport(now)
        if self._in_request and self._arrivals is not None and self._arrivals.count >= self._requested:
            self._end_request()

    def _go_on(self, received: int) -> None:
        super()._go_on(received)
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        """Close, as the client, when no call is open any more (TW-SES-087)."""
        if (
            self.promoted
            and self.side == "client"
            and self.link is LinkState.ATTACHED
            and not (self._outgoing_calls or self._incoming_calls or self._unsent)
        ):
            self.close()
