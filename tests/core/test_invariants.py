"""The invariants of the core, each by its name, for any behaviour of applications, peers and time."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from telewire.core.events import (
    CallReceived,
    CallRejected,
    CallResolved,
    ConnectionClosed,
    ItemsReceived,
    StreamEnded,
    StreamReset,
)
from telewire.core.states import ConnectionState
from telewire.errors import LocalProtocolError, RemoteProtocolError, ResourceExhausted
from telewire.limits import Limits
from telewire.testing.pair import Pair
from telewire.wire import frames as f
from tests.core.dialogue import C, K, Peer, assert_empty, batch, hello, names, refusal, settle
from tests.core.world import ACTIONS, SMALL, World


class AnyTree(RuleBasedStateMachine):
    """Random calls, streams, stops and partial deliveries; at the end nothing may be left."""

    @initialize(seed=st.integers(0, 1 << 32))
    def start(self, seed: int) -> None:
        self.world = World(random.Random(seed))

    @rule(client=st.booleans(), actions=st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=8))
    def act(self, client: bool, actions: list[str]) -> None:
        app = self.world.apps[0 if client else 1]
        for action in actions:
            getattr(app, action)()
        self.world.collect()

    @rule(max_bytes=st.sampled_from([1, 1500, 65536]))
    def pull(self, max_bytes: int) -> None:
        self.world.pair.pull(max_bytes)
        self.world.collect()

    @rule(to_server=st.booleans(), count=st.integers(1, 5))
    def move(self, to_server: bool, count: int) -> None:
        self.world.move(to_server, count)

    @rule()
    def deliver(self) -> None:
        self.world.check_agreement()

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.world.pair.deliver()
        self.world.pair.advance(seconds)
        self.world.collect()

    @invariant()
    def credit(self) -> None:
        if hasattr(self, "world"):
            self.world.check_credit()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.wind_up()


AnyTree.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
    # Shrinking takes minutes and says little more than the first failure does.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


class TestI3(AnyTree.TestCase):  # type: ignore[misc, name-defined]
    """I3 as Hypothesis explores it."""


@pytest.mark.parametrize("seed", range(40))
def test_i3_nothing_is_left_after_any_tree(seed: int) -> None:
    choose = random.Random(seed)
    world = World(choose)
    for _ in range(300):
        app = choose.choice(world.apps)
        getattr(app, choose.choice(ACTIONS))()
        world.collect()
        match choose.randrange(8):
            case 0:
                world.pair.pull(choose.choice([1, 1500, 65536]))
                world.collect()
            case 1 | 2:
                world.move(choose.random() < 0.5, choose.randrange(1, 4))
            case 3:
                world.check_agreement()
                world.pair.advance(choose.random())
                world.collect()
        world.check_credit()
    world.check_agreement()
    world.wind_up()


@pytest.mark.parametrize("seed", range(20))
def test_i3_nothing_is_left_after_a_cut(seed: int) -> None:
    choose = random.Random(seed)
    world = World(choose)
    for _ in range(choose.randrange(20, 200)):
        getattr(choose.choice(world.apps), choose.choice(ACTIONS))()
        world.collect()
        if choose.randrange(3) == 0:
            world.pair.pull(4000)
            world.move(choose.random() < 0.5, 2)
    world.pair.cut()
    for app, events in zip(world.apps, world.pair.take(), strict=True):
        assert isinstance(events[-1], ConnectionClosed)
        app.take(events[:-1])
        assert not app.mine
        app.wind_up()
        assert_empty(app.connection)


# --- I2 ------------------------------------------------------------------------------------------


def test_i2_sender_never_passes_its_credit() -> None:
    pair = Pair(client_limits=Limits(stream_window_read=65536))
    pair.client.call("f", b"")
    pair.deliver()
    [event] = pair.take()[1]
    assert isinstance(event, CallReceived)
    (stream,) = pair.server.resolve(event.call, b"", [(K.ITEMS, None)])
    pair.server.finish(event.call)
    sent = 0
    while pair.server.writable(stream):
        pair.server.send_item(stream, b"\x00")
        sent += 1
        pair.deliver()
    assert sent == 65536 // 256
    events = pair.take()[0]
    arrived = sum(event.count for event in events if isinstance(event, ItemsReceived))
    assert arrived == sent
    # Nothing more may leave until the consumer has consumed, and then as much as it consumed.
    reader = next(event.stream for event in events if isinstance(event, ItemsReceived))
    pair.client.consumed(reader, 127)
    pair.deliver()
    assert not pair.server.writable(stream)
    pair.client.consumed(reader, 1)
    pair.deliver()
    more = 0
    while pair.server.writable(stream):
        pair.server.send_item(stream, b"\x00")
        more += 1
    assert more == 128


# --- I7 ------------------------------------------------------------------------------------------


def survives(peer: Peer, batches: list[bytes]) -> None:
    """Feed batches; there are events, or one close with a typed error, and never an exception."""
    closed: list[ConnectionClosed] = []
    for each in batches:
        peer.core.receive_data(each, peer.now)
        peer.core.data_to_send()
        events = peer.core.events_received()
        assert not closed or not events
        closed += [event for event in events if isinstance(event, ConnectionClosed)]
    assert len(closed) <= 1
    if closed:
        last = closed[0]
        assert last.by_peer or isinstance(last.error, RemoteProtocolError)
        assert peer.core.state is ConnectionState.CLOSED
        for call in [each for each in peer.core._theirs.values()]:
            raise AssertionError(call)
    else:
        assert peer.core.state is ConnectionState.OPEN


def busy_peer() -> Peer:
    """A peer that already has one of everything, in both directions."""
    peer = Peer(SMALL)
    kinds = [(K.PROMISE, None), (K.ITEMS, None), (K.BYTES, None), (K.FUNCTION, 1), (K.CHANNEL, 2)]
    declarations = [f.Declaration(1 + i, kind, number) for i, (kind, number) in enumerate(kinds)]
    call = peer.call(0, b"", *declarations)
    peer.core.resolve(call, b"", kinds)
    peer.core.call("f", bytes(5000), kinds)
    peer.core.call("g", b"")
    peer.hear()
    return peer


references = st.integers(-12, 12)
payloads = st.sampled_from([b"", b"\x00", b"\x81\x00", bytes(200), bytes(1024)])
codes = st.sampled_from([0, 1, 8, 40, (1 << 53) - 1])
extensions = st.sampled_from([None, None, None, {14: 1}, {1: 1}, {0: 5}, {0: 0, 2: 7}, {6: {"a": "b"}}])
kinds = st.sampled_from(
    [(K.PROMISE, None), (K.ITEMS, None), (K.BYTES, None), (K.FUNCTION, 1), (K.CHANNEL, 2)]
)


@st.composite
def declared(draw: st.DrawFn) -> tuple[f.Declaration, ...]:
    first = draw(st.integers(5, 9))
    chosen = draw(st.lists(kinds, max_size=2))
    return tuple(f.Declaration(first + i, kind, number) for i, (kind, number) in enumerate(chosen))


@st.composite
def sized(draw: st.DrawFn) -> tuple[int, int, bytes]:
    """Flags, size and payload that the wire allows."""
    payload = draw(payloads)
    if payload and draw(st.booleans()):
        return 1, len(payload) + draw(st.sampled_from([1, 1024, 30_000, 1 << 40])), payload
    return 0, len(payload), payload


@st.composite
def any_frame(draw: st.DrawFn) -> f.Frame:
    reference = draw(references)
    flags, size, payload = draw(sized())
    declarations = () if flags else draw(declared())
    extra = draw(extensions)
    number = draw(st.integers(0, 10))
    return draw(
        st.sampled_from(
            [
                f.Call(number, "f", flags, size, payload, declarations, extra),
                f.Call(number, reference, flags, size, payload, declarations, extra),
                f.End(reference, flags, size, payload, declarations, extra),
                f.Error(reference, 1, flags, size, payload, declarations, extra),
                f.Item(reference, flags, size, payload, declarations, extra),
                f.Items(reference, 0, 1 + number, b"\x81\x00", extra),
                f.Chunk(reference, 0, payload or b"x", extra),
                f.Fragment(reference, flags, payload or b"x", declarations, extra),
                f.Stop(reference, number, b"", extra),
                f.Reset(reference, number, b"", extra),
                f.Grant(reference, draw(st.integers(0, 1 << 40)), extra),
                f.GoAway(number, 0, "", extra),
                f.Ping(number, extra),
                f.Pong(number, extra),
                f.Unknown(draw(st.sampled_from([8, 9, 64, 65]))),
                f.Unknown(draw(st.sampled_from([128, 129])), reference),
                f.Close(number),
                hello(),
                f.Ack(0),
            ]
        )
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(any_frame(), min_size=1, max_size=6), max_size=12))
def test_i7_any_batch_of_valid_frames(batches: list[list[f.Frame]]) -> None:
    survives(busy_peer(), [batch(*frames) for frames in batches])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_i7_any_batch_of_random_bytes(batches: list[bytes]) -> None:
    survives(busy_peer(), batches)


@settings(max_examples=300, deadline=None)
@given(st.lists(any_frame(), min_size=1, max_size=5), st.data())
def test_i7_any_batch_that_was_damaged(frames: list[f.Frame], data: st.DataObject) -> None:
    damaged = bytearray(batch(*frames))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        match data.draw(st.integers(0, 2)):
            case 0:
                damaged[at] = data.draw(st.integers(0, 255))
            case 1:
                del damaged[at:]
                damaged += b"\x00"
            case _:
                damaged[at:at] = data.draw(st.binary(max_size=3))
    survives(busy_peer(), [bytes(damaged), batch(f.Ping(1))])


def hostile(limits: Limits) -> Iterator[f.Frame]:
    """A peer that opens all that it may, fills it, and never reads."""
    number = 0
    for _ in range(limits.open_calls):
        first = number
        declarations = tuple(f.Declaration(first + 1 + i, K.ITEMS) for i in range(20))
        yield f.Call(first, "f", 0, 0, b"", declarations)
        number += 21
        for one in declarations:
            yield f.Items(one.stream, 0, 4, b"\x84" + bytes(1000))
            yield f.Item(one.stream, 1, limits.message_bytes, bytes(1000))
            yield f.Fragment(one.stream, 1, bytes(20))
    for _ in range(3 * limits.open_calls):
        yield f.Call(number, "f", 1, limits.message_bytes, bytes(1000))
        number += 1


def test_i7_memory_stays_within_the_formula() -> None:
    limits = Limits(
        open_calls=50,
        credited_streams=1000,
        stream_window=2048,
        fragment_bytes=1024,
        message_bytes=1 << 20,
        session_budget=1 << 21,
    )
    peer = Peer(limits)
    batches = [batch(frame) for frame in hostile(limits)]
    tracemalloc.start()
    for each in batches:
        peer.core.receive_data(each, 0.0)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    formula = (
        limits.credited_streams * limits.stream_window
        + limits.session_budget
        + limits.argument_bytes
        + 2 * limits.batch_bytes
    )
    entries = 4 * 1024 * (1000 + 50)
    assert held <= formula - limits.argument_bytes + entries


# --- I9 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        f.Error(1, C.ABORTED, 0, 0, b""),
        f.Reset(1, C.ABORTED),
        f.Item(1, 1, 1 << 24, b"x"),
        f.Item(1, 0, 60_000, bytes(60_000)),
        f.Items(1, 0, 1, b"\x81\x00", {1: 0}),
        f.Unknown(129, 1),
    ],
)
def test_i9_siblings_are_not_disturbed(frame: f.Frame) -> None:
    peer = Peer()
    declarations = (f.Declaration(1, K.ITEMS), f.Declaration(2, K.ITEMS), f.Declaration(3, K.PROMISE))
    call = peer.call(0, b"", *declarations)
    _, sibling, promise = call.declared
    assert {getattr(event, "stream", None) for event in peer.say(frame)} <= {call.declared[0]}
    assert not call.over
    assert peer.say(f.Items(2, 0, 1, b"\x81\x00")) == [ItemsReceived(sibling, 1, b"\x81\x00")]
    assert peer.say(f.End(3, 0, 1, b"v")) == [StreamEnded(promise, b"v", ())]
    peer.core.resolve(call, b"r")
    assert f.End(-1, 0, 1, b"r") in peer.hear()


@pytest.mark.parametrize("kind", [K.PROMISE, K.ITEMS, K.BYTES, K.CHANNEL])
def test_i9_siblings_live_on_when_one_of_ours_fails(kind: K) -> None:
    peer = Peer()
    call, (one, other) = peer.answered(0, (kind, 1 if kind is K.CHANNEL else None), (K.PROMISE, None))
    peer.core.reject(one, C.ABORTED)
    if kind is K.CHANNEL:
        peer.core.stop(one)
    peer.hear()
    assert not call.over
    peer.core.resolve(other, b"v")
    assert peer.hear() == [f.End(1, 0, 1, b"v")]
    assert call.over


# --- I10 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1 << 20])
def test_i10_release_with_a_call_in_flight(size: int) -> None:
    pair = Pair()
    pair.client.call("f", b"", [(K.FUNCTION, 1)])
    pair.deliver()
    [event] = pair.take()[1]
    assert isinstance(event, CallReceived)
    (function,) = event.declared
    call = pair.server.call(function, bytes(size))
    pair.server.release(function)
    pair.deliver()
    received = [each for each in pair.take()[0] if isinstance(each, CallReceived)]
    assert len(received) == 1
    pair.client.resolve(received[0].call, bytes(size))
    pair.client.finish(received[0].call)
    pair.deliver()
    answers = [each for each in pair.take()[1] if isinstance(each, CallResolved)]
    assert [each.call for each in answers] == [call]
    assert answers[0].payload == bytes(size)
    with pytest.raises(LocalProtocolError, match="no open function"):
        pair.server.call(function, b"")
    pair.server.reject(event.call, C.INTERNAL)
    pair.server.finish(event.call)
    settle(pair)


def test_i10_a_call_that_crosses_the_revocation_is_a_typed_error() -> None:
    pair = Pair()
    mine = pair.client.call("f", b"", [(K.FUNCTION, 1)])
    pair.deliver()
    [event] = pair.take()[1]
    assert isinstance(event, CallReceived)
    call = pair.server.call(event.declared[0], b"")
    pair.client.reset(mine.declared[0])
    pair.deliver()
    answers = [each for each in pair.take()[1] if isinstance(each, CallRejected)]
    assert [(each.call, each.code) for each in answers] == [(call, C.REFERENCE_RELEASED)]


# --- I11 -----------------------------------------------------------------------------------------


def with_stream(limits: Limits, kind: K = K.ITEMS) -> Peer:
    peer = Peer(limits)
    peer.call(0, b"", f.Declaration(1, kind))
    return peer


def many(count: int, first: int = 1) -> tuple[f.Declaration, ...]:
    return tuple(f.Declaration(first + i, K.PROMISE) for i in range(count))


LIMITS = Limits(
    fragment_bytes=1100,
    stream_window=1200,
    message_bytes=1500,
    references=4,
    name_bytes=6,
    metadata_bytes=20,
    reason_bytes=7,
    batch_frames=5,
    unanswered_pings=3,
    nesting=3,
    batch_bytes=4000,
)

AT_THE_BOUND: dict[str, tuple[f.Frame, ...]] = {
    "fragment_bytes": (f.Call(2, "f", 0, 1100, bytes(1100)),),
    "stream_window": (f.Item(1, 1, 1201, bytes(1100)), f.Fragment(1, 1, bytes(100))),
    "references": (f.Call(2, "f", 0, 0, b"", many(4, 3)),),
    "name_bytes": (f.Call(2, "abcdé", 0, 0, b""),),
    "metadata_bytes": (f.Call(2, "f", 0, 0, b"", (), {14: bytes(17)}),),
    "reason_bytes": (f.Reset(1, 1, bytes(7)),),
    "batch_frames": (f.Pong(1),) * 5,
    "unanswered_pings": (f.Ping(1),) * 3,
    "nesting": (f.Pong(1, {14: [[[]]]}),),
}

ONE_BEYOND: dict[str, tuple[tuple[f.Frame, ...], C]] = {
    "fragment_bytes": ((f.Call(2, "f", 0, 1101, bytes(1101)),), C.INVALID_FRAME),
    "stream_window": (
        (
            f.Item(1, 1, 1500, bytes(1100)),
            f.Fragment(1, 1, bytes(399)),
            f.Fragment(1, 0, b"x"),
            f.Item(1, 0, 0, b""),
        ),
        C.FLOW_CONTROL,
    ),
    "references": ((f.Call(2, "f", 0, 0, b"", many(5, 3)),), C.LIMIT_EXCEEDED),
    "name_bytes": ((f.Call(2, "abcdéf", 0, 0, b""),), C.LIMIT_EXCEEDED),
    "metadata_bytes": ((f.Call(2, "f", 0, 0, b"", (), {14: bytes(18)}),), C.LIMIT_EXCEEDED),
    "reason_bytes": ((f.Reset(1, 1, bytes(8)),), C.LIMIT_EXCEEDED),
    "batch_frames": ((f.Pong(1),) * 6, C.BATCH_TOO_LARGE),
    "unanswered_pings": ((f.Ping(1),) * 4, C.LIMIT_EXCEEDED),
    "nesting": ((f.Pong(1, {14: [[[[]]]]}),), C.NESTING_TOO_DEEP),
}


@pytest.mark.parametrize("name", AT_THE_BOUND)
def test_i11_limits_at_the_bound(name: str) -> None:
    peer = with_stream(LIMITS)
    peer.say(*AT_THE_BOUND[name])
    assert peer.core.state is ConnectionState.OPEN


@pytest.mark.parametrize("name", ONE_BEYOND)
def test_i11_limits_one_beyond(name: str) -> None:
    frames, code = ONE_BEYOND[name]
    assert refusal(with_stream(LIMITS), *frames) is code


def test_i11_limits_of_one_batch() -> None:
    peer = Peer(Limits(batch_bytes=70_000, metadata_bytes=1 << 20))
    # The head of a byte string this long takes four bytes more than that of an empty one.
    room = 70_000 - len(batch(f.Pong(1, {14: b""}))) - 4
    peer.say(f.Pong(1, {14: bytes(room)}))
    assert peer.core.state is ConnectionState.OPEN
    assert refusal(peer, f.Pong(1, {14: bytes(room + 1)})) is C.BATCH_TOO_LARGE


def test_i11_limits_of_a_message() -> None:
    peer = with_stream(LIMITS)
    assert peer.say(f.Item(1, 1, 1500, bytes(1000))) == []
    assert names(peer.say(f.Fragment(1, 0, bytes(500)))) == ["ItemReceived"]
    [event] = peer.say(f.Item(1, 1, 1501, bytes(1)))
    assert isinstance(event, StreamReset)
    assert event.code == C.MESSAGE_TOO_LARGE


@pytest.mark.parametrize("kind", [K.PROMISE, K.ITEMS])
def test_i11_limits_of_streams(kind: K) -> None:
    limits = Limits(open_streams=3, credited_streams=3 if kind is K.ITEMS else 0)
    peer = Peer(limits)
    call = peer.call(0, b"", *(f.Declaration(1 + i, kind) for i in range(4)))
    assert [stream.retired for stream in call.declared] == [False, False, False, True]
    assert peer.hear() == [f.Stop(-5, C.RESOURCE_EXHAUSTED)]
    peer.say(f.Reset(1, 0))
    other = peer.call(5, b"", f.Declaration(6, kind))
    assert not other.declared[0].retired


def test_i11_the_advertised_limits_bind_our_own_commands() -> None:
    pair = Pair(server_limits=SMALL)
    with pytest.raises(Exception, match="larger than"):
        pair.client.call("f", bytes(SMALL.message_bytes + 1))
    pair.client.call("f", bytes(SMALL.message_bytes))
    pair.deliver()
    [event] = pair.take()[1]
    assert isinstance(event, CallReceived)
    assert len(event.payload) == SMALL.message_bytes


@pytest.mark.parametrize("kind", [K.ITEMS, K.CHANNEL])
def test_i11_the_size_of_small_items_binds_too(kind: K) -> None:
    # 2,000 bytes would share a frame with their neighbours.
    peer = Peer(theirs=Limits(message_bytes=1024))
    _, (stream,) = peer.answered(0, (kind, 1 if kind is K.CHANNEL else None))
    send = peer.core.send_message if kind is K.CHANNEL else peer.core.send_item
    for size in (1025, 2000, 100_000):
        with pytest.raises(ResourceExhausted, match=f"{size} bytes is larger than the 1024"):
            send(stream, bytes(size))
    assert peer.hear() == []
    send(stream, bytes(1024))
    [frame] = peer.hear()
    assert isinstance(frame, f.Items)
