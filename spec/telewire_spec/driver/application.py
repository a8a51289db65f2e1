"""The state machine as a subject: commands by name, events as plain maps, time as it is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import cbor2

from telewire.core.acceptor import Acceptor
from telewire.core.connection import Connection
from telewire.core.events import ConnectionClosed, HelloReceived
from telewire.core.states import ConnectionState, HalfState
from telewire.core.streams import Call, Stream
from telewire.errors import (
    LocalProtocolError,
    RemoteProtocolError,
    ResourceExhausted,
    TransportUnsuitable,
)
from telewire.limits import Limits
from telewire.wire.frames import Kind
from telewire_spec.driver.telling import Telling
from telewire_spec.layout import CODES, NAMES
from telewire_spec.subject import Reaction

__all__ = ["Application"]

# Any: the arguments of a command.
Waiting: TypeAlias = tuple[Callable[..., None], tuple[Any, ...]]

PULL = 1 << 26
MAX_TIMERS = 10_000


class Application:
    """One :class:`~telewire.Connection` at a time, and an application that does as it is told."""

    carrier = "memory"

    def __init__(self) -> None:
        self.now = 0.0
        self.names: dict[str, Stream] = {}
        self.telling = Telling(self)

    # --- requests --------------------------------------------------------------------------------

    # Any: the fields of the request ``start``.
    def start(self, **options: Any) -> Reaction:
        """Begin anew; what was before is dropped."""
        self.now = 0.0
        self.names = {}
        self.role = options["role"]
        self.limits = Limits(**options.get("limits", {}))
        self.acceptor = Acceptor()
        self.exchange = options.get("exchange", False)
        self.resume = options.get("resume", False)
        self.places = options.get("places", False)
        self.session = options.get("session"), options.get("token")
        self.in_request = self.exchange and self.role == "server"
        self.connection = self.conversation = self._make()
        self.bodies: set[Call] = set()
        self.waiting: dict[Stream, deque[Waiting]] = {}
        return self._react()

    def _make(self) -> Connection:
        """A connection for a new transport."""
        session, token = self.session if self.role == "server" and not self.exchange else (None, None)
        connection = Connection(
            self.role,
            limits=self.limits,
            session_id=session,
            token=token,
            resume=self.resume,
            now=self.now,
            exchange=self.exchange,
            promotion=self.resume,
        )
        connection.states_positions = self.places
        return connection

    def receive(self, batch: bytes) -> Reaction:
        """Take a batch of the peer's."""
        connection = self.connection
        if self.in_request and connection.promoted:
            # What is posted and has positions states them; so it is told from what the request brings.
            self.in_request = not _states_position(batch)
            take = connection.receive_request if self.in_request else connection.receive_data
            take(batch, self.now)
        elif self.role == "server" and self.connection.state is ConnectionState.OPENING and self.resume:
            connection = self.acceptor.receive_data(self.connection, batch, self.now)
            self.connection = connection
        else:
            self.connection.receive_data(batch, self.now)
        return self._react()

    def refuse(self, error: RemoteProtocolError) -> Reaction:
        """Take what an adapter has in place of a batch."""
        self.connection.receive_violation(error, self.now)
        return self._react()

    def advance(self, seconds: float) -> Reaction:
        """Let time pass, and every timer have its effect at its own time."""
        end = self.now + seconds
        whole = Reaction()
        for _ in range(MAX_TIMERS):
            due = [one.next_timeout() for one in self._connections()]
            when = min((one for one in due if one is not None), default=end + 1)
            self.now = min(max(self.now, when), end)
            if when <= end:
                for one in self._connections():
                    one.handle_timeout(self.now)
            part = self._react()
            whole.sent += part.sent
            whole.events += part.events
            whole.closed = part.closed
            if when > end:
                return whole
        raise AssertionError(f"More than {MAX_TIMERS} timers were due within {seconds:g} seconds.")

    def cut(self) -> Reaction:
        """Lose the transport."""
        if self.role == "server":
            self.acceptor.transport_lost(self.connection, self.now)
        self.connection.receive_eof(self.now)
        return self._react()

    def attach(self) -> Reaction:
        """Get another transport: a client goes on with it, a server waits for what it brings."""
        if self.role == "client":
            self.connection.attach(self.now)
        else:
            first, self.session = self.session, (b"another session", b"another token 16")
            self.exchange = self.in_request = False
            self.connection = self._make()
            self.connection.states_positions = self.conversation.states_positions
            self.session = first
        return self._react()

    def poll(self) -> Reaction:
        """Nothing comes late here."""
        return self._react()

    def close(self) -> None:
        """There is nothing to take leave of."""

    # Any: a command is a map of plain values.
    def do(self, commands: Sequence[Mapping[str, Any]]) -> Reaction:
        """Do all that the application wants before anything leaves."""
        refused = []
        for command in commands:
            fields = dict(command)
            verb = fields.pop("command")
            try:
                getattr(self, "_do_" + verb)(**fields)
            except LocalProtocolError as error:
                refused.append({"event": "refused", "command": verb, "code": int(error.code)})
            except ResourceExhausted:
                code = CODES["RESOURCE_EXHAUSTED"]
                refused.append({"event": "refused", "command": verb, "code": code})
            except TransportUnsuitable:
                code = CODES["TRANSPORT_UNSUITABLE"]
                refused.append({"event": "refused", "command": verb, "code": code})
        reaction = self._react()
        return Reaction(reaction.sent, refused + reaction.events, reaction.closed)

    # --- commands --------------------------------------------------------------------------------

    # Any: what a command holds under each name is in spec/conformance.md.
    def _do_call(self, target: Any, payload: bytes = b"", declare: Any = (), **options: Any) -> None:
        name = options.pop("as", "call")
        times = {
            key: self.now + options.pop(key)
            for key in ("deadline", "lifetime")
            if options.get(key) is not None
        }
        aim = target if isinstance(target, str) and target not in self.names else self._stream(target)
        call = self.conversation.call(aim, payload, self._declared(declare), now=self.now, **times, **options)
        call.app = name
        self.names[name] = call
        self._name(call.declared, declare)

    def _do_resolve(
        self, stream: Any, payload: bytes = b"", declare: Any = (), running: bool = False
    ) -> None:
        one = self._stream(stream)
        self._name(self.conversation.resolve(one, payload, self._declared(declare)), declare)
        self._answered(one, running)

    def _do_reject(self, stream: Any, code: int, payload: bytes = b"", running: bool = False) -> None:
        one = self._stream(stream)
        if one in self.waiting:
            self.waiting[one].append((self._do_reject, (stream, code, payload)))
            return
        self.conversation.reject(one, code, payload)
        self._answered(one, running)

    def _do_end(self, stream: Any, payload: bytes = b"", declare: Any = ()) -> None:
        one = self._stream(stream)
        if one in self.waiting:
            self.waiting[one].append((self._do_end, (stream, payload, declare)))
            return
        self._name(self.conversation.end(one, payload, self._declared(declare)), declare)

    def _do_item(self, stream: Any, payload: bytes, declare: Any = (), now: bool = False) -> None:
        one = self._stream(stream)
        if not now and self._waits(one):
            self.waiting[one].append((self._do_item, (stream, payload, declare)))
            return
        send = self.conversation.send_message if one.kind is Kind.CHANNEL else self.conversation.send_item
        self._name(send(one, payload, self._declared(declare)), declare)

    def _do_chunk(self, stream: Any, payload: bytes) -> None:
        one = self._stream(stream)
        if self._waits(one):
            self.waiting[one].append((self._do_chunk, (stream, payload)))
            return
        self.conversation.send_chunk(one, payload)

    def _do_consume(self, stream: Any, units: int = 1) -> None:
        self.conversation.consumed(self._stream(stream), units)

    def _do_finish(self, stream: Any) -> None:
        self._answered(self._stream(stream), False)

    def _do_stop(self, stream: Any, code: int = 0, payload: bytes = b"") -> None:
        self.conversation.stop(self._stream(stream), code, payload)

    def _do_reset(self, stream: Any, code: int = 0, payload: bytes = b"") -> None:
        self.waiting.pop(self._stream(stream), None)
        self.conversation.reset(self._stream(stream), code, payload)

    def _do_go_away(self, code: int = CODES["GOING_AWAY"], text: str = "", **where: Any) -> None:
        self.conversation.go_away(code, text, **where)

    def _do_drain(self, code: int = CODES["GOING_AWAY"], text: str = "", **where: Any) -> None:
        self.conversation.drain(code, text, **where)

    def _do_promote(self, downlink: str) -> None:
        session, token = self.session
        self.conversation.promote(session or b"", token or b"", downlink)
        self._keep()

    def _do_close(self, code: int = 0, text: str = "") -> None:
        self.conversation.close(code, text)

    def _waits(self, stream: Stream) -> bool:
        """Whether what the producer has next must wait, for it cannot write."""
        half = stream.send
        if stream in self.waiting or (half is not None and not stream.retired and not self._writable(stream)):
            self.waiting.setdefault(stream, deque())
            return True
        return False

    def _writable(self, stream: Stream) -> bool:
        """Whether it can write, or will learn from the attempt that it never can."""
        half = stream.send
        return half is None or half.state is not HalfState.OPEN or self.conversation.writable(stream)

    def _go_on(self) -> None:
        """Let producers write that waited."""
        for stream in list(self.waiting):
            while stream in self.waiting and self._writable(stream):
                queue = self.waiting.pop(stream)
                if queue and stream.send is not None and stream.send.state is HalfState.OPEN:
                    act, arguments = queue.popleft()
                    act(*arguments)
                    if queue:
                        self.waiting[stream] = queue

    def _answered(self, stream: Stream, running: bool) -> None:
        """The function of a call has ended, unless it goes on behind its answer."""
        if isinstance(stream, Call) and stream in self.bodies and not running:
            self.bodies.discard(stream)
            self.conversation.finish(stream)

    # --- inside ----------------------------------------------------------------------------------

    def _connections(self) -> list[Connection]:
        """The conversation, and the connection of a transport that has not said what it brings."""
        return list(dict.fromkeys((self.conversation, self.connection)))

    def _stream(self, name: Any) -> Stream:
        """What a command names.

        Raises:
            KeyError: there is nothing of that name.
        """
        return self.names[name if isinstance(name, str) else f"peer {name}"]

    def _declared(self, declare: Any) -> list[tuple[Kind, int | None]]:
        return [
            (
                Kind[kind.upper()],
                rest[0] if rest else self._number(name) if kind in ("function", "channel") else None,
            )
            for kind, name, *rest in declare
        ]

    def _number(self, name: str) -> int:
        """A function number for what was given none: as many as there are names, so never twice."""
        return 1000 + len(self.names)

    def _name(self, streams: Sequence[Stream], declare: Any) -> None:
        for stream, (_, name, *_) in zip(streams, declare, strict=True):
            stream.app = name
            self.names[name] = stream

    def meet(self, stream: Stream) -> int | str:
        """How the runner names a stream; what the peer opened is known from now on."""
        if stream.opened_here:
            return str(stream.app)
        self.names[f"peer {stream.reference}"] = stream
        return stream.reference

    def begin(self, call: Call) -> None:
        """Note that the function of a call runs."""
        self.bodies.add(call)

    def _react(self) -> Reaction:
        """What leaves, and what the application has learnt."""
        events: list[dict[str, Any]] = []
        sent: list[bytes] = []
        # What the application hears may make more leave: a call that is over gives its place back.
        while True:
            self._go_on()
            batches = self.connection.data_to_send(PULL)
            heard = [event for one in self._connections() for event in one.events_received()]
            if not batches and not heard:
                break
            sent += batches
            for event in heard:
                if isinstance(event, HelloReceived) and self.role == "server" and self.connection.resumable:
                    self._keep()
                if isinstance(event, ConnectionClosed):
                    self.acceptor.discard(self.connection)
                events += self.telling.tell(event)
        return Reaction(sent, events, self.connection.state is ConnectionState.CLOSED)

    def _keep(self) -> None:
        """A session that can be resumed is kept where later transports are asked for it."""
        self.conversation = self.connection
        self.acceptor.add(self.connection)


def _states_position(batch: bytes) -> bool:
    """Whether a batch begins with a POSITION."""
    try:
        return bool(cbor2.loads(batch)[0][0] == NAMES["POSITION"])
    except (ValueError, TypeError, IndexError):
        return False
