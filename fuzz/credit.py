"""Credit against a ledger that only sees the wire: no frame without credit, no grant beyond what is allowed.

The ledger is written from chapter 4 alone. It reads each batch that leaves, so it knows what each side
has said in that order, and never asks a machine for its own count.
"""

from __future__ import annotations

from typing import Final, final

from fuzz.party import LIMITS, Party
from telewire.core.connection import Connection
from telewire.core.streams import Call
from telewire.wire import frames as f
from telewire.wire.codec import decode_batch
from tests.core.app import is_open

__all__ = ["TUNED", "Ledger", "target"]

MORE: Final = 1
MOST: Final = (1 << 53) - 1
WINDOW: Final = max(LIMITS.stream_window, LIMITS.stream_window_read)
"""The largest where nothing is acknowledged, so that windows stay as they are (TW-STR-080)."""
TUNED: Final = LIMITS.stream_window + LIMITS.session_budget // 2
"""The largest of a session: one that has all that windows may take (TW-STR-081, TW-STR-037)."""


@final
class Account:
    """One direction of one stream: what may be spent, what was, and the payload that is incomplete."""

    def __init__(self) -> None:
        self.limit = LIMITS.stream_window
        self.spent = 0
        self.head: f.Call | f.End | f.Error | f.Item | None = None
        self.received = 0
        self.parts: list[tuple[int, int]] = []  # units and cost of each item, message and chunk
        self.reach = 0  # what would be spent if every payload that has begun were whole

    def consumed(self, units: int) -> int:
        """What the first ``units`` that were sent cost; a part of a frame in proportion, rounded up."""
        total = 0
        for count, cost in self.parts:
            taken = min(units, count)
            total += -(-cost * taken // count)
            units -= taken
        return total


@final
class Ledger:
    """Both directions of a connection, by their frames.

    A half is named by who opened the stream (true: the client), its number, and who sends on it. ``window``
    is the largest that one may have.
    """

    def __init__(self, window: int = WINDOW) -> None:
        self.window = window
        self.accounts: dict[tuple[bool, int, bool], Account] = {}
        self.calls: set[tuple[bool, int]] = set()

    def account(self, client: bool, reference: int, sends: bool) -> Account:
        """The account of a half, as the emitter of a frame (``client`` or not) names its stream."""
        opened = client if reference >= 0 else not client
        number = reference if reference >= 0 else -1 - reference
        sender = client if sends else not client
        return self.accounts.setdefault((opened, number, sender), Account())

    def emitted(self, client: bool, frame: f.Frame) -> None:
        """Enter a frame that has left one side."""
        if isinstance(frame, f.Grant):
            number = frame.stream if frame.stream >= 0 else -1 - frame.stream
            # The answer of a call that its caller rejected has all the credit there is (TW-ERR-022).
            rejected = frame.limit == MOST and (client, number) in self.calls and frame.stream >= 0
            if not rejected:
                self.granted(self.account(client, frame.stream, False), frame.limit)
            else:
                self.account(client, frame.stream, False).limit = MOST
            return
        if isinstance(frame, f.Call):
            self.calls.add((client, frame.stream))
        if not isinstance(frame, f.Call | f.End | f.Error | f.Item | f.Items | f.Chunk | f.Fragment):
            return
        account = self.account(client, frame.stream, True)
        cost = self.cost(account, frame)
        if cost:
            account.spent += cost
            if account.head is not None:
                missing = max(account.head.size, LIMITS.item_cost) - account.received
                account.reach = max(account.reach, account.spent + missing)
            assert account.spent <= account.limit, f"{frame} was sent without credit for it (TW-STR-031)"

    def cost(self, account: Account, frame: f.Frame) -> int:
        """What a frame costs (TW-STR-030)."""
        if isinstance(frame, f.Items):
            cost = max(len(frame.payload), LIMITS.item_cost * frame.count)
            account.parts.append((frame.count, cost))
            return cost
        if isinstance(frame, f.Chunk):
            cost = max(len(frame.payload), LIMITS.item_cost)
            account.parts.append((len(frame.payload), cost))
            return cost
        if isinstance(frame, f.Call | f.End | f.Error | f.Item):
            account.head = frame
            account.received = 0
        head = account.head
        assert head is not None, f"{frame} goes on with nothing (TW-FRM-045)"
        part = len(getattr(frame, "payload", b""))
        account.received += part
        whole = not getattr(frame, "flags", 0) & MORE
        if whole:
            assert account.received == head.size
            account.head = None
        if isinstance(head, f.Item):
            if whole:
                account.parts.append((1, max(head.size, LIMITS.item_cost)))
            return part + (max(0, LIMITS.item_cost - head.size) if whole else 0)
        return part if head.size > LIMITS.item_cost else 0

    def granted(self, account: Account, limit: int) -> None:
        """Enter a grant: it may open the largest window, or the remainder of a payload that has begun."""
        # A payload that was given up meanwhile may still be granted: the grant has crossed the error.
        most = max(account.spent + self.window, account.reach)
        assert limit <= most, f"a grant of {limit}, where {most} is the most (TW-STR-035, TW-STR-043)"
        account.limit = max(account.limit, limit)


class Audited(Party):
    """A party whose batches are read by the ledger as they leave."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.ledger = Ledger()
        for client, connection in ((True, self.pair.client), (False, self.pair.server)):
            self.audit(client, connection)

    def audit(self, client: bool, connection: Connection) -> None:
        """Read what a connection emits."""
        emit = connection.data_to_send

        def audited(max_bytes: int = 65536, now: float | None = None) -> list[bytes]:
            batches = emit(max_bytes, now)
            for batch in batches:
                for frame in decode_batch(batch, LIMITS):
                    self.ledger.emitted(client, frame)
            return batches

        connection.data_to_send = audited  # type: ignore[method-assign]  # The machine has no such hook.

    def step(self) -> None:
        """Go on, and compare each machine's own books with the ledger."""
        super().step()
        for client, connection in ((True, self.pair.client), (False, self.pair.server)):
            self.compare_books(client, connection)

    def compare_books(self, client: bool, connection: Connection) -> None:
        """What a sender counts is what the wire has seen; what a receiver has granted stays in its budget."""
        app = self.apps[0 if client else 1]
        lent = 0
        for ours, table in ((True, connection._ours), (False, connection._theirs)):
            for number, stream in table.items():
                opened = client if ours else not client
                if stream.send is not None and not isinstance(stream, Call):
                    account = self.ledger.accounts.get((opened, number, client))
                    spent = account.spent if account is not None else 0
                    assert stream.send.window.used == spent, "a sender counts otherwise than the wire"
                if stream.receive is not None:
                    window = stream.receive.window
                    account = self.ledger.accounts.get((opened, number, not client))
                    # Arguments that are whole have been taken: what they had been lent is back.
                    if not isinstance(stream, Call) or (account is not None and account.head is not None):
                        lent += max(0, window.limit - window.consumed - LIMITS.stream_window)
                    if account is not None and not isinstance(stream, Call):
                        most = max(account.consumed(app.consumed(stream)) + WINDOW, account.reach)
                        assert window.limit <= most, "credit for what nobody has consumed (TW-STR-035)"
        assert lent <= LIMITS.session_budget, (
            f"{lent} bytes are granted beyond the first windows (TW-STR-037)"
        )

    def settle(self) -> None:
        """Where all was consumed and delivered, a sender may go on with half a window (TW-STR-035)."""
        self.pair.deliver()
        self.collect()
        while any(any(app.waiting.values()) for app in self.apps):
            for app in self.apps:
                for stream, units in app.waiting.items():
                    if units:
                        app.connection.consumed(stream, units)
                app.waiting.clear()
            self.pair.deliver()
            self.collect()
        for app in self.apps:
            for stream in app.known:
                half = stream.send
                if half is None or stream.number is None or stream.retired or not is_open(half):
                    continue
                assert half.window.available > LIMITS.stream_window // 2, f"{stream} starves"

    def run(self) -> None:
        """Talk; settle; end."""
        while self.choices.left:
            self.step()
        self.settle()
        self.wind_up()
        self.compare()


def target(data: bytes) -> None:
    """Let two applications talk as ``data`` says, with the ledger between them."""
    Audited(data).run()
