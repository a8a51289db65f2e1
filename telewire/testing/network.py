"""Network: pure connections in virtual time, on links that delay, split, cut and swallow, as a seed says.

::

    network = Network(7)
    host = network.host()
    client = network.connect(host)
    network.run(1.0)                        # the hellos have crossed
    client.connection.call("f", payload)
    client.link.cut_at(40, "up")            # the client comes back by itself
    network.run(5.0)
    assert [type(event).__name__ for event in host.peers[0].take()] == [...]

Nothing waits and nothing reads a clock: the same seed and the same commands give the same bytes at the
same times. It drives :class:`~telewire.Connection` and :class:`~telewire.core.acceptor.Acceptor` as a
runtime does, and decides nothing of the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from heapq import heappop, heappush
from random import Random
from typing import Final, final

from telewire.core.acceptor import Acceptor
from telewire.core.connection import Connection
from telewire.core.events import ConnectionClosed, Event, HelloReceived, SessionResumed
from telewire.core.flow import Pool
from telewire.core.states import ConnectionState
from telewire.limits import Limits
from telewire.testing.link import Direction, Link, Mark, Told, Way

__all__ = ["Direction", "Host", "Link", "Network", "Peer", "Told", "Way"]

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
PATIENCE: Final = 10.0
"""Seconds in which an attempt to resume has to be answered."""
MOST_STEPS: Final = 100_000
"""At one instant."""


@final
class Network:
    """Carries bytes between peers, in virtual time.

    ``now`` is the time, in seconds; ``dice`` is what everything random is drawn from, and may be used
    for more. ``peers`` are all machines that run, of all sides.

    Args:
        seed: of the dice.
        delay: the least and the most seconds that a link takes one way; each piece takes up to twice that.
        split: the chance that a batch's bytes are cut into pieces, which arrive one after the other.
        rate: bytes a second that a link carries each way; None for any number.
        repeats: the chance that a batch of a client comes again, or ahead of its place, as a POST that is
            retried does (TW-SES-050); above 0 each batch of either side states its position.
    """

    def __init__(
        self,
        seed: int | str = 0,
        *,
        delay: tuple[float, float] = (0.001, 0.05),
        split: float = 0.3,
        rate: float | None = None,
        repeats: float = 0.0,
    ) -> None:
        self.now = 0.0
        self.dice = Random(seed)
        self.delay = delay
        self.split = split
        self.rate = rate
        self.repeats = repeats
        self.peers: list[Peer] = []
        self.links: list[Link] = []
        self.reachable = True
        """Whether new transports come through."""
        self.on_batch: Callable[[Peer, bytes, bool], object] | None = None
        """Called with each batch that a peer lets leave (True) and that it takes (False), before it does."""
        self._due: list[tuple[float, float, int, Callable[[], object]]] = []
        self._count = 0
        self._still = 0

    def host(self, *, limits: Limits | None = None, pool: Pool | None = None) -> Host:
        """Make a server, which answers each transport that comes."""
        return Host(self, limits, pool)

    def connect(
        self,
        host: Host,
        *,
        limits: Limits | None = None,
        resume: bool = True,
        principal: Hashable = None,
    ) -> Peer:
        """Begin a conversation with ``host``; gives the client, which comes back to its session by itself.

        A transport that is lost before the hellos have crossed ends the conversation: connect again.
        """
        connection = Connection("client", limits=limits, resume=resume, now=self.now)
        peer = Peer(self, connection, host, principal)
        self.peers.append(peer)
        peer.open_link()
        return peer

    def call_at(self, when: float, function: Callable[[], object]) -> None:
        """Call a function when the time has come; those of one instant in an order that the dice say."""

        def call() -> None:
            function()
            self.pump()

        self.plan(when, call)

    def plan(self, when: float, function: Callable[[], object]) -> None:
        """The same for those that see to it themselves that what they cause leaves."""
        self._count += 1
        heappush(self._due, (when, self.dice.random(), self._count, function))

    def run(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            AssertionError: something is due again and again.
        """
        end = self.now + seconds
        self.pump()
        while self._step(end):
            pass
        self.now = end

    def run_until(self, condition: Callable[[], object], seconds: float = 300.0) -> None:
        """Let time pass until a condition holds.

        Raises:
            AssertionError: it does not within ``seconds``.
        """
        end = self.now + seconds
        self.pump()
        while not condition():
            if not self._step(end):
                raise AssertionError(f"What was waited for has not come within {seconds:g} virtual seconds.")

    def step(self, end: float = float("inf")) -> bool:
        """Let the next thing happen, unless that is after ``end``; whether there was one."""
        self.pump()
        return self._step(end)

    def _step(self, end: float) -> bool:
        when = self._due[0][0] if self._due else float("inf")
        timed: list[Peer] = []
        for peer in self.peers:
            timeout = peer.connection.next_timeout()
            if timeout is not None and timeout <= when:
                timed = [*timed, peer] if timed and timeout == when else [peer]
                when = timeout
        if when > end or when == float("inf"):
            return False
        self._still = self._still + 1 if when <= self.now else 0
        if self._still > MOST_STEPS:
            raise AssertionError(
                f"More than {MOST_STEPS} things came at {self.now:g} seconds, without an end."
            )
        self.now = max(self.now, when)
        for peer in timed:
            peer.connection.handle_timeout(self.now)
            peer.pump()
        if not timed:
            heappop(self._due)[3]()
        return True

    def pump(self) -> None:
        """Let everything leave that may, and hand out events; :meth:`run` does it all the time."""
        for peer in tuple(self.peers):
            peer.pump()

    def black_hole(self) -> None:
        """Swallow everything on every link, new ones included, and tell nobody, until :meth:`heal`."""
        self.reachable = False
        for link in self.links:
            link.black_hole()

    def heal(self) -> None:
        """End black holes and holds everywhere, and call off the cuts that have not come.

        What has vanished stays lost (:meth:`Link.black_hole`).
        """
        self.reachable = True
        for link in self.links:
            link.heal()
            link.up.call_off()
            link.down.call_off()

    def make_link(self, client: Peer) -> Link:
        """Set off to a host."""
        link = Link(self, client, delay=self.dice.uniform(*self.delay), rate=self.rate, repeats=self.repeats)
        self.links = [each for each in self.links if each.client or each.server]
        self.links.append(link)
        if not self.reachable:
            link.black_hole()
        link.up.send_mark(Mark.BEGIN)
        return link

    def arrived_at_host(self, link: Link) -> None:
        """Let the host answer, where it runs."""
        if link.client is not None and link.client.host.up:
            link.client.host.accept(link)
        else:
            link.down.send_mark(Mark.END)


@final
class Peer:
    """One machine on the network, with its application's events.

    Events go to ``on_event`` where that is set, and else pile up until :meth:`take`. Give the
    ``connection`` commands at any time; what they cause leaves as soon as the network runs.
    """

    def __init__(
        self, network: Network, connection: Connection, host: Host, principal: Hashable = None
    ) -> None:
        self.connection = connection
        self.host: Final = host
        self.principal: Final = principal
        self.link: Link | None = None
        self.on_event: Callable[[Event], object] | None = None
        self.resumes = 0
        """How often the session has gone on over another transport."""
        self._network = network
        self._events: list[Event] = []
        self._left: Link | None = None
        # The transport over which a client has asked, and has no answer yet.
        self._resuming: Link | None = None
        self._pause = FIRST_PAUSE
        self._retrying = False
        connection.states_positions = network.repeats > 0

    def take(self) -> list[Event]:
        """Take the events that have piled up."""
        events, self._events = self._events, []
        return events

    def move(self) -> None:
        """As a client: go on over a new transport while the old one is alive (TW-SES-045)."""
        self.connection.move(self._network.now)
        if self._left is not None:
            self._left.leave(self)
        self._left, self.link = self.link, None
        self.open_link()

    def crash(self, silently: bool = False) -> None:
        """Vanish, with everything in memory; ``silently`` so that not even the system says so."""
        if self in self._network.peers:
            self._network.peers.remove(self)
        for link in (self.link, self._left):
            if link is not None:
                link.leave(self, silently)
        self.link = self._left = None
        self.host.forget(self)

    # --- what the network does with it -----------------------------------------------------------

    def pump(self) -> None:
        """Write what may leave, hand out events, until there is nothing more."""
        connection, network = self.connection, self._network
        while True:
            link = self.link
            sent = False
            if link is not None:
                way = link.outgoing(self)
                while way.room > 0 and (
                    batches := connection.data_to_send(min(way.room, 65536), network.now)
                ):
                    sent = True
                    if network.on_batch is not None:
                        for batch in batches:
                            network.on_batch(self, batch, True)
                    way.send(batches)
                way.blocked = way.room <= 0
                if connection.state is ConnectionState.CLOSED:
                    self._drop_link()
            events = self.hand_out()
            if connection.detached and not self._coming_back:
                self._drop_link()
                self._retry_later()
            if not events and not sent:
                return

    def hand_out(self) -> bool:
        """Hand out the events that there are, and let nothing leave; whether there were any.

        For those who want to hear at once what a command of theirs has caused.
        """
        events = self.connection.events_received()
        for event in events:
            self._follow(event)
        return bool(events)

    @property
    def _coming_back(self) -> bool:
        """Whether an attempt to resume is under way, or will be."""
        return self._retrying or (self.link is not None and self.link is self._resuming)

    def _follow(self, event: Event) -> None:
        if isinstance(event, SessionResumed):
            self.resumes += 1
            self._pause = FIRST_PAUSE
            self._resuming = None
            if self._left is not None:
                self._left.leave(self)
                self._left = None
        elif isinstance(event, HelloReceived):
            self._resuming = None
            self.host.keep(self)
        elif isinstance(event, ConnectionClosed):
            self.host.forget(self)
        if self.on_event is not None:
            self.on_event(event)
        else:
            self._events.append(event)

    def _drop_link(self) -> None:
        link, self.link = self.link, None
        if link is not None:
            link.leave(self)
            self._lost_before_hello()

    def open_link(self) -> None:
        """As a client: set off over a new transport."""
        network = self._network
        link = self.link = self._resuming = network.make_link(self)
        network.plan(network.now + PATIENCE, lambda: self._give_up(link))

    def _give_up(self, link: Link) -> None:
        """An attempt to resume has had its time."""
        if self.link is link and self._resuming is link and self.connection.detached:
            link.leave(self)
            self.lost(link)

    def _retry_later(self) -> None:
        network = self._network
        if self.connection.side == "client" and not self._retrying:
            self._retrying = True
            network.plan(network.now + self._pause * network.dice.uniform(0.5, 1.0), self._retry)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _retry(self) -> None:
        self._retrying = False
        if self.connection.detached and self in self._network.peers:
            self.connection.attach(self._network.now)
            self.open_link()
            self.pump()

    def hear(self, link: Link, batches: list[bytes]) -> None:
        """Take what has arrived, unless another transport has taken the place of that one."""
        network = self._network
        if link is not self.link:
            return
        if not batches:
            self.connection.receive_bytes(network.now)
        for batch in batches:
            taker = link.server if self.connection.side == "server" else self
            if taker is None or taker.link is not link:
                return
            if network.on_batch is not None:
                network.on_batch(taker, batch, False)
            taker.receive(link, batch)
            taker.pump()
        if not batches:
            self.pump()

    def receive(self, link: Link, batch: bytes) -> None:
        """Take a batch."""
        connection, now = self.connection, self._network.now
        if connection.side == "client" or connection.state is not ConnectionState.OPENING:
            connection.receive_data(batch, now)
            return
        found = self.host.acceptor.receive_data(connection, batch, now, self.principal)
        if found is not connection:
            self.host.hand_over(self, link, found)

    def lost(self, link: Link) -> None:
        """Learn that a transport is gone."""
        if link is self._left:
            self._left = None
        if link is not self.link:
            return
        self.link = self._resuming = None
        self._lost_before_hello()
        self.connection.receive_eof(self._network.now)
        if self.connection.state is ConnectionState.CLOSED:
            self.host.forget(self)
        self.pump()

    def _lost_before_hello(self) -> None:
        if self.connection.side == "server":
            self.host.acceptor.transport_lost(self.connection, self._network.now, self.principal)


@final
class Host:
    """A server on the network. ``peers`` are its conversations, in the order in which they began.

    ``on_peer`` is called with each that has opened; set ``peer.on_event`` there.
    """

    def __init__(self, network: Network, limits: Limits | None, pool: Pool | None) -> None:
        self.up = True
        self.acceptor = Acceptor()
        self.peers: list[Peer] = []
        self.pool = pool
        self.on_peer: Callable[[Peer], object] | None = None
        self._network = network
        self._limits = limits
        if pool is not None:
            pool.on_room = lambda: network.call_at(network.now, self._grant_again)

    def crash(self, silently: bool = False) -> None:
        """Stop, with everything in memory; clients are told, unless ``silently``."""
        self.up = False
        for peer in [each for each in self._network.peers if each.host is self]:
            if peer.connection.side == "server":
                peer.crash(silently)
        self.acceptor = Acceptor()

    def restart(self) -> None:
        """Answer again, and know nothing of what was before."""
        self.up = True

    # --- what the network does with it -----------------------------------------------------------

    def accept(self, link: Link) -> None:
        """Answer a transport."""
        network, dice = self._network, self._network.dice
        assert link.client is not None
        connection = Connection(
            "server",
            limits=self._limits,
            session_id=dice.randbytes(16),
            token=dice.randbytes(16),
            now=network.now,
            pool=self.pool,
        )
        peer = Peer(network, connection, self, link.client.principal)
        peer.link = link
        link.server = peer
        network.peers.append(peer)
        self.acceptor.expect(connection, network.now, peer.principal)
        peer.pump()

    def keep(self, peer: Peer) -> None:
        """Note a conversation that has opened."""
        if peer.connection.side == "client":
            return
        self.peers.append(peer)
        if peer.connection.resumable:
            self.acceptor.add(peer.connection, peer.principal)
        if self.on_peer is not None:
            self.on_peer(peer)

    def forget(self, peer: Peer) -> None:
        """Forget a conversation that is over."""
        self.acceptor.discard(peer.connection)
        if peer in self.peers:
            self.peers.remove(peer)
        if peer.link is None and peer in self._network.peers:
            self._network.peers.remove(peer)

    def hand_over(self, fresh: Peer, link: Link, found: Connection) -> None:
        """Give a transport to the session that its client came back to."""
        [owner] = [peer for peer in self.peers if peer.connection is found]
        fresh.link = None
        self._network.peers.remove(fresh)
        if owner.link is not None:
            owner.link.leave(owner)
        owner.link = link
        link.server = owner
        owner.pump()

    def _grant_again(self) -> None:
        for peer in self.peers:
            peer.connection.grant_again()
