"""Link: one transport of a simulated network, two directions of bytes, and what befalls them."""

from __future__ import annotations

from collections import deque
from enum import Enum
from random import Random
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

from telewire.wire.reader import BatchReader, write_batch

if TYPE_CHECKING:
    from telewire.testing.network import Network, Peer

__all__ = ["Direction", "Link", "Mark", "Told", "Way"]

Way: TypeAlias = Literal["up", "down"]
"""``up`` leads from the client to the server, ``down`` back."""

Told: TypeAlias = Literal["both", "client", "server", "nobody"]
"""Who learns at once that a transport is gone; the other side has to find out."""

CAPACITY: Final = 128 * 1024
SEGMENT_BYTES: Final = 4096
"""On a link with a rate longer pieces arrive in parts of this size."""


class Mark(Enum):
    """What travels in a direction besides bytes, in its place among them."""

    BEGIN = "begin"
    END = "end"


@final
class Direction:
    """The bytes that travel one way: in order, in pieces, some time later.

    ``sent`` and ``arrived`` count bytes. ``rate`` is in bytes a second, None for any number;
    ``capacity`` is how many may be on their way before the sender has to wait.
    """

    def __init__(self, network: Network, link: Link, way: Way, rate: float | None, repeats: float) -> None:
        self.way: Final[Way] = way
        self.link: Final = link
        self.rate = rate
        self.capacity = CAPACITY
        self.sent = 0
        self.arrived = 0
        self.vanished = 0
        """Bytes that a black hole has swallowed. Where there were any, nothing behind them arrives either."""
        self.blocked = False
        """Whether the sender waits for room."""
        self.reader: BatchReader | None = None
        self._network = network
        self._dice: Random = network.dice
        self._pieces: deque[tuple[float, bytes | Mark]] = deque()
        self._on_the_way = 0
        self._last = 0.0
        # When all that was sent has left the sender, where there is a rate.
        self._free_at = 0.0
        self._repeats = repeats
        self._again: list[bytes] = []
        self._hole = False
        self._held = False
        self._cut_at: int | None = None
        self._told: Told = "both"

    @property
    def room(self) -> int:
        """Bytes that the sender may still write."""
        return self.capacity - self._on_the_way

    def send(self, batches: list[bytes]) -> None:
        """Let batches leave; on a carrier that repeats, some come again, and ahead of others."""
        for index, batch in enumerate(batches):
            if self._repeats:
                dice = self._dice
                if self._again and dice.random() < 0.5:
                    self._write(write_batch(self._again.pop(dice.randrange(len(self._again)))))
                if dice.random() < self._repeats:
                    self._again.append(batch)
                if dice.random() < self._repeats and index + 1 < len(batches):
                    self._write(write_batch(batches[index + 1]))
            self._write(write_batch(batch))

    def send_mark(self, mark: Mark) -> None:
        """Let a beginning or an end follow what has been sent."""
        self._queue(self._network.now + self.link.delay, mark)

    def _write(self, data: bytes) -> None:
        network, dice = self._network, self._dice
        self.sent += len(data)
        self._on_the_way += len(data)
        while data:
            size = len(data)
            if size > 1 and dice.random() < network.split:
                size = dice.randrange(1, size)
            piece, data = data[:size], data[size:]
            # What was not split often arrives together with what came before it.
            late = dice.random() if dice.random() < 0.5 else 0.0
            if self.rate is None:
                self._queue(network.now + self.link.delay * (1 + late), piece)
                continue
            # A slow link is slow, and not silent: what is long arrives little by little.
            for begin in range(0, len(piece), SEGMENT_BYTES):
                part = piece[begin : begin + SEGMENT_BYTES]
                self._free_at = max(self._free_at, network.now) + len(part) / self.rate
                self._queue(self._free_at + self.link.delay * (1 + late), part)

    def _queue(self, when: float, piece: bytes | Mark) -> None:
        self._last = max(self._last, when)
        self._pieces.append((self._last, piece))
        if not self._held:
            self._network.plan(self._last, self._arrive)

    def _arrive(self) -> None:
        """Hand out what has arrived by now, joined."""
        data = bytearray()
        mark: Mark | None = None
        while self._pieces and self._pieces[0][0] <= self._network.now and mark is None and not self._held:
            piece = self._pieces.popleft()[1]
            if isinstance(piece, Mark):
                mark = piece
            else:
                self._on_the_way -= len(piece)
                data += piece
        if self._hole or self.vanished:
            self.vanished += len(data) + (mark is not None)
            self._unblock()
            return
        if self._cut_at is not None and self.arrived + len(data) >= self._cut_at:
            mark = None
            del data[self._cut_at - self.arrived :]
        self.arrived += len(data)
        if data:
            self.link.hear(self, bytes(data))
        if self._cut_at is not None and self.arrived >= self._cut_at:
            self.link.cut(self._told)
        elif mark is not None:
            self.link.hear_mark(self, mark)
        self._unblock()

    def _unblock(self) -> None:
        sender = self.link.client if self.way == "up" else self.link.server
        if self.blocked and self.room > 0 and sender is not None:
            self.blocked = False
            sender.pump()

    def cut_at(self, byte: int, told: Told) -> None:
        """Cut the link once ``byte`` bytes have arrived in this direction; see :meth:`Link.cut_at`."""
        self._cut_at, self._told = byte, told
        if self.arrived >= byte:
            self.link.cut(told)

    def call_off(self) -> None:
        """Cut no more where that has not happened."""
        self._cut_at = None

    def black_hole(self) -> None:
        """Swallow what arrives from now on."""
        self._hole = True

    def hold(self) -> None:
        """Keep what is on its way, and what follows, until :meth:`heal`."""
        self._held = True

    def heal(self) -> None:
        """Let bytes arrive again, those that were held at once."""
        self._hole = False
        if self._held:
            self._held = False
            for when, _ in self._pieces:
                self._network.plan(max(when, self._network.now), self._arrive)

    def drop(self) -> None:
        """Lose what is on its way."""
        self._pieces.clear()
        self._on_the_way = 0


@final
class Link:
    """One transport. ``client`` and ``server`` are those who still hold their end of it."""

    def __init__(
        self, network: Network, client: Peer, *, delay: float, rate: float | None, repeats: float
    ) -> None:
        self.delay = delay
        self.client: Peer | None = client
        self.server: Peer | None = None
        self.up = Direction(network, self, "up", rate, repeats)
        self.down = Direction(network, self, "down", rate, 0.0)
        self.broken = False
        self._network = network

    # --- faults ----------------------------------------------------------------------------------

    def cut(self, told: Told = "both") -> None:
        """Lose the transport with all that is on its way; a side that is not told writes on, to nobody."""
        self.broken = True
        for direction in (self.up, self.down):
            direction.drop()
            direction.black_hole()
            direction.vanished += 1
        client, server = self.client, self.server
        if told in ("both", "client") and client is not None:
            self.client = None
            client.lost(self)
        if told in ("both", "server") and server is not None:
            self.server = None
            server.lost(self)

    def cut_at(self, byte: int, way: Way, told: Told = "both") -> None:
        """Cut once exactly ``byte`` bytes have arrived the one way; at once where they have already."""
        self.direction(way).cut_at(byte, told)

    def black_hole(self, *ways: Way) -> None:
        """Let everything vanish that would arrive one way, or both, from now on; nobody is told.

        It stays so for good once something has vanished, also after :meth:`heal`: bytes cannot be left
        out of a stream. The sides find out by their keepalive.
        """
        for way in ways or ("up", "down"):
            self.direction(way).black_hole()

    def hold(self, *ways: Way) -> None:
        """Let nothing arrive one way, or both, and lose nothing, until :meth:`heal`."""
        for way in ways or ("up", "down"):
            self.direction(way).hold()

    def heal(self) -> None:
        """End :meth:`black_hole` and :meth:`hold`."""
        for direction in (self.up, self.down):
            direction.heal()

    # --- what the sides do -----------------------------------------------------------------------

    def direction(self, way: Way) -> Direction:
        """``up`` or ``down``."""
        return self.up if way == "up" else self.down

    def outgoing(self, peer: Peer) -> Direction:
        """The direction that leads away from ``peer``."""
        return self.up if peer is self.client else self.down

    def leave(self, peer: Peer, silently: bool = False) -> None:
        """Let go of an end; the other side learns it behind what was sent, unless ``silently``."""
        way = self.outgoing(peer)
        if peer is self.client:
            self.client = None
        elif peer is self.server:
            self.server = None
        if silently:
            way.drop()
            way.black_hole()
            way.vanished += 1
        else:
            way.send_mark(Mark.END)

    def hear(self, direction: Direction, data: bytes) -> None:
        """Give bytes to whoever is there."""
        peer = self.server if direction is self.up else self.client
        if peer is None:
            return
        if direction.reader is None:
            direction.reader = BatchReader(peer.connection.limits)
        peer.hear(self, direction.reader.receive_data(data))

    def hear_mark(self, direction: Direction, mark: Mark) -> None:
        """Begin or end at the side that is reached."""
        if mark is Mark.BEGIN:
            self._network.arrived_at_host(self)
            return
        peer = self.server if direction is self.up else self.client
        if peer is not None:
            if direction is self.up:
                self.server = None
            else:
                self.client = None
            peer.lost(self)
