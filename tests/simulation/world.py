"""Simulation: peers, a network, and everything that can befall them, as a seed says.

Clients and a server talk at random while transports are cut, swallow, stall and are exchanged, and
sides crash and come back. While it runs, each payload and end that arrives is held against what was sent
on its stream (I1, I9), each call and each half ends once (I5, I10), a ledger audits credit by frames alone
(I2), and what is counted as open is what stands in the tables (I3). Then every fault is healed: who stops
reading reaches the body in time (I4), what nobody reads keeps nothing else from its end (I9), and every
call must settle, every credit return and nothing be left (I3). These need an end, so they come once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from random import Random

from fuzz.credit import TUNED, Ledger
from fuzz.party import LIMITS
from telewire.core.connection import Connection
from telewire.core.flow import Pool
from telewire.core.states import HalfState
from telewire.core.streams import Call, Stream
from telewire.testing.network import Host, Network, Peer, Told
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch
from telewire.wire.frames import Kind
from tests.simulation.actor import SENT, Actor, is_reading

__all__ = ["Simulation", "simulate"]

TOLD: tuple[Told, ...] = ("both", "both", "client", "server", "nobody")
BARE = (f.Hello, f.Resume, f.Resumed, f.Ack, f.Ping, f.Pong, f.Position)
"""What has no position (TW-SES-001)."""
POOL = 512 * 1024
HEALING = 200.0
"""Seconds in which all that was cut has found back or has expired: a dead time, and a resume window."""


class Simulation:
    """One story. ``faults`` counts what befell it."""

    def __init__(self, seed: int) -> None:
        dice = self.dice = Random(seed)
        self.network = Network(
            dice.getrandbits(64),
            delay=dice.choice([(0.0, 0.0), (0.001, 0.05), (0.1, 0.6)]),
            split=dice.choice([0.0, 0.3, 0.8]),
            rate=dice.choice([None, None, 50_000]),
            repeats=dice.choice([0.0, 0.0, 0.0, 0.3]),
        )
        self.limits = replace(
            LIMITS,
            replay_bytes=dice.choice([8192, 1 << 20]),
            resume_seconds=dice.choice([60.0, 60.0, 60.0, 8.0]),
        )
        self.pool = Pool(POOL)
        self.host: Host = self.network.host(limits=self.limits, pool=self.pool)
        self.host.on_peer = self.meet
        self.clock = [0.0]
        self.actors: list[Actor] = []
        self.clients: list[Actor] = []
        self.ledgers: dict[Connection, Ledger] = {}
        self.positions: dict[Connection, int] = {}
        self.faults: dict[str, int] = {}
        self.actor_of: dict[Connection, Actor] = {}
        self.network.on_batch = self.audit
        for _ in range(dice.choice((1, 1, 2, 3))):
            self.join()

    # --- who is there ----------------------------------------------------------------------------

    def join(self) -> None:
        """Let a client come."""
        peer = self.network.connect(self.host, limits=self.limits)
        actor = Actor(peer, self.dice, self.clock)
        self.clients.append(actor)
        self.actors.append(actor)
        self.actor_of[peer.connection] = actor
        peer.on_event = lambda event: self.tell(actor, event)
        if self.dice.random() < 0.2:
            # Hardly has it heard the server, it goes elsewhere; what it has said may still be on its way.
            early = self.network.now + self.dice.uniform(0.0, 5 * self.network.delay[1])
            self.network.call_at(early, actor.move)

    def meet(self, peer: Peer) -> None:
        """A conversation has opened at the server."""
        actor = Actor(peer, self.dice, self.clock)
        self.actors.append(actor)
        self.actor_of[peer.connection] = actor
        for client in self.clients:
            if client.connection.session_id == peer.connection.session_id:
                client.other, actor.other = actor, client
                self.ledgers[client.connection] = self.ledgers[peer.connection] = Ledger(TUNED)
        assert actor.other is not None, "a session begins for a client that there is not"
        peer.on_event = lambda event: self.tell(actor, event)

    def tell(self, actor: Actor, event: object) -> None:
        """Give an event to an application."""
        self.clock[0] = self.network.now
        actor.event(event)  # type: ignore[arg-type]  # It is one.

    def audit(self, peer: Peer, batch: bytes, sent: bool) -> None:
        """Enter data in the ledger when they are taken, grants when they are given: so each is seen once."""
        if sent and peer.connection in self.actor_of:
            self.actor_of[peer.connection].note_left()
        ledger = self.ledgers.get(peer.connection)
        if ledger is None:
            return
        client = peer.connection.side == "client"
        frames: Iterable[f.Frame] = decode_batch(batch, self.limits)
        if self.network.repeats and not sent:
            frames = self.new(peer.connection, tuple(frames))
        for frame in frames:
            if sent is isinstance(frame, f.Grant):
                ledger.emitted(client is sent, frame)

    def new(self, connection: Connection, frames: tuple[f.Frame, ...]) -> Iterator[f.Frame]:
        """Those frames that have not come before; none where others are missing (TW-SES-051, 052)."""
        first = frames[0]
        if not isinstance(first, f.Position):
            return
        count = self.positions.get(connection, 0)
        position = first.position
        if position > count:
            return
        for frame in frames:
            if isinstance(frame, BARE):
                continue
            if position >= count:
                self.positions[connection] = position + 1
                yield frame
            position += 1

    # --- what happens ----------------------------------------------------------------------------

    def run(self) -> None:
        """All of it."""
        dice = self.dice
        trouble = dice.choice((0.0, 0.02, 0.1, 0.3, 0.6))
        for _ in range(dice.choice((10, 30, 60, 150))):
            for _ in range(dice.randrange(1, 5)):
                dice.choice(self.actors).act()
            if dice.random() < trouble:
                self.trouble()
            self.pass_time(dice.choice((0.0, 0.001, 0.01, 0.05, 0.2, dice.choice((1.0, 5.0, 20.0)))))
            self.check()
            if not any(client.alive for client in self.clients) and len(self.clients) < 6:
                self.join()
        self.wind_up()

    def pass_time(self, seconds: float) -> None:
        """Let the network work."""
        self.network.run(seconds)
        self.clock[0] = self.network.now

    def trouble(self) -> None:
        """Let something go wrong."""
        dice, network = self.dice, self.network
        kind = dice.choice(("cut", "cut at", "cut at", "hole", "hold", "blackout", "move", "crash", "vanish"))
        client = dice.choice(self.clients)
        link = client.peer.link
        later = network.now + dice.choice((0.1, 0.3, 1.0, 5.0, 40.0))
        ways = dice.choice((("up",), ("down",), ("up", "down")))
        match kind:
            case "blackout":
                network.black_hole()
                network.call_at(later, network.heal)
            case "crash" if dice.random() < 0.2 and self.host.up:
                for actor in self.actors:
                    actor.crashed |= actor.peer.connection.side == "server"
                self.host.crash(silently=dice.random() < 0.5)
                network.call_at(later, self.host.restart)
            case "vanish" if dice.random() < 0.2 and not client.crashed:
                client.crashed = True
                client.peer.crash(silently=dice.random() < 0.5)
            case "move" if client.alive:
                client.move()
            case "crash" | "vanish" | "move":
                return
            case _ if link is None:
                return
            case "cut":
                link.cut(dice.choice(TOLD))
            case "cut at":
                way = dice.choice(("up", "down"))
                byte = link.direction(way).arrived + dice.randrange(0, 5000)
                link.cut_at(byte, way, dice.choice(TOLD))
            case "hole":
                link.black_hole(*ways)
                network.call_at(later, link.heal)
            case "hold":
                link.hold(*ways)
                network.call_at(later, link.heal)
        self.faults[kind] = self.faults.get(kind, 0) + 1

    # --- what must hold --------------------------------------------------------------------------

    def check(self) -> None:
        """I2, I3 as far as it can be seen before the end, and the bounds of what is held."""
        for actor in self.actors:
            connection = actor.connection
            if not actor.alive:
                continue
            assert 0 <= connection._budget.left <= self.limits.session_budget
            assert 0 <= connection._argument_bytes <= self.limits.argument_bytes
            assert connection._incoming_calls <= self.limits.open_calls
            departures = connection._departures
            assert departures is None or departures.held <= self.limits.replay_bytes
            arrivals = connection._arrivals
            if self.network.repeats and arrivals is not None:
                assert arrivals.count == self.positions.get(connection, 0), "a frame was taken twice or never"
            self.check_tables(actor)
            if actor.other is not None and actor.other.alive:
                self.check_credit(actor, actor.other)

    def check_tables(self, actor: Actor) -> None:
        """What is over stands in no table, and what is counted as open is open (I3)."""
        connection = actor.connection
        ours, theirs = connection._ours.values(), connection._theirs.values()
        assert not any(stream.retired for stream in (*ours, *theirs)), "what is over is still in a table"
        # Besides those in the tables: calls that are yet to leave, and bodies that go on behind an answer.
        unsent = [call for call in actor.mine if call.number is None]
        asked = {stream for stream in (*ours, *unsent) if isinstance(stream, Call)}
        taken = {stream for stream in (*theirs, *actor.bodies) if isinstance(stream, Call)}
        waiting = connection._waiting_calls.keys()
        assert waiting <= asked
        assert len(asked - waiting) == connection._outgoing_calls, f"{asked}; {waiting} wait"
        assert len(taken) == connection._incoming_calls, f"{taken} are open"

    def check_credit(self, sender: Actor, receiver: Actor) -> None:
        """No sender is ahead of what its receiver has granted, nor a receiver of its window."""
        accounts = self.ledgers[sender.connection].accounts
        client = sender.connection.side == "client"
        for stream in [*sender.connection._ours.values(), *sender.connection._theirs.values()]:
            if stream.send is None or stream.number is None:
                continue
            connection = receiver.connection
            other = (connection._theirs if stream.opened_here else connection._ours).get(stream.number)
            if other is None or other.receive is None:
                continue
            window = other.receive.window
            account = accounts.get((stream.opened_here is client, stream.number, client))
            assert account is None or account.spent <= stream.send.window.used, "more came than was counted"
            assert stream.send.window.used <= stream.send.window.limit
            assert stream.send.window.limit <= window.limit or stream.kind is Kind.CALL
            if other.receive.state in (HalfState.OPEN, HalfState.ENDING):
                assert sum(cost for _, cost in window.parts) <= window.window + window.loan

    def happened(self) -> dict[str, int]:
        """What befell it, and what came of it, by name."""
        peers = [actor.peer for actor in self.actors if actor.connection.side == "client"]
        return {
            **self.faults,
            "resumed": sum(peer.resumes for peer in peers),
            "sessions": sum(actor.other is not None for actor in self.clients),
            "sessions lost": sum(actor.closed is not None for actor in self.clients),
            "calls": sum(len(actor.started) for actor in self.actors),
            "payloads": sum(len(got) for actor in self.actors for got in actor.got.values()),
        }

    # --- the end ---------------------------------------------------------------------------------

    def wind_up(self) -> None:
        """Heal, and demand that everything comes to its end."""
        self.host.restart()
        self.network.heal()
        self.pass_time(HEALING)
        for actor in self.actors:
            assert actor.crashed or actor.closed or not actor.connection.detached, "it has not come back"
            alone = actor.other is not None and actor.other.crashed
            assert actor.crashed or actor.closed or not alone, "a session waits for a side that is no more"
        pairs = [(a, a.other) for a in self.clients if a.other and a.alive and a.other.alive]
        for pair in pairs:
            self.return_credit(pair)
            self.break_off(pair)
            self.leave_unread(pair)
            self.end(pair)
        for actor in self.actors:
            actor.compare()
            if not actor.crashed and (actor.alive or actor.closed):
                self.finish(actor)
                actor.check_end()
        assert self.pool.left == POOL or self.any_crashed(), "the pool has not got everything back"

    def any_crashed(self) -> bool:
        """Whether a server took what it had from the pool with it."""
        return any(actor.crashed and actor.peer.connection.side == "server" for actor in self.actors)

    def finish(self, actor: Actor) -> None:
        """Leave the bodies whose session is over."""
        for call in list(actor.bodies):
            del actor.bodies[call]
            actor.connection.finish(call)

    def return_credit(self, pair: tuple[Actor, Actor]) -> None:
        """Where all is consumed, all credit is back."""
        for _ in range(200):
            if not any([actor.consume_all() for actor in pair]):
                break
            self.pass_time(10.0)
        for actor in pair:
            actor.check_credit()

    def break_off(self, pair: tuple[Actor, Actor]) -> None:
        """I4: who stops reading ends the body within a round trip."""
        for actor in pair:
            stream = actor.pick(lambda each: each.kind in SENT and is_reading(each))
            if stream is None:
                continue
            twin = self.twin(stream, actor)
            actor.connection.stop(stream)
            actor.ended.add((stream, "receive"))
            link = actor.peer.link
            assert link is not None
            self.pass_time(6 * link.delay + (5.0 if self.network.rate or self.network.repeats else 0.0))
            assert (
                twin is None
                or twin.retired
                or twin.send is None
                or (twin.send.state not in (HalfState.OPEN, HalfState.ENDING))
            ), "the sender was not told that nobody reads any more"

    def twin(self, stream: Stream, actor: Actor) -> Stream | None:
        """The other side's handle of a stream."""
        other = actor.other
        assert other is not None
        for each in other.known:
            if each.number == stream.number and each.opened_here is not stream.opened_here:
                return each
        return None

    def leave_unread(self, pair: tuple[Actor, Actor]) -> None:
        """I9: a stream that nobody reads keeps nothing else from its end."""
        for actor in pair:
            for _ in range(20):
                actor.send()
        self.pass_time(5.0)
        unread = [actor.unread() for actor in pair]
        kept = {stream for stream in unread if stream is not None}
        kept |= {self.twin(stream, actor) for stream, actor in zip(unread, pair, strict=True) if stream}
        for _ in range(60):
            for actor, leave in zip(pair, unread, strict=True):
                actor.end_all(leave)
            self.pass_time(5.0)
            left = [
                stream
                for actor in pair
                for stream in actor.known
                if not stream.retired and stream not in kept and stream.number is not None
            ]
            if not left:
                return
        left = [stream for stream in left if not (stream.kind is Kind.FUNCTION and stream.opened_here)]
        assert not left, f"{left} wait for {kept}, which nobody reads"

    def end(self, pair: tuple[Actor, Actor]) -> None:
        """Everything ends; a few rounds, since ends cross."""
        for _ in range(50):
            for actor in pair:
                actor.wind_up()
            self.pass_time(1.0)
            if not any(actor.mine or actor.bodies or any(actor.waiting.values()) for actor in pair):
                break
        self.pass_time(5.0)


def simulate(seed: int) -> Simulation:
    """Run one story.

    Raises:
        AssertionError: something does not hold.
    """
    simulation = Simulation(seed)
    simulation.run()
    return simulation
